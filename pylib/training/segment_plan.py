"""Which segments form micro-batch g: hierarchical sampling, speaker-balanced batches, evaluation.

A plan is a pure function of (seed, lengths, speakers, settings) and the index: nothing has to be
saved to resume in the middle of a pass, and any process can name any batch.

Source: hierarchical sampling as `wnhsu/ScalableFHVAE: fhvae/runners/hs_train_fhvae.py` does it
(arXiv 1804.03201). The speakers x utterances x segments of a batch are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.training.segment_settings import SegmentsConfig

Ints = npt.NDArray[np.int64]
_SUBSET, _REFRESH, _PASS, _BATCH = 11, 12, 13, 14  # keep the streams of random numbers apart


@dataclass(frozen=True)
class Drawn:
    """Segments to be read.

    Attributes:
        utts: (n,) index of the utterance of each.
        starts: (n,) first frame of each.
        rows: (n,) sequence of each: row of the table, or place within an evaluation batch.
    """

    utts: Ints
    starts: Ints
    rows: Ints


@dataclass(frozen=True)
class PlannedSegments:
    """One micro-batch.

    Attributes:
        index: global index g of the micro-batch.
        drawn: its segments.
        counts: (B,) nominal number of segments of the sequence of each.
        refresh: segments from which the rows of the table are estimated before the update; only
            in the first update of a pass.
    """

    index: int
    drawn: Drawn
    counts: Ints
    refresh: Drawn | None = None


def segment_counts(frames: Ints, segment: int, shift: int) -> Ints:
    """Segments of utterances of `frames` (M,) frames, none shorter than `segment`: (M,)."""
    return (np.asarray(frames, dtype=np.int64) - segment) // shift + 1


@dataclass
class _Pass:
    """What the batches of one pass are drawn from.

    Attributes:
        number: of the pass.
        subset: (K,) utterances.
        row_of: (M,) row of the table of each utterance; -1 outside the subset.
        order: drawn segments in the order of use, without balanced batches.
        groups: utterances of each speaker, with balanced batches.
    """

    number: int
    subset: Ints
    row_of: Ints
    order: Drawn | None
    groups: list[Ints]


class SegmentPlan:
    """All batches of a training set of M utterances.

    Attributes:
        counts: (M,) nominal segments of each utterance at the shift of training.
        rows: rows of the table.
        hierarchical: whether rows are estimated anew in each pass.
        batches_per_epoch: micro-batches that hold as many segments as the whole set counts.
        seconds_per_epoch: audio in those.
    """

    def __init__(
        self,
        frames: Ints,
        speakers: Ints,
        segment: int,
        rate: float,
        seed: int,
        settings: SegmentsConfig,
        by_speaker: bool = False,
        micro_batches: int = 1,
    ) -> None:
        """
        Args:
            frames: (M,) length of each utterance, at least `segment`.
            speakers: (M,) speaker of each, from 0.
            segment: frames of a segment.
            rate: frames a second.
            seed: of the run.
            settings: sampling and batch.
            by_speaker: the table is indexed by speaker.
            micro_batches: of an update, over all processes; a pass holds whole updates.

        Raises:
            UserError: more utterances or speakers asked for than there are, or a pass without a
                single update.
        """
        self.lengths = np.asarray(frames, dtype=np.int64)
        self.speakers = np.asarray(speakers, dtype=np.int64)
        self.segment, self.seed, self.settings = segment, seed, settings
        self.by_speaker, self.micro_batches = by_speaker, micro_batches
        self.counts = segment_counts(self.lengths, segment, settings.train_shift)
        self.kept = np.arange(len(self.lengths))
        self.hierarchical = settings.sampling == "hierarchical" and not by_speaker
        cached = settings.cached if self.hierarchical else 0
        if cached > len(self.lengths):
            raise UserError(
                f"segments.cached = {cached}: the training set has {len(self.lengths)} utterances "
                "to draw from: set segments.cached to that or less, or to 0 for all"
            )
        self.cached = cached or len(self.lengths)
        self.rows = int(self.speakers.max()) + 1 if by_speaker else self.cached
        self._row_counts = (
            np.bincount(self.speakers, self.counts).astype(np.int64) if by_speaker else self.counts
        )
        self._check()
        # First micro-batch of each pass met so far, and of the one after.
        self._firsts = [0]
        self._pass: _Pass | None = None
        self.batches_per_epoch = max(int(self.counts.sum()) // settings.batch_size, 1)
        self.seconds_per_epoch = self.batches_per_epoch * settings.batch_size * segment / rate

    def _check(self) -> None:
        settings, micro = self.settings, self.micro_batches
        if settings.speakers:
            several = int((np.bincount(self.speakers) > 1).sum())
            if several < settings.speakers:
                raise UserError(
                    f"segments.speakers = {settings.speakers}: {several} speakers of the training "
                    "set have two utterances or more: lower segments.speakers"
                )
            return
        least = int(np.sort(self.counts)[: self.cached].sum())
        if least < settings.batch * micro:
            raise UserError(
                f"segments.batch = {settings.batch} x {micro} micro-batches: a pass over "
                f"{self.cached} utterances may have only {least} segments: raise segments.cached "
                "or lower segments.batch"
            )

    def batch(self, index: int) -> PlannedSegments:
        """Micro-batch `index` (0, 1, ... over all passes)."""
        number = self._pass_of(index)
        if self._pass is None or self._pass.number != number:
            self._pass = self._form(number)
        current, place = self._pass, index - self._firsts[number]
        if current.order is None:
            drawn = self._balanced(index, current)
        else:
            size = self.settings.batch
            part = slice(place * size, (place + 1) * size)
            order = current.order
            drawn = Drawn(order.utts[part], order.starts[part], order.rows[part])
        first = self.hierarchical and place < self.micro_batches
        counts = self._row_counts[self.speakers[drawn.utts] if self.by_speaker else drawn.utts]
        return PlannedSegments(index, drawn, counts, self._refresh(current) if first else None)

    def pass_of(self, index: int) -> int:
        """Number of the pass that micro-batch `index` belongs to."""
        return self._pass_of(index)

    def _pass_of(self, index: int) -> int:
        while self._firsts[-1] <= index:
            number = len(self._firsts) - 1
            self._firsts.append(self._firsts[-1] + self._batches(self.subset(number)))
        return int(np.searchsorted(self._firsts, index, side="right")) - 1

    def _batches(self, subset: Ints) -> int:
        """Micro-batches of a pass over `subset`: whole updates, one at least."""
        update = self.settings.batch_size * self.micro_batches
        return max(int(self.counts[subset].sum()) // update, 1) * self.micro_batches

    def subset(self, number: int) -> Ints:
        """Utterances of a pass (K,): row k of the table is that of utterance k of these.

        With balanced batches they are drawn speaker by speaker, as many of each as fit.
        """
        total = len(self.lengths)
        if self.cached == total:
            return np.arange(total)
        rng = np.random.default_rng([self.seed, _SUBSET, number])
        order = rng.permutation(total)
        if self.settings.speakers == 0:
            return order[: self.cached]
        spoken = int(self.speakers.max()) + 1
        turn = rng.permutation(spoken)[self.speakers[order]]
        # Rank of each utterance among its speaker's, in the order drawn.
        by_speaker = np.argsort(self.speakers[order], kind="stable")
        sizes = np.bincount(self.speakers, minlength=spoken)
        rank = np.empty(total, dtype=np.int64)
        rank[by_speaker] = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        share = max(self.settings.utterances, -(-self.cached // spoken))
        chosen = np.lexsort((rank, turn, rank // share))[: self.cached]
        return order[chosen]

    def _form(self, number: int) -> _Pass:
        subset = self.subset(number)
        if self.by_speaker:
            row_of = self.speakers
        else:
            row_of = np.full(len(self.lengths), -1, dtype=np.int64)
            row_of[subset] = np.arange(len(subset))
        if self.settings.speakers == 0:
            rng = np.random.default_rng([self.seed, _PASS, number])
            drawn = self._draw(np.repeat(subset, self.counts[subset]), row_of, rng)
            mixed = rng.permutation(len(drawn.utts))
            order = Drawn(drawn.utts[mixed], drawn.starts[mixed], drawn.rows[mixed])
            return _Pass(number, subset, row_of, order, [])
        sorted_ = subset[np.argsort(self.speakers[subset], kind="stable")]
        borders = np.flatnonzero(np.diff(self.speakers[sorted_])) + 1
        groups = [group for group in np.split(sorted_, borders) if len(group) > 1]
        return _Pass(number, subset, row_of, None, groups)

    def _balanced(self, index: int, current: _Pass) -> Drawn:
        """speakers x utterances x segments; a speaker with too few utterances repeats them."""
        settings = self.settings
        rng = np.random.default_rng([self.seed, _BATCH, index])
        some = rng.choice(len(current.groups), settings.speakers, replace=False)
        utts = np.concatenate(
            [np.resize(rng.permutation(current.groups[i]), settings.utterances) for i in some]
        )
        return self._draw(np.repeat(utts, settings.segments), current.row_of, rng)

    def _refresh(self, current: _Pass) -> Drawn:
        """As many random segments of each utterance of the pass as it counts."""
        rng = np.random.default_rng([self.seed, _REFRESH, current.number])
        utts = np.repeat(current.subset, self.counts[current.subset])
        return self._draw(utts, current.row_of, rng)

    def _draw(self, utts: Ints, row_of: Ints, rng: np.random.Generator) -> Drawn:
        """Segments that start anywhere in the utterances given."""
        room = self.lengths[utts] - self.segment + 1
        starts = np.floor(rng.random(len(utts)) * room).astype(np.int64)
        return Drawn(utts, starts, row_of[utts])


class EvaluationPlan:
    """Batches of all segments of whole utterances, at a fixed shift.

    Attributes:
        counts: (M,) segments of each utterance.
        batches_per_epoch: batches of the whole set.
    """

    def __init__(self, frames: Ints, segment: int, rate: float, settings: SegmentsConfig) -> None:
        """
        Args:
            frames: (M,) length of each utterance, at least `segment`.
            segment: frames of a segment.
            rate: frames a second.
            settings: `eval_shift` and `eval_batch`.
        """
        self.lengths = np.asarray(frames, dtype=np.int64)
        self.kept = np.arange(len(self.lengths))
        self._shift = settings.eval_shift
        self.counts = segment_counts(self.lengths, segment, self._shift)
        # An utterance belongs to the batch in which it begins.
        before = np.cumsum(self.counts) - self.counts
        self._batches = np.split(
            self.kept, np.flatnonzero(np.diff(before // settings.eval_batch)) + 1
        )
        self.batches_per_epoch = len(self._batches)
        self.seconds_per_epoch = int(self.counts.sum()) * segment / rate

    def batch(self, index: int) -> PlannedSegments:
        """Batch `index` of the only epoch; sequences are numbered within it."""
        chosen = self._batches[index]
        counts = self.counts[chosen]
        rows = np.repeat(np.arange(len(chosen)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        drawn = Drawn(chosen[rows], within * self._shift, rows)
        return PlannedSegments(index, drawn, counts[rows])
