"""Which utterances of which kind of data form micro-batch g: several kinds that take turns.

The plan is a pure function of (seed, lengths, settings): no state has to be saved to resume, and
any process can name any batch.

Source: the mixing rule of `VATLM:tasks/vathubert_pretraining.py` and
`SpeechLM:data/multimodal_corpus_dataset.py`; kinds taking turns by micro-batch is our form of
"one batch of each kind in every update". Of the micro-batches of an update the first are of the
first kind, the last of the last, so that processes that share them out all meet all kinds, which
differ in cost, as far as there are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.training.batches import BatchPlan, batch_bounds
from pylib.training.settings import DataConfig

Ints = npt.NDArray[np.int64]
_DRAW = 21  # keeps the stream of random numbers apart


@dataclass(frozen=True)
class MixedBatch:
    """One micro-batch.

    Attributes:
        index: global index g of the micro-batch.
        part: which of the kinds.
        rows: (B,) indices of utterances of that kind; in a small set one may come twice.
    """

    index: int
    part: int
    rows: Ints


class MixturePlan:
    """All batches of several sets that take turns.

    Attributes:
        parts: plan of each set alone: which of its utterances are used.
        counts: utterances that each set gives in an epoch.
        batches_per_epoch, seconds_per_epoch: micro-batches of all sets and what they hold, in the
            first epoch; others differ by what their random rests are.
        formed: batches that the utterances of each set made in the first epoch; the fewest end it.
    """

    crop = False

    def __init__(
        self,
        lengths: Sequence[Ints],
        shares: Sequence[float],
        names: Sequence[str],
        rate: float,
        seed: int,
        config: DataConfig,
        block: int = 1,
    ) -> None:
        """
        Args:
            lengths: of each set, (U,) frames of each utterance.
            shares: utterances of an epoch of each set / utterances of all sets. A set that is
                alone gives all it has.
            names: of each set, for messages.
            rate: frames a second.
            seed: of the run.
            config: limits and budget, the same for each set.
            block: micro-batches of one kind in an update.

        Raises:
            UserError: nothing is left of a set, or its share is less than one utterance.
        """
        self.parts = []
        for one, name in zip(lengths, names, strict=True):
            try:
                self.parts.append(BatchPlan(one, rate, 1, seed, config, crop=False))
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
        self._lengths, self.rate, self.seed, self.block = lengths, rate, seed, block
        self._tie = max(round(config.tie_seconds * rate), 1)
        self._budget = round(config.batch_seconds * rate)
        total = sum(len(part.kept) for part in self.parts)
        self.counts = [int(share * total) for share in shares]
        if len(self.parts) == 1:
            self.counts = [total]
        for count, name, share in zip(self.counts, names, shares, strict=True):
            if count < 1:
                raise UserError(
                    f"{name}: a share of {share:g} of {total} utterances is none: raise its part "
                    "of mixture.dist"
                )
        # First group (one micro-batch of each set) of each epoch met so far, and of the next.
        self._firsts = [0]
        self._epoch, self._batches = -1, [[np.zeros(0, np.int64)]]
        first = self._form(0)
        self.formed = [len(part) for part in first]
        groups = min(self.formed)
        self.batches_per_epoch = groups * len(self.parts)
        used = [lengths[i][rows].sum() for i, part in enumerate(first) for rows in part[:groups]]
        self.seconds_per_epoch = float(sum(used)) / rate

    @property
    def kept(self) -> Ints:
        """Indices of the utterances of the first set that are used."""
        return self.parts[0].kept

    def batch(self, index: int) -> MixedBatch:
        """Micro-batch `index` (0, 1, ... over all epochs)."""
        update, place = divmod(index, len(self.parts) * self.block)
        part, within = divmod(place, self.block)
        group = update * self.block + within
        epoch = self.epoch_of(group)
        if epoch != self._epoch:
            self._batches, self._epoch = self._form(epoch), epoch
        return MixedBatch(index, part, self._batches[part][group - self._firsts[epoch]])

    def epoch_of(self, group: int) -> int:
        """Number of the epoch that holds a group, from 0."""
        while self._firsts[-1] <= group:
            formed = self._form(len(self._firsts) - 1)
            self._firsts.append(self._firsts[-1] + min(len(part) for part in formed))
        return int(np.searchsorted(self._firsts, group, side="right")) - 1

    def drawn(self, part: int, epoch: int) -> Ints:
        """Utterances that a set gives in an epoch: whole copies and a random rest."""
        kept = self.parts[part].kept
        copies, rest = divmod(self.counts[part], len(kept))
        rng = np.random.default_rng([self.seed, _DRAW, epoch, part])
        return np.concatenate([np.tile(kept, copies), rng.permutation(kept)[:rest]])

    def _form(self, epoch: int) -> list[list[Ints]]:
        """Batches of each set in an epoch, sorted into batches by length, in shuffled order."""
        return [self._form_part(part, epoch) for part in range(len(self.parts))]

    def _form_part(self, part: int, epoch: int) -> list[Ints]:
        rows = self.drawn(part, epoch)
        frames = np.asarray(self._lengths[part], dtype=np.int64)[rows]
        rng = np.random.default_rng([self.seed, _DRAW, epoch, part, 1])
        keys = frames // self._tie
        order = np.lexsort((rng.random(len(rows)), keys))
        planned = np.minimum((keys[order] + 1) * self._tie - 1, frames.max())
        bounds = batch_bounds(planned, self._budget)
        shuffled = rng.permutation(len(bounds) - 1)
        return [rows[order[bounds[i] : bounds[i + 1]]] for i in shuffled]
