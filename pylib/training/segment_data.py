"""Training and development sets of segments: read, checked, made into batches."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pylib.corpus.atomic import sha256_file
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.features.cmvn import cmvn_path, identity, load_cmvn
from pylib.features.reader import FeatureReader
from pylib.nn.segments import SegmentBatch
from pylib.training.config import TrainConfig
from pylib.training.provenance import fingerprint
from pylib.training.segment_plan import Drawn, EvaluationPlan, Ints, PlannedSegments, SegmentPlan

log = logging.getLogger("train")

Floats = npt.NDArray[np.float32]
_SHUFFLE = 15  # stream of random numbers of the shuffled labels
_CHUNK = 2048  # segments of one chunk of a refresh


class FeatureStore:
    """Features of a data directory, the last ones read kept in memory. Safe between threads."""

    def __init__(self, data: str | Path, stem: str, cache_gb: float) -> None:
        """
        Args:
            data: the data directory.
            stem: name of the scp and json.
            cache_gb: memory for what was read, in GB.

        Raises:
            UserError: missing or disagreeing files.
        """
        self._reader = FeatureReader(data, stem)
        self.meta, self.dim, self.rate = self._reader.meta, self._reader.dim, self._reader.rate
        self.utts = self._reader.utts
        self._room = int(cache_gb * 1e9)
        self._cache: OrderedDict[str, Floats] = OrderedDict()
        self._lock = threading.Lock()

    def frames(self, utt: str) -> int:
        """Frames of an utterance. Raises UserError where the ark is unreadable."""
        with self._lock:
            return self._reader.num_frames(utt)

    def read(self, utt: str) -> Floats:
        """Features (frames, dim) float32. Raises UserError: unreadable, NaN or infinite."""
        with self._lock:
            value = self._cache.get(utt)
            if value is not None:
                self._cache.move_to_end(utt)
                return value
            value = self._reader.read(utt)
            self._room -= value.nbytes
            self._cache[utt] = value
            while self._room < 0:
                _, old = self._cache.popitem(last=False)
                self._room += old.nbytes
            return value

    def segments(self, utts: Sequence[str], starts: Ints, length: int) -> Tensor:
        """Stretches of `length` frames: (n, length, dim) float32.

        Raises:
            UserError: an utterance that is shorter than it was.
        """
        out = np.empty((len(utts), length, self.dim), dtype=np.float32)
        previous, value = "", out[0] if len(out) else out
        for place, (utt, start) in enumerate(zip(utts, starts.tolist(), strict=True)):
            if utt != previous:
                previous, value = utt, self.read(utt)
            if start + length > len(value):
                raise UserError(
                    f"{self._reader.data}/{self._reader.stem}.scp: '{utt}' has {len(value)} "
                    "frames, it had more when the run began: the features were made anew, begin "
                    "another run"
                )
            out[place] = value[start : start + length]
        return torch.from_numpy(out)


class Refresh:
    """Segments from which rows of the table are estimated, read chunk by chunk when iterated."""

    def __init__(self, store: FeatureStore, utts: list[str], drawn: Drawn, length: int) -> None:
        self._store, self._utts, self._drawn, self._length = store, utts, drawn, length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (rows (n,) int64, segments (n, T, F) float32)."""
        drawn = self._drawn
        for first in range(0, len(drawn.rows), _CHUNK):
            part = slice(first, first + _CHUNK)
            names = [self._utts[row] for row in drawn.utts[part].tolist()]
            segments = self._store.segments(names, drawn.starts[part], self._length)
            yield torch.from_numpy(drawn.rows[part]), segments


class SegmentMaker:
    """Turns planned batches into tensors."""

    def __init__(self, store: FeatureStore, utts: list[str], speakers: Ints, length: int) -> None:
        """
        Args:
            store: the features.
            utts: utterance of each index of the plan.
            speakers: (M,) speaker of each.
            length: frames of a segment.
        """
        self.store, self.utts, self.speakers, self.length = store, utts, speakers, length

    def __call__(self, planned: PlannedSegments) -> SegmentBatch:
        """Read the segments of a batch."""
        drawn = planned.drawn
        names = tuple(self.utts[row] for row in drawn.utts.tolist())
        again = planned.refresh
        return SegmentBatch(
            segments=self.store.segments(names, drawn.starts, self.length),
            sequences=torch.from_numpy(drawn.rows),
            counts=torch.from_numpy(planned.counts.astype(np.float32)),
            speakers=torch.from_numpy(self.speakers[drawn.utts]),
            utterances=torch.from_numpy(drawn.utts),
            input_lengths=torch.full((len(names),), self.length, dtype=torch.int64),
            utts=names,
            refresh=None if again is None else Refresh(self.store, self.utts, again, self.length),
        )


@dataclass(frozen=True)
class SegmentSet:
    """A data directory as batches of segments.

    Attributes:
        path: the data directory.
        plan, make: its batches, and how they become tensors.
        utts: utterance of each index of the plan.
        names: speakers, in the order of their numbers.
        rate: frames a second.
        identity: sha256 over utterances, lengths, speakers and features.
        meta: description of the features.
        mean, std: (F,) of the training set; None for the development set.
        text, unusable, labels: as in `data.SpeechSet`, empty here.
    """

    path: Path
    plan: SegmentPlan | EvaluationPlan
    make: SegmentMaker
    utts: list[str]
    names: list[str]
    rate: float
    identity: str
    meta: Mapping[str, Any]
    mean: npt.NDArray[np.float64] | None = None
    std: npt.NDArray[np.float64] | None = None
    text: Mapping[str, str] | None = None
    unusable: tuple[str, ...] = ()
    labels: None = None

    def batch(self, index: int) -> SegmentBatch:
        """Micro-batch `index`."""
        return self.make(self.plan.batch(index))

    @property
    def hours(self) -> float:
        """Hours of audio in the utterances that are used."""
        return float(self.plan.lengths.sum()) / self.rate / 3600

    @property
    def rows(self) -> int:
        """Rows of the table of sequence means (training only)."""
        return self.plan.rows if isinstance(self.plan, SegmentPlan) else 0


def open_segments(
    path: str | Path, config: TrainConfig, training: bool, without: Collection[str] = ()
) -> SegmentSet:
    """Open and check a data directory for training or validation on segments.

    Utterances shorter than a segment are left out and counted in the log; with balanced batches
    so are, in training, those of speakers with one utterance.

    Args:
        path: the data directory.
        config: of a segment system.
        training: draw batches from it; else take all segments in order.
        without: further utterances to leave out: those that are validated on.

    Raises:
        UserError: missing features, or of another dimension; statistics of another set; nothing
            left; more sequences asked for than exist.
    """
    assert config.fhvae and config.segments and config.objective
    settings, length = config.segments, config.fhvae.segment
    data = DataDir.load(path)
    store = FeatureStore(path, settings.features, settings.cache_gb)
    if store.dim != config.fhvae.feature_dim:
        raise UserError(
            f"{path}/{settings.features}.json: dim = {store.dim}, the model expects "
            f"{config.fhvae.feature_dim}: set fhvae.feature_dim={store.dim}, or segments.features"
        )
    _tell(path, [utt for utt in store.utts if utt in without], "held for validation")
    frames = {utt: store.frames(utt) for utt in store.utts if utt not in without}
    utts = _usable(path, data.utt2spk, frames, config, training)
    names = sorted({data.utt2spk[utt] for utt in utts})
    number = {name: place for place, name in enumerate(names)}
    speakers = np.array([number[data.utt2spk[utt]] for utt in utts], dtype=np.int64)
    lengths = np.array([frames[utt] for utt in utts], dtype=np.int64)
    mean = std = None
    plan: SegmentPlan | EvaluationPlan
    if training:
        if config.objective.shuffle_speakers:
            speakers = np.random.default_rng([config.run.seed, _SHUFFLE]).permutation(speakers)
        mean, std = _statistics(Path(path), settings.features, store.meta)
        plan = SegmentPlan(
            lengths, speakers, length, store.rate, config.run.seed, settings,
            config.objective.table == "speaker", config.optim.micro_batches,
        )  # fmt: skip
    else:
        plan = EvaluationPlan(lengths, length, store.rate, settings)
    moments = [] if std is None or mean is None else [mean.tolist(), std.tolist()]
    rows = [[utt, frames[utt], data.utt2spk[utt]] for utt in utts]
    return SegmentSet(
        path=Path(path),
        plan=plan,
        make=SegmentMaker(store, utts, speakers, length),
        utts=utts,
        names=names,
        rate=store.rate,
        identity=fingerprint(rows, identity(store.meta), moments),
        meta=store.meta,
        mean=mean,
        std=std,
    )


def _usable(
    path: str | Path,
    utt2spk: Mapping[str, str],
    frames: Mapping[str, int],
    config: TrainConfig,
    training: bool,
) -> list[str]:
    """Utterances with a segment and, for balanced batches, with another of their speaker."""
    assert config.fhvae is not None and config.segments is not None
    length = config.fhvae.segment
    utts = [utt for utt in frames if frames[utt] >= length]
    short = [utt for utt in frames if frames[utt] < length]
    _tell(path, short, f"shorter than a segment of {length} frames")
    if training and config.segments.speakers:
        spoken = Counter(utt2spk[utt] for utt in utts)
        alone = [utt for utt in utts if spoken[utt2spk[utt]] == 1]
        _tell(path, alone, "of speakers with one utterance")
        utts = [utt for utt in utts if spoken[utt2spk[utt]] > 1]
    if not utts:
        raise UserError(
            f"{path}: no utterance is left: each needs fhvae.segment = {length} frames, where "
            "segments.speakers > 0 another one of its speaker, and not to be validated on"
        )
    return utts


def _statistics(
    path: Path, stem: str, meta: Mapping[str, Any]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation that were computed on exactly these features of this set."""
    file = cmvn_path(path, stem)
    mean, std = load_cmvn(file, meta)
    found = json.loads(file.read_text(encoding="utf-8")).get("sha256")
    if found is not None and found != sha256_file(path / f"{stem}.scp"):
        raise UserError(
            f"{file}: was computed over other utterances than {path}/{stem}.scp lists (a part of "
            f"another set?): run steps/compute_cmvn.sh --feats {stem} {path}"
        )
    return mean, std


def check_sets(train: SegmentSet, dev: SegmentSet) -> None:
    """Refuse a development set of other features than the training set's."""
    if identity(train.meta) != identity(dev.meta):
        raise UserError(
            f"{train.path} and {dev.path}: their features are not of one kind and configuration: "
            "make those of both sets alike"
        )


def _tell(path: str | Path, utts: list[str], why: str) -> None:
    if utts:
        shown = " ".join(utts[:5])
        log.warning("%s: %d utterances left out, %s: %s", path, len(utts), why, shown)
