"""LSTM layers over short segments, with inputs that stay the same over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LSTM(nn.LSTM):
    """`nn.LSTM` (same parameters and names) from the zero state, time first, that takes a constant.

    The input of each step is [x_t, constant]; either part may be missing. Biases start at 0 and
    the forget gate's at 1, so that early gradients reach the first frame.

    Args:
        width: F of x, 0 for none.
        constant: C of the constant input, 0 for none.
        hidden: H of each layer.
        layers: number of layers.
    """

    def __init__(self, width: int, constant: int, hidden: int, layers: int) -> None:
        super().__init__(width + constant, hidden, layers)
        self.width, self.constant = width, constant

    def reset_parameters(self) -> None:
        """U(+-1/sqrt(H)) weights; biases 0, the forget gate's 1 in bias_ih and 0 in bias_hh."""
        super().reset_parameters()
        hidden = self.hidden_size
        with torch.no_grad():
            for name, item in self.named_parameters():
                if name.startswith("bias"):
                    item.zero_()
                if name.startswith("bias_ih"):
                    item[hidden : 2 * hidden] = 1.0

    def forward(
        self, x: Tensor | None, constant: Tensor | None, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Run over `steps` frames.

        Args:
            x: (T, B, F) or None where width is 0.
            constant: (B, C) or None where constant is 0.
            steps: T.

        Returns:
            (T, B, H) output of the top layer, and (B, layers * H) final h of all layers, the
            lowest first.
        """
        parts = [] if x is None else [x]
        if constant is not None:
            parts.append(constant.expand(steps, *constant.shape))
        out, (last, _) = super().forward(parts[0] if len(parts) == 1 else torch.cat(parts, 2))
        return out, last.transpose(0, 1).reshape(last.shape[1], -1)
