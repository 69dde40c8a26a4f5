"""Error rates of detection by hand, against scikit-learn, and their symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from pylib.corpus.errors import UserError
from pylib.scoring.eer import DetectionCost, Sweep, equal_error, min_dcf


def test_perfect_is_0_and_its_threshold_decides_right() -> None:
    found = equal_error([3.0, 4.0, 5.0], [0.0, 1.0])
    assert found.eer == 0.0
    assert 1.0 < found.threshold <= 3.0
    assert min_dcf([3.0, 4.0], [0.0, 1.0]) == 0.0


def test_worst_is_100() -> None:
    assert equal_error([0.0, 1.0], [3.0, 4.0, 5.0]).eer == 100.0
    assert min_dcf([0.0, 1.0], [3.0, 4.0, 5.0]) == 1.0


def test_random_is_near_50() -> None:
    rng = np.random.default_rng(0)
    assert equal_error(rng.random(4000), rng.random(4000)).eer == pytest.approx(50.0, abs=2.0)


def test_by_hand() -> None:
    # Thresholds:      accept >=  1    2    3    4    none
    # targets 2 4      miss       0    0    1/2  1/2  1
    # others  1 2 2 3  alarm      1    3/4  1/4  0    0
    # gap                        -1   -3/4  1/4  ...  -> crossing at 3/4 of the way from 2 to 3
    found = equal_error([2.0, 4.0], [1.0, 2.0, 2.0, 3.0])
    assert found.eer == pytest.approx(37.5)
    assert found.threshold == pytest.approx(2.75)


def test_all_tied_is_50() -> None:
    assert equal_error([1.0, 1.0], [1.0, 1.0, 1.0]).eer == pytest.approx(50.0)
    assert min_dcf([1.0], [1.0]) == 1.0


@pytest.mark.parametrize("digits", [0, 1, 8])
def test_inverted_scores_give_100_minus_it(digits: int) -> None:
    rng = np.random.default_rng(digits)
    target, other = (
        (rng.standard_normal(300) + 1).round(digits),
        rng.standard_normal(500).round(digits),
    )
    value = equal_error(target, other).eer
    assert 5 < value < 45
    assert equal_error(-target, -other).eer == pytest.approx(100 - value, abs=1e-9)


def test_equals_the_crossing_of_scikit_learns_curve() -> None:
    rng = np.random.default_rng(1)
    target, other = (rng.standard_normal(200) + 1.5).round(1), rng.standard_normal(900).round(1)
    labels = np.r_[np.ones(200), np.zeros(900)]
    alarm, hit, _ = roc_curve(labels, np.r_[target, other], drop_intermediate=False)
    grid = np.linspace(0, 1, 200_001)
    miss = 1 - np.interp(grid, alarm, hit)
    assert equal_error(target, other).eer == pytest.approx(
        100 * grid[np.argmin(np.abs(miss - grid))], abs=1e-2
    )


def test_min_dcf_by_hand() -> None:
    # Accept >= 4: miss 1/2, no alarm: .5 * .01 / .01 = .5; accept >= 2 costs 99 * 1/4.
    assert min_dcf([2.0, 4.0], [1.0, 1.0, 1.0, 3.0]) == pytest.approx(0.5)
    cheap = DetectionCost(prior=0.5, miss=1, alarm=1)
    assert min_dcf([2.0, 4.0], [1.0, 1.0, 1.0, 3.0], cheap) == pytest.approx(0.25)


def test_weights_are_repetitions() -> None:
    rng = np.random.default_rng(2)
    scores, target = rng.standard_normal(60).round(1), rng.random(60) < 0.4
    times = rng.integers(0, 4, 60)
    times[np.flatnonzero(target)[0]] = times[np.flatnonzero(~target)[0]] = 1
    weighted = Sweep(scores, target)
    repeated = Sweep(np.repeat(scores, times), np.repeat(target, times))
    weights = times.astype(float)
    assert weighted.equal_error(weights).eer == pytest.approx(repeated.equal_error().eer)
    assert weighted.min_dcf(None, weights) == pytest.approx(repeated.min_dcf())


def test_bad_scores_are_refused() -> None:
    with pytest.raises(UserError, match="0 target and 2 nontarget"):
        equal_error([], [1.0, 2.0])
    with pytest.raises(UserError, match="NaN"):
        equal_error([float("nan")], [1.0])
