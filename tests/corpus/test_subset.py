"""subset_data_dir: Kaldi's selections, stated and checked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylib.corpus.checker import Options
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.subset import choose, evenly_spaced, of_list, of_speakers, write_subset
from pylib.corpus.tables import read_table
from pylib.corpus.validate import validate
from tests.corpus.helpers import snapshot


def halving(start: int, end: int, need: int) -> list[int]:
    """Kaldi's rule, as a recursion."""
    if end - start == 1:
        return [start] if need else []
    half = (end - start) // 2
    return halving(start, start + half, need // 2) + halving(start + half, end, need - need // 2)


@given(st.integers(1, 300), st.data())
def test_evenly_spaced_is_kaldis_choice(total, data):
    count = data.draw(st.integers(1, total))
    found = evenly_spaced(total, count)
    assert found == sorted(set(found)) == halving(0, total, count)
    assert len(found) == count
    assert set(found) <= set(range(total))


def contents(speakers: int, each: int) -> Contents:
    utts = {f"s{s:02d}-{u:02d}": f"s{s:02d}" for s in range(speakers) for u in range(each)}
    lengths = {utt: str(100 - i) for i, utt in enumerate(utts)}
    return Contents("data/x", utts, utt={"utt2num_frames": lengths})


def test_modes():
    data = contents(5, 8)
    utts = list(data.utt2spk)
    assert choose(data, 3, "first") == utts[:3]
    assert choose(data, 3, "last") == utts[-3:]
    assert choose(data, 3, "shortest") == utts[:-4:-1]
    assert choose(data, 40, "even") == utts
    assert choose(data, 2, "per-spk") == [f"s{s:02d}-{u:02d}" for s in range(5) for u in (0, 4)]
    chosen = choose(data, 10, "speakers", seed=3)
    assert len(chosen) == 16
    assert len({data.utt2spk[utt] for utt in chosen}) == 2
    assert choose(data, 10, "speakers", seed=3) == chosen
    assert choose(data, 7, "random", seed=1) == choose(data, 7, "random", seed=1)
    assert choose(data, 7, "random", seed=1) != choose(data, 7, "random", seed=2)


def test_lengths_that_are_no_numbers_are_refused_with_their_line():
    data = contents(2, 3)
    data.utt["utt2num_frames"]["s00-01"] = "1_000"
    with pytest.raises(UserError, match="data/x/utt2num_frames:2: not a number: '1_000'"):
        choose(data, 3, "shortest")


def test_more_than_there_is():
    data = contents(2, 3)
    for mode in ("even", "random", "first", "last", "shortest", "speakers", "per-spk"):
        with pytest.raises(UserError, match="7 utterances.* asked for, 6 available"):
            choose(data, 7, mode)
        with pytest.raises(UserError, match="at least 1"):
            choose(data, 0, mode)
    assert len(choose(data, 5, "per-spk")) == 6  # all of a speaker who has fewer


def test_lists_name_what_is_missing(data):
    whole = Contents.load(data)
    assert of_speakers(whole, ["c", "a"], "l") == ["a-1", "a-2", "c-1"]
    assert of_list(whole, ["c-1", "a-1"], "l") == ["a-1", "c-1"]
    with pytest.raises(UserError, match=r"l: speakers 'x' are not in"):
        of_speakers(whole, ["a", "x"], "l")
    with pytest.raises(UserError, match=r"l: utterances 'x-1' are not in"):
        of_list(whole, ["x-1"], "l")


def test_every_file_is_cut(data, tmp_path):
    (data / "phones.ctm").write_text("a-1 1 0.0 0.5 HH\nc-1 1 0.5 0.5 AH\n", encoding="utf-8")
    (data / "notes.txt").write_text("mine\n", encoding="utf-8")
    whole, before = Contents.load(data), snapshot(data)
    assert whole.unknown == ["notes.txt"]
    out = tmp_path / "part"
    assert write_subset(whole, ["a-1", "b-1"], out) == 2
    assert not validate(out, Options(check_audio="header", check_ark="full")).defects
    assert set(snapshot(out)) == set(before) - {"notes.txt"}
    for name in ("utt2spk", "text", "wav.scp", "utt2dur", "utt2num_samples", "labels.scp"):
        assert list(read_table(out / name)) == ["a-1", "b-1"]
    assert list(read_table(out / "spk2gender")) == ["a", "b"]
    assert (out / "phones.ctm").read_text(encoding="utf-8") == "a-1 1 0.0 0.5 HH\n"
    assert (out / "labels.json").read_bytes() == (data / "labels.json").read_bytes()
    assert snapshot(data) == before


def test_destination(data, tmp_path):
    whole = Contents.load(data)
    with pytest.raises(UserError, match="is the source itself"):
        write_subset(whole, ["a-1"], data)
    with pytest.raises(UserError, match="no utterances were chosen"):
        write_subset(whole, [], tmp_path / "x")


def test_broken_source_is_refused(data):
    (data / "text").write_text("a-1 X\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"text: lacks 'a-2'"):
        Contents.load(data)
