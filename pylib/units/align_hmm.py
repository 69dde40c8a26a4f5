"""Monophone HMM-GMMs trained from a flat start by Viterbi training, to align speech with its text.

Three states a phone, diagonal Gaussian mixtures on 39-d MFCC normalised by speaker. Texts are
graphs with pronunciation variants and optional silence, so a path chooses both. Training begins
with equal shares of the speech and alternates between the best path and new Gaussians, which are
split on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pylib.units.align_graph import CLASSES, Graph, Ints, build_graph, even_path
from pylib.units.align_viterbi import Floats, best_paths
from pylib.units.pronounce import Words

_BATCH_FRAMES = 40_000  # frames x 1 row at a time: about 150 MB with back pointers
_FLOOR = 0.05  # of variances; those of the features are about 1
_SMOOTH = 9  # frames over which the level is smoothed to find the first silences
_PER_GAUSSIAN = 40  # frames a Gaussian needs before it is split


@dataclass(frozen=True)
class Utterance:
    """What is aligned.

    Attributes:
        features: (F, D) float32, normalised.
        words: variants of each word.
        graph: of the words.
    """

    features: Floats
    words: Words
    graph: Graph

    @classmethod
    def of(cls, features: Floats, words: Words) -> Utterance:
        """An utterance with its graph."""
        return cls(features, words, build_graph(words))


@dataclass(frozen=True)
class Mixtures:
    """A Gaussian mixture for each of CLASSES classes.

    Attributes:
        weights: (C, M), 0 for Gaussians that a class does not have.
        means, variances: (C, M, D).
    """

    weights: npt.NDArray[np.float64]
    means: npt.NDArray[np.float64]
    variances: npt.NDArray[np.float64]

    def scores(self, features: Floats) -> Floats:
        """Log-likelihoods (F, C) of frames (F, D), float32."""
        each = self.components(features)
        top = each.max(1)
        if each.shape[1] == 1:
            return top
        return top + np.log(np.exp(each - top[:, None]).sum(1))

    def components(self, features: Floats) -> Floats:
        """Log of weight x density (F, M, C) of each Gaussian, float32; classes come last so that
        what is done over Gaussians runs along the classes."""
        constant, linear, square = self._products
        out = features @ linear
        out += np.square(features) @ square
        out += constant
        return out.reshape(len(features), self.means.shape[1], self.means.shape[0])

    @cached_property
    def _products(self) -> tuple[Floats, Floats, Floats]:
        """What is added (M C,), what features and their squares are multiplied by (D, M C)."""
        dim = self.means.shape[2]
        precision = 1.0 / self.variances
        with np.errstate(divide="ignore"):
            constant = np.log(self.weights) - 0.5 * (
                dim * np.log(2 * np.pi)
                + np.log(self.variances).sum(2)
                + (self.means**2 * precision).sum(2)
            )
        constant = np.maximum(constant, -1e10).T.reshape(-1)
        linear = (self.means * precision).transpose(2, 1, 0).reshape(dim, -1)
        square = (-0.5 * precision).transpose(2, 1, 0).reshape(dim, -1)
        return constant.astype(np.float32), linear.astype(np.float32), square.astype(np.float32)


def estimate(
    features: Floats, classes: Ints, previous: Mixtures | None = None, split: bool = False
) -> Mixtures:
    """Gaussians of frames (F, D) whose class is known (F,).

    Args:
        features: all frames.
        classes: class of each.
        previous: mixtures whose Gaussians share out the frames of a class; None = one each.
        split: double the Gaussians of the classes that have frames enough.
    """
    dim = features.shape[1]
    many = 1 if previous is None else previous.means.shape[1]
    width = many * 2 if split else many
    weights = np.zeros((CLASSES, width))
    means = np.zeros((CLASSES, width, dim))
    variances = np.ones((CLASSES, width, dim))
    weights[:, 0] = 1.0
    order = np.argsort(classes, kind="stable")
    borders = np.searchsorted(classes[order], np.arange(CLASSES + 1))
    for number in range(CLASSES):
        own = features[order[borders[number] : borders[number + 1]]].astype(np.float64)
        if len(own) < 2:
            continue
        part = None if previous is None else _one(previous, number)
        weight, mean, variance = _fit(own, part)
        if split:
            weight, mean, variance = _split(weight, mean, variance, len(own))
        weights[number, : len(weight)] = weight
        weights[number, len(weight) :] = 0.0
        means[number, : len(weight)] = mean
        variances[number, : len(weight)] = variance
    return Mixtures(weights, means, variances)


Gaussians = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]


def _one(mixtures: Mixtures, number: int) -> Gaussians:
    have = mixtures.weights[number] > 0
    return (
        mixtures.weights[number][have],
        mixtures.means[number][have],
        mixtures.variances[number][have],
    )


def _fit(own: npt.NDArray[np.float64], part: Gaussians | None) -> Gaussians:
    """One step of EM on the frames (n, D) of a class."""
    if part is None or len(part[0]) == 1:
        variance = np.maximum(own.var(0), _FLOOR)
        return np.ones(1), own.mean(0)[None], variance[None]
    weight, mean, variance = part
    far = ((own[:, None] - mean) ** 2 / variance).sum(2) + np.log(variance).sum(1)
    log = np.log(weight) - 0.5 * far
    share = np.exp(log - log.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    mass = share.sum(0)
    good = mass > 5
    if not good.all():  # a Gaussian that few frames want is given up
        if not good.any():
            return _fit(own, None)
        return _fit(own, (weight[good] / weight[good].sum(), mean[good], variance[good]))
    new = share.T @ own / mass[:, None]
    spread = share.T @ own**2 / mass[:, None] - new**2
    return mass / mass.sum(), new, np.maximum(spread, _FLOOR)


def _split(weight: npt.NDArray, mean: npt.NDArray, variance: npt.NDArray, frames: int) -> Gaussians:
    """Each Gaussian that has frames enough as two, moved apart along its deviations."""
    parts = []
    for share, centre, spread in zip(weight, mean, variance, strict=True):
        if share * frames < 2 * _PER_GAUSSIAN:
            parts.append((share, centre, spread))
            continue
        move = 0.2 * np.sqrt(spread)
        parts += [(share / 2, centre + move, spread), (share / 2, centre - move, spread)]
    return tuple(np.array(item) for item in zip(*parts, strict=True))  # type: ignore[return-value]


def batches(items: Sequence[Utterance]) -> Iterator[list[int]]:
    """Indices of utterances of like length, so many that a batch fits the memory."""
    order = sorted(range(len(items)), key=lambda row: -len(items[row].features))
    while order:
        longest = len(items[order[0]].features)
        widest = max(len(items[row].graph.emit) for row in order[:256])
        count = max(1, min(256, _BATCH_FRAMES * 300 // (longest * widest)))
        yield order[:count]
        order = order[count:]


def align(mixtures: Mixtures, items: Sequence[Utterance]) -> tuple[list[Ints], list[int]]:
    """Best path (F_i,) of each utterance, and which had none (too short for their text).

    Those get equal shares instead.
    """
    paths: list[Ints] = [np.zeros(0, dtype=np.int64)] * len(items)
    short: list[int] = []
    for rows in batches(items):
        scores = [mixtures.scores(items[row].features) for row in rows]
        for row, path in zip(rows, best_paths([items[r].graph for r in rows], scores), strict=True):
            if path is None:
                short.append(row)
                path = even(items[row])
            paths[row] = path
    return paths, short


def even(item: Utterance) -> Ints:
    """Equal shares of the frames between silences (F,).

    The level is smoothed over 90 ms: a click or a breath would else pass for the first phone, and
    on texts that begin alike training never finds out (measured on five minutes of real speech:
    90 instead of 57 % of the words begin within 50 ms of the truth).
    """
    level = item.features[:, 0]
    around = np.pad(level, _SMOOTH // 2, mode="edge")
    level = np.convolve(around, np.full(_SMOOTH, 1 / _SMOOTH), "valid")
    low, high = np.percentile(level, [5, 95])
    return even_path(item.graph, item.words, level > low + 0.4 * (high - low))


def train(
    items: Sequence[Utterance],
    iterations: int,
    gaussians: int,
    log: Callable[[str], None] = lambda line: None,
) -> Mixtures:
    """Viterbi training from a flat start.

    Args:
        items: training utterances.
        iterations: best paths that are taken.
        gaussians: a class has at most so many, a power of 2; they are split on the way.
        log: takes progress lines.
    """
    frames = np.concatenate([item.features for item in items])
    paths = [even(item) for item in items]
    doublings = max(gaussians, 1).bit_length() - 1
    first = iterations // 3
    gap = max(1, (iterations - first) // (doublings + 1))
    splits = {first + gap * place for place in range(doublings)}
    mixtures: Mixtures | None = None
    for iteration in range(iterations + 1):
        emitted = np.concatenate(
            [item.graph.emit[path] for item, path in zip(items, paths, strict=True)]
        )
        mixtures = estimate(frames, emitted, mixtures, iteration in splits)
        if iteration == iterations:
            break
        paths, short = align(mixtures, items)
        log(f"iteration {iteration + 1}/{iterations}: {len(short)} too short for their text")
    assert mixtures is not None
    return mixtures
