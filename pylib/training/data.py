"""The training and development sets of a run, checked and ready to be batched."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.nn.batch import Batch
from pylib.nn.masks import MaskConfig
from pylib.training.av_text import open_subwords
from pylib.training.batches import BatchPlan
from pylib.training.config import TrainConfig
from pylib.training.dataset import BatchMaker
from pylib.training.inputs import InputReader
from pylib.training.provenance import fingerprint
from pylib.training.targets import LabelStore, too_fast, transcripts
from pylib.units.letters import VOCABULARY

log = logging.getLogger("train")


@dataclass(frozen=True)
class SpeechSet:
    """A data directory as batches.

    Attributes:
        path: the data directory.
        plan, make: its batches, and how they become tensors.
        utts: utterance of each index of the plan.
        text: transcripts (CTC only).
        unusable: utterances too short for a single frame; their words count as deleted.
        rate: input units a second.
        identity: sha256 over utterances, lengths and targets.
        labels: contents of labels.json, or None.
    """

    path: Path
    plan: BatchPlan
    make: BatchMaker
    utts: list[str]
    text: dict[str, str]
    unusable: tuple[str, ...]
    rate: int
    identity: str
    labels: dict | None

    def batch(self, index: int) -> Batch:
        """Micro-batch `index`."""
        return self.make(self.plan.batch(index))

    @property
    def hours(self) -> float:
        """Hours of audio in the utterances that are used."""
        return float(self.plan.lengths[self.plan.kept].sum()) / self.rate / 3600


class Labelled(Protocol):
    """A set that may have unit labels."""

    path: Path
    labels: dict | None


def vocabulary(config: TrainConfig) -> tuple[str, ...]:
    """Output symbols of the system: letters for CTC, pieces of the subword model for seq2seq,
    none for pre-training."""
    if config.system == "seq2seq" and config.av_data is not None:
        return tuple(open_subwords(config.av_data.subwords).pieces)
    return VOCABULARY if config.system == "ctc" else ()


def open_set(path: str | Path, config: TrainConfig, training: bool) -> SpeechSet:
    """Open and check a data directory for training or validation.

    For training, utterances outside min_seconds and max_seconds are dropped and counted in the
    log. For validation of CTC nothing is dropped.

    Raises:
        UserError: what the system needs is missing or does not fit the model.
    """
    data = DataDir.load(path)
    settings = config.reading
    reader = InputReader(
        data, config.encoder, settings.normalise, settings.cache_gb, settings.features
    )
    ctc = config.system == "ctc"
    frames = {utt: reader.frames(reader.lengths[utt]) for utt in data.utts}
    utts = [utt for utt in data.utts if frames[utt] > 0]
    unusable = tuple(utt for utt in data.utts if frames[utt] < 1)
    if not utts:
        raise UserError(f"{path}: no utterance is long enough for one frame: check the audio")
    lengths = np.array([reader.lengths[utt] for utt in utts], dtype=np.int64)
    if not training:
        settings = replace(settings, crop="start", tie_seconds=1 / reader.rate)
        if ctc:
            longest = max(settings.batch_seconds, float(lengths.max()) / reader.rate)
            settings = replace(settings, min_seconds=0.0, max_seconds=0.0, batch_seconds=longest)
    plan = BatchPlan(lengths, reader.rate, reader.hop, config.run.seed, settings, crop=not ctc)
    kept = [utts[row] for row in plan.kept]
    labels = tokens = None
    if config.mask is not None:
        _check_mask(path, [frames[utt] for utt in kept], config.mask, reader.frame_rate)
    if ctc:
        tokens = transcripts(data, kept)
        fast = [utt for utt in kept if too_fast(tokens[utt], frames[utt])]
        if fast:
            log.warning(
                "%s: %d utterances have more letters than CTC can spell in their frames at %g Hz "
                "and add nothing to the gradient: %s",
                path, len(fast), reader.frame_rate, " ".join(fast[:5]),
            )  # fmt: skip
    elif config.targets is not None and config.targets.offline_weight > 0:
        labels = LabelStore(reader, kept, config.targets.clusters)
    if training or not ctc:
        _tell_dropped(path, plan, utts, len(unusable), config)
    meta = None if labels is None else labels.meta
    rows = [[utt, reader.lengths[utt], (tokens or {}).get(utt)] for utt in kept]
    return SpeechSet(
        path=Path(path),
        plan=plan,
        make=BatchMaker(reader, utts, labels, tokens, settings.threads),
        utts=utts,
        text={utt: data.text[utt] for utt in data.utts if utt in data.text} if data.text else {},
        unusable=unusable if ctc and not training else (),
        rate=reader.rate,
        identity=fingerprint(rows, {} if meta is None else _content(meta)),
        labels=meta,
    )


def _check_mask(path: str | Path, frames: list[int], mask: MaskConfig, rate: float) -> None:
    """Refuse utterances so short that a mask could cover all of their frames.

    A row of T frames gets at most ceil(prob * T / length) spans; without this check a run would
    end at whichever update first draws such a mask.
    """
    bad = 0
    for count in {count for count in frames if count * (1 - mask.prob) <= mask.length + 1}:
        spans = max(mask.min_spans, math.ceil(mask.prob * count / mask.length))
        if spans * mask.length >= count:
            bad = max(bad, count)
    if bad:
        raise UserError(
            f"{path}: utterances of {bad} frames ({bad / rate:.2f} s) can be masked entirely by "
            f"spans of {mask.length}: set data.min_seconds={(bad + 2) / rate:.2f} or lower "
            "mask.length"
        )


def check_same_units(train: Labelled, dev: Labelled) -> None:
    """One k-means labels both sets. Raises UserError naming both files."""
    if train.labels is None or dev.labels is None:
        return
    for key in ("clusters", "sha256"):
        if train.labels.get(key) != dev.labels.get(key):
            raise UserError(
                f"{train.path}/labels.json and {dev.path}/labels.json: {key} differs "
                f"({train.labels.get(key)} and {dev.labels.get(key)}): label both sets with the "
                "same k-means"
            )


def _content(meta: dict) -> dict:
    """What identifies labels, without the paths, which may move."""
    return {key: meta.get(key) for key in ("rate", "align", "clusters", "sha256")}


def _tell_dropped(
    path: str | Path, plan: BatchPlan, utts: list[str], unusable: int, config: TrainConfig
) -> None:
    limits = config.reading
    for rows, text in (
        (plan.dropped_short, f"shorter than {limits.min_seconds:g} s"),
        (plan.dropped_long, f"longer than {limits.max_seconds:g} s"),
    ):
        if len(rows):
            first = " ".join(utts[row] for row in rows[:5])
            log.warning("%s: %d utterances left out, %s: %s", path, len(rows), text, first)
    if unusable:
        log.warning("%s: %d utterances left out, too short for one frame", path, unusable)
