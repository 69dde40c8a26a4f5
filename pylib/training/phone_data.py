"""Aligned sets as batches of phones with durations and units: what phone2unit learns from."""

from __future__ import annotations

from dataclasses import dataclass

from pylib.training.settings import neutral, not_negative, positive


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
