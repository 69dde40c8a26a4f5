"""Micro-batches as tensors, prepared ahead of the loop by a background thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from pylib.nn.batch import PAD_LABEL, Batch
from pylib.training.batches import PlannedBatch
from pylib.training.inputs import InputReader
from pylib.training.targets import LabelStore


class BatchMaker:
    """Turns planned batches into tensors. Thread-safe after construction."""

    def __init__(
        self,
        reader: InputReader,
        utts: list[str],
        labels: LabelStore | None = None,
        tokens: dict[str, list[int]] | None = None,
        threads: int = 1,
    ) -> None:
        """
        Args:
            reader: the inputs.
            utts: utterance of each index of the plan.
            labels: unit labels, for offline targets.
            tokens: letter ids, for CTC.
            threads: that read utterances; decoding audio runs outside the interpreter's lock.
        """
        self.reader, self.utts, self.labels, self.tokens = reader, utts, labels, tokens
        self._pool = ThreadPoolExecutor(threads, "read") if threads > 1 else None

    def __call__(self, planned: PlannedBatch) -> Batch:
        """Read, crop or pad, and collate: inputs (B, N) or (B, F, D)."""
        names = tuple(self.utts[row] for row in planned.rows)
        fresh = self._pool is not None and not self.reader.holds(names)
        mapper = self._pool.map if self._pool and fresh else map
        values = list(mapper(self.reader.read, names))
        if planned.length:
            values = [
                value[start : start + planned.length]
                for value, start in zip(values, planned.starts.tolist(), strict=True)
            ]
        lengths = np.array([len(value) for value in values], dtype=np.int64)
        inputs = np.zeros((len(values), int(lengths.max()), *values[0].shape[1:]), np.float32)
        for row, value in enumerate(values):
            inputs[row, : len(value)] = value
        tokens, token_lengths = self._tokens(names)
        return Batch(
            inputs=torch.from_numpy(inputs),
            input_lengths=torch.from_numpy(lengths),
            labels=self._labels(names, planned, lengths),
            tokens=tokens,
            token_lengths=token_lengths,
            utts=names,
        )

    def _labels(
        self, names: tuple[str, ...], planned: PlannedBatch, lengths: np.ndarray
    ) -> torch.Tensor | None:
        if self.labels is None:
            return None
        frames = [self.reader.frames(length) for length in lengths.tolist()]
        out = np.full((len(names), max(frames)), PAD_LABEL, dtype=np.int64)
        first = (planned.starts // self.reader.hop).tolist()
        for row, name in enumerate(names):
            out[row, : frames[row]] = self.labels.get(name, first[row], frames[row])
        return torch.from_numpy(out)

    def _tokens(self, names: tuple[str, ...]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        if self.tokens is None:
            return None, None
        rows = [self.tokens[name] for name in names]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        out = np.zeros((len(rows), int(lengths.max())), dtype=np.int64)
        for row, ids in enumerate(rows):
            out[row, : len(ids)] = ids
        return torch.from_numpy(out), torch.from_numpy(lengths)


def micro_indices(
    update: int, updates: int, accumulate: int, rank: int, world: int
) -> Iterator[int]:
    """Global micro-batch indices of one process, from `update` on, in the order of use.

    g = (update * accumulate + micro) * world + rank: two processes see what one process with
    twice the accumulation sees.
    """
    for number in range(update * accumulate, updates * accumulate):
        yield number * world + rank


class Loader:
    """Batches in order, made ahead by one thread.

    Attributes:
        waited: seconds `next` has waited for batches so far.
    """

    def __init__(
        self,
        indices: Iterable[int],
        plan: Any,
        make: Callable[[Any], Any],
        ahead: int,
        pin: bool = False,
    ) -> None:
        """
        Args:
            indices: global micro-batch indices, in order.
            plan, make: what they are (`BatchPlan`, `SegmentPlan`), and as tensors.
            ahead: batches held ready.
            pin: page-locked memory, for accelerators.
        """
        self.waited = 0.0
        self._queue: queue.Queue = queue.Queue(maxsize=ahead)
        self._stop = threading.Event()
        self._work = (indices, plan, make, pin)
        self._thread = threading.Thread(target=self._fill, name="loader", daemon=True)
        self._thread.start()

    def _fill(self) -> None:
        indices, plan, make, pin = self._work
        try:
            for index in indices:
                batch = make(plan.batch(index))
                if not self._put((index, batch.pin_memory() if pin else batch)):
                    return
            self._put(StopIteration())
        except BaseException as error:  # handed to the loop, raised there
            self._put(error)

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def next(self) -> tuple[int, Any]:
        """The next (global index, batch). Raises what the reading raised."""
        began = time.perf_counter()
        item = self._queue.get()
        self.waited += time.perf_counter() - began
        if isinstance(item, StopIteration):
            raise RuntimeError("the loop asked for more batches than were planned")
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop reading ahead."""
        self._stop.set()
        self._thread.join(timeout=10)
