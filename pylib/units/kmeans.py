"""Mini-batch k-means over features that never lie in memory together.

scikit-learn's `MiniBatchKMeans` is fed by `partial_fit` from a pool of frames that is filled from
utterances in a random order, so memory does not depend on the corpus. Parameters are HuBERT's:
k-means++ with 20 starts, batches of 10,000, at most 100 epochs, stop after 100
batches without improvement, no reassignment of small clusters.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.units.assign import Assigner

Matrix = npt.NDArray[np.float32]


class FrameSource(Protocol):
    """Random access to the features of utterances, as `pylib.features.reader.FeatureReader`."""

    dim: int
    utts: list[str]

    def read(self, utt: str) -> Matrix:
        """Features (F, D) of an utterance."""

    def num_frames(self, utt: str) -> int:
        """F of an utterance, without reading its features."""


@dataclass(frozen=True)
class FitOptions:
    """How a k-means is fitted; the names in brackets are those of learn_kmeans.py."""

    clusters: int = 100  # K (`n_clusters`)
    seed: int = 0
    starts: int = 20  # k-means++ starts, the one of lowest inertia is kept (`n_init`)
    batch_frames: int = 10_000  # frames of an update (`batch_size`)
    max_epochs: int = 100  # passes over the data at most (`max_iter`)
    patience: int = 100  # updates without improvement before stopping (`max_no_improvement`)
    # Frames shuffled together. 100,000 are about 100 random utterances, and 16 MB at 39-d.
    pool_frames: int = 100_000
    # Share of the utterances used, drawn by the seed; 1 = all. 1 h of audio suffices: PNMI of
    # HuBERT's units changes by at most 0.012 between 1 h and 100 h.
    fraction: float = 1.0
    # scikit-learn's threads. One gives the same bits on any machine of one kind.
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("clusters", "starts", "batch_frames", "max_epochs", "patience", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"k-means: {name} is {getattr(self, name)}: must be at least 1")
        if self.pool_frames < max(self.batch_frames, 2 * self.clusters):
            raise UserError(
                f"k-means: pool_frames is {self.pool_frames}: must hold a batch "
                f"({self.batch_frames}) and twice the clusters ({2 * self.clusters})"
            )
        if not 0 < self.fraction <= 1:
            raise UserError(f"k-means: fraction is {self.fraction}: must be in (0, 1]")


@dataclass(frozen=True)
class FitResult:
    """What `fit` found.

    Attributes:
        centroids: float32 (K, D).
        inertia_per_frame: mean squared distance to the nearest centroid over the frames used.
        counts: int64 (K,), frames of each cluster over the frames used.
        frames: number of frames used.
        utterances: number of utterances used.
        updates: mini-batches taken in.
    """

    centroids: Matrix
    inertia_per_frame: float
    counts: npt.NDArray[np.int64]
    frames: int
    utterances: int
    updates: int


def fit(
    source: FrameSource, options: FitOptions, log: Callable[[str], None] = lambda line: None
) -> FitResult:
    """Fit K centroids to the frames of `source`.

    A function of the features, the options and the versions of the libraries only: not of how the
    features were sharded.

    Args:
        source: the features.
        options: see `FitOptions`.
        log: takes progress lines.

    Raises:
        UserError: fewer frames than clusters, or a feature file that cannot be read.
    """
    from threadpoolctl import threadpool_limits

    utts = _draw_utterances(source.utts, options)
    frames = sum(source.num_frames(utt) for utt in utts)
    if frames < options.clusters:
        raise UserError(
            f"k-means: {frames} frames in {len(utts)} utterances cannot give {options.clusters} "
            "clusters: use fewer clusters (--clusters), more data or a larger --fraction"
        )
    log(f"k-means: {options.clusters} clusters, {frames} frames of {len(utts)} utterances")
    # A small set is shuffled as a whole, epoch by epoch; k-means++ then sees no frame twice.
    batch = min(options.batch_frames, frames)
    pool_frames = min(options.pool_frames, max(frames, 2 * options.clusters))
    options = replace(options, batch_frames=batch, pool_frames=pool_frames)
    pool = _Pool(source, utts, options)
    with threadpool_limits(limits=options.threads):
        centroids = _start(pool.first(), options, log)
        centroids, updates = _update(centroids, pool, frames, options, log)
        inertia, counts = _measure(centroids, source, utts)
    log(f"k-means: {updates} updates, inertia per frame {inertia / frames:.5f}")
    return FitResult(centroids, inertia / frames, counts, frames, len(utts), updates)


def _draw_utterances(utts: Sequence[str], options: FitOptions) -> list[str]:
    if options.fraction == 1:
        return list(utts)
    count = max(1, round(len(utts) * options.fraction))
    rng = np.random.default_rng([options.seed, 1])
    chosen = np.sort(rng.choice(len(utts), size=count, replace=False))
    return [utts[i] for i in chosen]


class _Pool:
    """An endless stream of shuffled mini-batches, epoch after epoch, from a fixed buffer."""

    def __init__(self, source: FrameSource, utts: Sequence[str], options: FitOptions) -> None:
        self._source, self._utts, self._options = source, utts, options
        self._rng = np.random.default_rng([options.seed, 2])
        self._buffer = np.empty((options.pool_frames, source.dim), dtype=np.float32)
        self._kept = 0
        self._pieces = self._matrices()
        self._rest: Matrix | None = None
        self._fill()

    def first(self) -> Matrix:
        """The first filling of the pool (P, D): a view, valid until the stream is read."""
        return self._buffer

    def batches(self) -> Iterator[Matrix]:
        """Yield batches (B, D) without end; each is a copy."""
        size = self._options.batch_frames
        while True:
            order = self._rng.permutation(len(self._buffer))
            whole = len(order) // size * size
            for start in range(0, whole, size):
                yield self._buffer[order[start : start + size]]
            left = self._buffer[order[whole:]]
            self._buffer[: len(left)] = left
            self._kept = len(left)
            self._fill()

    def _matrices(self) -> Iterator[Matrix]:
        while True:
            for index in self._rng.permutation(len(self._utts)):
                yield self._source.read(self._utts[index])

    def _fill(self) -> None:
        at = self._kept
        while at < len(self._buffer):
            piece = self._rest if self._rest is not None else next(self._pieces)
            fits = min(len(piece), len(self._buffer) - at)
            self._buffer[at : at + fits] = piece[:fits]
            self._rest = piece[fits:] if fits < len(piece) else None
            at += fits


def _start(pool: Matrix, options: FitOptions, log: Callable[[str], None]) -> Matrix:
    """The best of several k-means++ starts, judged on other frames, as scikit-learn does it."""
    from sklearn.cluster import kmeans_plusplus

    rng = np.random.default_rng([options.seed, 3])
    size = min(len(pool) // 2, max(3 * options.batch_frames, 3 * options.clusters))
    drawn = rng.permutation(len(pool))
    sample, judge = pool[drawn[:size]], pool[drawn[size : 2 * size]]
    best, lowest = None, np.inf
    for _ in range(options.starts):
        centroids, _ = kmeans_plusplus(
            sample, options.clusters, random_state=int(rng.integers(2**31))
        )
        assigner = Assigner(centroids)
        inertia = assigner.inertia(judge, assigner(judge))
        if best is None or inertia < lowest:
            best, lowest = centroids, inertia
    assert best is not None
    log(f"k-means++: best of {options.starts} starts, inertia per frame {lowest / len(judge):.5f}")
    return best.astype(np.float32)


def _update(
    start: Matrix, pool: _Pool, frames: int, options: FitOptions, log: Callable[[str], None]
) -> tuple[Matrix, int]:
    """Mini-batch updates until the smoothed inertia stops falling."""
    from sklearn.cluster import MiniBatchKMeans

    model = MiniBatchKMeans(
        n_clusters=options.clusters,
        init=start,
        n_init=1,
        batch_size=options.batch_frames,
        compute_labels=False,
        random_state=options.seed,
        reassignment_ratio=0.0,
    )
    most = max(1, options.max_epochs * frames // options.batch_frames)
    weight = min(1.0, 2.0 * options.batch_frames / (frames + 1))
    smooth, lowest, since, centroids = 0.0, np.inf, 0, start
    for update, batch in enumerate(pool.batches(), 1):
        # Before the update: afterwards young centroids would be flattered by their own batch.
        assigner = Assigner(centroids)
        inertia = assigner.inertia(batch, assigner(batch)) / len(batch)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=UserWarning)  # MKL memory leak on Windows
            model.partial_fit(batch)
        centroids = model.cluster_centers_
        smooth = inertia if update == 1 else smooth * (1 - weight) + inertia * weight
        since = 0 if smooth < lowest else since + 1
        lowest = min(lowest, smooth)
        if update % 100 == 0:
            log(
                f"k-means: update {update} of at most {most}, inertia per frame {smooth:.5f}, "
                f"{since} without improvement (stops at {options.patience})"
            )
        if since >= options.patience or update >= most:
            break
    return np.ascontiguousarray(centroids, dtype=np.float32), update


def _measure(
    centroids: Matrix, source: FrameSource, utts: Sequence[str]
) -> tuple[float, npt.NDArray[np.int64]]:
    """Inertia and cluster sizes over all frames used."""
    assigner = Assigner(centroids)
    counts = np.zeros(len(centroids), dtype=np.int64)
    inertia = 0.0
    for utt in utts:
        frames = source.read(utt)
        ids = assigner(frames)
        counts += np.bincount(ids, minlength=len(centroids))
        inertia += assigner.inertia(frames, ids)
    return inertia, counts
