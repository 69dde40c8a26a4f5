"""Which utterances, and which stretch of them, form micro-batch g.

The plan is a pure function of (seed, lengths, settings): no state has to be saved to resume, and
any process can name any batch. The number of batches of an epoch is the same in every epoch,
because ties are broken at random only between lengths that are planned as equal.

Source: fairseq `data/audio/raw_audio_dataset.py` (sorted by clipped length, cropped to the
shortest) with epochs re-formed and the batch order shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.training.settings import DataConfig

Ints = npt.NDArray[np.int64]
_ORDER, _CROP = 1, 2  # keep the two streams of random numbers apart
_EVEN_UP_TO = 100  # batches an epoch up to which their sizes are evened out


@dataclass(frozen=True)
class PlannedBatch:
    """One micro-batch.

    Attributes:
        index: global index g of the micro-batch.
        rows: (B,) indices of utterances.
        starts: (B,) first input unit (sample or filter-bank frame) taken of each.
        length: units taken of every row; 0 = whole utterances, padded to the longest.
    """

    index: int
    rows: Ints
    starts: Ints
    length: int


class BatchPlan:
    """All batches of a training set.

    Attributes:
        kept: (U,) indices of the utterances that are used.
        dropped_short, dropped_long: indices of those that are not.
        batches_per_epoch: constant over epochs.
        seconds_per_epoch: audio that the batches hold after cropping, on average.
        waste: share of the audio lost by cropping to the shortest, or of padding in the batches.
    """

    def __init__(
        self,
        lengths: Ints,
        rate: float,
        hop: int,
        seed: int,
        config: DataConfig,
        crop: bool,
    ) -> None:
        """
        Args:
            lengths: (U,) length of each utterance in input units.
            rate: input units a second.
            hop: input units a model frame; crops start at multiples of it.
            seed: of the run.
            config: lengths, budget and crop.
            crop: crop to the shortest member (pre-training); else pad to the longest (CTC).

        Raises:
            UserError: no utterance is left, or one is longer than the budget of a batch.
        """
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.rate, self.hop, self.seed, self.config, self.crop = rate, hop, seed, config, crop
        longest = round(config.max_seconds * rate) or np.iinfo(np.int64).max
        shortest = max(round(config.min_seconds * rate), 1)
        short = self.lengths < shortest
        long = (self.lengths > longest) & (not crop)
        self.dropped_short, self.dropped_long = np.flatnonzero(short), np.flatnonzero(long)
        self.kept = np.flatnonzero(~short & ~long)
        if not len(self.kept):
            raise UserError(
                f"data: none of {len(self.lengths)} utterances is between {config.min_seconds:g} "
                f"and {config.max_seconds:g} s: check data.min_seconds and data.max_seconds"
            )
        self._clipped = np.minimum(self.lengths[self.kept], longest)
        tie = max(round(config.tie_seconds * rate), 1)
        self._keys = self._clipped // tie
        # The length a row is planned with: the largest of its tie, so that every order fits.
        self._planned = np.minimum((self._keys + 1) * tie - 1, self._clipped.max())
        self._bounds = self._form()
        self._epoch = -1
        self._batches: list[Ints] = []
        self.waste, self.seconds_per_epoch = self._measure()

    @property
    def batches_per_epoch(self) -> int:
        return len(self._bounds) - 1

    def batch(self, index: int) -> PlannedBatch:
        """Micro-batch `index` (0, 1, ... over all epochs)."""
        epoch, place = divmod(index, self.batches_per_epoch)
        if epoch != self._epoch:
            self._batches = self._order(epoch)
            self._epoch = epoch
        places = self._batches[place]
        rows = self.kept[places]
        if not self.crop:
            return PlannedBatch(index, rows, np.zeros(len(rows), dtype=np.int64), 0)
        length = int(self._clipped[places].min())
        starts = np.zeros(len(rows), dtype=np.int64)
        if self.config.crop == "random_aligned":
            rng = np.random.default_rng([self.seed, _CROP, index])
            choices = (self.lengths[rows] - length) // self.hop + 1
            starts = np.floor(rng.random(len(rows)) * choices).astype(np.int64) * self.hop
        return PlannedBatch(index, rows, starts, length)

    def _order(self, epoch: int) -> list[Ints]:
        """Places (into `kept`) of each batch of an epoch, batches in shuffled order."""
        rng = np.random.default_rng([self.seed, _ORDER, epoch])
        order = np.lexsort((rng.random(len(self.kept)), self._keys))
        shuffled = rng.permutation(self.batches_per_epoch)
        return [order[self._bounds[i] : self._bounds[i + 1]] for i in shuffled]

    def _form(self) -> Ints:
        """(batches + 1,) boundaries in the sorted order, within the budget, sizes evened out."""
        planned = np.sort(self._planned)
        budget = round(self.config.batch_seconds * self.rate)
        longest = int(self._clipped.max())
        if longest > budget:
            raise UserError(
                f"data: the longest utterance is {longest / self.rate:.2f} s, a batch holds "
                f"{self.config.batch_seconds:g} s: raise data.batch_seconds or set "
                "data.max_seconds"
            )
        return batch_bounds(planned, budget)

    def _measure(self) -> tuple[float, float]:
        sizes, used = 0, 0
        clipped = np.sort(self._clipped)
        for first, last in zip(self._bounds[:-1], self._bounds[1:], strict=True):
            part = clipped[first:last]
            sizes += len(part) * int(part[0] if self.crop else part[-1])
            used += int(part.sum())
        if self.crop:
            return 1 - sizes / used, sizes / self.rate
        return 1 - used / sizes, used / self.rate


def batch_bounds(planned: Ints, budget: int) -> Ints:
    """Boundaries (batches + 1,) of batches over ascending lengths, few ones evened out.

    planned: (U,) lengths. budget: most rows x longest of a batch, not below the longest.
    """
    bounds = _fill(planned, budget)
    if len(bounds) - 1 <= _EVEN_UP_TO:
        low, high = int(planned.max()), budget
        while high - low > max(budget // 1000, 1):
            middle = (low + high) // 2
            tried = _fill(planned, middle)
            if len(tried) == len(bounds):
                high, bounds = middle, tried
            else:
                low = middle
    return np.asarray(bounds, dtype=np.int64)


def _fill(planned: Ints, budget: int) -> list[int]:
    """Boundaries of batches over ascending lengths: rows x longest <= budget, one row at least."""
    bounds, first = [0], 0
    values = planned.tolist()
    for place, length in enumerate(values):
        if (place - first + 1) * length > budget and place > first:
            bounds.append(place)
            first = place
    return [*bounds, len(values)]
