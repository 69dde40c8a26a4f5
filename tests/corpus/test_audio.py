"""Audio files: everything that is not what it says is refused with its path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.corpus.audio import audio_info, read_audio, resample_audio, write_audio
from pylib.corpus.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def tone(count, rate, frequency):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(count) / rate)).astype(np.float32)


@pytest.fixture
def flac(tmp_path):
    path = tmp_path / "x.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 16000)
    write_audio(path, noise.astype(np.float32), 16000)
    return path


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_round_trip(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    samples = tone(8000, 16000, 440)
    write_audio(path, samples, 16000)
    assert audio_info(path) == (8000, 16000, 1)
    back = read_audio(path)
    assert back.dtype == np.float32
    assert back.shape == (8000,)
    assert np.abs(back - samples).max() < 1e-4


def test_stretch(flac):
    whole = read_audio(flac)
    np.testing.assert_array_equal(read_audio(flac, start=1000, stop=3000), whole[1000:3000])
    for start, stop in ((0, 16001), (5, 5), (-1, 10), (16000, None)):
        with pytest.raises(UserError, match="the file has 16000"):
            read_audio(flac, start=start, stop=stop)


@pytest.mark.parametrize("suffix", ["flac", "wav"])
def test_every_truncation_is_refused(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    write_audio(path, np.random.default_rng(0).uniform(-0.5, 0.5, 4000), 16000)
    data = path.read_bytes()
    for size in [*range(120), *range(120, len(data), 331), len(data) - 1]:
        path.write_bytes(data[:size])
        with pytest.raises(UserError, match=f"^{path}: "):
            read_audio(path)


def test_flipped_bits_in_flac_are_never_silent(flac, tmp_path):
    whole, data = read_audio(flac), flac.read_bytes()
    rng = np.random.default_rng(1)
    bad = tmp_path / "bad.flac"
    for _ in range(60):
        flipped = bytearray(data)
        flipped[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        bad.write_bytes(flipped)
        try:
            np.testing.assert_array_equal(read_audio(bad), whole)
        except UserError as error:
            assert str(bad) in str(error)


def test_refusals_name_the_path(tmp_path, flac):
    with pytest.raises(UserError, match=r"x.flac: sampling rate 16000 Hz, 8000 Hz expected"):
        read_audio(flac, 8000)
    stereo = tmp_path / "s.wav"
    soundfile.write(stereo, np.stack([tone(100, 16000, 440), tone(100, 16000, 50)], 1), 16000)
    with pytest.raises(UserError, match=r"s.wav: 2 channels"):
        read_audio(stereo)
    assert read_audio(stereo, mix=True).shape == (100,)
    bad = tmp_path / "nan.wav"
    samples = tone(100, 16000, 440)
    samples[7] = np.nan
    soundfile.write(bad, samples, 16000, subtype="FLOAT")
    with pytest.raises(UserError, match=r"nan.wav: sample 7"):
        read_audio(bad)
    text = tmp_path / "t.flac"
    text.write_text("not audio")
    with pytest.raises(UserError, match=r"t.flac: not readable"):
        audio_info(text)
    none = tmp_path / "none.wav"
    soundfile.write(none, np.zeros(0), 16000)
    with pytest.raises(UserError, match="no samples"):
        audio_info(none)
    with pytest.raises(UserError, match="no such audio file"):
        read_audio(tmp_path / "gone.flac")
    with pytest.raises(UserError, match="unknown audio format"):
        write_audio(tmp_path / "x.mp3", samples, 16000)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("frequency", [440, 3000])
def test_resampling_keeps_tones(tmp_path, rate, frequency):
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(rate, rate, frequency), rate, subtype="FLOAT")
    back = read_audio(path, 16000, resample=True)
    assert abs(len(back) - 16000) <= 1
    wanted = tone(len(back), 16000, frequency)
    middle = slice(2000, -2000)
    error = np.mean((back - wanted)[middle] ** 2) / np.mean(wanted[middle] ** 2)
    assert 10 * np.log10(error) < -90


def test_resampling_removes_what_would_alias():
    above = resample_audio(tone(48000, 48000, 9000), 48000, 16000)
    assert np.abs(above[2000:-2000]).max() < 1e-4


def test_names_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such audio file"):
        read_audio("a\0b.wav")
    (tmp_path / "a.raw").write_bytes(b"1234")  # which has neither rate nor width
    with pytest.raises(UserError, match="a.raw: not readable as audio"):
        read_audio(tmp_path / "a.raw")


@pytest.mark.parametrize("flush", [True, False])
def test_what_a_killed_writer_left_is_swept(flush: bool, tmp_path: Path) -> None:
    code = (
        "import os, sys, soundfile; from pylib.corpus.audio import write_audio\n"
        "soundfile.write = lambda path, *_, **__: (open(path, 'w').close(), os._exit(9))\n"
        f"write_audio(sys.argv[1], [0.5], 16000, flush={flush})"
    )
    path = tmp_path / "spk" / "u.flac"
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT).returncode == 9
    assert [item.suffix for item in path.parent.iterdir()] != [".flac"]
    write_audio(path, np.zeros(100, np.float32), 16000, flush=flush)
    assert [item.name for item in path.parent.iterdir()] == ["u.flac"]
