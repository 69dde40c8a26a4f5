"""Phones to units without a teacher's audio: durations and units of each phone, all at once."""

from __future__ import annotations

from dataclasses import dataclass

from pylib.corpus.errors import UserError


@dataclass(frozen=True)
class Phone2UnitConfig:
    """The networks and the two losses. Defaults are those of SpeechLM's fast model."""

    clusters: int = 2000  # K, units
    phones: int = 46  # symbols, specials included
    dim: int = 256  # width
    encoder_layers: int = 4  # over phones
    decoder_layers: int = 4  # over frames
    heads: int = 2
    ffn_dim: int = 1024  # channels inside the convolutions of a layer
    kernel: int = 9  # frames of the first convolution of a layer
    dropout: float = 0.1
    duration_dim: int = 256  # channels of the duration predictor
    duration_kernel: int = 3
    duration_dropout: float = 0.5
    label_smoothing: float = 0.1  # share of the target spread over the other units
    duration_weight: float = 1.0  # of the duration loss, both losses being means

    def __post_init__(self) -> None:
        for name in ("clusters", "phones", "dim", "encoder_layers", "decoder_layers", "heads",
                     "ffn_dim", "kernel", "duration_dim", "duration_kernel"):  # fmt: skip
            if getattr(self, name) < 1:
                raise UserError(f"phone2unit.{name} = {getattr(self, name)}: expected at least 1")
        for name in ("dropout", "duration_dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"phone2unit.{name} = {getattr(self, name)}: expected [0, 1)")
        if self.duration_weight < 0:
            raise UserError(f"phone2unit.duration_weight = {self.duration_weight}: expected >= 0")
        if self.dim % self.heads:
            raise UserError(
                f"phone2unit.dim = {self.dim} does not divide by heads = {self.heads}: change one"
            )
        for name in ("kernel", "duration_kernel"):
            if getattr(self, name) % 2 == 0:
                raise UserError(f"phone2unit.{name} = {getattr(self, name)}: expected odd")
