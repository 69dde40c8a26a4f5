"""Log filter banks of 26 bands: against two definitions, frame counts, stacking, the stage."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.audio import read_audio
from pylib.corpus.errors import UserError
from pylib.features.config import KINDS, LogFbankConfig, feature_config
from pylib.features.logfbank import logfbank, mel_banks, stack4
from pylib.features.making import FeatureStage
from pylib.features.reader import FeatureReader
from tests.features.helpers import audio_dir


def noise(count: int, seed: int = 0) -> np.ndarray:
    """Samples of 16-bit audio."""
    pcm = np.random.default_rng(seed).normal(0, 3000, count).clip(-32768, 32767).astype(np.int16)
    return pcm.astype(np.float32) / 32768


def direct(samples: np.ndarray) -> np.ndarray:
    """The definition, frame by frame, the transform as a sum."""
    wide = samples.astype(np.float64) * 32768
    wide = np.append(wide[0], wide[1:] - 0.97 * wide[:-1])
    count = 1 if len(wide) <= 400 else 1 + math.ceil((len(wide) - 400) / 160)
    wide = np.append(wide, np.zeros(400 + 160 * count))
    turn = np.exp(-2j * np.pi * np.outer(np.arange(400), np.arange(257)) / 512)
    rows = []
    for i in range(count):
        energy = (
            np.abs(wide[160 * i : 160 * i + 400] @ turn) ** 2 / 512 @ mel_banks(LogFbankConfig())
        )
        rows.append(np.log(np.where(energy == 0, np.finfo(np.float64).eps, energy)))
    return np.array(rows)


@pytest.mark.parametrize("count", [1, 2, 399, 400, 401, 560, 561, 16_000, 16_100])
def test_equals_the_definition(count: int) -> None:
    samples = noise(count)
    got = logfbank(samples)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, direct(samples), atol=1e-4)


@pytest.mark.parametrize("count", [399, 400, 401, 16_000, 100_003])
def test_equals_python_speech_features(count: int) -> None:
    theirs = pytest.importorskip("python_speech_features")
    samples = noise(count, seed=count)
    want = theirs.logfbank(np.rint(samples * 32768).astype(np.int16), 16000)
    np.testing.assert_allclose(logfbank(samples), want, atol=1e-4)


def test_frame_counts() -> None:
    config = LogFbankConfig()
    for count, frames in ((0, 0), (1, 1), (399, 1), (400, 1), (401, 2), (16_000, 99)):
        assert config.num_frames(count) == frames
        if count:
            assert len(logfbank(noise(count))) == frames
    # A picture of video is 4 frames; the last one of an utterance lacks one.
    assert [config.num_frames(640 * t) for t in range(1, 200)] == [4 * t - 1 for t in range(1, 200)]
    assert config.num_frames(16000 * 20) == 1 + math.ceil((16000 * 20 - 400) / 160)


def test_banks_are_triangles() -> None:
    banks = mel_banks(LogFbankConfig())
    assert banks.shape == (257, 26)
    assert (banks.max(axis=0) == 1).all() and (banks >= 0).all()
    assert (banks.sum(axis=1) <= 1 + 1e-12).all()


def test_digital_silence_is_the_epsilon() -> None:
    got = logfbank(np.zeros(4000, dtype=np.float32))
    np.testing.assert_allclose(got, np.log(np.finfo(np.float64).eps), rtol=1e-6)


def test_no_samples_are_refused() -> None:
    with pytest.raises(UserError, match="no samples"):
        logfbank(np.zeros(0, dtype=np.float32))


def test_the_same_numbers_wherever_blocks_end() -> None:
    samples = noise(160 * 1200)
    whole = logfbank(samples)
    np.testing.assert_array_equal(whole, logfbank(samples))
    np.testing.assert_allclose(whole[:500], logfbank(samples[: 160 * 502])[:500], atol=1e-5)


@pytest.mark.parametrize("frames", [0, 1, 24, 25, 26])
def test_four_frames_side_by_side(frames: int) -> None:
    feats = logfbank(noise(16_000))
    got = stack4(feats, frames)
    want = np.zeros((frames, 104), dtype=np.float32)
    for t in range(frames):
        for i in range(4):
            if 4 * t + i < len(feats):
                want[t, 26 * i : 26 * i + 26] = feats[4 * t + i]
    assert got.dtype == np.float32 and got.flags.c_contiguous
    np.testing.assert_array_equal(got, want)


def test_the_feature_stage(tmp_path: Path) -> None:
    data = audio_dir(tmp_path, "set", {"a-1": 640 * 30, "b-1": 640 * 11})
    stage = FeatureStage(data, tmp_path / "arks", feature_config("logfbank"))
    assert stage.make_shard(1) == 4 * 41 - 2
    assert stage.commit() == 4 * 41 - 2
    assert not (data / "utt2num_frames").exists()  # of the 25 ms frames of the other kinds
    reader = FeatureReader(data, "logfbank")
    assert (reader.dim, reader.rate, reader.meta["kind"]) == (26, 100.0, "logfbank")
    samples = read_audio(tmp_path / "wav" / "set-a-1.flac")
    np.testing.assert_array_equal(reader.read("a-1"), logfbank(samples))
    assert "logfbank" in KINDS


def test_no_torch() -> None:
    code = "import sys, pylib.features.logfbank, pylib.features.noise as n; assert n"
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
