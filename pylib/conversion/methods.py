"""What each method of conversion does to the features of a source utterance.

source   nothing: copy synthesis, what the vocoder alone costs
target   copy synthesis of an utterance of the target: the top line
meanvar  each feature shifted and scaled from the source's mean and deviation to the target's
knn_mel  each frame the mean of its 4 nearest target frames, in standardised features
knn_z1   the same, nearest in the content latent (a kNN conversion after Baas, van Niekerk and
         Kamper 2023, with another space)
shift    FHVAE: z2 - source's s-vector + target's, z1 kept, means decoded and overlap-added
replace  FHVAE: z2 = the target's s-vector, z1 kept
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pylib.conversion.voices import Recent, Voices
from pylib.corpus.errors import UserError

if TYPE_CHECKING:  # torch only where a model is used: it takes 3 s to start
    from torch import Tensor

    from pylib.conversion.latents import LatentVoices, Windows

Matrix = npt.NDArray[np.float32]

METHODS = ("shift", "replace", "source", "target", "meanvar", "knn_mel", "knn_z1")
LATENT_METHODS = ("shift", "replace", "knn_z1")  # those that need a checkpoint
COPIES = ("source", "target")  # those that change nothing
NEIGHBOURS = 4
_ROWS = 256  # frames compared with all of the target's at once
_STD_FLOOR = 1e-3


@dataclass(frozen=True)
class Request:
    """One conversion.

    Attributes:
        name: utterance id of what is made.
        source: utterance that is converted.
        target: speaker whose voice is wanted.
        refs: utterances of the target that the voice is known by.
        carrier: utterance whose words are heard: `source`, or with method `target` one of the
            target's own.
    """

    name: str
    source: str
    target: str
    refs: tuple[str, ...]
    carrier: str


@dataclass(frozen=True)
class Converted:
    """What a method made, and what it would have made without changing the voice.

    Attributes:
        features: (F, D).
        baseline: (F, D), the carrier's; features less baseline is what was done to the voice.
    """

    features: Matrix
    baseline: Matrix


class Converter:
    """Converts features by one method.

    Args:
        method: one of METHODS.
        voices: the utterances.
        latent: the model; needed by LATENT_METHODS.

    Raises:
        UserError: an unknown method, or one that needs a model and has none.
    """

    def __init__(self, method: str, voices: Voices, latent: LatentVoices | None = None) -> None:
        if method not in METHODS:
            raise UserError(f"--method {method}: unknown: use {', '.join(METHODS)}")
        if method in LATENT_METHODS and latent is None:
            raise UserError(f"--method {method}: needs a trained model: give --checkpoint")
        self.method, self._voices = method, voices
        self._latent = latent
        self._contents: Recent[str, Matrix] = Recent(256)
        self._sequences: Recent[str, Tensor] = Recent(512)
        self._windows: Recent[str, tuple[Windows, Matrix]] = Recent(32)

    def __call__(self, request: Request) -> Converted:
        """Features of a conversion.

        Raises:
            UserError: features that are missing, too short or of another model.
        """
        make: Callable[[Request], Converted] = {
            "source": self._copy,
            "target": self._copy,
            "meanvar": self._meanvar,
            "knn_mel": self._knn_mel,
            "knn_z1": self._knn_z1,
            "shift": self._fhvae,
            "replace": self._fhvae,
        }[self.method]
        return make(request)

    def known(self, request: Request) -> tuple[str, ...]:
        """Utterances that the source's voice is known by: as many as references of the target."""
        return self._voices.company(request.source, len(request.refs))

    def _copy(self, request: Request) -> Converted:
        features = self._voices.features(request.carrier)
        return Converted(features, features)

    def _meanvar(self, request: Request) -> Converted:
        source = self._voices.features(request.source)
        own, other = self._statistics(self.known(request)), self._statistics(request.refs)
        made = (source - own[0]) / own[1] * other[1] + other[0]
        return Converted(made.astype(np.float32), source)

    def _knn_mel(self, request: Request) -> Converted:
        source = self._voices.features(request.source)
        own, other = self._statistics(self.known(request)), self._statistics(request.refs)
        pool = self._voices.joined(request.refs)
        made = nearest_mean((source - own[0]) / own[1], (pool - other[0]) / other[1], pool)
        return Converted(made, source)

    def _knn_z1(self, request: Request) -> Converted:
        source = self._voices.features(request.source)
        pool = self._voices.joined(request.refs)
        keys = np.concatenate([self._content(utt) for utt in request.refs])
        return Converted(nearest_mean(self._content(request.source), keys, pool), source)

    def _content(self, utt: str) -> Matrix:
        """Content (F, D1) of every frame of an utterance, as vectors of length 1."""
        return self._contents.get_or(
            utt, lambda: _unit(self._model().frame_contents(self._read(utt)))
        )

    def _fhvae(self, request: Request) -> Converted:
        from pylib.conversion.latents import replaced, shifted

        windows, rebuilt = self._windows.get_or(
            request.source, lambda: self._encoded(request.source)
        )
        target = self._s_vector(request.refs)
        if self.method == "replace":
            changed = replaced(windows, target)
        else:
            changed = shifted(windows, self._s_vector((request.source,)), target)
        return Converted(self._model().decode(changed), rebuilt)

    def _encoded(self, utt: str) -> tuple[Windows, Matrix]:
        windows = self._model().windows(self._read(utt))
        return windows, self._model().decode(windows)

    def _s_vector(self, utts: tuple[str, ...]) -> Tensor:
        """Sequence mean (D2,) of some utterances of one speaker, taken as one sequence."""
        parts = [
            self._sequences.get_or(utt, lambda utt=utt: self._model().segments(self._read(utt)))
            for utt in utts
        ]
        return self._model().s_vector(parts)

    def _model(self) -> LatentVoices:
        assert self._latent is not None
        return self._latent

    def _read(self, utt: str) -> Matrix:
        """Features of an utterance, checked against the model."""
        features = self._voices.features(utt)
        self._model().require(features, utt)
        return features

    def _statistics(self, utts: tuple[str, ...]) -> tuple[Matrix, Matrix]:
        """Mean and standard deviation (D,) over the frames of some utterances."""
        frames = self._voices.joined(utts).astype(np.float64)
        std = np.maximum(frames.std(axis=0), _STD_FLOOR)
        return frames.mean(axis=0).astype(np.float32), std.astype(np.float32)


def nearest_mean(queries: Matrix, keys: Matrix, values: Matrix, count: int = NEIGHBOURS) -> Matrix:
    """For each query (F, K) the mean of the values (P, D) of its nearest keys (P, K): (F, D).

    Nearest by Euclidean distance; with fewer than `count` keys, all of them.
    """
    count = min(count, len(keys))
    length = (keys.astype(np.float32) ** 2).sum(1)
    out = np.empty((len(queries), values.shape[1]), dtype=np.float32)
    for first in range(0, len(queries), _ROWS):
        part = slice(first, first + _ROWS)
        distance = length - 2 * (queries[part] @ keys.T)  # less what is the same for every key
        chosen = np.argpartition(distance, count - 1, axis=1)[:, :count]
        out[part] = values[np.sort(chosen, axis=1)].mean(axis=1)
    return out


def _unit(rows: Matrix) -> Matrix:
    """Rows of length 1: nearest by distance is then nearest by cosine."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
