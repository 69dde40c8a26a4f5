"""What a system reads in one forward pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

PAD_LABEL = -1  # no class of that id: a padded frame can never be trained on


@dataclass(frozen=True)
class Batch:
    """One micro-batch.

    Lengths stay on the CPU whatever the device: masks and frame counts are made there, so that
    no forward pass waits for the accelerator to tell a length.

    Attributes:
        inputs: (B, N) float32 waveform at 16 kHz, or (B, F, 80) filter banks at 100 Hz;
            rows shorter than the batch are padded with zeros.
        input_lengths: (B,) int64 on the CPU: samples or filter-bank frames of each row.
        labels: (B, T) int64 cluster ids at the model's frame rate, padded with -1; or None.
        tokens: (B, U) int64 letter ids, padded with 0; or None.
        token_lengths: (B,) int64 on the CPU; or None.
        utts: utterance ids, for messages.
        cpu_labels: the labels as they were before `to`; checks read these without a wait.
    """

    inputs: Tensor
    input_lengths: Tensor
    labels: Tensor | None = None
    tokens: Tensor | None = None
    token_lengths: Tensor | None = None
    utts: tuple[str, ...] = ()
    cpu_labels: Tensor | None = None

    def __post_init__(self) -> None:
        rows = self.inputs.shape[0]
        for name in ("input_lengths", "labels", "tokens", "token_lengths"):
            value = getattr(self, name)
            if value is not None and value.shape[0] != rows:
                raise ValueError(f"Batch.{name} has {value.shape[0]} rows, inputs have {rows}")
        if (self.tokens is None) != (self.token_lengths is None):
            raise ValueError("Batch.tokens and Batch.token_lengths come together")
        for name in ("input_lengths", "token_lengths"):
            value = getattr(self, name)
            if value is not None and value.device.type not in ("cpu", "meta"):
                raise ValueError(f"Batch.{name} must stay on the CPU, it is on {value.device}")

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def name(self, row: int) -> str:
        """Utterance id of a row, for messages."""
        return self.utts[row] if row < len(self.utts) else f"row {row} of the batch"

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch with inputs, labels and tokens on `device`; lengths stay on the CPU."""

        def move(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.to(device, non_blocking=non_blocking)

        cpu_labels = self.cpu_labels
        if cpu_labels is None and self.labels is not None and self.labels.device.type == "cpu":
            cpu_labels = self.labels
        return replace(
            self,
            inputs=self.inputs.to(device, non_blocking=non_blocking),
            labels=move(self.labels),
            tokens=move(self.tokens),
            cpu_labels=cpu_labels,
        )

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory, for copies that overlap with computation."""

        def pin(value: Tensor | None) -> Tensor | None:
            return None if value is None else value.pin_memory()

        return replace(
            self, inputs=self.inputs.pin_memory(), labels=pin(self.labels), tokens=pin(self.tokens)
        )
