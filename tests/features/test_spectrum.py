"""Log-mel and log-spectrum: against a direct transform, at silence, through the feature stage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.audio import read_audio
from pylib.corpus.errors import UserError
from pylib.features.config import KINDS, FrontendConfig, SpectrumConfig, feature_config
from pylib.features.making import FeatureStage
from pylib.features.reader import FeatureReader
from pylib.features.spectrum import SpectrumFrontend, mel_banks
from tests.features.helpers import audio_dir

SPECTRA = {"logmel": (80, "logmel"), "logspec": (201, "logspec"), "logspec200": (200, "logspec")}


def direct(samples: np.ndarray, config: SpectrumConfig) -> np.ndarray:
    """The definition, frame by frame, in float64."""
    ramp = np.arange(config.window)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * ramp / config.window)
    rows = []
    for start in range(0, len(samples) - config.window + 1, config.shift):
        frame = samples[start : start + config.window].astype(np.float64) * window
        size = np.abs(np.fft.rfft(frame, config.fft))
        rows.append(size @ mel_banks(config).double().numpy() if config.mel_bins else size)
    return np.log(np.maximum(np.array(rows)[:, config.skip :], config.floor))


@pytest.mark.parametrize("kind", SPECTRA)
def test_equals_the_definition(kind: str) -> None:
    config = SpectrumConfig.preset(kind)
    rng = np.random.default_rng(0)
    for count in (400, 559, 560, 90_000):
        samples = (0.1 * rng.standard_normal(count)).astype(np.float32)
        got = SpectrumFrontend(config)(samples)
        assert got.dtype == np.float32
        assert got.shape == (config.num_frames(count), SPECTRA[kind][0])
        assert config.num_samples(len(got)) <= count < config.num_samples(len(got) + 1)
        np.testing.assert_allclose(got, direct(samples, config), atol=2e-3)


@pytest.mark.parametrize("kind", SPECTRA)
def test_digital_silence_is_finite(kind: str) -> None:
    got = SpectrumFrontend(SpectrumConfig.preset(kind))(np.zeros(4000, dtype=np.float32))
    np.testing.assert_allclose(got, np.log(1e-5), rtol=1e-6)


def test_frames_are_those_of_the_filter_banks() -> None:
    counts = range(0, 5000, 7)
    fbank = FrontendConfig.preset("fbank")
    for kind in SPECTRA:
        config = SpectrumConfig.preset(kind)
        assert config.frame_rate == fbank.frame_rate
        assert [config.num_frames(n) for n in counts] == [fbank.num_frames(n) for n in counts]


def test_mels_cover_the_whole_band() -> None:
    banks = mel_banks(SpectrumConfig.preset("logmel"))
    assert banks.shape == (513, 80)
    assert (banks.sum(0) > 0.4).all()  # no mel without a bin
    assert (banks[2:-9].sum(1) > 0.5).all()  # no bin without a mel


def test_less_than_a_frame_and_unknown_kinds_are_refused() -> None:
    with pytest.raises(UserError, match="399 samples"):
        SpectrumFrontend(SpectrumConfig.preset("logmel"))(np.zeros(399, dtype=np.float32))
    with pytest.raises(UserError, match="plp.*logspec200"):
        feature_config("plp")
    assert [feature_config(kind).kind for kind in KINDS] == list(KINDS)


@pytest.mark.parametrize("kind", SPECTRA)
def test_the_stage_makes_the_same_whatever_the_shards(tmp_path: Path, kind: str) -> None:
    samples = {"a-1": 16000, "a-2": 400, "b-1": 23456}
    data = audio_dir(tmp_path, "set", samples)
    config = SpectrumConfig.preset(kind)
    front = SpectrumFrontend(config)
    for jobs in (1, 2):
        stage = FeatureStage(data, tmp_path / "arks", config, jobs)
        for index in range(1, jobs + 1):
            stage.make_shard(index)
        stage.commit()
        reader = FeatureReader(data, SPECTRA[kind][1])
        assert (reader.dim, reader.rate) == (SPECTRA[kind][0], 100.0)
        assert reader.meta["kind"] == kind and reader.meta["config"]["fft"] == config.fft
        for utt in samples:
            want = front(read_audio(tmp_path / "wav" / f"set-{utt}.flac"))
            np.testing.assert_array_equal(reader.read(utt), want)
