"""What a segment model reads in one forward pass: windows of frames, and whose they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

_MOVED = ("segments", "sequences", "counts", "speakers", "utterances")


@dataclass(frozen=True)
class SegmentBatch:
    """One micro-batch of segments.

    In training `sequences` names rows of the model's table; in evaluation it counts 0..n-1 within
    the batch, which then holds all segments of each of its sequences.

    Attributes:
        segments: (B, T, F) float32 features as they are stored, not normalised.
        sequences: (B,) int64 table row (training) or sequence within the batch (evaluation).
        counts: (B,) float32 nominal number of segments of the row's sequence at the shift in use,
            however many of them were drawn.
        speakers: (B,) int64 speaker ids; what "same speaker" means to the contrastive term.
        utterances: (B,) int64 utterance ids.
        input_lengths: (B,) int64 on the CPU: frames of each row, T.
        utts: utterance id of each row, for messages.
        refresh: at the first update of a pass of hierarchical sampling, an iterable of
            (rows (n,) int64, segments (n, T, F)) from which the table is estimated anew; else None.
    """

    segments: Tensor
    sequences: Tensor
    counts: Tensor
    speakers: Tensor
    utterances: Tensor
    input_lengths: Tensor
    utts: tuple[str, ...] = ()
    refresh: Iterable[tuple[Tensor, Tensor]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.segments.dim() != 3:
            raise ValueError(
                f"SegmentBatch.segments is {tuple(self.segments.shape)}: expected (B, T, F)"
            )
        rows = self.segments.shape[0]
        for name in (*_MOVED, "input_lengths"):
            if getattr(self, name).shape[0] != rows:
                raise ValueError(
                    f"SegmentBatch.{name} has {getattr(self, name).shape[0]} rows, "
                    f"segments have {rows}"
                )
        if self.input_lengths.device.type not in ("cpu", "meta"):
            raise ValueError("SegmentBatch.input_lengths must stay on the CPU")

    def __len__(self) -> int:
        return self.segments.shape[0]

    def name(self, row: int) -> str:
        """Utterance id of a row, for messages."""
        return self.utts[row] if row < len(self.utts) else f"row {row} of the batch"

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SegmentBatch:
        """The batch on `device`; lengths and what `refresh` gives stay where they are."""
        moved = {name: getattr(self, name).to(device, non_blocking=non_blocking) for name in _MOVED}
        return replace(self, **moved)

    def pin_memory(self) -> SegmentBatch:
        """The batch in page-locked memory, for copies that overlap with computation."""
        return replace(self, **{name: getattr(self, name).pin_memory() for name in _MOVED})
