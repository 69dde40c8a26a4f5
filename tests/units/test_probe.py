"""The linear probe finds what is linear, and only that."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pylib.units.probe import LinearProbe, ProbeOptions, accuracy_interval


def made(frames: int, seed: int, dim: int = 6, classes: int = 4) -> tuple:
    rng = np.random.default_rng(seed)
    weight = np.random.default_rng(99).standard_normal((dim, classes))
    features = rng.standard_normal((frames, dim)) * [1, 5, 0.1, 1, 1, 100] + [0, 9, 0, 0, 3, 500]
    scores = ((features - [0, 9, 0, 0, 3, 500]) / [1, 5, 0.1, 1, 1, 100]) @ weight
    return features.astype(np.float32), (scores + rng.gumbel(size=scores.shape)).argmax(1)


def test_equals_scikit_learn() -> None:
    x, y = made(2000, 0)
    other, truth = made(2000, 1)
    probe = LinearProbe(x, y, 4)
    probe.fit(ProbeOptions(iterations=200, decay=1e-3))
    scale = (x - x.mean(0)) / x.std(0)
    # scikit-learn: sum of losses + |w|^2 / 2C; ours: mean + decay |w|^2 / 2.
    peer = LogisticRegression(C=1 / (1e-3 * 2000), tol=1e-8, max_iter=1000).fit(scale, y)
    np.testing.assert_allclose(probe.weight.T.numpy(), peer.coef_, atol=2e-3)
    right = (probe.predict(other) == truth).mean()
    assert right == pytest.approx(peer.score((other - x.mean(0)) / x.std(0), truth), abs=2e-3)


def test_xor_is_not_linear() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 2)).astype(np.float32)
    y = ((x[:, 0] > 0) ^ (x[:, 1] > 0)).astype(np.int64)
    probe = LinearProbe(x[:2000], y[:2000], 2)
    probe.fit()
    # No line does better than about 2/3 on four quadrants.
    assert (probe.predict(x[2000:]) == y[2000:]).mean() < 0.7


def test_accuracy_interval() -> None:
    correct, total = np.array([8, 2, 9, 5]), np.array([10, 10, 10, 10])
    value, low, high = accuracy_interval(correct, total)
    assert value == 0.6
    assert 0.2 <= low < value < high <= 0.9
    assert accuracy_interval(correct[:1], total[:1]) == (0.8, 0.8, 0.8)
