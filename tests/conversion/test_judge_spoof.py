"""The spoof detector: level counts for nothing, artefacts are found, no voice is known to it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from pylib.conversion.judge_spoof import Example, TooFewSpeakers, cross_scores, halves, lfcc
from pylib.corpus.errors import UserError
from pylib.scoring.eer import equal_error

SPEAKERS = [f"p{i}" for i in range(8)]


def noise(seed: int, smooth: bool = False) -> np.ndarray:
    """Half a second of speech-coloured noise, or the same without what lies above 4 kHz."""
    samples = np.random.default_rng(seed).standard_normal(8000)
    samples = scipy.signal.lfilter([1], [1, -0.7], samples)
    if smooth:
        samples = scipy.signal.lfilter(*scipy.signal.butter(4, 0.5), samples)
    return samples.astype(np.float32)


def examples(smooth: bool, start: int) -> dict[str, Example]:
    return {
        f"{speaker}-{start + k}": Example(
            lfcc(noise(100 * start + 10 * i + k, smooth)), frozenset({speaker})
        )
        for i, speaker in enumerate(SPEAKERS)
        for k in range(4)
    }


def test_features() -> None:
    one = lfcc(noise(0))
    assert one.shape == (49, 60)
    np.testing.assert_allclose(lfcc(0.01 * noise(0)), one, atol=1e-3)
    with pytest.raises(UserError, match="too short or silent"):
        lfcc(np.zeros(8000, np.float32))
    with pytest.raises(UserError, match="too short or silent"):
        lfcc(np.ones(10, np.float32))


def test_slopes_of_a_ramp() -> None:
    """Deltas are slopes: of a filter-bank energy that rises by the same step every frame."""
    time = np.arange(16000) / 16000
    rising = (np.exp(3 * time) * noise(1).repeat(2)[:16000]).astype(np.float32)
    features = lfcc(rising)
    # c0 is sqrt(20) times the mean log energy, which rises by 6 a second.
    assert features[10:-10, 20].mean() == pytest.approx(np.sqrt(20) * 6 / 100, rel=0.3)


def test_artefacts_are_found_and_the_same_is_not_told_apart() -> None:
    parts = halves([], SPEAKERS)
    genuine = examples(False, 1)
    for smooth, low, high in ((True, 0, 5), (False, 30, 70)):
        scores = cross_scores(genuine, examples(smooth, 2), parts, seed=3)
        assert len(scores[0]) == len(scores[1]) == 32
        eer = equal_error(list(scores[0].values()), list(scores[1].values())).eer
        assert low <= eer <= high
    again = cross_scores(genuine, examples(False, 2), parts, seed=3)
    assert again == scores


def test_halves_hold_everybody_once() -> None:
    first, second = halves(["a", "b", "c", "t1"], ["t1", "t2", "t3", "t4"])
    assert first | second == {"a", "b", "c", "t1", "t2", "t3", "t4"}
    assert not first & second
    assert {len(part & {"t1", "t2", "t3", "t4"}) for part in (first, second)} == {2}


def test_a_conversion_across_the_halves_is_left_out() -> None:
    parts = (frozenset({"a", "b"}), frozenset({"c", "d"}))
    data = [lfcc(noise(i)) for i in range(8)]
    genuine = {f"{s}-g": Example(data[i], frozenset(s)) for i, s in enumerate("abcd")}
    fake = {
        "ab": Example(data[4], frozenset("ab")),
        "cd": Example(data[5], frozenset("cd")),
        "ac": Example(data[6], frozenset("ac")),
    }
    scores = cross_scores(genuine, fake, parts)
    assert scores[1].keys() == {"ab", "cd"}
    with pytest.raises(TooFewSpeakers, match="more target speakers"):
        cross_scores(genuine, {"ac": fake["ac"]}, parts)
