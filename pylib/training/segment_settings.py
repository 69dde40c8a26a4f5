"""Settings of training on short segments ([segments]): what is read, which segments form a batch.

Defaults are those of the published scalable training: `wnhsu/ScalableFHVAE`, `scripts/train`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pylib.training.settings import neutral, not_negative, positive


@dataclass(frozen=True)
class SegmentsConfig:
    """Features, sampling of sequences, and the make-up of batches.

    Segments are `fhvae.segment` frames long. A sequence is an utterance, or with
    `objective.table = "speaker"` all utterances of a speaker.
    """

    # Name of the scp and json in the data directories, and of `<features>_cmvn.json` in that of
    # training: logmel, logspec, hidden6 ...
    features: str = "logmel"
    # hierarchical: each pass draws `cached` utterances, whose vectors in the table are estimated
    # anew before it. all: the table has a row for every utterance. With a table of speakers every
    # speaker has a row and this is not asked.
    sampling: Literal["hierarchical", "all"] = "hierarchical"
    cached: int = 2000  # utterances of a pass, rows of the table; 0 = as many as there are
    # Frames between segments. An utterance of F frames counts (F - segment) // shift + 1 of them;
    # those of training start anywhere, those of evaluation at multiples of the shift.
    train_shift: int = 8
    eval_shift: int = 20
    # A batch holds `segments` segments of each of `utterances` utterances of `speakers` speakers.
    # speakers = 0: `batch` segments of the pass, drawn as published, whoever speaks.
    speakers: int = 16
    utterances: int = 4
    segments: int = 4
    batch: int = 256
    # Segments of an evaluation batch, at least: it ends with a whole utterance.
    eval_batch: int = 1024
    # Memory for features that were read, in GB; what does not fit is read again.
    cache_gb: float = neutral(2.0)
    prefetch: int = neutral(8)  # batches prepared ahead of the loop

    def __post_init__(self) -> None:
        positive(self, "train_shift", "eval_shift", "utterances", "segments", "batch")
        positive(self, "eval_batch", "prefetch")
        not_negative(self, "cached", "speakers", "cache_gb")
        if not self.features:
            raise ValueError("features is empty: name a stem such as logmel")
        if self.speakers == 1 or (self.speakers and self.utterances < 2):
            raise ValueError(
                f"batches of {self.speakers} speakers x {self.utterances} utterances have no pair "
                "to tell apart: 2 of both at least, or speakers = 0"
            )
        if self.speakers and 0 < self.cached < self.speakers * self.utterances:
            raise ValueError(
                f"cached = {self.cached} utterances do not hold one batch of {self.speakers} x "
                f"{self.utterances}: raise cached or lower speakers"
            )

    @property
    def batch_size(self) -> int:
        """Segments of a training batch."""
        return self.speakers * self.utterances * self.segments if self.speakers else self.batch
