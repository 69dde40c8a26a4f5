"""The state of a sharded run on disk: a directory in which every process writes its own part.

`shards_<update>_<n>/<rank>-of-<world>.pt` hold the rows that the processes hold, as plain tensors;
the first also has all that is not shared out. Any number of processes can read them: each takes
the rows it needs from whichever files have them.

Not torch.distributed.checkpoint: its `.metadata` is a pickle, which runs code when it is read. Its
other form (safetensors) takes tensors only and exchanges pickled plans. Rows of one dimension need
neither.

A directory has its name when all parts are in it, and each state has a name of its own, so that a
new one never replaces what the run could go on from: the old ones are removed afterwards.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pylib.corpus.atomic import atomic_dir, require_free_space, sync_files
from pylib.corpus.errors import UserError
from pylib.nn.sharded import held
from pylib.training import checkpoint
from pylib.training.distributed import Processes
from pylib.training.sharding import rows_of

FORMAT = 1
_NAME = re.compile(r"shards_(\d{8,})_(\d+)")


def found(folder: Path) -> list[Path]:
    """States of a run, the oldest first."""
    if not folder.is_dir():
        return []
    named = {path: _NAME.fullmatch(path.name) for path in folder.iterdir()}
    numbers = {path: (int(m[1]), int(m[2])) for path, m in named.items() if m and path.is_dir()}
    return sorted(numbers, key=lambda path: numbers[path])


def remove(paths: Sequence[Path]) -> None:
    """Remove states; none is left by half under its name."""
    for path in paths:
        passing = path.with_name(f".{path.name}.tmp-removed")
        os.replace(path, passing)
        shutil.rmtree(passing, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed runs left behind. Only for who holds the lock of the run."""
    for path in folder.glob(".shards_*.tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def write(
    folder: Path,
    where: Processes,
    system: nn.Module,
    optimizer: torch.optim.Optimizer,
    about: Mapping[str, Any],
) -> None:
    """Write the state of a sharded run; all processes must call it. Older states are removed.

    about: the rest of a checkpoint: plain values and tensors.
    Raises UserError or OSError in all processes, nothing changed, when one cannot write its part.
    """
    part = _part(where, system, optimizer, about)
    old = found(folder)
    name = ""
    if where.first:
        used = {path.name for path in old}
        update = f"shards_{about['update']:08d}"
        name = next(f"{update}_{n}" for n in range(len(used) + 1) if f"{update}_{n}" not in used)
        with atomic_dir(folder / name) as temp:
            where.tell(temp.name)
            _write_part(temp, where, part)
    else:
        _write_part(folder / where.tell(""), where, part)
    where.barrier()
    if where.first:
        remove(old)


@torch.no_grad()
def _part(
    where: Processes,
    system: nn.Module,
    optimizer: torch.optim.Optimizer,
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """What this process writes."""
    whole = system.state_dict()
    rows = {name: held(item) for name, item in whole.items() if held(item) is not item}
    own = optimizer.state_dict()
    moments = {
        index: {key: item for key, item in values.items() if item.dim()}
        for index, values in own["state"].items()
    }
    part: dict[str, Any] = {
        "format": FORMAT,
        "world": where.world,
        "rank": where.rank,
        "update": about["update"],
        # Copies: a file holds all the memory of a tensor, and the last rows are padded.
        "model": {name: item.clone() for name, item in rows.items()},
        "optimizer": moments,
    }
    if where.first:
        part["whole"] = {
            "about": dict(about),
            "shapes": {name: list(item.shape) for name, item in whole.items()},
            "model": {name: item for name, item in whole.items() if name not in rows},
            "names": [name for name, _ in system.named_parameters()],
            "param_groups": own["param_groups"],
            "optimizer": {
                index: {key: item for key, item in values.items() if not item.dim()}
                for index, values in own["state"].items()
            },
        }
    return part


def _write_part(folder: Path, where: Processes, part: Mapping[str, Any]) -> None:
    """Write this process's file, and come back when all have written theirs."""
    path = folder / _file(where.rank, where.world)
    failure: OSError | UserError | None = None
    try:
        require_free_space(folder, checkpoint.size(part))
        checkpoint.write(path, part)
        sync_files([path])  # on the machine that wrote it
    except (OSError, UserError) as error:
        failure = error
    failed = where.sum_(torch.tensor([float(failure is not None)], device=where.device))
    if failure is not None:
        raise failure
    if float(failed):
        raise UserError(f"{folder}: another process could not write its part: its log tells why")


def _file(rank: int, world: int) -> str:
    return f"{rank:05d}-of-{world:05d}.pt"


def load(folder: Path, rank: int = 0, world: int = 1) -> dict[str, Any]:
    """A state as a checkpoint of the rows that process `rank` of `world` holds; all by default.

    Nothing in the files is executed.
    Raises UserError: a file missing, cut off, or not of this state.
    """
    files = sorted(folder.glob("*-of-*.pt"))
    count = int(files[0].stem.split("-of-")[1]) if files else 1
    parts = [_read(folder / _file(number, count), number, count) for number in range(count)]
    if len({part["update"] for part in parts}) != 1:
        raise _damaged(folder, "its parts are of different updates")
    whole = parts[0].get("whole")
    if not isinstance(whole, dict) or not isinstance(whole.get("about"), dict):
        raise _damaged(folder, "its first part lacks what is not shared out")
    try:
        model = {
            name: whole["model"][name]
            if name in whole["model"]
            else _rows([part["model"][name] for part in parts], shape, rank, world)
            for name, shape in whole["shapes"].items()
        }
        shapes = [whole["shapes"][name] for name in whole["names"]]
        state = {
            # Copies: the optimizer would write into the file, and hold it open.
            index: {key: item.clone() for key, item in single.items()}
            | {
                key: _rows([p["optimizer"][index][key] for p in parts], shapes[index], rank, world)
                for key in parts[0]["optimizer"][index]
            }
            for index, single in whole["optimizer"].items()
        }
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(folder, f"its parts do not fit together ({error})") from None
    optimizer = {"state": state, "param_groups": whole["param_groups"]}
    return {**whole["about"], "model": model, "optimizer": optimizer}


def _read(path: Path, rank: int, world: int) -> dict[str, Any]:
    part = checkpoint.read(path, mapped=True)
    if not isinstance(part, dict) or not {"format", "model", "optimizer"} <= set(part):
        raise _damaged(path, "not a part of a state of Trivium")
    if part["format"] != FORMAT:
        raise UserError(
            f"{path}: format {part['format']}, this version reads {FORMAT}: use the version that "
            "wrote it"
        )
    if (part.get("rank"), part.get("world"), "update" in part) != (rank, world, True):
        raise _damaged(path, f"it is not part {rank} of {world}")
    return part


def _rows(parts: Sequence[Tensor], shape: Sequence[int], rank: int, world: int) -> Tensor:
    """Rows of a tensor of `shape` that a process holds, from parts that follow each other.

    Raises ValueError when the parts are not that tensor.
    """
    lengths = [part.shape[0] for part in parts]
    if sum(lengths) != shape[0] or any(list(part.shape[1:]) != shape[1:] for part in parts):
        raise ValueError(f"{[list(part.shape) for part in parts]} are no parts of {list(shape)}")
    first, end = rows_of(shape[0], rank, world)
    pieces, start = [], 0
    for part, length in zip(parts, lengths, strict=True):
        if start < end and start + length > first:
            pieces.append(part[max(first - start, 0) : end - start])
        start += length
    return torch.cat(pieces) if pieces else parts[0][:0].clone()


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: not a whole state of a sharded run: {reason}: remove it, and the run goes on "
        "from checkpoint_last.pt, or begins again where there is none"
    )
