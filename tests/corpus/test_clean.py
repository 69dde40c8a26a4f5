"""Recordings made alike: rate, rumble, silence, level, chunks; and the data directory of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.bin import clean_audio
from pylib.corpus.clean import CleanConfig, chunks, clean, high_pass, speech_span
from pylib.corpus.clean_dir import CleanStage, shift_phones
from pylib.corpus.datadir import DataDir, write_datadir
from pylib.corpus.errors import UserError

RATE = 16000


def tone(seconds: float, hertz: float = 440.0, rate: int = RATE, peak: float = 0.3) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    return (peak * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def around(samples: np.ndarray, before: float, after: float, rate: int = RATE) -> np.ndarray:
    """Samples with faint noise (-80 dB) before and after."""
    rng = np.random.default_rng(1)
    edges = [rng.normal(0, 1e-4, int(s * rate)).astype(np.float32) for s in (before, after)]
    return np.concatenate([edges[0], samples, edges[1]])


def decibels(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def test_level_trim_and_rate() -> None:
    recording = around(tone(1.5, rate=48000), 0.8, 0.5, rate=48000)
    made = clean(recording, 48000, CleanConfig())
    ((first, samples),) = made.pieces
    assert first / RATE == pytest.approx(0.7, abs=0.03)
    assert len(samples) / RATE == pytest.approx(1.7, abs=0.05)
    assert decibels(samples) == pytest.approx(-27, abs=1e-3)
    assert samples.dtype == np.float32 and made.limited == 0


@pytest.mark.parametrize("gain", [0.01, 0.1, 1.0])
def test_the_recording_level_does_not_matter(gain: float) -> None:
    speech = around(tone(1.0), 0.3, 0.3)
    loud = clean(speech, RATE, CleanConfig()).pieces[0][1]
    same = clean((gain * speech).astype(np.float32), RATE, CleanConfig()).pieces[0][1]
    assert np.abs(loud - same).max() < 1e-5


def test_a_peak_keeps_the_level_down() -> None:
    samples = tone(1.0, peak=0.01)
    samples[8000] = 0.9
    made = clean(samples, RATE, CleanConfig(highpass=0, trim_db=0))
    assert made.limited == 1
    assert np.abs(made.pieces[0][1]).max() == pytest.approx(0.98, abs=1e-4)
    assert decibels(made.pieces[0][1]) < -27


def test_the_high_pass_takes_rumble_and_leaves_speech() -> None:
    for hertz, low, high in ((10.0, -100, -25), (50.0, -6.5, -5.5), (200.0, -0.2, 0.2)):
        before = tone(2.0, hertz)
        after = high_pass(before, RATE, 50.0)
        middle = slice(8000, 24000)
        assert low <= decibels(after[middle]) - decibels(before[middle]) <= high


def test_speech_span_of_a_burst() -> None:
    samples = around(tone(0.5), 1.0, 1.0)
    first, last = speech_span(samples, RATE, 35.0, 0.0)
    assert first / RATE == pytest.approx(1.0, abs=0.03)
    assert last / RATE == pytest.approx(1.5, abs=0.03)
    assert speech_span(samples, RATE, 35.0, 5.0) == (0, len(samples))


def test_what_cannot_be_used_says_why() -> None:
    config = CleanConfig()
    assert clean(np.zeros(RATE, np.float32), RATE, config).kind == "silence"
    assert clean(np.full(RATE, 0.2, np.float32), RATE, config).kind == "silence"  # a constant
    assert clean(tone(0.3), RATE, config).kind == "too-short"
    short = clean(around(tone(0.1), 1, 1), RATE, config)
    assert short.kind == "too-short" and "after trimming" in short.what


def test_chunks_follow_each_other() -> None:
    config = CleanConfig(chunk=4.0)
    step = 4 * RATE
    assert chunks(3 * RATE, config) == [(0, 3 * RATE)]
    assert chunks(step, config) == [(0, step)]
    assert chunks(2 * step + 100, config) == [(0, step), (step, 2 * step)]
    assert chunks(step + step // 2, config) == [(0, step), (step, step + step // 2)]


@pytest.mark.parametrize(
    "values",
    [{"rate": 100}, {"highpass": 9000.0}, {"trim_db": -1.0}, {"level": 3.0}, {"chunk": 0.2}],
)
def test_bad_options_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(UserError, match="clean_audio: --"):
        CleanConfig(**values)  # type: ignore[arg-type]


def test_phones_still_tile_what_is_left() -> None:
    phones = [(0.0, 0.5, "SIL"), (0.5, 0.2, "a"), (0.7, 0.3, "b"), (1.0, 1.0, "SIL")]
    kept = shift_phones(phones, 0.4, 0.8)
    assert [name for _, _, name in kept] == ["SIL", "a", "b", "SIL"]
    assert kept[0][:2] == pytest.approx((0.0, 0.1))
    ends = [start + length for start, length, _ in kept]
    assert [start for start, _, _ in kept] == pytest.approx([0.0, *ends[:-1]])
    assert ends[-1] == pytest.approx(0.8)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four utterances: good, good and long, digitally silent, unreadable."""
    audio = tmp_path / "audio_in"
    audio.mkdir()
    soundfile.write(audio / "a_1.flac", around(tone(1.0), 0.5, 0.5), RATE)
    soundfile.write(audio / "a_2.flac", np.stack([tone(9.0), tone(9.0)], 1), RATE)
    soundfile.write(audio / "b_1.flac", np.zeros(RATE), RATE)
    (audio / "b_2.flac").write_bytes(b"no audio")
    utts = ("a_1", "a_2", "b_1", "b_2")
    write_datadir(
        tmp_path / "data",
        wav={utt: f"{audio}/{utt}.flac" for utt in utts},
        utt2spk={utt: utt[0] for utt in utts},
        text=dict.fromkeys(utts, "SOME WORDS"),
        spk2gender={"a": "f", "b": "m"},
    )
    (tmp_path / "data" / "phones.ctm").write_text(
        "a_1 1 0.0000 0.5000 SIL\na_1 1 0.5000 1.0000 a\na_1 1 1.5000 0.5000 SIL\n", "utf-8"
    )
    return tmp_path / "data"


def run(data: Path, out: str, *options: str) -> Path:
    made = data.parent / out
    assert clean_audio.main([*options, str(data), str(made), str(data.parent / f"flac_{out}")]) == 0
    return made


def test_a_data_directory(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = DataDir.load(run(data, "clean"))
    assert made.utts == ["a_1", "a_2"] and made.text is not None
    assert (made.path / "spk2gender").read_text("utf-8") == "a f\n"
    samples = made.read_utt("a_1")
    assert len(samples) == made.utt2num_samples["a_1"]
    assert decibels(samples) == pytest.approx(-27, abs=0.01)
    rows = [line.split() for line in (made.path / "phones.ctm").read_text("utf-8").splitlines()]
    assert [row[4] for row in rows] == ["SIL", "a", "SIL"]
    assert float(rows[1][2]) == pytest.approx(0.1, abs=0.03)
    assert float(rows[2][2]) + float(rows[2][3]) == pytest.approx(made.utt2dur["a_1"], abs=2e-4)
    excluded = (data.parent / "flac_clean" / "excluded.txt").read_text("utf-8").splitlines()
    assert [line.split()[:2] for line in excluded] == [["b_1", "silence"], ["b_2", "unreadable"]]
    summary = json.loads((made.path / "clean.json").read_text("utf-8"))
    assert summary["excluded"] == {"silence": 1, "unreadable": 1}
    assert "1 silence, 1 unreadable" in capsys.readouterr().out


def test_chunks_have_no_text(data: Path) -> None:
    made = DataDir.load(run(data, "chunked", "--chunk", "4"))
    assert made.utts == ["a_1-c01", "a_2-c01", "a_2-c02"]
    assert made.utt2num_samples["a_2-c02"] == 4 * RATE
    assert made.text is None and not (made.path / "phones.ctm").exists()
    assert set(made.utt2spk.values()) == {"a"}


def test_shards_give_the_same(data: Path) -> None:
    whole = run(data, "whole")
    for part in ("--shard 1/2", "--shard 2/2", "--merge 2"):
        run_options = part.split()
        clean_audio.main([*run_options, str(data), str(data.parent / "p"), str(data.parent / "fp")])
    for name in ("utt2dur", "text", "phones.ctm", "utt2spk"):
        assert (whole / name).read_bytes() == (data.parent / "p" / name).read_bytes()
    first = (data.parent / "flac_whole" / "a" / "a_1.flac").read_bytes()
    assert first == (data.parent / "fp" / "a" / "a_1.flac").read_bytes()


def test_shards_of_something_else_are_not_joined(data: Path) -> None:
    place = data.parent / "flac"
    CleanStage(data, data.parent / "out", place, CleanConfig()).make_shard(1)
    with pytest.raises(UserError, match="other data or options"):
        CleanStage(data, data.parent / "out", place, CleanConfig(level=-20.0)).commit()
    with pytest.raises(UserError, match="is the source itself"):
        CleanStage(data, data, place, CleanConfig())
    assert not (data.parent / "out").exists()


def test_nothing_left_is_an_error(data: Path) -> None:
    with pytest.raises(UserError, match="nothing is left"):
        run(data, "none", "--min", "20")
