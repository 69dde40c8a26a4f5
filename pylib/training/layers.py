"""What extractors of layers share: which layers there are, hooks on blocks, checked values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pylib.corpus.errors import UserError

Matrix = npt.NDArray[np.float32]


class Layers:
    """A model's layers over one data directory.

    Attributes:
        encoder: with blocks in `context.blocks`.
        layers: number of blocks; layers 0 .. layers can be asked for.
    """

    encoder: Any
    layers: int
    _checkpoint: Path

    def _open(self, data: Path) -> None:
        """Read another data directory."""
        raise NotImplementedError

    def over(self, data: str | Path) -> Self:
        """The same model over another data directory; the weights are shared."""
        other = copy.copy(self)
        other._open(Path(data))
        return other

    def require_layer(self, layer: int) -> None:
        """Refuse a layer that the model does not have (UserError)."""
        if not 0 <= layer <= self.layers:
            raise UserError(
                f"layer {layer}: {self._checkpoint} has layers 0 to {self.layers}: choose one"
            )

    def _collect(
        self, utt: str, layers: Sequence[int], extract: Callable[[int], Tensor]
    ) -> list[Matrix]:
        """Features (T, D) of several layers from one forward pass.

        Args:
            utt: for messages.
            layers: which.
            extract: runs the model up to a layer and gives that layer (1, T, D).
        """
        for layer in layers:
            self.require_layer(layer)
        seen: dict[int, Tensor] = {}

        def keep_input(_module: nn.Module, args: tuple[Any, ...]) -> None:
            seen[0] = args[0]

        blocks = self.encoder.context.blocks[: max(layers)]
        hooks = []
        if len(blocks):
            hooks.append(blocks[0].register_forward_pre_hook(keep_input))
        for number, block in enumerate(blocks, 1):
            hooks.append(block.register_forward_hook(_keeper(seen, number)))
        try:
            with torch.inference_mode():
                last = extract(max(layers))
        finally:
            for hook in hooks:
                hook.remove()
        seen[max(layers)] = last
        return [self._matrix(seen[layer], utt, layer) for layer in layers]

    def _matrix(self, hidden: Tensor, utt: str, layer: int) -> Matrix:
        """Layer (1, T, D) of an utterance as (T, D). Raises UserError where it is not finite."""
        matrix: Matrix = hidden[0].float().cpu().numpy()
        if not np.isfinite(matrix).all():
            raise UserError(
                f"utterance '{utt}': layer {layer} of {self._checkpoint} gives NaN or infinite "
                "values: the model has diverged, use an earlier checkpoint"
            )
        return matrix


def _keeper(seen: dict[int, Tensor], number: int) -> Any:
    """A forward hook that keeps the output of a block under its number."""

    def keep(_module: nn.Module, _args: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        seen[number] = output[0]

    return keep
