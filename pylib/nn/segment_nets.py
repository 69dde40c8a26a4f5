"""FHVAE's three networks over segments: frames to a latent, and latents back to frames.

Frames are time first, (T, B, F), everywhere here. The first half of each head is the mean, the
second the log-variance; no nonlinearity follows it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pylib.nn.linear import Linear
from pylib.nn.recurrent import LSTM


class GaussianHead(nn.Module):
    """Two linear maps as one: mean and log-variance, Glorot weights and zero biases."""

    def __init__(self, inputs: int, outputs: int, bounds: tuple[float, float]) -> None:
        """bounds: the log-variance is clamped to them."""
        super().__init__()
        self.bounds = bounds
        self.linear = Linear(inputs, 2 * outputs)
        with torch.no_grad():
            for part in self.linear.weight.chunk(2):
                nn.init.xavier_uniform_(part)
            self.linear.bias.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (..., D) float32 of x (..., inputs)."""
        made = self.linear(x)
        mean, logvar = (made if made.dtype == torch.float64 else made.float()).chunk(2, dim=-1)
        return mean, logvar.clamp(*self.bounds)


def _mlp(inputs: int, hidden: int, layers: int) -> nn.Sequential:
    """`layers` ReLU layers of width `hidden`."""
    parts: list[nn.Module] = []
    for index in range(layers):
        parts += [Linear(hidden if index else inputs, hidden), nn.ReLU()]
    return nn.Sequential(*parts)


class RecurrentEncoder(nn.Module):
    """LSTM layers; the head reads the final h of all of them.

    Args:
        width: F of the frames.
        constant: width of what is appended to each frame, 0 for nothing.
        hidden, layers: of the LSTM.
        latent: D.
        bounds: of the latent's log-variance.
    """

    def __init__(
        self, width: int, constant: int, hidden: int, layers: int, latent: int,
        bounds: tuple[float, float],
    ) -> None:  # fmt: skip
        super().__init__()
        self.lstm = LSTM(width, constant, hidden, layers)
        self.head = GaussianHead(layers * hidden, latent, bounds)

    def forward(self, frames: Tensor, constant: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, D) from frames (T, B, F) and constant (B, C)."""
        return self.head(self.lstm(frames, constant, frames.shape[0])[1])


class RecurrentDecoder(nn.Module):
    """LSTM from the zero state that reads the latents at every step, heads on its top layer."""

    def __init__(
        self, width: int, segment: int, hidden: int, layers: int, latents: int,
        bounds: tuple[float, float],
    ) -> None:  # fmt: skip
        """width: F; segment: T; latents: width of [z1, z2]; bounds: of the log-variance of x."""
        super().__init__()
        self.segment = segment
        self.lstm = LSTM(0, latents, hidden, layers)
        self.head = GaussianHead(hidden, width, bounds)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (T, B, F) from latents (B, D1 + D2)."""
        return self.head(self.lstm(None, latents, self.segment)[0])


class DenseEncoder(nn.Module):
    """ReLU layers over the flattened segment, the constant appended once."""

    def __init__(
        self, width: int, segment: int, constant: int, hidden: int, layers: int, latent: int,
        bounds: tuple[float, float],
    ) -> None:  # fmt: skip
        """As RecurrentEncoder; segment: T."""
        super().__init__()
        self.mlp = _mlp(width * segment + constant, hidden, layers)
        self.head = GaussianHead(hidden, latent, bounds)

    def forward(self, frames: Tensor, constant: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, D) from frames (T, B, F) and constant (B, C)."""
        flat = frames.transpose(0, 1).flatten(1)
        return self.head(self.mlp(flat if constant is None else torch.cat([flat, constant], 1)))


class DenseDecoder(nn.Module):
    """ReLU layers from the latents to all frames at once."""

    def __init__(
        self, width: int, segment: int, hidden: int, layers: int, latents: int,
        bounds: tuple[float, float],
    ) -> None:  # fmt: skip
        """As RecurrentDecoder."""
        super().__init__()
        self.segment = segment
        self.mlp = _mlp(latents, hidden, layers)
        self.head = GaussianHead(hidden, width * segment, bounds)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (T, B, F) from latents (B, D1 + D2)."""
        mean, logvar = self.head(self.mlp(latents))
        shape = (latents.shape[0], self.segment, -1)
        return mean.view(shape).transpose(0, 1), logvar.view(shape).transpose(0, 1)
