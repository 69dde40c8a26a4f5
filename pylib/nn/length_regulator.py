"""FastSpeech's parts: phones stretched to frames, blocks of attention and convolution, durations.

Source: arXiv 1905.09263 (length regulator, feed-forward Transformer block, duration predictor).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.nn.attention import SelfAttention
from pylib.nn.dropout import Dropout
from pylib.nn.linear import Linear
from pylib.nn.norms import padding_mask, send


def expand(x: Tensor, durations: Tensor, width: int | None = None) -> Tensor:
    """Each row of x repeated as often as its duration says.

    Args:
        x: (B, P, D).
        durations: (B, P) int64, 0 or more.
        width: T; default: the longest sum of durations, which makes an accelerator wait.

    Returns:
        (B, T, D), zeros beyond a row's sum; what is beyond T is cut.
    """
    ends = durations.cumsum(1)
    frames = int(ends[:, -1].max()) if width is None else width
    grid = torch.arange(frames, device=x.device).expand(len(x), -1).contiguous()
    # Frame t belongs to the first phone that ends after t.
    place = torch.searchsorted(ends.contiguous(), grid, right=True)
    beyond = place >= x.shape[1]
    place = place.clamp_max(x.shape[1] - 1).unsqueeze(2).expand(-1, -1, x.shape[2])
    return x.gather(1, place).masked_fill(beyond.unsqueeze(2), 0.0)


def sinusoids(frames: int, dim: int, device: torch.device) -> Tensor:
    """Positions (frames, dim) of `Attention is all you need`, sines before cosines."""
    half = (dim + 1) // 2
    rates = torch.exp(
        torch.arange(half, device=device, dtype=torch.float32) * (-math.log(10000.0) / half)
    )
    angles = torch.arange(frames, device=device, dtype=torch.float32)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)[:, :dim]


class ConvForward(nn.Module):
    """Two convolutions over time with ReLU between: (B, T, D) -> (B, T, D)."""

    def __init__(self, dim: int, inner: int, kernel: int, p: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(dim, inner, kernel, padding=kernel // 2)
        self.conv2 = nn.Conv1d(inner, dim, 1)
        self.dropout = Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(F.relu(self.conv1(x.transpose(1, 2))))
        return self.conv2(hidden).transpose(1, 2)


class ConvBlock(nn.Module):
    """Self-attention and `ConvForward`, each with residual, dropout and LayerNorm after."""

    def __init__(self, dim: int, heads: int, inner: int, kernel: int, p: float) -> None:
        super().__init__()
        self.attention = SelfAttention(dim, heads, p)
        self.attention_norm = nn.LayerNorm(dim)
        self.forward_part = ConvForward(dim, inner, kernel, p)
        self.forward_norm = nn.LayerNorm(dim)
        self.dropout = Dropout(p)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        """x (B, T, D); padding (B, T) bool or None. Padded frames come out zero."""
        bias = None
        if padding is not None:
            bias = torch.zeros(padding.shape, dtype=x.dtype, device=x.device)
            bias = bias.masked_fill(padding, float("-inf"))[:, None, None]
        x = self.attention_norm(x + self.dropout(self.attention(x, bias)))
        x = _blank(x, padding)
        x = self.forward_norm(x + self.dropout(self.forward_part(x)))
        return _blank(x, padding)


class ConvStack(nn.Module):
    """Sinusoidal positions and a stack of `ConvBlock`: (B, T, D) -> (B, T, D)."""

    def __init__(
        self, layers: int, dim: int, heads: int, inner: int, kernel: int, p: float
    ) -> None:
        super().__init__()
        self.dropout = Dropout(p)
        self.blocks = nn.ModuleList(ConvBlock(dim, heads, inner, kernel, p) for _ in range(layers))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x (B, T, D); lengths (B,) on the CPU. Frames beyond a row's length come out zero."""
        padding = _padding(lengths, x)
        x = x + sinusoids(x.shape[1], x.shape[2], x.device).to(x.dtype)
        x = _blank(self.dropout(x), padding)
        for block in self.blocks:
            x = block(x, padding)
        return x


class DurationPredictor(nn.Module):
    """log(duration + 1) of each phone: (B, P, D) -> (B, P) float32."""

    def __init__(self, dim: int, inner: int, kernel: int, p: float) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(width, inner, kernel, padding=kernel // 2) for width in (dim, inner)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(inner) for _ in range(2))
        self.dropout = Dropout(p)
        self.out = Linear(inner, 1)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """x (B, P, D), zero beyond a row's length; lengths (B,) on the CPU."""
        padding = _padding(lengths, x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(conv(x.transpose(1, 2)).transpose(1, 2))
            x = _blank(self.dropout(norm(x)), padding)
        return self.out(x).squeeze(2).float()


def _padding(lengths: Tensor, x: Tensor) -> Tensor | None:
    padding = padding_mask(lengths, x.shape[1])
    return None if padding is None else send(padding, x.device)


def _blank(x: Tensor, padding: Tensor | None) -> Tensor:
    return x if padding is None else x.masked_fill(padding.unsqueeze(2), 0.0)
