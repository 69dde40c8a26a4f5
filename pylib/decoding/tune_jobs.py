"""Decoding a development set at many settings, in processes that share one loaded model."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from rapidfuzz.distance import Levenshtein

from pylib.corpus.ark import read_mat
from pylib.decoding.lexicon_beam import BeamOptions, LexiconBeam
from pylib.decoding.search import LogProbs
from pylib.decoding.tune import Point, Trial, at_point

if TYPE_CHECKING:
    from multiprocessing.pool import Pool

Normalise = Callable[[str], list[str]]
Task = tuple[Point, int, list[str]]  # point, beam, utterances


class DevEvaluator:
    """Scores settings on a set that fits into memory; use as a context manager.

    Args:
        beam: loaded before the processes fork, so that they share its pages.
        log_probs: the set's log-probabilities, read whole.
        refs: utterance -> reference words, normalised.
        normalise: what is done to hypotheses (the same as was done to refs).
        options: all but the point's two values.
        nj: processes.
    """

    def __init__(
        self,
        beam: LexiconBeam,
        log_probs: LogProbs,
        refs: Mapping[str, list[str]],
        normalise: Normalise,
        options: BeamOptions,
        nj: int = 1,
    ) -> None:
        self.beam, self.refs, self.normalise, self.options = beam, refs, normalise, options
        self.nj = max(nj, 1)
        empty = np.zeros((0, len(log_probs.tokens.symbols)), dtype=np.float32)
        self.matrices = {
            utt: empty if utt in log_probs.too_short else read_mat(log_probs.rx[utt], utt)
            for utt in refs
        }
        self._pool: Pool | None = None

    def __enter__(self) -> DevEvaluator:
        global _WORKER
        if self.nj > 1:
            _WORKER = self  # inherited by the forked processes
            self._pool = multiprocessing.get_context("fork").Pool(self.nj, _default_signals)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _WORKER
        _WORKER = None
        if self._pool is not None:
            # terminate() is for failures: it may hit a process that holds the queue's lock.
            (self._pool.close if kind is None else self._pool.terminate)()
            self._pool.join()
            self._pool = None

    def errors(self, task: Task) -> tuple[int, int]:
        """(word errors, character errors) of some utterances at one point."""
        point, beam, utts = task
        options = at_point(self.options, point, beam)
        words = chars = 0
        for utt in utts:
            found = self.beam.decode(self.matrices[utt], options).words
            hyp = self.normalise(" ".join(found))
            words += Levenshtein.distance(self.refs[utt], hyp)
            chars += Levenshtein.distance(" ".join(self.refs[utt]), " ".join(hyp))
        return words, chars

    def trials(self, points: list[Point], beam: int) -> list[Trial]:
        """One trial per point, decoded with a beam of that size."""
        utts = sorted(self.refs, key=lambda u: (-len(self.matrices[u]), u))
        shards = [shard for i in range(2 * self.nj) if (shard := utts[i :: 2 * self.nj])]
        tasks = [(point, beam, shard) for point in points for shard in shards]
        if self._pool is None:
            counted = [self.errors(task) for task in tasks]
        else:
            counted = self._pool.map(_in_worker, tasks, chunksize=1)
        total = sum(len(words) for words in self.refs.values())
        trials = []
        for i, (lm_weight, word_score) in enumerate(points):
            mine = counted[i * len(shards) : (i + 1) * len(shards)]
            words, chars = (sum(column) for column in zip(*mine, strict=True))
            trials.append(Trial(beam, lm_weight, word_score, words, total, chars))
        return trials


_WORKER: DevEvaluator | None = None


def _default_signals() -> None:
    # A verb turns TERM into an exception; in a forked worker that ends in a lock nobody opens.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _in_worker(task: Task) -> tuple[int, int]:
    assert _WORKER is not None
    return _WORKER.errors(task)
