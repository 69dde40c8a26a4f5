"""Measures of converted speech from what judges heard: acceptance, error rates, distances, rows.

Vectors and numbers come in as arrays; who heard them does not matter here. Intervals (95 %) come
from drawing target speakers with replacement, 1000 times; utterances where there are fewer than 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some
from pylib.scoring.eer import Sweep
from pylib.scoring.score_files import ROW_FIELDS
from pylib.scoring.significance import MIN_SPEAKERS, SEED

DRAWS = 1000

Floats = npt.NDArray[np.float64]
Vectors = Mapping[str, npt.NDArray[np.float32]]
Pair = tuple[str, str]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; `n` utterances or trials; None where it could not be drawn."""

    value: float
    low: float | None
    high: float | None
    n: int


def result_row(
    identity: Mapping[str, Any], measure: str, decode: str, estimate: Estimate, file: str
) -> dict[str, Any]:
    """A row of ROW_FIELDS; `identity` has system, seed and set."""
    values: dict[str, Any] = {
        **{name: identity[name] for name in ("system", "seed", "set")},
        "measure": measure, "decode": decode, "value": round(estimate.value, 5),
        "low": None if estimate.low is None else round(estimate.low, 5),
        "high": None if estimate.high is None else round(estimate.high, 5),
        "n": estimate.n, "file": file,
    }  # fmt: skip
    return {name: values[name] for name in ROW_FIELDS}


@dataclass(frozen=True)
class _Draws:
    """Speakers drawn with replacement.

    Attributes:
        counts: (1000, G) how often each speaker is in a draw.
        place: (N,) the speaker of each item.
    """

    counts: Floats
    place: npt.NDArray[np.int64]

    @classmethod
    def of(cls, groups: Sequence[str]) -> _Draws:
        """Draws of (N,) names; of single items where there are fewer than 3 names."""
        if len(set(groups)) < MIN_SPEAKERS:
            groups = [str(i) for i in range(len(groups))]
        names, place = np.unique(np.asarray(groups), return_inverse=True)
        share = np.full(len(names), 1 / len(names))
        drawn = np.random.default_rng(SEED).multinomial(len(names), share, DRAWS)
        return cls(drawn.astype(np.float64), place)

    def sums(self, values: Floats) -> Floats:
        """Sum of (N,) values in each draw, (1000,)."""
        totals = np.bincount(self.place, weights=values, minlength=self.counts.shape[1])
        return np.asarray(self.counts @ totals)


def ratio(
    numerator: Floats,
    denominator: Floats,
    groups: Sequence[str],
    shape: Callable[[Floats], Floats] = lambda values: values,
) -> Estimate | None:
    """shape(sum of numerators / sum of denominators) over utterances, with its interval.

    Args:
        numerator, denominator: (N,), one for each utterance.
        groups: (N,) the speaker of each.
        shape: applied to the ratio, such as a square root.

    Returns:
        None where all denominators are 0.
    """
    if denominator.sum() <= 0:
        return None
    draws = _Draws.of(groups)
    above, below = draws.sums(numerator), draws.sums(denominator)
    usable = below > 0
    low, high = np.percentile(shape(above[usable] / below[usable]), [2.5, 97.5])
    value = shape(np.array([numerator.sum() / denominator.sum()]))[0]
    return Estimate(float(value), float(low), float(high), int((denominator > 0).sum()))


def cosines(left: Vectors, right: Vectors, pairs: Sequence[Pair]) -> Floats:
    """Cosine of each pair's vectors, (M,).

    Raises:
        UserError: an utterance without a vector.
    """
    lacks = {a for a, _ in pairs if a not in left} | {b for _, b in pairs if b not in right}
    if lacks:
        raise UserError(
            f"{names_some(lacks)}: named in trials or conversions but not in the data directory "
            "that was judged: use the lists that were made for it (steps/make_trials.sh)"
        )
    first = np.array([left[a] for a, _ in pairs], dtype=np.float64)
    second = np.array([right[b] for _, b in pairs], dtype=np.float64)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.asarray((first * second).sum(axis=1) / np.maximum(norms, 1e-9))


def choose_enrolment(
    utts: Mapping[str, str],
    speaker_of: Mapping[str, str],
    banned: Mapping[str, frozenset[str]],
    texts: Mapping[str, str] | None,
    natural: Mapping[str, str],
    limit: int = 10,
) -> list[Pair]:
    """Natural utterances of a speaker to compare each converted utterance with.

    Those of `banned` (references of the conversion, its source) and those with the same words are
    not taken. Which of the others does not depend on the system: they have a fixed order drawn by
    their names.

    Args:
        utts: converted utterance -> its text ('' where unknown).
        speaker_of: converted utterance -> natural speaker to compare with.
        banned: converted utterance -> natural utterances that may not be used.
        texts: natural utterance -> text, None where unknown.
        natural: natural utterance -> speaker.
        limit: at most this many for each.

    Returns:
        (converted, natural) utterances.

    Raises:
        UserError: a converted utterance for which none is left.
    """
    order = sorted(natural, key=lambda utt: hashlib.sha256(utt.encode()).digest())
    by_speaker: dict[str, list[str]] = {}
    for utt in order:
        by_speaker.setdefault(natural[utt], []).append(utt)
    pairs: list[Pair] = []
    without: list[str] = []
    for utt, text in utts.items():
        found = [
            other
            for other in by_speaker.get(speaker_of[utt], [])
            if other not in banned[utt] and not (texts and text and texts[other] == text)
        ][:limit]
        pairs += [(utt, other) for other in found]
        if not found:
            without.append(utt)
    if without:
        raise UserError(
            f"{len(without)} converted utterances ({names_some(without)}): their speaker has no "
            "natural utterance of other words that the conversion did not use: judge with a data "
            "directory that has more of each speaker"
        )
    return pairs


def acceptance(
    pairs: Sequence[Pair], scores: Floats, threshold: float, speaker: Mapping[str, str]
) -> Estimate:
    """Percentage of trials at or above the threshold; every converted utterance counts the same.

    Args:
        pairs: (converted, natural) utterances.
        scores: (M,) of the pairs.
        threshold: accepted at or above it.
        speaker: converted utterance -> speaker that draws go by.
    """
    shares: dict[str, list[bool]] = {}
    for (utt, _), score in zip(pairs, scores, strict=True):
        shares.setdefault(utt, []).append(bool(score >= threshold))
    accepted = np.array([100.0 * np.mean(values) for values in shares.values()])
    estimate = ratio(accepted, np.ones(len(accepted)), [speaker[utt] for utt in shares])
    if estimate is None:
        raise UserError("no converted utterance to judge: check the data directory")
    return estimate


def two_class_eer(
    positive: Floats, negative: Floats, groups: tuple[Sequence[str], Sequence[str]]
) -> Estimate:
    """EER in percent of two kinds of scores, speakers of both drawn together.

    Args:
        positive, negative: (N,) and (M,).
        groups: the speaker of each score.
    """
    scores = np.concatenate([positive, negative])
    genuine = np.arange(len(scores)) < len(positive)
    sweep = Sweep(scores, genuine)
    draws = _Draws.of([*groups[0], *groups[1]])
    values = []
    for counts in draws.counts:
        weights = counts[draws.place]
        if weights[genuine].sum() > 0 and weights[~genuine].sum() > 0:
            values.append(sweep.equal_error(weights).eer)
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(sweep.equal_error().eer, float(low), float(high), len(scores))


def means(values: Floats, groups: Sequence[str]) -> Estimate:
    """Mean of (N,) numbers of utterances."""
    estimate = ratio(values, np.ones(len(values)), groups)
    if estimate is None:
        raise UserError("no utterance to judge: check the data directory")
    return estimate
