"""Metrics of all processes: every tensor of a dict of (sum, count), added in one all-reduce."""

from __future__ import annotations

import torch

from pylib.nn.loss import Metrics
from pylib.nn.modal_batch import KINDS
from pylib.training.distributed import Processes


def reduce_metrics(metrics: Metrics, where: Processes) -> Metrics:
    """The metrics as if one process had made them. All processes must have the same names."""
    if where.world == 1 or not metrics:
        return metrics
    names = sorted(metrics)
    parts = [item.detach().to(torch.float64) for name in names for item in metrics[name]]
    flat = torch.cat([item.reshape(-1) for item in parts])
    where.sum_(flat)
    summed = [
        piece.view_as(item)
        for piece, item in zip(flat.split([item.numel() for item in parts]), parts, strict=True)
    ]
    return {name: (summed[2 * i], summed[2 * i + 1]) for i, name in enumerate(names)}


def of_present_kinds(metrics: Metrics) -> Metrics:
    """The metrics without those of kinds of data of which there was none (`ce_onlytext` ...)."""
    return {
        name: (value, count)
        for name, (value, count) in metrics.items()
        if not name.endswith(KINDS) or float(count) > 0
    }
