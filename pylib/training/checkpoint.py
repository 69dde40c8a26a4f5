"""Checkpoints: written whole or not at all, read without running code and without the data.

Layout of a run: `checkpoint_last.pt` (to go on from), `checkpoint_best.pt` (when a measure on the
development set is chosen), `checkpoint_<update>.pt` (the last few). All are whole files; names
that hold the same update share one file on disk where the file system can.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from pylib.corpus.atomic import atomic_path, require_free_space
from pylib.corpus.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from pylib.training.config import TrainConfig

FORMAT = 1
LAST, BEST = "checkpoint_last.pt", "checkpoint_best.pt"


def numbered(update: int) -> str:
    """Name of the checkpoint kept of an update."""
    return f"checkpoint_{update:08d}.pt"


def save(folder: Path, names: Sequence[str], payload: Mapping[str, Any]) -> None:
    """Write a payload of tensors and plain values under each of `names`, atomically, in order.

    Equal payloads make equal bytes, however they came about: what is trained again, or went on
    after a kill, has the digest that it had. What was there before stays if the disk is full or
    the process is killed. The name that a run goes on from comes last: once it is there, the
    others are.
    """
    first = folder / names[0]
    require_free_space(folder, size(payload))
    with atomic_path(first) as temp:
        write(temp, payload)
    for name in names[1:]:
        with atomic_path(folder / name) as temp:
            try:
                os.link(first, temp)
            except OSError:  # no hard links here (some network file systems)
                shutil.copyfile(first, temp)


def prune(folder: Path, keep: int) -> None:
    """Remove numbered checkpoints beyond the newest `keep` (-1 = keep all)."""
    if keep < 0:
        return
    found = sorted(folder.glob("checkpoint_[0-9]*.pt"))
    for path in found[: max(len(found) - keep, 0)]:
        path.unlink()


def read(path: Path, mapped: bool = False) -> Any:
    """What a file of tensors and plain values holds, on the CPU; nothing in it is executed.

    mapped: leave the tensors on the disk until somebody reads them.
    Raises UserError: missing or cut off.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint: has the training finished?") from None
    except Exception as error:  # a damaged pickle fails in every way there is
        if isinstance(error, OSError) and error.filename is not None:
            raise  # of the file system; without a name: torch sought before a short file
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path}: not a readable checkpoint ({first}): use another one or train again"
        ) from None


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; nothing in it is executed.

    Raises UserError: missing, cut off, or not a checkpoint of this program.
    """
    path = Path(path)
    payload = read(path)
    if not isinstance(payload, dict) or not {"format", "system", "config", "model"} <= set(payload):
        raise UserError(
            f"{path}: not a checkpoint of Trivium: make one of it with steps/convert_checkpoint.sh"
        )
    if payload["format"] != FORMAT:
        raise UserError(
            f"{path}: checkpoint format {payload['format']}, this version reads {FORMAT}: use the "
            "version that wrote it"
        )
    model, vocab = payload["model"], payload.get("vocab")
    if not isinstance(model, Mapping) or not all(torch.is_tensor(v) for v in model.values()):
        raise UserError(f"{path}: its weights are no tensors: use another one or train again")
    if not isinstance(vocab, list | tuple | None) or type(payload.get("rows", 0)) is not int:
        raise UserError(f"{path}: its vocabulary is no list: use another one or train again")
    return payload


class _Undrawn(TorchFunctionMode):
    """Modules are made without first weights: others follow, and drawing them takes time.

    On the meta device above all, where drawing and norms import torch's compiler: two seconds of
    every start.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("normal_", "uniform_", "kaiming_uniform_"):
            return args[0] if args else kwargs["tensor"]
        if name == "norm_except_dim":  # of weight_norm: a norm for each row of one dimension
            weight, _, dim = args
            return weight.new_empty(
                [size if at == dim else 1 for at, size in enumerate(weight.shape)]
            )
        return func(*args, **(kwargs or {}))


def load_system(
    path: str | Path, device: str | torch.device = "cpu"
) -> tuple[nn.Module, TrainConfig, dict[str, Any]]:
    """The trained system of a checkpoint, in evaluation mode, with its configuration and payload.

    Needs no data, labels or other files. Raises UserError as `load` does, and where weights and
    configuration disagree.
    """
    from pylib.training.build import build_system
    from pylib.training.config import from_dict

    payload = load(path)
    config = from_dict(payload["config"], str(path))
    sizes = len(payload.get("vocab") or ()), payload.get("rows", 0)
    _require_size(config, payload["model"], str(path))
    with _Undrawn():
        with torch.device("meta"):  # sizes that the weights do not have are found without memory
            try:
                fresh = build_system(config, *sizes)
            except (AssertionError, RuntimeError, TypeError, OverflowError) as error:
                raise UserError(
                    f"{path}: its configuration makes no model ({error}): use another one"
                ) from None
        check_weights(fresh.state_dict(), payload["model"], str(path))
        system = build_system(config, *sizes)
    restore(system, payload["model"], str(path))
    return system.to(device).eval(), config, payload


def restore(module: nn.Module, state: Mapping[str, Any], where: str) -> None:
    """Load weights strictly. Raises UserError naming the first keys that do not fit."""
    check_weights(module.state_dict(), state, where)
    module.load_state_dict(state)


def _require_size(config: TrainConfig, state: Mapping[str, Any], where: str) -> None:
    """Refuse numbers of layers or channels beyond the number of all weights: a damaged file."""
    weights = max(1 << 16, sum(value.numel() for value in state.values()))
    for section in (config.model, config.av_model, config.fhvae, config.phone2unit, config.seq2seq):
        for key, value in () if section is None else vars(section).items():
            if type(value) is int and value > weights:
                raise UserError(f"{where}: {key} = {value} of {weights} weights: train again")


def check_weights(own: Mapping[str, Any], state: Mapping[str, Any], where: str) -> None:
    """Refuse weights of other names or shapes. Raises UserError naming the first of them."""
    problems = [f"lacks {key}" for key in own if key not in state]
    problems += [f"has {key}, unknown here" for key in state if key not in own]
    problems += [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in state and hasattr(own[key], "shape") and own[key].shape != state[key].shape
    ]
    if problems:
        raise UserError(
            f"{where}: weights do not fit the configuration: {'; '.join(problems[:4])} "
            f"({len(problems)} in all): the checkpoint is of another model"
        )


def encoder_weights(payload: Mapping[str, Any]) -> dict[str, Any]:
    """State dict of the (student) encoder of a checkpoint's system."""
    prefix = "encoder."
    return {
        key.removeprefix(prefix): value
        for key, value in payload["model"].items()
        if key.startswith(prefix)
    }


def plain(value: Any) -> Any:
    """The value as JSON types, so that a checkpoint holds nothing but tensors and plain data."""
    return json.loads(json.dumps(value))


def write(path: Path, payload: Mapping[str, Any]) -> None:
    """One file of tensors and plain values; equal payloads make equal bytes.

    Raises OSError with what the file system says, where torch would hide it.
    """
    try:
        # To a stream: given a name, torch writes it, a passing one here, into the archive.
        with open(path, "wb") as stream:
            torch.save(_canonical(payload), stream)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _canonical(value: Any) -> Any:
    """Equal values in equal form: a pickle also tells which of its strings are one object."""
    if isinstance(value, str):
        return sys.intern(str(value))
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_canonical, value))
    return value


def size(payload: Any) -> int:
    """Bytes of all tensors of a payload, and a little."""
    if isinstance(payload, torch.Tensor):
        return payload.numel() * payload.element_size()
    if isinstance(payload, Mapping):
        return 4096 + sum(size(value) for value in payload.values())
    if isinstance(payload, list | tuple):
        return sum(size(value) for value in payload)
    return 0
