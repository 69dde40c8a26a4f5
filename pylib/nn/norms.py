"""Normalisation over time with statistics of the valid frames only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def padding_mask(lengths: Tensor, width: int) -> Tensor | None:
    """(B, width) bool, True beyond each row's length; None when no row is padded.

    Args:
        lengths: (B,) int64 on the CPU.
    """
    if int(lengths.min()) >= width:
        return None
    return torch.arange(width, device=lengths.device) >= lengths[:, None]


def send(x: Tensor, device: torch.device | str) -> Tensor:
    """A small CPU tensor on `device`, without waiting for what the device still has to do."""
    if torch.device(device).type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def widen(x: Tensor) -> Tensor:
    """x in float32, or in float64 if it is that already."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def time_statistics(
    x: Tensor, padding: Tensor | None, lengths: Tensor | None = None, eps: float = 1e-5
) -> tuple[Tensor, Tensor]:
    """Mean and 1 / sqrt(var + eps) over the valid frames of each row, in float32.

    Args:
        x: (B, T, D).
        padding: (B, T) bool, True on padded frames, or None.
        lengths: (B,) valid frames; needed with `padding`.

    Returns:
        mean (B, 1, D) and inverse standard deviation (B, 1, D); the variance is the biased one,
        as instance norm takes it (padding must not enter).
    """
    x = widen(x)
    if padding is None:
        # Not torch.var_mean: over this dimension it is 8 times slower on the CPU.
        mean = x.mean(1, keepdim=True)
        variance = (x - mean).square_().mean(1, keepdim=True)
    else:
        if lengths is None:
            raise ValueError("time_statistics: lengths are needed with padding")
        count = send(lengths, x.device).to(x.dtype).view(-1, 1, 1)
        hidden = padding.unsqueeze(2)
        mean = x.masked_fill(hidden, 0.0).sum(1, keepdim=True) / count
        variance = (x - mean).masked_fill(hidden, 0.0).square().sum(1, keepdim=True) / count
    return mean, torch.rsqrt(variance + eps)


class _ChannelNorm(torch.autograd.Function):
    """Group norm with one channel a group, channels last, with its gradient written out.

    torch's own backward pass in this layout is 20 times slower in bfloat16 than this one.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        rows, frames, channels = x.shape
        image = x.view(rows, 1, frames, channels).permute(0, 3, 1, 2)
        y, mean, inverse = torch.native_group_norm(
            image, weight, bias, rows, channels, frames, channels, eps
        )
        ctx.save_for_backward(x, weight, mean, inverse)
        return y.permute(0, 2, 3, 1).reshape(rows, frames, channels)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        frames = x.shape[1]
        mean, inverse = widen(mean), widen(inverse)
        # In float32 throughout: sums over half-precision rows do not vectorise.
        wide, grad = widen(x), widen(grad)
        total = grad.sum(1)
        # sum of grad times the normalised x, from the sum of grad times x
        aligned = ((grad * wide).sum(1) - mean * total) * inverse
        scale = inverse * weight
        slope = -scale * inverse * aligned / frames
        shift = -scale * total / frames - slope * mean
        for_x = torch.addcmul(shift[:, None], wide, slope[:, None])
        for_x.addcmul_(grad, scale[:, None])
        return for_x.to(x.dtype), aligned.sum(0), total.sum(0), None


def channel_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Normalise every channel of x (B, T, C) over time, then scale and shift by (C,).

    The same as GroupNorm with C groups on (B, C, T); biased variance.
    """
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return _ChannelNorm.apply(x, weight, bias, eps)
    y = F.group_norm(x.transpose(1, 2), x.shape[2], weight, bias, eps)
    return y.transpose(1, 2).contiguous()
