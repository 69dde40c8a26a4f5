"""Mean and variance by pieces equal those of the whole."""

from __future__ import annotations

import numpy as np

from pylib.features.normalise import MeanVariance


def test_pieces_equal_the_whole_even_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    frames = (rng.standard_normal((1000, 5)) * [1, 2, 0.1, 10, 0.5] + 1000.0).astype(np.float32)
    stats = MeanVariance.of([frames[:1], frames[1:400], frames[400:400], frames[400:]], 5)
    whole = frames.astype(np.float64)
    assert stats.count == 1000
    np.testing.assert_allclose(stats.mean, whole.mean(0), rtol=1e-12)
    np.testing.assert_allclose(stats.scale(), whole.std(0), rtol=1e-9)
    out = stats.apply(frames)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(0), 1, atol=1e-5)


def test_constant_channels_stay_small() -> None:
    frames = np.full((50, 2), 7.3, dtype=np.float32)
    out = MeanVariance.of([frames], 2).apply(frames)
    assert np.isfinite(out).all() and np.abs(out).max() < 1
