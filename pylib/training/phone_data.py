"""Aligned sets as batches of phones with durations and units: what phone2unit learns from."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from pylib.corpus.errors import UserError
from pylib.nn.batch import PAD_LABEL
from pylib.nn.phone_batch import PhoneBatch
from pylib.training.batches import BatchPlan, PlannedBatch
from pylib.training.provenance import fingerprint
from pylib.training.settings import DataConfig, neutral, not_negative, positive
from pylib.units.labels import LabelReader
from pylib.units.phone_runs import RunReader, durations
from pylib.units.phone_set import FRAMES, PAD

if TYPE_CHECKING:
    from pylib.training.config import TrainConfig

log = logging.getLogger("train")

RATE = 25  # frames a second
_SLACK = 2  # frames by which phones and labels of an utterance may differ in length
Row = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class PhoneDataConfig:
    """What is read and how batches are formed."""

    # Shorter and longer utterances are left out and counted; 0 = no limit.
    min_seconds: float = 0.2
    max_seconds: float = 20.0
    # Upper bound of rows x longest member of one batch, in seconds (`max_tokens` / 25).
    batch_seconds: float = 800.0
    # Lengths closer than this count as equal when batches are formed.
    tie_seconds: float = 0.2
    prefetch: int = neutral(4)  # batches prepared ahead of the loop

    def __post_init__(self) -> None:
        positive(self, "batch_seconds", "tie_seconds", "prefetch")
        not_negative(self, "min_seconds", "max_seconds")
        if 0 < self.max_seconds < self.min_seconds:
            raise ValueError("max_seconds is below min_seconds: no utterance would be left")
        if self.max_seconds > self.batch_seconds:
            raise ValueError("max_seconds exceeds batch_seconds: the longest would fit no batch")


class PhoneMaker:
    """Turns planned batches into tensors. Safe between threads."""

    def __init__(self, phones: RunReader, labels: LabelReader, utts: list[str]) -> None:
        """
        Args:
            phones: aligned phones.
            labels: units of the same utterances.
            utts: utterance of each index of the plan.
        """
        self.phones, self.labels, self.utts = phones, labels, utts
        self._lock = threading.Lock()  # the readers keep files open

    def row(self, utt: str) -> Row:
        """Phones (P,), durations (P,) in frames and units (T,) of an utterance, int64.

        Raises:
            UserError: unreadable, or of lengths that cannot be of one utterance.
        """
        with self._lock:
            ids, lengths = self.phones.read(utt)
            units = self.labels.read(utt)
        if abs(len(ids) - FRAMES * len(units)) > FRAMES * _SLACK:
            raise UserError(
                f"'{utt}': {len(ids)} phones at 100 Hz and {len(units)} units at {RATE} Hz: make "
                "both again (steps/align_phones.sh, steps/dump_labels.sh)"
            )
        starts = np.cumsum(lengths, dtype=np.int64) - lengths
        return ids[starts].astype(np.int64), durations(lengths, len(units)), units.astype(np.int64)

    def __call__(self, planned: PlannedBatch) -> PhoneBatch:
        """Read and pad."""
        names = tuple(self.utts[row] for row in planned.rows)
        rows = [self.row(utt) for utt in names]
        return PhoneBatch(
            phones=_padded([row[0] for row in rows], PAD),
            phone_lengths=torch.tensor([len(row[0]) for row in rows]),
            durations=_padded([row[1] for row in rows], 0),
            labels=_padded([row[2] for row in rows], PAD_LABEL),
            lengths=torch.tensor([len(row[2]) for row in rows]),
            utts=names,
        )


def _padded(values: list[npt.NDArray[np.int64]], fill: int) -> torch.Tensor:
    out = np.full((len(values), max(len(value) for value in values)), fill, dtype=np.int64)
    for place, value in enumerate(values):
        out[place, : len(value)] = value
    return torch.from_numpy(out)


@dataclass(frozen=True)
class PhoneSet:
    """A data directory as batches of phones.

    Attributes:
        path: the data directory.
        plan, make: its batches, and how they become tensors.
        utts: utterance of each index of the plan.
        identity: sha256 over utterances, lengths, phones' and units' descriptions.
        labels: contents of labels.json.
        rate: frames a second.
        text, unusable: as in `data.SpeechSet`, empty here.
    """

    path: Path
    plan: BatchPlan
    make: PhoneMaker
    utts: list[str]
    identity: str
    labels: Mapping[str, Any]
    rate: int = RATE
    text: Mapping[str, str] = field(default_factory=dict)
    unusable: tuple[str, ...] = ()

    def batch(self, index: int) -> PhoneBatch:
        """Micro-batch `index`."""
        return self.make(self.plan.batch(index))

    @property
    def hours(self) -> float:
        """Hours of speech in the utterances that are used."""
        return float(self.plan.lengths[self.plan.kept].sum()) / self.rate / 3600


def open_phones(path: str | Path, config: TrainConfig, training: bool) -> PhoneSet:
    """Open and check a data directory with phones and labels for training or validation.

    For training, utterances outside min_seconds and max_seconds are left out and counted.

    Raises:
        UserError: phones or labels are missing, of another rate or number of units.
    """
    assert config.phone2unit is not None and config.phone_data is not None
    settings = config.phone_data
    phones, labels = RunReader(path), LabelReader(path)
    if labels.rate != RATE or labels.clusters != config.phone2unit.clusters:
        raise UserError(
            f"{path}/labels.json: {labels.clusters} units at {labels.rate:g} Hz, the model has "
            f"{config.phone2unit.clusters} at {RATE} Hz: set phone2unit.clusters={labels.clusters},"
            f" or label with steps/dump_labels.sh --rate {RATE} --align start"
        )
    known = set(labels.utts)
    utts = [utt for utt in phones.utts if utt in known]
    _tell(path, [utt for utt in phones.utts if utt not in known], "without labels")
    _tell(path, sorted(known - set(utts)), "without phones")
    if not utts:
        raise UserError(f"{path}: no utterance has both phones and labels: make both again")
    lengths = np.array([len(labels.read(utt)) for utt in utts], dtype=np.int64)
    longest = max(settings.batch_seconds, float(lengths.max()) / RATE)
    limits = DataConfig(
        min_seconds=settings.min_seconds if training else 0.0,
        max_seconds=settings.max_seconds if training else 0.0,
        batch_seconds=settings.batch_seconds if training and settings.max_seconds else longest,
        tie_seconds=settings.tie_seconds if training else 1 / RATE,
    )
    plan = BatchPlan(lengths, RATE, 1, config.run.seed, limits, crop=False)
    if training:
        for rows, text in (
            (plan.dropped_short, f"shorter than {settings.min_seconds:g} s"),
            (plan.dropped_long, f"longer than {settings.max_seconds:g} s"),
        ):
            _tell(path, [utts[row] for row in rows], text)
    content = {key: labels.meta.get(key) for key in ("rate", "align", "clusters", "sha256")}
    kept = [[utts[row], int(lengths[row])] for row in plan.kept]
    return PhoneSet(
        path=Path(path),
        plan=plan,
        make=PhoneMaker(phones, labels, utts),
        utts=utts,
        identity=fingerprint(kept, content, phones.made),
        labels=labels.meta,
    )


def _tell(path: str | Path, utts: list[str], why: str) -> None:
    if utts:
        log.warning("%s: %d utterances left out, %s: %s", path, len(utts), why, " ".join(utts[:5]))
