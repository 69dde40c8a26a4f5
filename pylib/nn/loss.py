"""What a system returns from one micro-batch, and how such results are put together.

Everything is a sum with its count, so that adding over micro-batches and over processes and
dividing once gives exactly the value of the big batch. A metric whose name
ends in `_moments` carries per-channel sums and sums of squares, one that ends in `_units` a
histogram of unit ids: both add up the same way, and `summarise` turns them into one number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

Metrics = dict[str, tuple[Tensor, Tensor]]


class CollapseError(Exception):
    """A representation has lost its spread: training further is of no use."""


@dataclass(frozen=True)
class LossOutput:
    """Sums over one micro-batch.

    Attributes:
        loss_sum: () float32 with gradient; divide by the global count, once.
        count: () the normaliser: masked frames (pre-training) or sentences (CTC).
        metrics: name -> (sum, count), detached. The sum is () for most, (2, D) float64 for
            `*_moments`, (K,) for `*_units`; the count is always ().
    """

    loss_sum: Tensor
    count: Tensor
    metrics: Metrics = field(default_factory=dict)


def add_metrics(parts: Iterable[Mapping[str, tuple[Tensor, Tensor]]]) -> Metrics:
    """Metrics of several micro-batches as if they had been one."""
    total: Metrics = {}
    for part in parts:
        for name, (value, count) in part.items():
            if name in total:
                total[name] = (total[name][0] + value, total[name][1] + count)
            else:
                total[name] = (value, count)
    return total


def number(value: float, device: torch.device | str) -> Tensor:
    """A () float32 on `device`, made there, so that nothing waits for a copy."""
    return torch.full((), float(value), device=device)


def histogram(ids: Tensor, classes: int) -> Tensor:
    """How often each of 0..classes-1 occurs in ids (M,), as (classes,) int64.

    Unlike torch.bincount it does not make a GPU wait.
    """
    counts = torch.zeros(classes, dtype=torch.int64, device=ids.device)
    return counts.scatter_add_(0, ids, torch.ones_like(ids))


def moments(rows: Tensor) -> Tensor:
    """Per-channel sum and sum of squares of rows (M, D), as (2, D) float64."""
    rows = rows.detach().float()
    return torch.stack(
        [rows.sum(0, dtype=torch.float64), rows.square().sum(0, dtype=torch.float64)]
    )


def spread(sums: Tensor, count: Tensor) -> Tensor:
    """Mean over channels of sqrt(var + 1e-6), unbiased, from `moments` (2, D) of `count` rows.

    data2vec logs this as target_var and pred_var, though it is a standard deviation.
    Fewer than two rows have no spread: 0.
    """
    rows = count.to(torch.float64)
    if float(rows) < 2:
        return torch.zeros((), dtype=torch.float64)
    variance = (sums[1] - sums[0].square() / rows) / (rows - 1)
    return (variance.clamp_min(0) + 1e-6).sqrt().mean()


def perplexity(histogram: Tensor) -> Tensor:
    """exp(entropy) of a histogram (K,): how many units are used, evenly counted. 0 if empty."""
    counts = histogram.to(torch.float64)
    total = counts.sum()
    if float(total) == 0:
        return torch.zeros((), dtype=torch.float64)
    share = counts / total
    return torch.exp(-(share * share.clamp_min(1e-300).log()).sum())


def summarise(metrics: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """Numbers for the log from sums that were added over micro-batches and processes.

    `x_moments` becomes `x_std`; `x_units` becomes `x_perplexity` and `x_used` (how many units
    occur); anything else is sum / count (0 where the count is 0).
    """
    numbers: dict[str, float] = {}
    for name, (value, count) in metrics.items():
        value, count = value.detach().cpu(), count.detach().cpu()
        if name.endswith("_moments"):
            numbers[name.removesuffix("_moments") + "_std"] = float(spread(value, count))
        elif name.endswith("_units"):
            stem = name.removesuffix("_units")
            numbers[f"{stem}_perplexity"] = float(perplexity(value))
            numbers[f"{stem}_used"] = float((value > 0).sum())
        else:
            numbers[name] = float(value) / float(count) if float(count) else 0.0
    return numbers
