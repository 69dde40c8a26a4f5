"""The batch plan: a pure function of (seed, lengths, settings) within its budget."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylib.corpus.errors import UserError
from pylib.training.batches import BatchPlan
from pylib.training.dataset import micro_indices
from pylib.training.settings import DataConfig

RATE, HOP = 16000, 320
LENGTHS = (np.random.default_rng(3).uniform(1, 17, 2000) * RATE).astype(np.int64)


def plan(crop: bool = True, seed: int = 1, **changes: object) -> BatchPlan:
    values = {"min_seconds": 2.0, "max_seconds": 10.0, "batch_seconds": 80.0, **changes}
    if not crop:
        values["max_seconds"] = 0.0
    return BatchPlan(LENGTHS, RATE, HOP, seed, DataConfig(**values), crop)  # type: ignore[arg-type]


def epoch(batches: BatchPlan, number: int) -> list:
    first = number * batches.batches_per_epoch
    return [batches.batch(first + i) for i in range(batches.batches_per_epoch)]


@pytest.mark.parametrize("crop", [True, False])
def test_each_epoch_uses_every_kept_utterance_once(crop: bool) -> None:
    batches = plan(crop)
    for number in (0, 1, 5):
        rows = np.concatenate([item.rows for item in epoch(batches, number)])
        assert sorted(rows) == sorted(batches.kept)


@pytest.mark.parametrize("crop", [True, False])
def test_budget_holds_for_padded_size(crop: bool) -> None:
    batches = plan(crop)
    for item in epoch(batches, 0):
        longest = LENGTHS[item.rows].max() if not crop else min(LENGTHS[item.rows].max(), 160000)
        assert len(item.rows) * longest <= 80 * RATE


def test_batches_are_cropped_to_the_shortest_member() -> None:
    batches = plan()
    for item in epoch(batches, 2):
        assert item.length == min(LENGTHS[item.rows].min(), 10 * RATE)
        assert (item.starts == 0).all()


def test_pure_function_of_seed_and_index() -> None:
    one, two = plan(), plan()
    indices = [7, 400, 3, 7, 1000]
    for index in indices:  # any order of asking gives the same batch
        first, second = one.batch(index), two.batch(index)
        assert (first.rows == second.rows).all() and (first.starts == second.starts).all()
    assert [list(item.rows) for item in epoch(plan(seed=2), 0)] != [
        list(item.rows) for item in epoch(one, 0)
    ]


def test_epochs_differ_in_order_and_composition() -> None:
    batches = plan()
    first = {tuple(sorted(item.rows)) for item in epoch(batches, 0)}
    second = {tuple(sorted(item.rows)) for item in epoch(batches, 1)}
    assert len(first & second) < len(first) / 2


def test_random_crops_are_aligned_and_inside() -> None:
    config = DataConfig(crop="random_aligned", max_seconds=10.0, batch_seconds=80.0)
    batches = BatchPlan(LENGTHS, RATE, HOP, 1, config, crop=True)
    starts = []
    for item in epoch(batches, 0):
        assert (item.starts % HOP == 0).all()
        assert (item.starts + item.length <= LENGTHS[item.rows]).all()
        starts.extend(item.starts.tolist())
    assert len(set(starts)) > 100


def test_dropped_are_counted() -> None:
    batches = plan()
    assert len(batches.dropped_short) == (LENGTHS < 2 * RATE).sum()
    assert not len(batches.dropped_long)
    limited = BatchPlan(
        LENGTHS, RATE, HOP, 1, DataConfig(max_seconds=9.0, batch_seconds=80.0), crop=False
    )
    assert len(limited.dropped_long) == (LENGTHS > 9 * RATE).sum()


def test_padding_waste_is_small() -> None:
    batches = plan(crop=False)
    padded = used = 0
    for item in epoch(batches, 0):
        padded += len(item.rows) * LENGTHS[item.rows].max()
        used += LENGTHS[item.rows].sum()
    assert 1 - used / padded < 0.03
    assert batches.waste < 0.03


def test_small_sets_have_even_batches() -> None:
    lengths = np.full(41, 2 * RATE)
    batches = BatchPlan(lengths, RATE, HOP, 1, DataConfig(batch_seconds=20.0), crop=True)
    sizes = sorted(len(item.rows) for item in epoch(batches, 0))
    assert sizes[0] >= sizes[-1] - 4 and sum(sizes) == 41


def test_no_utterance_left_is_refused() -> None:
    with pytest.raises(UserError, match="none of 3 utterances"):
        BatchPlan(np.array([10, 20, 30]), RATE, HOP, 1, DataConfig(), crop=True)


def test_utterance_beyond_the_budget_is_refused() -> None:
    config = DataConfig(max_seconds=0.0, batch_seconds=5.0)
    with pytest.raises(UserError, match="raise data.batch_seconds"):
        BatchPlan(np.array([3 * RATE, 6 * RATE]), RATE, HOP, 1, config, crop=False)


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(100, 3000), min_size=1, max_size=60),
    budget=st.integers(30, 100),
    tie=st.floats(0.01, 2.0),
    crop=st.booleans(),
)
def test_any_lengths(lengths: list[int], budget: int, tie: float, crop: bool) -> None:
    config = DataConfig(
        min_seconds=1.0, max_seconds=0.0, batch_seconds=float(budget), tie_seconds=tie
    )
    batches = BatchPlan(np.array(lengths), 100, 4, 1, config, crop)
    for number in (0, 3):
        items = epoch(batches, number)
        rows = np.concatenate([item.rows for item in items])
        assert sorted(rows) == list(range(len(lengths)))
        for item in items:
            assert len(item.rows) * max(lengths[row] for row in item.rows) <= budget * 100


def test_processes_and_accumulation_share_the_same_micro_batches() -> None:
    alone = list(micro_indices(0, 4, 4, 0, 1))
    split = [
        index
        for pair in zip(micro_indices(0, 4, 2, 0, 2), micro_indices(0, 4, 2, 1, 2), strict=True)
        for index in pair
    ]
    assert alone == split
    assert list(micro_indices(2, 4, 2, 1, 2)) == [9, 11, 13, 15]
