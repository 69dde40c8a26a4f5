"""Sums, moments and histograms that add up exactly; the batch container."""

from __future__ import annotations

import pytest
import torch

from pylib.nn.batch import Batch
from pylib.nn.loss import add_metrics, moments, spread, summarise


def test_moments_of_parts_are_moments_of_the_whole() -> None:
    torch.manual_seed(0)
    x = 3 + 0.2 * torch.randn(100, 8)
    count = torch.tensor
    parts = [
        {"pred_moments": (moments(x[a:b]), count(float(b - a)))} for a, b in ((0, 30), (30, 100))
    ]
    numbers = summarise(add_metrics(parts))
    expected = (x.double().var(0) + 1e-6).sqrt().mean()
    assert numbers["pred_std"] == pytest.approx(float(expected), rel=1e-6)
    assert float(spread(moments(x[:1]), count(1.0))) == 0.0


def test_summaries() -> None:
    metrics = {
        "ce": (torch.tensor(12.0), torch.tensor(4.0)),
        "none": (torch.tensor(0.0), torch.tensor(0.0)),
        "pred_units": (torch.tensor([5, 5, 0, 0]), torch.tensor(10.0)),
        "empty_units": (torch.tensor([0, 0]), torch.tensor(0.0)),
    }
    numbers = summarise(metrics)
    assert numbers["ce"] == 3.0 and numbers["none"] == 0.0
    assert numbers["pred_perplexity"] == pytest.approx(2.0) and numbers["pred_used"] == 2.0
    assert numbers["empty_perplexity"] == 0.0


def test_batch_checks_its_rows() -> None:
    x = torch.zeros(2, 10)
    lengths = torch.tensor([10, 8])
    with pytest.raises(ValueError, match="labels has 3 rows"):
        Batch(x, lengths, labels=torch.zeros(3, 1, dtype=torch.long))
    with pytest.raises(ValueError, match="come together"):
        Batch(x, lengths, tokens=torch.zeros(2, 1, dtype=torch.long))
    batch = Batch(x, lengths, torch.zeros(2, 1, dtype=torch.long), utts=("a", "b"))
    moved = batch.to("meta")
    assert moved.inputs.device.type == "meta" and moved.input_lengths.device.type == "cpu"
    assert moved.cpu_labels is batch.labels and len(moved) == 2
    assert batch.name(1) == "b" and Batch(x, lengths).name(1) == "row 1 of the batch"
