"""Running statistics of batch norms when several processes train one system.

Each process sees its own micro-batches, perhaps of one kind of data only, so the statistics drift
apart; before they are used (validation, checkpoints) they are brought together.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pylib.training.distributed import Processes


class RunningNorms:
    """The batch norms of a system.

    With one process, or without batch norms, nothing is ever changed.
    """

    def __init__(self, system: nn.Module, where: Processes) -> None:
        self._norms = [
            item
            for item in system.modules()
            if isinstance(item, _BatchNorm) and item.running_mean is not None
        ]
        self.where = where
        self.begin()

    def begin(self) -> None:
        """Count batches from here on: the statistics of all processes are the same now."""
        self._before = [int(norm.num_batches_tracked) for norm in self._norms]

    def join(self) -> None:
        """Mean over processes, weighted by the batches that each has seen since the last time."""
        if self.where.world == 1 or not self._norms:
            return
        for norm, before in zip(self._norms, self._before, strict=True):
            seen = int(norm.num_batches_tracked) - before
            values = torch.cat([norm.running_mean, norm.running_var]).double()
            total = torch.cat([values * seen, values.new_tensor([float(seen)])])
            self.where.sum_(total)
            count = float(total[-1])
            if count > 0:
                mean, variance = (total[:-1] / count).chunk(2)
                norm.running_mean.copy_(mean)
                norm.running_var.copy_(variance)
            norm.num_batches_tracked.fill_(before + int(count))
        self.begin()
