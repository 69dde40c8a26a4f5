"""Bootstrap intervals of an error rate and paired tests between two systems."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pylib.corpus.errors import UserError
from pylib.scoring.wer import Score

RESAMPLES = 10_000
SEED = 20_221_107  # fixed: an interval is a function of the score file alone
MIN_SPEAKERS = 3  # fewer cannot tell how speakers vary: utterances are drawn instead


@dataclass(frozen=True)
class Interval:
    """95 % percentile interval in percent; `over` tells what was drawn (speakers, utterances)."""

    low: float
    high: float
    over: str
    groups: int
    resamples: int = RESAMPLES
    seed: int = SEED


def _groups(score: Score) -> tuple[str, list[list[int]]]:
    """("speakers" | "utterances", indices of the utterances of each group)."""
    members: dict[str, list[int]] = {}
    for index, utterance in enumerate(score.utterances):
        members.setdefault(utterance.speaker, []).append(index)
    if len(members) >= MIN_SPEAKERS:
        return "speakers", [members[s] for s in sorted(members)]
    return "utterances", [[i] for i in range(len(score.utterances))]


def _drawn_sums(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """(resamples, K) sums of values (G, K) over G groups drawn with replacement."""
    rng = np.random.default_rng(seed)
    groups = len(values)
    sums = np.empty((resamples, values.shape[1]))
    block = max(1, 4_000_000 // groups)  # 32 MB of draws at a time
    for begin in range(0, resamples, block):
        end = min(begin + block, resamples)
        drawn = rng.integers(0, groups, (end - begin, groups))
        sums[begin:end] = values[drawn].sum(axis=1)
    return sums


def bootstrap_interval(score: Score, resamples: int = RESAMPLES, seed: int = SEED) -> Interval:
    """95 % interval of the error rate by drawing speakers (utterances when < 3 speakers)."""
    over, groups = _groups(score)
    errors = np.array([u.counts.errors for u in score.utterances], dtype=float)
    words = np.array([u.counts.reference for u in score.utterances], dtype=float)
    values = np.array([[errors[g].sum(), words[g].sum()] for g in groups])
    sums = _drawn_sums(values, resamples, seed)
    sums = sums[sums[:, 1] > 0]  # a draw of wordless utterances only has no rate
    low, high = np.percentile(100.0 * sums[:, 0] / sums[:, 1], [2.5, 97.5])
    return Interval(float(low), float(high), over, len(groups), resamples, seed)


@dataclass(frozen=True)
class Comparison:
    """A against B on the same utterances; rates and differences in percent, B - A.

    p_bootstrap: two-sided, from the share of draws on the other side of zero; p_matched: two-sided
    matched-pairs test on errors per utterance (normal approximation; NIST's mapsswe with
    utterances as segments); p_improved: share of draws in which B makes fewer errors than A.
    """

    rate_a: float
    rate_b: float
    difference: float
    low: float
    high: float
    relative: float | None
    p_bootstrap: float
    p_matched: float
    p_improved: float
    over: str
    groups: int
    utterances: int
    resamples: int = RESAMPLES
    seed: int = SEED


def compare(a: Score, b: Score, resamples: int = RESAMPLES, seed: int = SEED) -> Comparison:
    """Paired comparison; UserError unless both scored the same references in the same unit."""
    if a.unit != b.unit:
        raise UserError(f"one score counts {a.unit}s, the other {b.unit}s: compare like with like")
    keys_a = [(u.utt, u.speaker, u.ref) for u in a.utterances]
    if keys_a != [(u.utt, u.speaker, u.ref) for u in b.utterances]:
        raise UserError(
            "the two systems were scored on different references: score both on one data "
            "directory with one normaliser"
        )
    over, groups = _groups(a)
    errors_a = np.array([u.counts.errors for u in a.utterances], dtype=float)
    errors_b = np.array([u.counts.errors for u in b.utterances], dtype=float)
    words = np.array([u.counts.reference for u in a.utterances], dtype=float)
    delta = errors_b - errors_a
    values = np.array([[delta[g].sum(), words[g].sum()] for g in groups])
    sums = _drawn_sums(values, resamples, seed)
    sums = sums[sums[:, 1] > 0]
    drawn = 100.0 * sums[:, 0] / sums[:, 1]
    low, high = np.percentile(drawn, [2.5, 97.5])
    # +1: the observed data is one more draw, so that p is never 0
    below = (np.count_nonzero(drawn <= 0) + 1) / (len(drawn) + 1)
    above = (np.count_nonzero(drawn >= 0) + 1) / (len(drawn) + 1)
    return Comparison(
        rate_a=a.rate,
        rate_b=b.rate,
        difference=b.rate - a.rate,
        low=float(low),
        high=float(high),
        relative=100.0 * (b.rate - a.rate) / a.rate if a.rate else None,
        p_bootstrap=float(min(1.0, 2 * min(below, above))),
        p_matched=_matched_pairs(delta),
        p_improved=float(np.mean(drawn < 0)),
        over=over,
        groups=len(groups),
        utterances=len(words),
        resamples=resamples,
        seed=seed,
    )


def _matched_pairs(delta: np.ndarray) -> float:
    """Two-sided p of mean(delta) = 0 by the normal approximation; 1 when all are equal to 0."""
    if len(delta) < 2 or not delta.any():
        return 1.0
    spread = delta.std(ddof=1)
    if spread == 0:
        return 0.0
    z = abs(delta.mean()) / (spread / math.sqrt(len(delta)))
    return math.erfc(z / math.sqrt(2))
