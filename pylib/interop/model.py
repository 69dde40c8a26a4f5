"""A speech model between two formats: what it is, its weights, its heads if it has any."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.interop.names import State
from pylib.nn.encoder import EncoderConfig
from pylib.nn.masks import MaskConfig
from pylib.systems.mt4ssl import MT4SSL, TargetsConfig

# What a model without heads is stored with: a system needs a head, and nobody reads this one.
PLACEHOLDER = TargetsConfig(clusters=2, online_weight=0.0)


@dataclass(frozen=True)
class Model:
    """A model of speech as all formats describe it.

    Attributes:
        encoder: its shape and dropouts.
        weights: of the encoder, by the names of `pylib.nn.encoder.Encoder`, float32.
        name: hubert, data2vec, mt4ssl ... for reports.
        normalise: whether it reads waveforms of zero mean and unit variance.
        targets: what it was trained to predict; None without heads.
        heads: weights of heads and teacher by the names of `MT4SSL`.
        mask: how frames were hidden.
        notes: what the user should know of the conversion.
    """

    encoder: EncoderConfig
    weights: State
    name: str
    normalise: bool
    targets: TargetsConfig | None = None
    heads: State = field(default_factory=dict)
    mask: MaskConfig = field(default_factory=MaskConfig)
    notes: tuple[str, ...] = ()

    def sections(self) -> dict[str, Any]:
        """Its settings as a configuration of `pylib.training.config` has them."""
        return {
            "system": "mt4ssl",
            "model": asdict(self.encoder),
            "targets": asdict(self.targets or PLACEHOLDER),
            "mask": asdict(self.mask),
            "data": {"normalise": self.normalise},
        }

    def state(self) -> State:
        """State dict of `MT4SSL`; without heads, the place of one is held by zeros."""
        made: State = {f"encoder.{name}": value for name, value in self.weights.items()}
        if self.targets is None:
            made["offline_head.weight"] = torch.zeros(PLACEHOLDER.clusters, self.encoder.dim)
            made["offline_head.bias"] = torch.zeros(PLACEHOLDER.clusters)
        return made | self.heads


def shapes(encoder: EncoderConfig, targets: TargetsConfig | None, total: int, where: str) -> State:
    """State dict of `MT4SSL` on the meta device; without targets the encoder's part alone.

    Args:
        total: numbers that the file holds; a size beyond it is a damaged configuration.
        where: the file.

    Raises:
        UserError: sizes that make no model.
    """
    for key, value in vars(encoder).items():
        if type(value) is int and value > max(total, 1 << 10):
            raise UserError(f"{where}: {key} = {value} of {total} weights: fetch it again")
    with torch.device("meta"):
        system = MT4SSL(encoder, targets or PLACEHOLDER, MaskConfig())
    state: dict[str, Tensor] = system.state_dict()
    if targets is None:
        state = {name: value for name, value in state.items() if name.startswith("encoder.")}
    return state


def encoder_part(state: State) -> State:
    """Weights of the encoder among those of `MT4SSL`, by the encoder's own names."""
    prefix = "encoder."
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def fresh_mask_vector(dim: int) -> Tensor:
    """A vector (dim,) for masked frames where a file has none: drawn as a new model's, seed 0."""
    return torch.rand(dim, generator=torch.Generator().manual_seed(0))
