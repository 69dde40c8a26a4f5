"""One optimizer update: exact sums over micro-batches and processes, divided once.

The gradient is d(sum of losses)/d(theta) over all micro-batches of all processes, divided by the
sum of their counts: never a mean of means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pylib.nn.batch import Batch
from pylib.nn.loss import Metrics, add_metrics
from pylib.nn.optimisers import AdamW
from pylib.nn.sharded import held
from pylib.training.distributed import Processes
from pylib.training.settings import OptimConfig, RunConfig

_SCALE_START, _SCALE_MIN, _SCALE_WINDOW = 2.0**7, 2.0**-14, 2000  # fairseq's fp16 defaults


class Learning:
    """Which parameters learn: not those without `requires_grad`, nor a frozen encoder's."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self.all = list(module.parameters())
        self._inside = [name.startswith("encoder.") for name, _ in module.named_parameters()]

    @property
    def frozen(self) -> bool:
        """Whether the encoder stays as it is in this update."""
        return bool(getattr(self._module, "frozen", False))

    def now(self) -> list[bool]:
        """Of each of `all`, in this update."""
        frozen = self.frozen
        return [
            item.requires_grad and not (frozen and inside)
            for item, inside in zip(self.all, self._inside, strict=True)
        ]


class GradientBuffer:
    """All gradients as views of one flat tensor: one memset, one all-reduce, one norm.

    Parameters that learn always have a gradient, zero where no path reached them (LayerDrop),
    so that the optimizer treats them alike however the work is split over processes.
    The others have none and the optimizer leaves them alone.
    """

    def __init__(self, module: nn.Module) -> None:
        self._learning = Learning(module)
        self._active: list[bool] = []
        self.flat = torch.zeros(0)
        self._views: list[Tensor] = []

    def clear(self) -> None:
        """Zero all gradients, after following what is frozen now."""
        now = self._learning.now()
        if now != self._active:
            self._active = now
            chosen = [item for item, use in zip(self._learning.all, now, strict=True) if use]
            self.flat = torch.zeros(sum(item.numel() for item in chosen), device=chosen[0].device)
            parts = self.flat.split([item.numel() for item in chosen])
            self._views = [part.view_as(item) for part, item in zip(parts, chosen, strict=True)]
            for item in self._learning.all:
                item.grad = None
            for item, view in zip(chosen, self._views, strict=True):
                item.grad = view
        else:
            self.flat.zero_()

    def collect(self, where: Processes) -> None:
        """Sum over processes, once all backward passes are done."""
        where.sum_(self.flat)

    def norm(self, where: Processes) -> float:
        """Norm of the whole gradient."""
        return float(torch.linalg.vector_norm(self.flat))

    def scale_(self, factor: float) -> None:
        """Multiply the gradient, in place."""
        self.flat.mul_(factor)


class ShardedGradients:
    """What GradientBuffer is, for parameters that are shared out over the processes.

    FSDP2 sums over the processes in the backward pass of every micro-batch: to add up whole
    gradients and sum once would need the memory that sharding is there to save.

    Args:
        module: after `sharding.shard`.
        parts: what the optimizer steps, this process's rows of `module.parameters()`.
    """

    def __init__(self, module: nn.Module, parts: Sequence[Tensor]) -> None:
        self._module: Any = module
        self._learning = Learning(module)
        self._pairs = list(zip(self._learning.all, parts, strict=True))
        self._active: list[bool] = []
        self._grads: list[Tensor] = []

    def clear(self) -> None:
        """Forget all gradients, after following what is frozen now."""
        self._active = self._learning.now()
        # Zeros stand for the gradient of what this process did not reach and others may have:
        # skipped layers, streams its batch lacks. Of a frozen encoder nobody reaches anything.
        self._module.set_reduce_scatter_unused_params(not self._learning.frozen)
        self._grads = []
        for sharded, part in self._pairs:
            sharded.grad = part.grad = None

    def collect(self, where: Processes) -> None:
        """Give the optimizer's parts their gradients, which are summed already."""
        for (sharded, part), use in zip(self._pairs, self._active, strict=True):
            if use:
                assert sharded.grad is not None, "FSDP2 left a parameter without a gradient"
                part.grad = held(sharded.grad)
                self._grads.append(part.grad)

    def norm(self, where: Processes) -> float:
        """Norm of the whole gradient, of which this process holds a part."""
        norms = torch.stack(torch._foreach_norm(self._grads)).double()
        return math.sqrt(float(where.sum_(norms.square().sum())))

    def scale_(self, factor: float) -> None:
        """Multiply the gradient, in place."""
        torch._foreach_mul_(self._grads, factor)


@dataclass(frozen=True)
class UpdateResult:
    """What one update reports.

    Attributes:
        loss: global sum of losses / count.
        count: global normaliser.
        grad_norm: norm of the normalised gradient, before clipping.
        metrics: this process's sums, not reduced yet.
        stop: whether any process was asked to stop.
        units: input units (samples or filter-bank frames) of all processes.
    """

    loss: float
    count: float
    grad_norm: float
    metrics: Metrics
    stop: bool
    units: int


class NonFiniteError(RuntimeError):
    """A loss or a gradient is NaN or infinite; the weights were not touched."""


def seed_micro(seed: int, index: int, generator: torch.Generator) -> None:
    """Make all randomness of micro-batch `index` a pure function of (seed, index)."""
    first, second = np.random.SeedSequence([seed, index]).generate_state(2, np.uint64)
    # Not torch.manual_seed: for each kind of device that is not in use it formats a stack trace,
    # which takes as long as a small layer. A GPU in use has been set up before its first batch.
    torch.default_generator.manual_seed(int(first >> np.uint64(1)))
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(int(first >> np.uint64(1)))
    generator.manual_seed(int(second >> np.uint64(1)))


def make_optimizer(module: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay on all parameters, biases and norms included (fairseq).

    Of sharded parameters it steps this process's rows: Adam treats every number for itself.
    """
    parts = [
        item if held(item) is item else nn.Parameter(held(item).detach(), item.requires_grad)
        for item in module.parameters()
    ]
    return AdamW(
        parts,
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=True,
    )


class Updater:
    """Computes gradients and steps.

    Attributes:
        scale: factor of the loss under fp16, 1 otherwise.
        calm: updates since the scale last changed.
    """

    def __init__(
        self,
        system: nn.Module,
        optimizer: torch.optim.Optimizer,
        optim: OptimConfig,
        run: RunConfig,
        where: Processes,
    ) -> None:
        self.system, self.optimizer, self.optim, self.run, self.where = (
            system, optimizer, optim, run, where,
        )  # fmt: skip
        self.buffer: GradientBuffer | ShardedGradients = (
            ShardedGradients(system, optimizer.param_groups[0]["params"])
            if where.sharded
            else GradientBuffer(system)
        )
        self.generator = torch.Generator()
        self.scale = _SCALE_START if run.precision == "fp16" else 1.0
        self.calm = 0

    def autocast(self) -> AbstractContextManager:
        """The precision of the forward pass; losses and targets are fp32 inside the systems."""
        if self.run.precision == "fp32":
            return nullcontext()
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[self.run.precision]
        return torch.autocast(self.where.device.type, dtype=dtype)

    def gradients(
        self, batches: Sequence[tuple[int, Batch]], stop: bool = False
    ) -> tuple[list[float], Metrics]:
        """Fill the buffer with the global sum of (scaled) gradients.

        batches: (global index, batch) of this process. Returns ([sum of losses, count, number of
        processes that want to stop, input units] over all processes, metrics of this process).
        """
        self.buffer.clear()
        sums: list[Tensor] = []
        counts: list[Tensor] = []
        metrics: list[Metrics] = []
        for index, batch in batches:
            seed_micro(self.run.seed, index, self.generator)
            with self.autocast():
                out = self.system(batch, self.generator)
            (out.loss_sum if self.scale == 1.0 else out.loss_sum * self.scale).backward()
            sums.append(out.loss_sum.detach())
            counts.append(out.count)
            metrics.append(out.metrics)
        units = sum(int(batch.input_lengths.sum()) for _, batch in batches)
        totals = torch.tensor([0.0, 0.0, stop, units], dtype=torch.float64)
        totals = totals.to(self.where.device)
        totals[0], totals[1] = torch.stack(sums).sum(), torch.stack(counts).sum()
        self.where.sum_(totals)
        self.buffer.collect(self.where)
        return totals.tolist(), add_metrics(metrics)

    def update(
        self, batches: Sequence[tuple[int, Batch]], rate: float, stop: bool = False
    ) -> UpdateResult:
        """One optimizer step at learning rate `rate`.

        Under fp16 an overflow halves the scale and computes the same update again.
        Raises NonFiniteError, the weights untouched, when loss or gradient stay NaN or infinite.
        """
        while True:
            (loss, count, stops, units), metrics = self.gradients(batches, stop)
            if not count > 0:
                raise NonFiniteError(f"the batch has nothing to learn from: count {count:g}")
            norm = self.buffer.norm(self.where) / (count * self.scale)
            if math.isfinite(loss) and math.isfinite(norm):
                break
            if not self._reduce_scale(loss):
                raise NonFiniteError(self._diagnosis(loss, norm, batches))
        factor = 1.0 / (count * self.scale)
        clip = self.optim.clip_norm
        if clip and norm > clip:
            factor *= clip / (norm + 1e-6)
        self.buffer.scale_(factor)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self._grow_scale()
        return UpdateResult(loss / count, count, norm, metrics, stops > 0, int(units))

    def _reduce_scale(self, loss: float) -> bool:
        """Halve the fp16 scale; False where that cannot help."""
        if self.run.precision != "fp16" or not math.isfinite(loss) or self.scale <= _SCALE_MIN:
            return False
        self.scale, self.calm = self.scale / 2, 0
        return True

    def _grow_scale(self) -> None:
        if self.run.precision != "fp16":
            return
        self.calm += 1
        if self.calm >= _SCALE_WINDOW:
            self.scale, self.calm = self.scale * 2, 0

    def _diagnosis(self, loss: float, norm: float, batches: Sequence[tuple[int, Batch]]) -> str:
        bad = [
            name
            for name, item in self.system.named_parameters()
            if item.grad is not None and not torch.isfinite(held(item.grad)).all()
        ]
        weights = [
            name
            for name, item in self.system.named_parameters()
            if not torch.isfinite(held(item)).all()
        ]
        utts = [utt for _, batch in batches for utt in batch.utts]
        lines = [f"loss {loss:g}, gradient norm {norm:g}"]
        if bad:
            lines.append(f"gradients not finite: {', '.join(bad[:5])} ({len(bad)} in all)")
        if weights:
            lines.append(f"weights not finite already: {', '.join(weights[:5])}")
        lines.append(f"utterances of this process: {' '.join(utts[:8])} ({len(utts)} in all)")
        return "; ".join(lines)
