"""Every hole of Kaldi's validate_data_dir.sh, with the outcome that ours has."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.audio import write_audio
from pylib.corpus.checker import MAX_LISTED, Options, Report
from pylib.corpus.datadir import Segment, write_datadir
from pylib.corpus.disjoint import check_disjoint
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table, write_table
from pylib.corpus.validate import validate
from tests.corpus.helpers import edit, noise, snapshot

FULL = Options(check_audio="full", check_ark="full")


def rules(report: Report) -> set[str]:
    return {f"{Path(d.path).name}:{d.line}:{d.rule}" for d in report.defects}


def texts(report: Report) -> str:
    return "\n".join(map(str, report.defects))


def test_a_valid_directory_passes_everything(data):
    before = snapshot(data)
    report = validate(data, FULL)
    assert not report.defects, texts(report)
    assert not report.warnings
    assert report.utterances == 4
    labels = report.facts["labels"]
    assert labels["clusters"] == labels["used"] == 10
    assert 5 < labels["perplexity"] <= 10
    assert report.facts["audio"] == {"files": 4, "hours": 0.0017, "rates": {"16000": 4}}
    assert snapshot(data) == before


LINE = r"^[^:\n]+(:\d+)?: [a-z0-9-]+: .+: .+$"

BROKEN: list[tuple[str, str, Callable[[str], str], str]] = [
    ("3 fields", "utt2spk", lambda s: s.replace("a-2 a", "a-2 a x"), "utt2spk:2:fields"),
    ("empty text", "text", lambda s: s.replace(" A SHIP", ""), "text:2:empty-text"),
    ("no path", "wav.scp", lambda s: re.sub(r"a-2 .*", "a-2", s), "wav.scp:2:no-path"),
    ("no file", "wav.scp", lambda s: s.replace("a-2.f", "gone.f"), "wav.scp:2:no-such-file"),
    ("unsorted", "wav.scp", lambda s: "".join(s.splitlines(True)[::-1]), "wav.scp:2:unsorted"),
    ("no newline", "text", lambda s: s[:-1], "text:4:final-newline"),
    ("CRLF", "text", lambda s: s.replace("SHIP\n", "SHIP\r\n"), "text:2:carriage-return"),
    ("duplicate", "text", lambda s: s.replace("b-1", "a-2"), "text:3:duplicate-key"),
    ("same audio", "wav.scp", lambda s: s.replace("a-2.flac", "a-1.flac"), "wav.scp:2:same-audio"),
    ("pipe", "wav.scp", lambda s: s.replace("a-2.flac", "a-2.flac |"), "wav.scp:2:not-a-file"),
    ("tilde", "wav.scp", lambda s: re.sub(r"a-2 .*", "a-2 ~/x.wav", s), "wav.scp:2:not-a-file"),
    ("no transcript", "text", lambda s: s.replace("b-1 THE END\n", ""), "text:0:missing-key"),
    ("no audio", "text", lambda s: s + "d-1 X\n", "text:5:unknown-key"),
    ("<s>", "text", lambda s: s.replace("SHIP", "<s> SHIP"), "text:2:illegal-word"),
    ("#0", "text", lambda s: s.replace("SHIP", "#0"), "text:2:illegal-word"),
    ("NBSP", "text", lambda s: s.replace("A SHIP", "A\u00a0SHIP"), "text:2:white-space"),
    ("control", "text", lambda s: s.replace("SHIP", "SH\x07IP"), "text:2:not-printable"),
    ("BOM", "text", lambda s: "\ufeff" + s, "text:1:byte-order-mark"),
    ("spk2utt", "spk2utt", lambda s: s.replace("a a-1 a-2", "a a-1"), "spk2utt:1:inverse"),
    ("gender", "spk2gender", lambda s: s.replace("a f", "a F"), "spk2gender:1:gender"),
    ("gender key", "spk2gender", lambda s: s.replace("a f\n", ""), "spk2gender:0:missing-key"),
    ("dur 0", "utt2dur", lambda s: s.replace("a-1 1", "a-1 0"), "utt2dur:1:number"),
    ("dur text", "utt2dur", lambda s: s.replace("a-1 1", "a-1 x"), "utt2dur:1:number"),
    ("frames", "utt2num_frames", lambda s: s.replace("a-1 98", "a-1 9.8"),
     "utt2num_frames:1:number"),
    ("dur/frames", "utt2num_frames", lambda s: s.replace("98", "60"), "utt2num_frames:1:duration"),
    ("dur/samples", "utt2dur", lambda s: s.replace("a-2 1.5", "a-2 1.7"),
     "utt2num_samples:0:duration"),
    ("bad offset", "feats.scp", lambda s: re.sub(r"(a-2 .*):\d+", r"\1:77", s), "feats.scp:2:ark"),
    ("range", "feats.scp", lambda s: re.sub(r"(a-2 .*)", r"\1[0:999]", s), "feats.scp:2:ark"),
    ("rows", "feats.scp", lambda s: re.sub(r"(a-2 .*)", r"\1[0:9]", s), "feats.scp:2:ark-shape"),
    ("dim", "feats.json", lambda s: s.replace("8", "80"), "feats.scp:1:ark-shape"),
    ("no label", "labels.scp", lambda s: re.sub("a-2 .*\n", "", s), "labels.scp:0:missing-key"),
    ("short label", "labels.scp", lambda s: re.sub(r"(a-2 .*)", r"\1[0:70]", s),
     "labels.scp:2:label-length"),
    ("id >= K", "labels.json", lambda s: s.replace("10", "9"), "labels.scp:1:label-id"),
    ("rate", "labels.json", lambda s: s.replace("50", "100"), "labels.json:0:label-rate"),
    ("no rate", "labels.json", lambda s: s.replace('"rate": 50', '"rate": "50"'),
     "labels.json:0:label-rate"),
    ("json", "labels.json", lambda s: s[:-4], "labels.json:0:json"),
]  # fmt: skip


@pytest.mark.parametrize(("_", "name", "change", "rule"), BROKEN, ids=[row[0] for row in BROKEN])
def test_each_defect_is_found(data, _, name, change, rule):
    edit(data / name, change)
    report = validate(data, Options())
    assert rule in rules(report), texts(report)
    for line in texts(report).splitlines():
        assert re.match(LINE, line), line


def test_all_defects_in_one_run(data):
    for _, name, change, rule in BROKEN:
        if rule.split(":")[2] in (
            "empty-text",
            "same-audio",
            "gender",
            "label-id",
            "final-newline",
        ):
            edit(data / name, change)
    found = rules(validate(data, Options()))
    assert len({rule.split(":")[2] for rule in found}) >= 5


@pytest.mark.parametrize(
    "name", ["utt2spk", "spk2utt", "text", "wav.scp", "feats.scp", "labels.json"]
)
def test_missing_files(data, name):
    (data / name).unlink()
    assert f"{name}:0:missing-file" in rules(validate(data, Options()))


def test_options_excuse(data):
    (data / "feats.scp").unlink()
    (data / "text").unlink()
    (data / "wav.scp").unlink()
    assert not validate(data, Options(no_feats=True, no_text=True, no_wav=True)).defects
    with pytest.raises(UserError, match="no such data directory"):
        validate(data / "none", Options())


def test_excused_text(data):
    edit(data / "text", lambda s: s.replace(" A SHIP", "").replace("END", "E\x07"))
    assert len(validate(data, Options()).defects) == 2
    assert not validate(data, Options(allow_empty_text=True, non_print=True)).defects


def test_non_ascii_is_accepted_and_invalid_utf8_named(data, monkeypatch):
    monkeypatch.setenv("LC_ALL", "C")
    edit(data / "text", lambda s: s.replace("SHIP", "ÄRGER 日本語 привет"))
    assert not validate(data, FULL).defects
    raw = (data / "text").read_bytes()
    (data / "text").write_bytes(raw.replace("Ä".encode(), b"\xff"))
    report = validate(data, Options())
    assert "text:2:utf8" in rules(report)
    assert "0xff" in texts(report)


def test_duplicate_key_names_both_lines(data):
    edit(data / "utt2spk", lambda s: "a-1 a\n" + s)
    report = validate(data, Options())
    assert "utt2spk:2:duplicate-key" in rules(report)
    assert "also on line 1" in texts(report)


def test_empty_utt2spk(data):
    (data / "utt2spk").write_text("", encoding="utf-8")
    assert "utt2spk:0:empty-file" in rules(validate(data, Options()))


def test_speaker_order(tmp_path):
    utts = {"a2_1": "a2", "a_1": "a"}
    write_datadir(tmp_path / "d", wav=dict.fromkeys(utts, "x"), utt2spk=utts, spk_sort=False)
    bare = Options(no_feats=True, no_text=True, no_wav=True)
    report = validate(tmp_path / "d", bare)
    assert rules(report) == {"utt2spk:2:speaker-order"}
    assert "'a2_1 a2' (line 1)" in texts(report)
    assert not validate(tmp_path / "d", dataclasses.replace(bare, no_spk_sort=True)).defects


def test_one_speaker_is_a_warning(tmp_path):
    utts = {"a-1": "a", "a-2": "a"}
    write_datadir(tmp_path / "d", wav=dict.fromkeys(utts, "x"), utt2spk=utts)
    report = validate(tmp_path / "d", Options(no_feats=True, no_text=True, no_wav=True))
    assert not report.defects
    assert "one speaker only" in report.warnings[0]


@pytest.mark.parametrize("check_audio", ["header", "full"])
def test_audio_that_is_none(data, check_audio):
    wav = read_table(data / "wav.scp")
    Path(wav["a-1"]).write_text("not audio", encoding="utf-8")
    Path(wav["a-2"]).write_bytes(b"")
    soundfile.write(wav["b-1"], np.zeros((20000, 2)), 16000)
    with open(wav["c-1"], "r+b") as stream:
        stream.truncate(Path(wav["c-1"]).stat().st_size // 2)
    assert not validate(data, Options()).defects
    report = validate(data, Options(check_audio=check_audio))
    assert rules(report) == {
        "wav.scp:1:audio", "wav.scp:2:audio", "wav.scp:3:channels", "wav.scp:4:audio",
    }, texts(report)  # fmt: skip
    assert all(wav[utt] in texts(report) for utt in ("a-1", "a-2", "b-1", "c-1"))


def test_audio_that_disagrees(data):
    wav = read_table(data / "wav.scp")
    write_audio(wav["a-1"], noise(15000), 16000)
    write_audio(wav["b-1"], noise(20000), 8000)
    report = validate(data, Options(check_audio="header"))
    assert {"utt2num_samples:1:duration", "utt2dur:1:duration", "wav.scp:3:rate"} <= rules(report)
    assert "wav.scp:1:rate" in rules(validate(data, Options(check_audio="header", rate=44100)))


def test_damage_in_the_middle_needs_full(data):
    path = Path(read_table(data / "wav.scp")["c-1"])
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 64] = bytes(64)
    path.write_bytes(raw)
    assert "wav.scp:4:audio" in rules(validate(data, Options(check_audio="full")))


def test_several_processes_agree(data):
    one = validate(data, Options(check_audio="full"))
    assert validate(data, dataclasses.replace(FULL, nj=2)).facts == one.facts


def segment_dir(tmp_path: Path) -> Path:
    audio = str(tmp_path / "rec.wav")
    write_audio(audio, noise(96000), 16000)
    segments = {"s-1": Segment("rec", 0.5, 2.0), "s-2": Segment("rec", 2.0, 6.0)}
    write_datadir(
        tmp_path / "seg",
        wav={"rec": audio},
        utt2spk=dict.fromkeys(segments, "s"),
        segments=segments,
        utt2dur={"s-1": 1.5, "s-2": 4.0},
        utt2num_samples={"s-1": 24000, "s-2": 64000},
        extra={"reco2dur": {"rec": 6}, "reco2file_and_channel": {"rec": "rec A"}},
    )
    return tmp_path / "seg"


BARE = Options(no_feats=True, no_text=True)


def test_segments_that_are_right(tmp_path):
    data = segment_dir(tmp_path)
    assert not validate(data, dataclasses.replace(BARE, check_audio="full")).defects


@pytest.mark.parametrize(
    ("name", "change", "rule"),
    [
        ("segments", lambda s: s.replace("6.000000", "9999"), "segments:2:segment-end"),
        ("segments", lambda s: s.replace("0.500000", "2.5"), "segments:1:segment-times"),
        ("segments", lambda s: s.replace("0.500000", "0_1"), "segments:1:segment-times"),
        ("utt2dur", lambda s: s.replace("1.5", "1_5"), "utt2dur:1:number"),
        ("segments", lambda s: s.replace("s-2 rec", "s-2 cer"), "wav.scp:0:missing-key"),
        ("segments", lambda s: s.replace("2.000000 6", "0.5 2\nx"), "segments:2:same-audio"),
        ("segments", lambda s: s.replace(" 6.000000", ""), "segments:2:fields"),
        ("utt2dur", lambda s: s.replace("1.5", "1.9"), "segments:1:duration"),
        ("reco2file_and_channel", lambda s: s.replace("A", "C"), "reco2file_and_channel:1:channel"),
        ("reco2dur", lambda s: s + "sec 3\n", "reco2dur:2:unknown-key"),
    ],
)
def test_segments_that_are_wrong(tmp_path, name, change, rule):
    data = segment_dir(tmp_path)
    edit(data / name, change)
    report = validate(data, BARE)
    assert rule in rules(report), texts(report)
    if rule == "segments:2:segment-end":
        assert "ends at 9999 s, its recording at 6 s" in texts(report)


def test_segment_end_by_the_audio_itself(tmp_path):
    data = segment_dir(tmp_path)
    (data / "reco2dur").unlink()
    (data / "utt2dur").unlink()
    edit(data / "segments", lambda s: s.replace("6.000000", "6.5"))
    assert not validate(data, BARE).defects
    found = rules(validate(data, dataclasses.replace(BARE, check_audio="header")))
    assert "segments:2:segment-end" in found


def test_truncated_ark(data, tmp_path):
    ark = tmp_path / "arks" / "train.ark"
    os.truncate(ark, ark.stat().st_size - 10)
    assert "feats.scp:4:ark" in rules(validate(data, Options(check_ark="header")))
    assert "feats.scp:4:ark" in rules(validate(data, Options(check_ark="full")))
    assert not validate(data, Options(check_ark="none")).defects


def test_values_need_full(data, tmp_path):
    ark = tmp_path / "arks" / "train.ark"
    raw = bytearray(ark.read_bytes())
    raw[-4:] = np.float32(np.nan).tobytes()
    ark.write_bytes(raw)
    assert not validate(data, Options(check_ark="header")).defects
    assert rules(validate(data, Options(check_ark="full"))) == {"feats.scp:4:ark-values"}


def test_collapsed_labels(data, tmp_path):
    with ArkWriter(tmp_path / "one.ark", data / "labels.scp") as writer:
        for utt, count in read_table(data / "utt2num_samples").items():
            writer.write(utt, np.zeros((int(count) - 400) // 320 + 1, np.int32))
    report = validate(data, Options())
    assert rules(report) == {"labels.scp:0:label-collapse"}
    assert report.facts["labels"]["perplexity"] == 1


def test_label_lengths_allow_two_frames(data, tmp_path):
    for off, expected in ((-3, True), (-2, False), (0, False), (2, False), (3, True)):
        with ArkWriter(tmp_path / "off.ark", data / "labels.scp") as writer:
            for utt, count in read_table(data / "utt2num_samples").items():
                length = (int(count) - 400) // 320 + 1 + off
                writer.write(utt, np.arange(length, dtype=np.int32) % 10)
        assert ("label-length" in texts(validate(data, Options()))) == expected, off


def test_labels_of_a_stacked_front_end(data, tmp_path):
    with ArkWriter(tmp_path / "s.ark", data / "labels.scp") as writer:
        for utt, count in read_table(data / "utt2num_samples").items():
            length = ((int(count) - 400) // 160 + 1) // 4
            writer.write(utt, np.arange(length, dtype=np.int32) % 10)
    write_json(data / "labels.json", {"rate": 25, "clusters": 10})
    assert not validate(data, Options()).defects


def test_long_lists_are_cut_but_counted(tmp_path):
    utts = {f"s-{i:04d}": "s" for i in range(500)}
    write_datadir(tmp_path / "d", wav={u: f"none/{u}.wav" for u in utts}, utt2spk=utts)
    report = validate(tmp_path / "d", BARE)
    assert len(report.defects) == MAX_LISTED + 1
    assert "and 400 more" in str(report.defects[-1])


def test_phone_times(data):
    (data / "phones.ctm").write_text("a-1 1 0.0 0.5 HH\na-1 1 0.5 0.5 AH\n", encoding="utf-8")
    assert not validate(data, Options()).defects
    (data / "phones.ctm").write_text("x-1 1 0.0 0.5 HH\na-1 1 0.9 0.5 AH\n", encoding="utf-8")
    assert rules(validate(data, Options())) == {"phones.ctm:1:ctm", "phones.ctm:2:ctm"}


def test_small_files(data):
    write_table(data / "spk2warp", {"a": 1.0, "b": 1.6, "c": 0.9})
    write_table(data / "utt2lang", {"a-1": "en"})
    (data / "frame_shift").write_text("ten\n", encoding="utf-8")
    assert rules(validate(data, Options())) == {
        "spk2warp:2:warp", "utt2lang:0:missing-key", "frame_shift:1:number",
    }  # fmt: skip


def test_disjoint_speakers(make_dir):
    train, test = make_dir("train"), make_dir("test", prefix="t")
    assert not check_disjoint([train, test], "speakers")
    other = make_dir("other")
    found = check_disjoint([train, test, other], "speakers")
    assert {"speaker 'a' is also in " + str(train)} <= {defect.what for defect in found}
    assert any("utterance 'a-1'" in defect.what for defect in found)
    edit(test / "wav.scp", lambda s: s.replace("test/ta-1.flac", "train/a-1.flac"))
    found = check_disjoint([train, test], "utterances")
    assert ["audio file" in defect.what for defect in found] == [True]
    with pytest.raises(UserError, match="unknown"):
        check_disjoint([train, test], "words")


@pytest.mark.parametrize(
    "name,change,rule",
    [
        ("utt2num_samples", lambda b: b.replace(b"a-1 16000", b"a-1 " + b"9" * 400), "number"),
        ("utt2dur", lambda b: b.replace(b"a-1 1", b"a-1 " + b"9" * 5000), "number"),
        ("frame_shift", lambda b: b"\xff0.01\n", "number"),
        ("labels.json", lambda b: b.replace(b"10", b"2147483648"), "label-clusters"),
        ("labels.json", lambda b: b.replace(b"50", b"1e308"), "label-rate"),
        ("labels.json", lambda b: b.replace(b"50", b"NaN"), "json"),
        ("feats.scp", lambda b: b.replace(b"ark:", b"ark:\xc2\xb2"), "ark"),
    ],
)
def test_hostile_values_are_defects(data, name, change, rule):
    """Numbers out of all proportion, bytes that are no text: a line, never an exception."""
    path = data / name
    path.write_bytes(change(path.read_bytes() if path.exists() else b""))
    assert any(found.endswith(f":{rule}") for found in rules(validate(data, Options())))
