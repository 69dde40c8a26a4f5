"""Checkpoints: written whole or not at all, read without running code and without the data.

Layout of a run: `checkpoint_last.pt` (to go on from), `checkpoint_best.pt` (when a measure on the
development set is chosen), `checkpoint_<update>.pt` (the last few). All are whole files; names
that hold the same update share one file on disk where the file system can.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

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

    What was there before stays if the disk is full or the process is killed. The name that a run
    goes on from comes last: once it is there, the others are.
    """
    first = folder / names[0]
    require_free_space(folder, _size(payload))
    with atomic_path(first) as temp:
        torch.save(dict(payload), temp)
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


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; nothing in it is executed.

    Raises UserError: missing, cut off, or not a checkpoint of this program.
    """
    path = Path(path)
    try:
        payload = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint: has the training finished?") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{path}: not a readable checkpoint ({first}): use another one or train again"
        ) from None
    if not isinstance(payload, dict) or not {"format", "system", "config", "model"} <= set(payload):
        raise UserError(f"{path}: not a checkpoint of Trivium: convert it with pylib.interop first")
    if payload["format"] != FORMAT:
        raise UserError(
            f"{path}: checkpoint format {payload['format']}, this version reads {FORMAT}: use the "
            "version that wrote it"
        )
    return payload


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
    system = build_system(config, len(payload["vocab"] or ()), payload.get("rows", 0))
    restore(system, payload["model"], str(path))
    return system.to(device).eval(), config, payload


def restore(module: nn.Module, state: Mapping[str, Any], where: str) -> None:
    """Load weights strictly. Raises UserError naming the first keys that do not fit."""
    own = module.state_dict()
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
    module.load_state_dict(state)


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


def _size(payload: Any) -> int:
    """Bytes of all tensors of a payload, and a little."""
    if isinstance(payload, torch.Tensor):
        return payload.numel() * payload.element_size()
    if isinstance(payload, Mapping):
        return 4096 + sum(_size(value) for value in payload.values())
    if isinstance(payload, list | tuple):
        return sum(_size(value) for value in payload)
    return 0
