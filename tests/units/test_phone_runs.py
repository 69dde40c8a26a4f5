"""Lengths of phones at 100 Hz and 25 Hz: nothing is lost, sums stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.units.phone_runs import durations, phone_times, run_lengths
from pylib.units.phone_set import SIL, phone_id, phones_meta


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


def test_times_are_the_known_ones_or_else_the_aligned_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"phones.ctm: no such file"):
        phone_times(tmp_path)
    ids = np.repeat([SIL, phone_id("AA"), phone_id("AA"), phone_id("B")], [10, 7, 5, 30])
    for stem, value, meta in (
        ("phones", ids, phones_meta()),
        ("phone_runs", np.array([10, 7, 5, 30]), {"kind": "phone_runs"}),
    ):
        with ArkWriter(tmp_path / f"{stem}.ark", tmp_path / f"{stem}.scp") as writer:
            writer.write("u", value.astype(np.int32))
        write_json(tmp_path / f"{stem}.json", meta)
    times, source = phone_times(tmp_path)
    assert source == "aligned" and times["u"].names == ("<SIL>", "AA", "AA", "B")
    np.testing.assert_allclose(times["u"].starts, [0, 0.1, 0.17, 0.22])
    np.testing.assert_allclose(times["u"].ends, [0.1, 0.17, 0.22, 0.52])
    (tmp_path / "phones.ctm").write_text("u 1 0.0 0.5 EY\n", encoding="utf-8")
    times, source = phone_times(tmp_path)
    assert source == "known" and times["u"].names == ("EY",)
