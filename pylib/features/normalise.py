"""Mean and variance normalisation of feature matrices, by utterance or by speaker.

Clusters of raw MFCC follow the channel and the voice as much as the phone. Over a small corpus of
many channels, clusters of normalised MFCC are better targets.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

CMVN_MODES = ("none", "utterance", "speaker")
# Smallest standard deviation divided by, relative to the scale of the mean: a channel that does not
# vary is noise of the arithmetic, and stays near 0 instead of being blown up.
_RELATIVE_FLOOR = 1e-5


class MeanVariance:
    """Running count, mean and variance of D numbers; merged exactly enough in float64.

    Chan's update: no cancellation between large sums of squares.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = np.zeros(dim, dtype=np.float64)
        self._square = np.zeros(dim, dtype=np.float64)

    def add(self, frames: Matrix) -> None:
        """Take in frames (F, D)."""
        count = len(frames)
        if count == 0:
            return
        block = frames.astype(np.float64)
        mean = block.mean(axis=0)
        square = ((block - mean) ** 2).sum(axis=0)
        total = self.count + count
        shift = mean - self.mean
        self.mean += shift * (count / total)
        self._square += square + shift**2 * (self.count * count / total)
        self.count = total

    @classmethod
    def of(cls, matrices: Iterable[Matrix], dim: int) -> MeanVariance:
        """Statistics of all frames of some matrices (F_i, D)."""
        stats = cls(dim)
        for matrix in matrices:
            stats.add(matrix)
        return stats

    def deviation(self) -> npt.NDArray[np.float64]:
        """Standard deviation (D,) of the frames seen, as it is."""
        return np.sqrt(self._square / max(self.count, 1))

    def scale(self) -> npt.NDArray[np.float64]:
        """Standard deviation (D,), floored."""
        deviation = self.deviation()
        floor = _RELATIVE_FLOOR * np.maximum(np.abs(self.mean), 1.0)
        return np.maximum(deviation, floor)

    def apply(self, frames: Matrix) -> Matrix:
        """(frames - mean) / deviation as float32 (F, D)."""
        return ((frames - self.mean) / self.scale()).astype(np.float32)
