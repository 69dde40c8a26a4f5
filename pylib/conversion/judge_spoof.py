"""Can converted speech be told from genuine? A detector of our own: LFCC and two mixtures.

A mixture of Gaussians on linear-frequency cepstra for genuine and one for converted speech, the
usual baseline of spoofing detection. It keys on the artefacts of a vocoder, so what counts as
genuine has passed through the same analysis and synthesis, and every utterance is scored by a
detector that has heard neither its speakers nor itself. Levels are made equal first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError

RATE = 16000
WINDOW, HOP, FFT = 320, 160, 512  # samples: 20 ms every 10 ms
FILTERS = 20  # triangles from 0 to 8 kHz, and as many coefficients, c0 included
COMPONENTS = 32
MAX_FRAMES = 60_000  # of each class for training, drawn by the seed

Floats = npt.NDArray[np.float64]


class TooFewSpeakers(UserError):
    """Not enough speakers to train a detector on some and test it on others."""


@dataclass(frozen=True)
class Example:
    """An utterance for the detector.

    Attributes:
        features: (T, 60).
        speakers: everybody whose voice is in it (source and target of a conversion).
    """

    features: Floats
    speakers: frozenset[str]


@cache
def _filters() -> Floats:
    """(257, 20) triangles of equal width on the linear axis."""
    edges = np.linspace(0, RATE / 2, FILTERS + 2)
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.asarray(np.clip(np.minimum(rise, fall), 0, None))


def lfcc(samples: npt.NDArray[np.float32]) -> Floats:
    """Linear-frequency cepstra with deltas and their deltas.

    Args:
        samples: float32 (N,) at 16 kHz, at least 20 ms; any level.

    Returns:
        (T, 60).

    Raises:
        UserError: shorter than a window, or digital silence.
    """
    from scipy.fft import dct

    signal = np.asarray(samples, dtype=np.float64)
    if len(signal) < WINDOW or not np.abs(signal).max() > 0:
        raise UserError(f"{len(signal)} samples, too short or silent: the detector needs speech")
    signal = signal / np.sqrt((signal**2).mean())
    frames = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hamming(WINDOW), FFT, axis=1)) ** 2
    cepstra = dct(np.log(power @ _filters() + 1e-6), norm="ortho", axis=1)
    first = _delta(cepstra)
    return np.concatenate([cepstra, first, _delta(first)], axis=1)


def _delta(values: Floats) -> Floats:
    """Slope over five frames, the edges repeated; (T, D)."""
    padded = np.pad(values, ((2, 2), (0, 0)), mode="edge")
    return np.asarray((2 * (padded[4:] - padded[:-4]) + padded[3:-1] - padded[1:-3]) / 10)


class SpoofDetector:
    """Log-likelihood ratio of genuine against converted speech, mean over frames."""

    def __init__(self, seed: int = 0, components: int = COMPONENTS) -> None:
        self.seed = seed
        self.components = components
        self._mixtures: list[Any] = []

    def fit(self, genuine: Sequence[Floats], converted: Sequence[Floats]) -> SpoofDetector:
        """Fit both mixtures; lists of (T, 60)."""
        self._mixtures = [self._mixture(part) for part in (genuine, converted)]
        return self

    def _mixture(self, features: Sequence[Floats]) -> Any:
        from sklearn.mixture import GaussianMixture

        frames = np.concatenate(features)
        if len(frames) > MAX_FRAMES:
            rng = np.random.default_rng(self.seed)
            frames = frames[np.sort(rng.choice(len(frames), MAX_FRAMES, replace=False))]
        mixture = GaussianMixture(
            min(self.components, max(1, len(frames) // 50)), covariance_type="diag",
            reg_covar=1e-4, max_iter=30, tol=1e-2, init_params="k-means++", random_state=self.seed,
        )  # fmt: skip
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # thirty rounds are enough, converged or not
            return mixture.fit(frames)

    def score(self, features: Floats) -> float:
        """Higher = more genuine; (T, 60)."""
        genuine, converted = (mixture.score(features) for mixture in self._mixtures)
        return float(genuine - converted)


def halves(sources: Sequence[str], targets: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
    """All speakers in two parts with as many targets (and other speakers) in each, by name."""
    wanted = sorted(set(targets))
    others = sorted(set(sources) - set(targets))
    return (
        frozenset(wanted[0::2] + others[0::2]),
        frozenset(wanted[1::2] + others[1::2]),
    )


def cross_scores(
    genuine: Mapping[str, Example],
    converted: Mapping[str, Example],
    parts: tuple[frozenset[str], frozenset[str]],
    more: Sequence[Example] = (),
    seed: int = 0,
) -> tuple[dict[str, float], dict[str, float]]:
    """Scores of utterances by detectors fitted on the other half of the speakers.

    An utterance whose speakers are in different halves is left out: no detector may hear it.

    Args:
        genuine: utterance -> example that passed analysis and synthesis.
        converted: likewise, converted.
        parts: the two halves of the speakers.
        more: further converted examples, of other systems, to train on.
        seed: of the mixtures.

    Returns:
        (utterance -> score of the genuine, of the converted ones).

    Raises:
        TooFewSpeakers: a half without genuine or converted utterances.
    """
    scores: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for test, train in (parts, parts[::-1]):
        bona = [item.features for item in genuine.values() if item.speakers <= train]
        fake = [item.features for item in converted.values() if item.speakers <= train]
        fake += [item.features for item in more if item.speakers <= train]
        tested = [
            {utt: item for utt, item in group.items() if item.speakers <= test}
            for group in (genuine, converted)
        ]
        if not bona or not fake or not all(tested):
            raise TooFewSpeakers(
                f"spoofing detection: {len(bona)} genuine and {len(fake)} converted utterances to "
                f"train on, {len(tested[0])} and {len(tested[1])} to test, once speakers are kept "
                "apart: more target speakers are needed (at least 2, with sources in both halves)"
            )
        detector = SpoofDetector(seed).fit(bona, fake)
        for out, group in zip(scores, tested, strict=True):
            out.update({utt: detector.score(item.features) for utt, item in group.items()})
    return scores
