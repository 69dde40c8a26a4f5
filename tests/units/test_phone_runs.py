"""Lengths of phones at 100 Hz and 25 Hz: nothing is lost, sums stay."""

from __future__ import annotations

import numpy as np

from pylib.units.phone_runs import durations, run_lengths


def test_runs_of_ids() -> None:
    assert run_lengths(np.array([5, 5, 7, 7, 7, 5])).tolist() == [2, 3, 1]
    assert run_lengths(np.array([0])).tolist() == [1]


def test_durations_add_up_and_every_phone_stays() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        lengths = rng.integers(1, 30, rng.integers(1, 40))
        lengths[-1] += -lengths.sum() % 4
        frames = int(lengths.sum()) // 4
        made = durations(lengths, frames)
        assert made.sum() == frames and len(made) == len(lengths) and (made >= 0).all()
        # No border is more than half a frame from where it was.
        assert np.abs(np.cumsum(made) * 4 - np.cumsum(lengths)).max() <= 2


def test_phones_to_durations_to_frames_and_back() -> None:
    ids = np.repeat([5, 9, 9, 12], [8, 4, 12, 16])
    lengths = np.array([8, 4, 12, 16])  # two equal phones on either side of a border
    made = durations(lengths, 10)
    assert made.tolist() == [2, 1, 3, 4]
    starts = np.cumsum(lengths) - lengths
    np.testing.assert_array_equal(np.repeat(ids[starts], 4 * made), ids)


def test_other_counts_of_frames_are_met() -> None:
    assert durations(np.array([8, 8]), 3).tolist() == [2, 1]
    assert durations(np.array([8, 8]), 5).tolist() == [2, 3]
    assert durations(np.array([8, 8, 8]), 2).tolist() == [2, 0, 0]
