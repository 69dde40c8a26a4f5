"""The front end gives the library's numbers, for any length and kind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio
import torchaudio.compliance.kaldi as kaldi

from pylib.corpus.errors import UserError
from pylib.features.config import FrontendConfig
from pylib.features.kaldi_frontend import KaldiFrontend

# Lengths around one frame, one block of 256 frames (41,200 samples) and the rounding of the shift.
LENGTHS = (400, 401, 559, 560, 720, 16000, 41199, 41200, 41360, 41361, 82_320, 100_003, 480_000)


def library(samples: np.ndarray, kind: str) -> np.ndarray:
    """The same features from the library alone."""
    wave = torch.from_numpy(samples)[None]
    if kind == "fbank":
        return kaldi.fbank(wave, num_mel_bins=80, dither=0.0).numpy()
    cepstra = kaldi.mfcc(wave, num_ceps=13, num_mel_bins=23, use_energy=False, dither=0.0).T
    delta = torchaudio.functional.compute_deltas(cepstra.contiguous())
    return torch.cat([cepstra, delta, torchaudio.functional.compute_deltas(delta)]).T.numpy()


@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
def test_equals_the_library_bit_for_bit(kind: str) -> None:
    rng = np.random.default_rng(1)
    front = KaldiFrontend(FrontendConfig.preset(kind))
    for length in LENGTHS:
        noise = rng.standard_normal(length) * rng.uniform(0.001, 0.3)
        samples = (noise + 0.2 * np.sin(np.arange(length) * 0.05)).astype(np.float32)
        got, want = front(samples), library(samples, kind)
        assert got.dtype == np.float32 and got.shape == want.shape
        assert got.shape == (front.config.num_frames(length), front.config.dim)
        # Equal bits; one power value in 5e7 may differ in its last place, which a mel sum hides.
        assert (got != want).mean() < 1e-4
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
def test_buffers_do_not_leak_between_utterances(kind: str) -> None:
    rng = np.random.default_rng(2)
    long = rng.standard_normal(90_000).astype(np.float32)
    short = rng.standard_normal(5_000).astype(np.float32)
    front = KaldiFrontend(FrontendConfig.preset(kind))
    first = front(short).copy()
    kept = front(long)
    copy = kept.copy()
    np.testing.assert_array_equal(front(short), first)
    np.testing.assert_array_equal(kept, copy)


def test_silence_is_finite_and_at_the_floor() -> None:
    got = KaldiFrontend(FrontendConfig.preset("fbank"))(np.zeros(4000, dtype=np.float32))
    np.testing.assert_allclose(got, np.log(np.finfo(np.float32).eps), rtol=1e-6)


def test_dimensions_and_rate() -> None:
    assert FrontendConfig.preset("fbank").dim == 80
    assert FrontendConfig.preset("mfcc").dim == 39
    assert FrontendConfig.preset("mfcc").frame_rate == 100.0


def test_frames_for_many_lengths_match_the_conv_frames() -> None:
    """100 Hz frames are 2T - 1 or 2T for T conv frames, so [0::2] gives T."""
    config = FrontendConfig.preset("mfcc")
    samples = np.arange(400, 600_000)
    frames = (samples - 400) // 160 + 1
    assert config.num_frames(399) == 0
    assert all(config.num_frames(int(n)) == int(f) for n, f in zip(samples, frames, strict=True))
    conv = (samples - 400) // 320 + 1
    assert set(np.unique(frames - 2 * conv)) == {-1, 0}
    np.testing.assert_array_equal((frames + 1) // 2, conv)


def test_refuses_less_than_a_frame_and_unknown_kinds() -> None:
    with pytest.raises(UserError, match="399 samples"):
        KaldiFrontend(FrontendConfig.preset("mfcc"))(np.zeros(399, dtype=np.float32))
    with pytest.raises(UserError, match="plp"):
        FrontendConfig.preset("plp")


def test_close_to_kaldi_native_fbank() -> None:
    """An independent implementation of Kaldi's front end (5e-4 in log-mel)."""
    knf = pytest.importorskip("kaldi_native_fbank")
    rng = np.random.default_rng(3)
    samples = (rng.standard_normal(32_000) * 0.1).astype(np.float32)
    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = 80
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = 0.0
    online = knf.OnlineFbank(options)
    online.accept_waveform(16000, samples.tolist())
    online.input_finished()
    want = np.stack([online.get_frame(i) for i in range(online.num_frames_ready)])
    got = KaldiFrontend(FrontendConfig.preset("fbank"))(samples)
    assert got.shape == want.shape
    assert np.abs(got - want).max() < 5e-3
