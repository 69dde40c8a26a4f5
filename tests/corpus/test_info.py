"""data_info and get_utt2dur."""

from __future__ import annotations

import os

import pytest

from pylib.corpus.datadir import DataDir
from pylib.corpus.durations import measure, write_durations
from pylib.corpus.errors import UserError
from pylib.corpus.headers import inspect_files
from pylib.corpus.info import data_info, format_info
from pylib.corpus.tables import read_table, write_table
from tests.corpus.helpers import snapshot


def test_numbers(data):
    info = data_info(data)
    assert (info["utterances"], info["speakers"], info["recordings"]) == (4, 3, 4)
    assert info["gender"] == {"f": 3}
    assert info["hours"] == round(100000 / 16000 / 3600, 4)
    assert info["seconds"] == {"min": 1.0, "median": 1.375, "mean": 1.562, "max": 2.5}
    assert (info["words"], info["distinct_words"]) == (8, 8)
    assert sum(count for _, _, count in info["histogram"]) == 4
    assert info["histogram"][0] == [0, 1, 1]
    text = format_info(info)
    assert "utterances            4\n" in text
    assert "speakers              3 (3 f)\n" in text


def test_what_is_not_there_is_said(data):
    before = data_info(data)["fingerprint"]
    (data / "text").unlink()
    (data / "utt2dur").unlink()
    info = data_info(data)
    assert info["hours"] is None
    assert info["words"] is None
    assert info["fingerprint"] != before
    assert "get_utt2dur.sh" in format_info(info)
    assert "no transcripts" in format_info(info)


def test_durations_are_those_of_the_audio(data):
    wanted = {n: read_table(data / n) for n in ("utt2dur", "utt2num_samples")}
    for name in wanted:
        (data / name).unlink()
    hours = write_durations(data, nj=1)
    assert {n: read_table(data / n) for n in wanted} == wanted
    assert hours == pytest.approx(6.25 / 3600)


def test_durations_of_segments(data):
    wav = read_table(data / "wav.scp")
    write_table(data / "segments", {"a-1": "r 0.25 1.0"})
    write_table(data / "wav.scp", {"r": wav["a-2"]})
    for name in ("text", "utt2spk"):
        write_table(data / name, {"a-1": "a"})
    tables = measure(DataDir.load(data))
    assert tables == {
        "utt2dur": {"a-1": "0.75"},
        "utt2num_samples": {"a-1": "12000"},
        "reco2dur": {"r": "1.5"},
    }
    write_table(data / "segments", {"a-1": "r 0.25 1.6"})
    with pytest.raises(UserError, match=r"ends at 1.6 s, its recording at 1.500 s"):
        measure(DataDir.load(data))


def test_all_broken_files_are_listed_and_nothing_written(data):
    wav = read_table(data / "wav.scp")
    os.truncate(wav["a-1"], 0)
    os.truncate(wav["c-1"], 5000)
    before = snapshot(data)
    with pytest.raises(UserError) as caught:
        write_durations(data)
    assert len(str(caught.value).splitlines()) == 2
    assert snapshot(data) == before


def test_processes_keep_the_order(data):
    paths = list(read_table(data / "wav.scp").values()) * 200
    found = list(inspect_files(paths, "header", nj=2))
    assert [path for path, _ in found] == paths
    assert {file.samples for _, file in found} == {16000, 24000, 20000, 40000}
