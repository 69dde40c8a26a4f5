"""What phone2unit reads in one forward pass: phones, how long each lasts, and the units."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

_MOVED = ("phones", "durations", "labels")


@dataclass(frozen=True)
class PhoneBatch:
    """One micro-batch. Lengths stay on the CPU whatever the device.

    Attributes:
        phones: (B, P) int64 phone ids, one for each phone; PAD beyond a row's phones.
        phone_lengths: (B,) int64 on the CPU, phones of each row.
        durations: (B, P) int64 frames at 25 Hz of each phone, 0 beyond a row's phones.
        labels: (B, T) int64 unit ids 0 to K-1, -1 beyond a row's frames.
        lengths: (B,) int64 on the CPU, frames of each row: the sum of its durations.
        utts: utterance ids, for messages.
    """

    phones: Tensor
    phone_lengths: Tensor
    durations: Tensor
    labels: Tensor
    lengths: Tensor
    utts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.phones.shape != self.durations.shape:
            raise ValueError(
                f"PhoneBatch: phones are {tuple(self.phones.shape)}, durations "
                f"{tuple(self.durations.shape)}: one duration a phone expected"
            )
        for name in ("phone_lengths", "labels", "lengths"):
            if getattr(self, name).shape[0] != self.phones.shape[0]:
                raise ValueError(f"PhoneBatch.{name} has other rows than phones")

    def __len__(self) -> int:
        return self.phones.shape[0]

    @property
    def input_lengths(self) -> Tensor:
        """(B,) lengths under the name that `pylib.nn.batch.Batch` has for them."""
        return self.lengths

    def name(self, row: int) -> str:
        """Utterance id of a row, for messages."""
        return self.utts[row] if row < len(self.utts) else f"row {row} of the batch"

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PhoneBatch:
        """The batch with all but the lengths on `device`."""
        moved = {name: getattr(self, name).to(device, non_blocking=non_blocking) for name in _MOVED}
        return replace(self, **moved)

    def pin_memory(self) -> PhoneBatch:
        """The batch in page-locked memory, for copies that overlap with computation."""
        return replace(self, **{name: getattr(self, name).pin_memory() for name in _MOVED})
