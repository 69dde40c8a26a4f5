"""Features to sound and back: bounds on the error, silence, repeatability."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.conversion.griffinlim import GriffinLim, MelInverse
from pylib.corpus.audio import read_audio
from pylib.features.config import SpectrumConfig
from pylib.features.spectrum import SpectrumFrontend, mel_banks
from tests.conversion.helpers_voice import SPEAKERS, voice

# Mean absolute error in nepers of the features of the waveform, where there is sound.
BOUNDS = {"logmel": 0.12, "logspec": 0.25, "logspec200": 0.25}


def error(kind: str, samples: np.ndarray) -> float:
    config = SpectrumConfig.preset(kind)
    front = SpectrumFrontend(config)
    features = front(samples)
    made = GriffinLim(config)(features)
    assert made.dtype == np.float32
    assert len(made) == config.num_samples(len(features)) <= len(samples)
    again = front(made)
    assert again.shape == features.shape
    return float(np.abs(again - features)[features > features.max() - 8].mean())


@pytest.mark.parametrize("kind", BOUNDS)
def test_features_of_the_waveform_are_near_those_it_was_made_of(kind: str) -> None:
    for f0, scale in SPEAKERS.values():
        assert error(kind, voice(1, f0, scale)) < BOUNDS[kind]


@pytest.mark.real
@pytest.mark.parametrize("kind", BOUNDS)
def test_real_speech_comes_back(kind: str) -> None:
    root = os.environ.get("TRIVIUM_REAL")
    if not root:
        pytest.skip("TRIVIUM_REAL is not set")
    paths = sorted(Path(root, "VCTK-Corpus-0.92").rglob("*_mic1.flac"))[::10]
    assert paths
    for path in paths:
        assert error(kind, read_audio(path)[:48000]) < BOUNDS[kind]


def test_mels_of_the_inverse_are_the_mels() -> None:
    config = SpectrumConfig.preset("logmel")
    mels = torch.from_numpy(SpectrumFrontend(config)(voice(2, 120, 1.0))).exp()
    bins = MelInverse(config)(mels)
    assert (bins >= 0).all()
    again = bins @ mel_banks(config)
    assert (again.clamp_min(1e-5).log() - mels.log()).abs().mean() < 5e-3


def test_frames_are_put_back_in_their_place() -> None:
    """A click in a frame stays in that frame."""
    config = SpectrumConfig.preset("logspec")
    samples = np.zeros(8000, dtype=np.float32)
    samples[4000] = 0.9
    made = GriffinLim(config)(SpectrumFrontend(config)(samples))
    assert abs(int(np.abs(made).argmax()) - 4000) < 80


@pytest.mark.parametrize("kind", BOUNDS)
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_and_silent_features(kind: str, frames: int) -> None:
    config = SpectrumConfig.preset(kind)
    silent = np.full((frames, config.dim), np.log(config.floor), dtype=np.float32)
    made = GriffinLim(config)(silent)
    assert len(made) == config.num_samples(frames)
    assert np.isfinite(made).all() and np.abs(made).max() < 1e-4


def test_the_same_seed_gives_the_same_samples_and_leaves_the_generator_alone() -> None:
    config = SpectrumConfig.preset("logmel")
    features = SpectrumFrontend(config)(voice(0, 150, 1.0, 0.5))
    search = GriffinLim(config, iterations=4)
    torch.manual_seed(3)
    before = torch.rand(2)
    torch.manual_seed(3)
    first = search(features, 7)
    assert torch.equal(torch.rand(2), before)
    np.testing.assert_array_equal(first, search(features, 7))
    assert np.abs(first - search(features, 8)).max() > 1e-3
