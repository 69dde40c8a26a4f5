"""Where a run keeps its state: whole files that others load too, or the parts of a sharded run.

A sharded run writes parts to go on from (fast, no process needs memory for all), and whole files
under the names that others load: the best, the numbered ones, and checkpoint_last when it is done.
Both kinds of run read both, whatever the number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pylib.nn.sharded import held
from pylib.training import checkpoint, sharding, shards
from pylib.training.distributed import Processes


class Store:
    """Writes and reads the state of a run.

    Args:
        folder: of the run; of whole files only the first process writes any.
        where: this process.
        system, optimizer: whose state it is.
        keep: numbered checkpoints kept, -1 = all.
    """

    def __init__(
        self,
        folder: Path,
        where: Processes,
        system: nn.Module,
        optimizer: torch.optim.Optimizer,
        keep: int,
    ) -> None:
        self.folder, self.where, self.keep = folder, where, keep
        self.system, self.optimizer = system, optimizer

    def finite(self) -> bool:
        """Whether all weights are finite numbers, in all processes."""
        weights = [
            held(item) for item in self.system.state_dict().values() if item.is_floating_point()
        ]
        with torch.no_grad():
            fine = torch.stack(torch._foreach_norm(weights)).isfinite().all()
        if self.where.sharded:
            return not bool(self.where.sum_((~fine).float()))
        return bool(fine)

    def save(self, names: Sequence[str], about: Mapping[str, Any], finished: bool) -> None:
        """Write the state under `names`, checkpoint_last last; all processes must call it.

        about: all that a checkpoint holds besides weights and optimizer. Its `update` too.
        finished: whether nobody goes on from it any more.
        """
        whole = list(names)
        if self.where.sharded and not finished:
            whole = [name for name in names if name != checkpoint.LAST]
        if whole:
            self._save_whole(whole, about)
        if whole != list(names):
            shards.write(self.folder, self.where, self.system, self.optimizer, about)
        if self.where.first:
            if checkpoint.LAST in whole:
                shards.remove(shards.found(self.folder))
            checkpoint.prune(self.folder, self.keep)
        self.where.barrier()

    def _save_whole(self, names: Sequence[str], about: Mapping[str, Any]) -> None:
        if self.where.sharded:
            model, optimizer = sharding.whole_state(self.system, self.optimizer, self.where)
        else:
            model, optimizer = self.system.state_dict(), self.optimizer.state_dict()
        if self.where.first:
            payload = {**about, "model": model, "optimizer": optimizer}
            checkpoint.save(self.folder, names, payload)
        self.where.barrier()  # parts that tell of a best come after it

    def read(self) -> tuple[Path, dict[str, Any]] | None:
        """What the run goes on from and where it is, or None: this process's rows if sharded."""
        if self.where.first:
            shards.sweep(self.folder)
        where = self.where
        kept: list[tuple[Path, dict[str, Any]]] = []
        last = self.folder / checkpoint.LAST
        if last.exists():
            payload = checkpoint.load(last)
            if where.sharded:
                payload = sharding.cut(payload, self.system, where)
            kept.append((last, payload))
        for path in shards.found(self.folder)[-1:]:
            share = (where.rank, where.world) if where.sharded else (0, 1)
            kept.append((path, shards.load(path, *share)))
        # Both are there when a run went on in the other way; the older one was not removed yet.
        return max(kept, key=lambda item: _age(item[1]), default=None)

    def restore(self, payload: Mapping[str, Any]) -> None:
        """Take weights and optimizer of what `read` gave. Raises UserError if they do not fit."""
        where = str(self.folder / checkpoint.LAST)
        if self.where.sharded:
            own = {name: held(item) for name, item in self.system.state_dict().items()}
            checkpoint.check_weights(own, payload["model"], where)
            with torch.no_grad():
                for name, item in own.items():
                    item.copy_(payload["model"][name])
        else:
            checkpoint.restore(self.system, payload["model"], where)
        self.optimizer.load_state_dict(dict(payload["optimizer"]))


def _age(payload: Mapping[str, Any]) -> tuple[int, int, bool]:
    """Grows with what a run has done."""
    progress = payload["progress"]
    return progress["update"], progress["validated"], bool(progress["finished"])
