"""The training and development sets of audio-visual systems, checked and ready to be batched."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from pylib.corpus.errors import UserError
from pylib.nn.modal_batch import PAD_LABEL, ModalBatch
from pylib.training.av_reader import CROP, RATE, SIDE, AVReader, View, collate, number_of
from pylib.training.av_settings import AVDataConfig
from pylib.training.batches import BatchPlan, PlannedBatch
from pylib.training.mixture_plan import MixedBatch, MixturePlan
from pylib.training.provenance import fingerprint
from pylib.training.targets import too_fast
from pylib.units.labels import LabelReader

if TYPE_CHECKING:
    from pylib.features.noise import NoiseSet
    from pylib.training.config import TrainConfig

log = logging.getLogger("train")

_VIEW = 22  # keeps the stream of random numbers apart
_PAD_TOKEN = 1
# Streams that each kind of data beside the first has.
_OF_KIND = {
    "audiotext": ("audio", "phone"),
    "onlytext": ("phone",),
    "onlyaudio": ("audio",),
}


class UnitStore:
    """Unit labels at 25 Hz of a set, checked once and kept in the smallest type that holds K."""

    def __init__(self, reader: AVReader, utts: Sequence[str], clusters: int) -> None:
        """
        Args:
            reader: says how many frames each utterance has.
            utts: the utterances that will be asked for.
            clusters: K of the model's head.

        Raises:
            UserError: another rate, alignment, length or K; all labels one unit.
        """
        labels = LabelReader(reader.path)
        self.meta = labels.meta
        where = f"{reader.path}/labels.json"
        again = f"run steps/dump_labels.sh --rate {RATE} --align start"
        for key, found, wanted in (("rate", labels.rate, RATE), ("align", labels.align, "start")):
            if found != wanted:
                raise UserError(
                    f"{where}: {key} = {found}, audio-visual frames need {wanted}: {again}"
                )
        if labels.clusters != clusters:
            raise UserError(
                f"{where}: labels have {labels.clusters} clusters, the model {clusters}: set "
                f"units.clusters={labels.clusters}"
            )
        dtype = np.uint8 if clusters <= 256 else np.uint16 if clusters <= 65536 else np.int32
        self._labels: dict[str, npt.NDArray] = {}
        seen = np.zeros(clusters, dtype=bool)
        for utt in utts:
            ids = labels.read(utt, reader.frames[utt])
            seen[ids] = True
            self._labels[utt] = ids.astype(dtype)
        if seen.sum() < 2:
            raise UserError(
                f"{reader.path}/labels.scp: all labels are one and the same unit: a wrong or "
                "empty k-means model? look at steps/measure_units.sh"
            )

    def batch(self, utts: Sequence[str], width: int) -> torch.Tensor:
        """(B, width) int64, PAD_LABEL beyond the end of each."""
        out = np.full((len(utts), width), PAD_LABEL, dtype=np.int64)
        for row, utt in enumerate(utts):
            ids = self._labels[utt]
            out[row, : len(ids)] = ids
        return torch.from_numpy(out)


@dataclass(frozen=True)
class Part:
    """One kind of data of a set.

    Attributes:
        reader: its streams.
        utts: utterance of each index of its plan.
        labels: its units (pre-training), or None.
        tokens: its transcripts as pieces (seq2seq), or None.
    """

    reader: AVReader
    utts: list[str]
    labels: UnitStore | None = None
    tokens: dict[str, list[int]] | None = None

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(U,) frames of each utterance."""
        return np.array([self.reader.frames[utt] for utt in self.utts], dtype=np.int64)


class AVMaker:
    """Turns planned batches into tensors. Thread-safe after construction."""

    def __init__(
        self,
        parts: Sequence[Part],
        settings: AVDataConfig,
        seed: int | None = None,
        noise: NoiseSet | None = None,
    ) -> None:
        """
        Args:
            parts: the kinds of data.
            settings: crop, flip and noise.
            seed: of what is disturbed; None = nothing is (validation).
            noise: what may be mixed in.
        """
        self.parts, self.settings, self.seed, self.noise = parts, settings, seed, noise
        threads = settings.threads
        self._pool = ThreadPoolExecutor(threads, "read") if threads > 1 else None

    def __call__(self, planned: PlannedBatch | MixedBatch) -> ModalBatch:
        """Read, disturb, and collate."""
        part = self.parts[planned.part if isinstance(planned, MixedBatch) else 0]
        utts = [part.utts[row] for row in planned.rows]
        views = [self.view(part, utt, planned.index, place) for place, utt in enumerate(utts)]
        fresh = self._pool is not None and not (self.noise is None and part.reader.holds(utts))
        mapper = self._pool.map if self._pool and fresh else map
        batch = collate(part.reader, utts, list(mapper(part.reader.row, utts, views)))
        width = batch.frames
        labels = None if part.labels is None else part.labels.batch(utts, width)
        tokens, token_lengths = _tokens(part, utts)
        return replace(batch, labels=labels, tokens=tokens, token_lengths=token_lengths)

    def view(self, part: Part, utt: str, index: int, place: int) -> View:
        """How an utterance is disturbed: a pure function of (seed, micro-batch, row)."""
        if self.seed is None:
            return View()
        settings = self.settings
        rng = np.random.default_rng([self.seed, _VIEW, index, place, number_of(utt)])
        down, right = rng.integers(0, SIDE - CROP + 1, 2).tolist()
        view = View(flip=bool(rng.random() < settings.flip))
        if settings.crop == "random":
            view = replace(view, offset=(down, right))
        wanted = bool(rng.random() < settings.noise_prob) and "audio" in part.reader.streams
        if self.noise is None or not wanted:
            return view
        snr = float(rng.uniform(settings.noise_snr[0], settings.noise_snr[-1]))
        samples = self.noise.draw(rng)
        return replace(view, noise=samples, snr=snr, start=int(rng.integers(len(samples))))


def _tokens(part: Part, utts: Sequence[str]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    if part.tokens is None:
        return None, None
    rows = [part.tokens[utt] for utt in utts]
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    out = np.full((len(rows), int(lengths.max())), _PAD_TOKEN, dtype=np.int64)
    for place, ids in enumerate(rows):
        out[place, : len(ids)] = ids
    return torch.from_numpy(out), torch.from_numpy(lengths)


@dataclass(frozen=True)
class AVSet:
    """Data directories as batches of whole utterances.

    Attributes:
        path: the data directory of the command line.
        plan, make: its batches, and how they become tensors.
        parts: its kinds of data.
        utts: utterance of each index of the first part.
        identity: sha256 over utterances, lengths, targets and noise of all parts.
        labels: contents of labels.json, or None.
        rate: frames a second.
        text, unusable: as in `data.SpeechSet`, empty here.
    """

    path: Path
    plan: BatchPlan | MixturePlan
    make: AVMaker
    parts: tuple[Part, ...]
    utts: list[str]
    identity: str
    labels: dict[str, Any] | None
    rate: int = RATE
    text: dict[str, str] | None = None
    unusable: tuple[str, ...] = ()

    def batch(self, index: int) -> ModalBatch:
        """Micro-batch `index`."""
        return self.make(self.plan.batch(index))

    @property
    def hours(self) -> float:
        """Hours in the utterances that are used, of all kinds."""
        plans = self.plan.parts if isinstance(self.plan, MixturePlan) else [self.plan]
        return sum(float(plan.lengths[plan.kept].sum()) for plan in plans) / self.rate / 3600


def open_av(path: str | Path, config: TrainConfig, training: bool) -> AVSet:
    """Open and check the data of an audio-visual system, for training or validation.

    Training leaves utterances outside min_seconds and max_seconds out and counts them in the log,
    and mixes in the directories of [mixture]; validation takes all of `path` and nothing else.

    Raises:
        UserError: what the system needs is missing or does not fit the model or the other sets.
    """
    assert config.av_data is not None and config.av_model is not None
    settings = config.av_data
    parts = [_open_part(path, _streams(config), config, settings.cache_gb)]
    shares = [1.0]
    if training and config.mixture is not None:
        shares[0] = config.mixture.dist[0]
        for kind, folder, share in config.mixture.sets():
            parts.append(_open_kind(kind, folder, config))
            shares.append(share)
        _check_turns(parts, config)
        for part in parts[1:]:
            check_units(parts[0], part)
    plan = _plan(path, parts, shares, config, training)
    noise = _noise(settings) if training else None
    _tell_dropped(parts, plan, settings)
    first = parts[0].labels
    return AVSet(
        path=Path(path),
        plan=plan,
        make=AVMaker(parts, settings, config.run.seed if training else None, noise),
        parts=tuple(parts),
        utts=parts[0].utts,
        identity=_identity(parts, noise),
        labels=None if first is None else first.meta,
    )


def _streams(config: TrainConfig) -> tuple[str, ...]:
    """What is read of the audio-visual directories."""
    assert config.av_model is not None
    wanted = set(config.av_model.streams) - {"phone"}
    if config.seq2seq is not None:
        wanted &= set(config.seq2seq.modalities)
    if not wanted:
        raise UserError(
            f"av_model.streams = {list(config.av_model.streams)}: neither audio nor video is left "
            "to be read: add one to the streams or to seq2seq.modalities"
        )
    return tuple(wanted)


def _open_part(
    path: str | Path, streams: Sequence[str], config: TrainConfig, cache_gb: float
) -> Part:
    reader = AVReader(path, streams, cache_gb)
    utts = [utt for utt in reader.utts if reader.frames[utt] > 0]
    if not utts:
        raise UserError(f"{path}: no utterance is long enough for one frame: check the data")
    if len(utts) < len(reader.utts):
        log.warning("%s: %d utterances left out, too short for one frame", path,
                    len(reader.utts) - len(utts))  # fmt: skip
    if config.units is not None:
        return Part(reader, utts, labels=UnitStore(reader, utts, config.units.clusters))
    from pylib.training.av_text import transcripts

    assert config.av_data is not None
    tokens = transcripts(reader.path, utts, config.av_data.subwords)
    if config.seq2seq is not None and config.seq2seq.ctc_weight > 0:
        fast = [utt for utt in utts if too_fast(tokens[utt], reader.frames[utt])]
        if fast:
            log.warning(
                "%s: %d utterances have more pieces than CTC can spell in their frames at %d Hz "
                "and add nothing to its gradient: %s",
                path, len(fast), RATE, " ".join(fast[:5]),
            )  # fmt: skip
    return Part(reader, utts, tokens=tokens)


def _open_kind(kind: str, folder: str, config: TrainConfig) -> Part:
    """One of the kinds that are mixed in."""
    assert config.av_model is not None and config.av_data is not None
    lacking = [name for name in _OF_KIND[kind] if name not in config.av_model.streams]
    if lacking:
        raise UserError(
            f"mixture.{kind} = {folder}: has a stream '{lacking[0]}', av_model.streams = "
            f"{list(config.av_model.streams)} has not: leave the directory out or add the stream"
        )
    try:
        return _open_part(folder, _OF_KIND[kind], config, config.av_data.cache_gb)
    except UserError as error:
        raise UserError(f"mixture.{kind}: {error}") from None


def _check_turns(parts: Sequence[Part], config: TrainConfig) -> None:
    micro = config.optim.micro_batches
    if micro % len(parts):
        kinds = ", ".join(part.reader.kind for part in parts)
        raise UserError(
            f"optim.micro_batches = {micro}: {len(parts)} kinds of data take turns ({kinds}) and "
            f"an update needs as many of each: set a multiple of {len(parts)}"
        )


def check_units(first: Part, other: Part) -> None:
    """One k-means labels all sets. Raises UserError naming both files."""
    if first.labels is None or other.labels is None:
        return
    for key in ("clusters", "sha256"):
        mine, its = first.labels.meta.get(key), other.labels.meta.get(key)
        if mine != its:
            raise UserError(
                f"{first.reader.path}/labels.json and {other.reader.path}/labels.json: {key} "
                f"differs ({mine} and {its}): label both sets with the same k-means"
            )


def _plan(
    path: str | Path,
    parts: Sequence[Part],
    shares: Sequence[float],
    config: TrainConfig,
    training: bool,
) -> BatchPlan | MixturePlan:
    assert config.av_data is not None
    limits = config.av_data.lengths()
    if not training:
        frames = parts[0].lengths
        longest = max(limits.batch_seconds, float(frames.max()) / RATE)
        limits = replace(
            limits, min_seconds=0.0, max_seconds=0.0, batch_seconds=longest, tie_seconds=1 / RATE
        )
    elif config.mixture is not None:
        names = [str(part.reader.path) for part in parts]
        block = max(config.optim.micro_batches // len(parts), 1)
        return MixturePlan(
            [part.lengths for part in parts], shares, names, RATE, config.run.seed, limits, block
        )
    return BatchPlan(parts[0].lengths, RATE, 1, config.run.seed, limits, crop=False)


def _noise(settings: AVDataConfig) -> NoiseSet | None:
    if not settings.noise or settings.noise_prob == 0:
        return None
    from pylib.features.noise import NoiseSet

    return NoiseSet(settings.noise, "train")


def _identity(parts: Sequence[Part], noise: NoiseSet | None) -> str:
    """What a run learns from: all parts, without their paths."""
    contents: list[Any] = []
    for part in parts:
        meta = part.labels.meta if part.labels is not None else {}
        tokens = part.tokens or {}
        contents.append({
            "kind": part.reader.kind,
            "labels": {key: meta.get(key) for key in ("rate", "align", "clusters", "sha256")},
        })  # fmt: skip
        contents += [[utt, part.reader.frames[utt], tokens.get(utt)] for utt in part.utts]
    return fingerprint(contents, {"noise": None if noise is None else noise.identity})


def _tell_dropped(
    parts: Sequence[Part], plan: BatchPlan | MixturePlan, settings: AVDataConfig
) -> None:
    plans = plan.parts if isinstance(plan, MixturePlan) else [plan]
    for part, one in zip(parts, plans, strict=True):
        for rows, text in (
            (one.dropped_short, f"shorter than {settings.min_seconds:g} s"),
            (one.dropped_long, f"longer than {settings.max_seconds:g} s"),
        ):
            if len(rows):
                first = " ".join(part.utts[row] for row in rows[:5])
                log.warning(
                    "%s: %d utterances left out, %s: %s", part.reader.path, len(rows), text, first
                )
