"""split_data: all files, fresh by content, speakers whole."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylib.corpus.checker import Options
from pylib.corpus.errors import UserError
from pylib.corpus.split import assign, part_bounds, split_data
from pylib.corpus.tables import read_table
from pylib.corpus.validate import validate
from tests.corpus.helpers import edit, snapshot


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.data())
def test_bounds_cover_everything_once(sizes, data):
    parts = data.draw(st.integers(1, len(sizes)))
    bounds = part_bounds(sizes, parts)
    assert bounds[0] == 0
    assert bounds[-1] == len(sizes)
    assert all(a < b for a, b in zip(bounds, bounds[1:], strict=False))
    assert len(bounds) == parts + 1
    totals = [sum(sizes[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
    # No part is off the mean by more than the largest block on each side.
    if parts * 2 <= len(sizes):
        assert max(totals) <= sum(sizes) / parts + 2 * max(sizes)


def test_equal_speakers_are_split_evenly():
    utts = {f"s{s:03d}-{u}": f"s{s:03d}" for s in range(64) for u in range(5)}
    assert {len(part) for part in assign(utts, 16, per_utt=False)} == {20}
    assert {len(part) for part in assign(utts, 7, per_utt=True)} == {45, 46}


def test_parts_are_whole_data_directories(data):
    out, made = split_data(data, 3)
    assert made
    assert out == data / "split3"
    for number, utts in enumerate((["a-1", "a-2"], ["b-1"], ["c-1"]), 1):
        part = out / str(number)
        assert list(read_table(part / "utt2spk")) == utts
        assert not validate(part, Options(check_audio="header")).defects
        assert set(snapshot(part)) == {p.name for p in data.iterdir() if p.is_file()}
    assert not validate(data, Options()).defects


def test_freshness_is_by_every_file(data):
    out, _ = split_data(data, 2)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert split_data(data, 2) == (out, False)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    # Kaldi's check omits utt2dur: the old values stayed.
    edit(data / "utt2dur", lambda s: s.replace("a-1 1\n", "a-1 1.01\n"))
    assert split_data(data, 2) == (out, True)
    assert read_table(out / "1" / "utt2dur")["a-1"] == "1.01"


def test_more_parts_than_speakers(data):
    with pytest.raises(UserError, match=r"4 parts of 3 speakers: use --per-utt"):
        split_data(data, 4)
    out, _ = split_data(data, 4, per_utt=True)
    assert out.name == "split4utt"
    assert [list(read_table(out / str(i) / "text"))[0] for i in (1, 2, 3, 4)] == [
        "a-1", "a-2", "b-1", "c-1",
    ]  # fmt: skip
    with pytest.raises(UserError, match="5 parts of 4 utterances"):
        split_data(data, 5, per_utt=True)
    with pytest.raises(UserError, match="at least 1"):
        split_data(data, 0)


def test_a_failed_split_leaves_the_old_one(data):
    out, _ = split_data(data, 2)
    before = snapshot(out)
    edit(data / "text", lambda s: s.replace("a-1 HELLO WORLD\n", ""))
    with pytest.raises(UserError):
        split_data(data, 2)
    assert snapshot(out) == before


def test_recordings_of_lost_segments_are_not_asked_for(data):
    """A line lost from segments is named; it was a bare KeyError."""
    (data / "segments").write_text("a-1 a-1 0 0.5\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"segments: lacks 'a-2', 'b-1', 'c-1': see "):
        split_data(data, 2)
