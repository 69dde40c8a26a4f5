"""Data directories: loading with checks, reading utterances, writing in one step."""

from __future__ import annotations

import numpy as np
import pytest

from pylib.corpus.audio import read_audio, write_audio
from pylib.corpus.datadir import DataDir, Segment, write_datadir
from pylib.corpus.errors import UserError
from tests.corpus.helpers import edit, noise, snapshot


def test_attributes(data):
    d = DataDir.load(data)
    assert d.utts == ["a-1", "a-2", "b-1", "c-1"]
    assert d.spk2utt == {"a": ["a-1", "a-2"], "b": ["b-1"], "c": ["c-1"]}
    assert d.text is not None
    assert d.text["a-1"] == "HELLO WORLD"
    assert d.utt2num_samples["a-1"] == 16000
    assert d.utt2dur["a-2"] == 1.5
    assert d.segments is None
    np.testing.assert_array_equal(d.read_utt("b-1"), read_audio(d.wav["b-1"]))
    (data / "text").unlink()
    assert DataDir.load(data).text is None


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("text", lambda s: s.replace("a-2 A SHIP\n", ""), "text: lacks 'a-2'"),
        ("text", lambda s: s + "d-1 NO AUDIO\n", "text: has 'd-1' that utt2spk lacks"),
        ("wav.scp", lambda s: s[s.index("\n") + 1 :], "wav.scp: lacks 'a-1'"),
        ("wav.scp", lambda s: "a-1 sox x.wav -t wav - |\n" + s[s.index("\n") + 1 :], "shell pipe"),
        ("utt2spk", lambda s: "a-1 a x\n" + s[s.index("\n") + 1 :], "utt2spk:1: fields"),
        ("utt2num_samples", lambda s: s.replace("16000", "0"), "must be above 0"),
        ("utt2num_samples", lambda s: s.replace("16000", "1e4"), "not a finite int"),
    ],
)
def test_broken_directories_are_refused(data, name, change, message):
    edit(data / name, change)
    with pytest.raises(UserError, match=message):
        DataDir.load(data).utt2num_samples  # noqa: B018


def test_missing_pieces(data, tmp_path):
    with pytest.raises(UserError, match="no such data directory"):
        DataDir.load(tmp_path / "none")
    (data / "utt2num_samples").unlink()
    with pytest.raises(UserError, match=r"get_utt2dur.sh"):
        DataDir.load(data).utt2num_samples  # noqa: B018
    (data / "wav.scp").unlink()
    with pytest.raises(UserError, match=r"wav.scp: no such file"):
        DataDir.load(data)
    with pytest.raises(UserError, match="no utterance 'x'"):
        DataDir(data).wav_of("x")


@pytest.fixture
def long_audio(tmp_path):
    path = str(tmp_path / "long.wav")
    write_audio(path, noise(160000), 16000)
    segments = {
        "s-0": Segment("rec", 0.0, 1.0),
        "s-1": Segment("rec", 2.5, 4.00003),
        "s-2": Segment("rec", 9.0, 10.005),  # 5 ms late: rounding
    }
    write_datadir(
        tmp_path / "seg",
        wav={"rec": path},
        utt2spk=dict.fromkeys(segments, "s"),
        segments=segments,
    )
    return tmp_path / "seg", path


def test_segments_read_only_their_stretch(long_audio):
    folder, path = long_audio
    d = DataDir.load(folder)
    whole = read_audio(path)
    np.testing.assert_array_equal(d.read_utt("s-0"), whole[:16000])
    np.testing.assert_array_equal(d.read_utt("s-1"), whole[40000:64000])
    np.testing.assert_array_equal(d.read_utt("s-2"), whole[144000:])
    assert len(d.read_utt("s-0", 8000, resample=True)) == 8000
    edit(folder / "segments", lambda s: s.replace("10.005", "10.5"))
    with pytest.raises(UserError, match=r"'s-2'.*ends at 10.500 s, the recording at 10.000 s"):
        DataDir.load(folder).read_utt("s-2")
    edit(folder / "segments", lambda s: s.replace("s-0 rec", "s-0 other"))
    with pytest.raises(UserError, match="'other' are not in wav.scp"):
        DataDir.load(folder)


@pytest.mark.parametrize(
    "times", ["1.0 1.0", "2 1", "-1 1", "x 1", "0 nan", "0 inf", "0 1_0", "0 \u0661"]
)
def test_segment_times(long_audio, times):
    folder, _ = long_audio
    edit(folder / "segments", lambda s: f"s-0 rec {times}\n" + s[s.index("\n") + 1 :])
    with pytest.raises(UserError, match="segments:1: "):
        DataDir.load(folder)


def test_read_utt_names_the_utterance(data):
    d = DataDir.load(data)
    with open(d.wav["c-1"], "r+b") as stream:
        stream.truncate(1000)
    with pytest.raises(UserError, match=r"utterance 'c-1': .*c-1.flac"):
        d.read_utt("c-1")


def test_writer_checks_before_it_writes(data, tmp_path):
    good = {"wav": {"a-1": "x.wav"}, "utt2spk": {"a-1": "a"}}
    bad = [
        {"utt2spk": {}},
        {"text": {"a-2": "X"}},
        {"wav": {"a-1": ""}},
        {"wav": {"a-1": "cat x |"}},
        {"utt2num_samples": {}},
        {"spk2gender": {"b": "m"}},
        {"text": {"a-1": "two\nlines"}},
        {"wav": {"a 1": "x.wav"}, "utt2spk": {"a 1": "a"}},
        {"segments": {"a-1": Segment("r", 0, 1)}},
    ]
    before = snapshot(data)
    for change in bad:
        with pytest.raises(UserError):
            write_datadir(data, **{**good, **change})
    assert snapshot(data) == before
    write_datadir(data, **good)
    assert sorted(snapshot(data)) == ["spk2utt", "utt2spk", "wav.scp"]


def test_speaker_order_names_the_two_lines(tmp_path):
    utts = {"a_1": "a", "a2_1": "a2"}
    with pytest.raises(UserError, match=r"'a2_1 a2' comes before 'a_1 a'"):
        write_datadir(tmp_path / "d", wav=dict.fromkeys(utts, "x"), utt2spk=utts)
    utts = {"a-1": "a", "a2-1": "a2"}
    write_datadir(tmp_path / "d", wav=dict.fromkeys(utts, "x"), utt2spk=utts)
