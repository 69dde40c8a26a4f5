"""Quality of units from joint tables made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pylib.units.quality import (
    cluster_purity,
    joint_table,
    mean_run,
    perplexity,
    phone_purity,
    pnmi,
    with_intervals,
)

# Two phones (rows), three units: P(p) = (1/2, 1/2), P(k) = (1/2, 1/4, 1/4).
HAND = np.array([[3, 1, 0], [1, 1, 2]])


def test_a_table_by_hand() -> None:
    # I = sum P(p,k) ln(P(p,k) / P(p)P(k)) over the five cells that are not empty.
    information = (
        3 / 8 * np.log(3 / 2)
        + 1 / 8 * np.log(1 / 1)
        + 1 / 8 * np.log(1 / 2)
        + 1 / 8 * np.log(1 / 1)
        + 2 / 8 * np.log(2 / 1)
    )
    assert pnmi(HAND) == pytest.approx(information / np.log(2), abs=1e-12)
    assert phone_purity(HAND) == pytest.approx((3 + 1 + 2) / 8)
    assert cluster_purity(HAND) == pytest.approx((3 + 2) / 8)


def test_the_ends_of_the_scale() -> None:
    assert pnmi(np.eye(5)) == pytest.approx(1)
    assert pnmi(np.outer([1, 2, 3], [4, 5])) == pytest.approx(0, abs=1e-12)
    # Several units for a phone lose nothing; one phone has no uncertainty to remove.
    assert pnmi(np.array([[1, 1, 0, 0], [0, 0, 2, 2]])) == pytest.approx(1)
    assert pnmi(np.array([[1, 2, 3]])) == 0
    with pytest.raises(ValueError, match="joint table"):
        pnmi(np.zeros((2, 2)))


def test_joint_table_counts_known_phones() -> None:
    phones = np.array([0, 0, 1, -1, 1, 1, 0, 1, 0, 1])
    units = np.array([0, 0, 2, 1, 2, 0, 0, 1, 1, 0])
    table = joint_table(phones, units, 2, 3)
    np.testing.assert_array_equal(table, [[3, 1, 0], [2, 1, 2]])


def test_perplexity_and_runs() -> None:
    assert perplexity(np.array([5, 5, 5, 5])) == pytest.approx(4)
    assert perplexity(np.array([7, 0, 0])) == pytest.approx(1)
    assert perplexity(np.array([0, 0])) == 0
    runs = [np.array([1, 1, 1, 2]), np.array([2, 2]), np.array([], dtype=int)]
    assert mean_run(runs, 50.0) == pytest.approx(6 / 3 / 50)


def test_intervals_by_resampling_speakers() -> None:
    rng = np.random.default_rng(0)
    tables = rng.multinomial(200, [0.3, 0.1, 0.1, 0.05, 0.15, 0.3], size=12).reshape(12, 2, 3)
    got = with_intervals(tables, draws=200)
    for name, measure in (("pnmi", pnmi), ("phone_purity", phone_purity)):
        value, low, high = got[name]
        assert value == measure(tables.sum(axis=0))
        assert low < value < high
    assert with_intervals(tables, draws=200) == got
    assert with_intervals(HAND[None])["pnmi"] == (pnmi(HAND),) * 3
