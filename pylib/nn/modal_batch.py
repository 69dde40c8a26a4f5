"""What an audio-visual system reads in one forward pass: streams that are there or are not.

All streams keep step: 1 video frame = 25 Hz = 640 samples = 4 filter-bank or phone frames. A
stream that a data set does not have is None until the encoder fuses the streams; it is never a
block of zeros that masks, dropout or batch normalisation could mistake for data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pylib.nn.batch import PAD_LABEL

KINDS = ("videoaudio", "audiotext", "onlytext", "onlyaudio")
STREAMS = ("audio", "video", "phone")
PAD_PHONE = 1  # pylib/units/phone_set.py: the id of padding
__all__ = ["KINDS", "PAD_LABEL", "PAD_PHONE", "STREAMS", "ModalBatch"]

_MOVED = ("audio", "video", "phones", "labels", "tokens")


@dataclass(frozen=True)
class ModalBatch:
    """One micro-batch of one kind of data.

    Lengths stay on the CPU whatever the device, as in `pylib.nn.batch.Batch`.

    Attributes:
        kind: videoaudio, audiotext, onlytext or onlyaudio.
        lengths: (B,) int64 on the CPU, frames of each row at 25 Hz.
        audio: (B, T, 104) float32, four 26-d log filter-bank frames joined, not normalised;
            zero rows beyond a row's length. Or None.
        video: (B, T, 88, 88) uint8 grey mouths; what lies beyond a row's length is not read.
            Or None.
        phones: (B, 4 * T) int64 phone ids at 100 Hz, PAD_PHONE beyond 4 x length; or None.
        labels: (B, T) int64 unit ids 0 to K-1, -1 beyond the length; or None.
        tokens: (B, U) int64 pieces of the transcript; or None.
        token_lengths: (B,) int64 on the CPU; or None.
        utts: utterance ids, for messages.
        cpu_labels, cpu_phones: as they were before `to`; checks and masks read these without a
            wait.
    """

    kind: str
    lengths: Tensor
    audio: Tensor | None = None
    video: Tensor | None = None
    phones: Tensor | None = None
    labels: Tensor | None = None
    tokens: Tensor | None = None
    token_lengths: Tensor | None = None
    utts: tuple[str, ...] = ()
    cpu_labels: Tensor | None = None
    cpu_phones: Tensor | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"ModalBatch.kind is {self.kind!r}, expected one of {KINDS}")
        rows = self.lengths.shape[0]
        for name in (*_MOVED, "token_lengths"):
            value = getattr(self, name)
            if value is not None and value.shape[0] != rows:
                raise ValueError(f"ModalBatch.{name} has {value.shape[0]} rows, lengths {rows}")
        if self.audio is None and self.video is None and self.phones is None:
            raise ValueError("ModalBatch has neither audio nor video nor phones")
        if (self.tokens is None) != (self.token_lengths is None):
            raise ValueError("ModalBatch.tokens and ModalBatch.token_lengths come together")
        width = self.frames
        for name, factor in (("audio", 1), ("video", 1), ("phones", 4)):
            value = getattr(self, name)
            if value is not None and value.shape[1] != factor * width:
                raise ValueError(
                    f"ModalBatch.{name} has {value.shape[1]} frames, the batch {factor * width}: "
                    "streams of one batch must be equally long"
                )
        for name in ("lengths", "token_lengths"):
            value = getattr(self, name)
            if value is not None and value.device.type not in ("cpu", "meta"):
                raise ValueError(f"ModalBatch.{name} must stay on the CPU, it is on {value.device}")

    def __len__(self) -> int:
        return self.lengths.shape[0]

    @property
    def frames(self) -> int:
        """T, frames at 25 Hz of the widest row, padding included."""
        for value, factor in ((self.audio, 1), (self.video, 1), (self.phones, 4)):
            if value is not None:
                return value.shape[1] // factor
        return 0

    @property
    def device(self) -> torch.device:
        """Where the streams are."""
        for value in (self.audio, self.video, self.phones):
            if value is not None:
                return value.device
        return self.lengths.device

    @property
    def input_lengths(self) -> Tensor:
        """(B,) lengths under the name that `pylib.nn.batch.Batch` has for them."""
        return self.lengths

    def name(self, row: int) -> str:
        """Utterance id of a row, for messages."""
        return self.utts[row] if row < len(self.utts) else f"row {row} of the batch"

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ModalBatch:
        """The batch with streams, labels and tokens on `device`; lengths stay on the CPU."""
        here = {}
        for name in ("labels", "phones"):
            value = getattr(self, name)
            if value is not None and value.device.type == "cpu":
                here[f"cpu_{name}"] = value
        moved = {
            name: value.to(device, non_blocking=non_blocking)
            for name in _MOVED
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **moved, **here)

    def pin_memory(self) -> ModalBatch:
        """The batch in page-locked memory, for copies that overlap with computation."""
        pinned = {
            name: value.pin_memory()
            for name in _MOVED
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **pinned)
