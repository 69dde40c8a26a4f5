"""Convolutional positions: data2vec's stack of five, HuBERT's single weight-normed one."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class StackedPositions(nn.Module):
    """`depth` x [grouped convolution, LayerNorm without affine, GELU]; MT4SSL and data2vec.

    Args:
        dim: channels.
        depth: convolutions; MT4SSL has 5.
        width: `conv_pos` of fairseq, shared out over the stack: kernel = max(3, width // depth),
            95 over 5 is 19.
        groups: groups of each convolution.
        mask: zero padded frames before every convolution, not only the first. Without it the
            bias and the normalisation make padding non-zero after the first convolution, and
            the rest carry it up to 36 frames into speech.
    """

    def __init__(self, dim: int, depth: int, width: int, groups: int, mask: bool) -> None:
        super().__init__()
        kernel = max(3, width // depth)
        self.mask = mask
        self.trim = 1 - kernel % 2
        self.convs = nn.ModuleList(
            nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups) for _ in range(depth)
        )

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Positions (B, T, D) for x (B, T, D), whose padded frames must be zero already."""
        for i, conv in enumerate(self.convs):
            if i and self.mask and padding is not None:
                x = x.masked_fill(padding.unsqueeze(2), 0.0)
            y = conv(x.transpose(1, 2))
            if self.trim:
                y = y[:, :, :-1]
            y = y.transpose(1, 2)
            x = F.gelu(F.layer_norm(y, (y.shape[-1],)))
        return x


class SinglePosition(nn.Module):
    """One weight-normed grouped convolution and GELU; HuBERT (width 128: last frame dropped)."""

    def __init__(self, dim: int, width: int, groups: int) -> None:
        super().__init__()
        self.trim = 1 - width % 2
        conv = nn.Conv1d(dim, dim, width, padding=width // 2, groups=groups)
        nn.init.normal_(conv.weight, 0.0, math.sqrt(4.0 / (width * dim)))
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        # The parametrised form: the old one cannot be copied for the teacher.
        self.conv = weight_norm(conv, name="weight", dim=2)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Positions (B, T, D) for x (B, T, D), whose padded frames must be zero already."""
        y = self.conv(x.transpose(1, 2))
        if self.trim:
            y = y[:, :, :-1]
        return F.gelu(y).transpose(1, 2)


def positions(dim: int, depth: int, width: int, groups: int, mask: bool) -> nn.Module:
    """HuBERT's single convolution for depth 1, the stack otherwise."""
    if depth == 1:
        return SinglePosition(dim, width, groups)
    return StackedPositions(dim, depth, width, groups, mask)
