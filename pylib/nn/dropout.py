"""Dropout that does not pay for a floating-point random number per element on the CPU.

torch's CPU dropout draws one Bernoulli number per element and keeps a float mask. Here one
random byte decides, drawn eight at a time, and the mask is kept as bytes: about a fifth of the
cost. The rate is exactly p over calls (see `keep_mask`) and the scale is always taken from the
rate really used. On other devices torch's own kernel runs. The state of `torch.manual_seed`
decides the mask in both cases.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pylib.corpus.errors import UserError


def check_rate(name: str, p: float) -> float:
    """p if it is a usable dropout rate, else UserError naming the key."""
    if not 0.0 <= p < 1.0:
        raise UserError(f"{name} = {p}: expected at least 0 and below 1")
    return p


def keep_mask(shape: torch.Size | tuple[int, ...], p: float) -> tuple[Tensor, float]:
    """A CPU mask that drops with probability p, and the scale that makes up for it.

    Returns:
        uint8 mask of `shape`, 1 where kept, and 1 / (share of the byte values kept).
    """
    # p * 256 rounded up or down at random: over calls exactly p, within one call p to 1/256.
    threshold = min(int(p * 256 + float(torch.rand((), dtype=torch.float64))), 255)
    size = math.prod(shape)
    bits = torch.empty((size + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    # In place on bytes: a comparison that makes bools, and products with bools, do not vectorise.
    keep = bits.view(torch.uint8)[:size].ge_(threshold).view(shape)
    return keep, 256.0 / (256 - threshold)


class _ByteDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, p: float) -> Tensor:
        keep, ctx.scale = keep_mask(x.shape, p)
        ctx.save_for_backward(keep)
        return (x * keep).mul_(ctx.scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        (keep,) = ctx.saved_tensors
        return (grad * keep).mul_(ctx.scale), None


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """x with each element zero with probability p and the rest scaled by 1 / (1 - p)."""
    if not training or p == 0.0:
        return x
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return _ByteDropout.apply(x, p)
    return F.dropout(x, p, True)


class Dropout(nn.Module):
    """`dropout` as a module."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = check_rate("dropout", p)

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"
