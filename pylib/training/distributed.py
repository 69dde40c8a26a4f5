"""Processes of a run: rank and world from torchrun's environment, sums over them.

Gradients are summed by hand over one flat tensor (`step.GradientBuffer`), so that processes whose
LayerDrop skipped different layers still agree. Where parameters are shared out, `sharding` has a
buffer of its own; nothing else in the loop knows how many processes there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from pylib.corpus.errors import UserError


@dataclass(frozen=True)
class Processes:
    """This process among those of the run.

    Attributes:
        sharded: whether each process holds a part of the parameters only; never with one process.
    """

    rank: int
    world: int
    device: torch.device
    sharded: bool = False

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, micro_batches: int) -> int:
        """Micro-batches of an update that each process takes.

        Raises UserError when they cannot be shared equally.
        """
        if micro_batches % self.world:
            raise UserError(
                f"optim.micro_batches = {micro_batches} cannot be shared by {self.world} processes"
                ": change the number of processes, or data.batch_seconds and optim.micro_batches"
            )
        return micro_batches // self.world

    def sum_(self, tensor: Tensor) -> Tensor:
        """Sum over processes, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def broadcast_(self, tensor: Tensor) -> Tensor:
        """The first process's values everywhere, in place."""
        if self.world > 1:
            dist.broadcast(tensor, 0)
        return tensor

    def tell(self, text: str) -> str:
        """The first process's text, everywhere."""
        data = torch.tensor(list(text.encode()), dtype=torch.uint8)
        size = self.broadcast_(torch.tensor([len(data)], device=self.device))
        if not self.first:
            data = torch.zeros(int(size), dtype=torch.uint8)
        return bytes(self.broadcast_(data.to(self.device)).tolist()).decode()

    def barrier(self) -> None:
        if self.world > 1:
            dist.barrier()


def single(device: str = "cpu") -> Processes:
    """One process, no communication."""
    return Processes(0, 1, torch.device(device))


@contextmanager
def processes(device: str = "auto", sharded: bool = False) -> Iterator[Processes]:
    """Join the processes that torchrun started (RANK, WORLD_SIZE, LOCAL_RANK), or run alone.

    device: cpu, cuda or auto (cuda where there is one). gloo on CPU, nccl on GPU.
    sharded: share out the parameters where there are several processes.
    Raises UserError: cuda asked for and absent, or more processes than GPUs.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        count = torch.cuda.device_count()
        if local >= count:
            raise UserError(
                f"--device cuda: process {local} of this machine has no GPU, {count} visible: "
                "start at most one process a GPU"
            )
        torch.cuda.set_device(local)
    place = torch.device(device, local) if device == "cuda" else torch.device("cpu")
    if world == 1:
        yield Processes(rank, world, place)
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Processes(rank, world, place, sharded)
    finally:
        dist.destroy_process_group()
