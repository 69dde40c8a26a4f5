"""Bootstrap intervals and paired tests."""

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.scoring.normalise import get_normaliser
from pylib.scoring.significance import bootstrap_interval, compare
from pylib.scoring.wer import score_set

NONE = get_normaliser("none")


def random_score(rate, speakers, seed=0, utts=60, spread=0.0, unit="word"):
    """Each word wrong with probability rate + the speaker's own offset."""
    rng = np.random.default_rng(seed)
    offsets = rng.normal(0, spread, speakers)
    refs, hyps, spk = {}, {}, {}
    for i in range(utts):
        utt, speaker = f"u{i:03d}", i % speakers
        refs[utt] = " ".join(["A"] * 10)
        wrong = rng.random(10) < rate + offsets[speaker]
        hyps[utt] = " ".join("B" if w else "A" for w in wrong)
        spk[utt] = f"s{speaker}"
    return score_set(refs, hyps, spk, NONE, unit)


def test_interval_holds_the_rate_and_is_a_function_of_the_score():
    score = random_score(0.2, 10)
    interval = bootstrap_interval(score)
    assert interval.low < score.rate < interval.high
    assert interval == bootstrap_interval(score)
    assert (interval.over, interval.groups) == ("speakers", 10)


def test_interval_by_theory():
    # 400 words of independent errors: +-1.96 sqrt(p (1 - p) / n)
    score = random_score(0.2, 40, utts=40)
    p = score.rate / 100
    half = 100 * 1.96 * np.sqrt(p * (1 - p) / 400)
    interval = bootstrap_interval(score)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.25)


def test_few_speakers_draw_utterances_and_say_so():
    interval = bootstrap_interval(random_score(0.2, 2))
    assert (interval.over, interval.groups) == ("utterances", 60)


def test_speakers_that_differ_widen_the_interval():
    narrow = bootstrap_interval(random_score(0.3, 6, utts=120))
    wide = bootstrap_interval(random_score(0.3, 6, utts=120, spread=0.12))
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_no_errors_is_a_closed_interval():
    interval = bootstrap_interval(random_score(0.0, 5))
    assert (interval.low, interval.high) == (0.0, 0.0)


def test_equal_systems_do_not_differ():
    score = random_score(0.2, 10)
    result = compare(score, score)
    assert (result.difference, result.low, result.high) == (0.0, 0.0, 0.0)
    assert result.p_bootstrap == 1.0 and result.p_matched == 1.0


def test_clear_difference_is_found_and_signed():
    worse, better = random_score(0.4, 10, seed=1), random_score(0.1, 10, seed=2)
    result = compare(worse, better)
    assert result.difference < 0 and result.high < 0
    assert result.p_bootstrap < 0.01 and result.p_matched < 0.01 and result.p_improved > 0.99
    back = compare(better, worse)
    assert back.difference == -result.difference and back.p_improved < 0.01


def test_false_alarms_are_about_as_rare_as_they_should_be():
    small = 0
    for seed in range(60):
        a, b = random_score(0.2, 20, seed=seed), random_score(0.2, 20, seed=1000 + seed)
        small += compare(a, b, resamples=500).p_matched < 0.05
    assert small <= 9  # 3 expected; more than 9 has a chance of 1 in 500


def test_unlike_scores_are_not_compared():
    with pytest.raises(UserError, match="like with like"):
        compare(random_score(0.2, 5), random_score(0.2, 5, unit="char"))
    with pytest.raises(UserError, match="different references"):
        compare(random_score(0.2, 5), random_score(0.2, 5, utts=59))
