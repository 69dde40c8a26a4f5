"""Batch norm, an optional shortcut's sum and PReLU in one pass on the CPU.

Between the convolutions of a ResNet torch makes a new tensor for every step of
norm -> add -> PReLU and walks through main memory each time; convolutions aside that is most of
the time. Here the rows go through all steps piece by piece while they lie in the cache, one
result is written, and the gradient is written out. On other devices, in half precision and for
other layouts torch's own modules run.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

PIECE = 65536  # elements that go through all steps at once: 256 KB


def norm_act(
    x: Tensor, norm: nn.BatchNorm2d, act: nn.PReLU | None, shortcut: Tensor | None = None
) -> Tensor:
    """act(norm(x) + shortcut), x (N, C, H, W); x must not be used again where no gradient is on.

    Running statistics move as they do in `norm`.
    """
    if (
        x.device.type != "cpu"
        or x.dtype != torch.float32
        or norm.weight.dtype != torch.float32
        or not x.is_contiguous(memory_format=torch.channels_last)
        or torch.compiler.is_compiling()
    ):
        y = norm(x)
        y = y if shortcut is None else y + shortcut
        return y if act is None else act(y)
    slope = None if act is None else act.weight
    if shortcut is not None:
        shortcut = shortcut.contiguous(memory_format=torch.channels_last)
    running = None
    if not norm.training:
        running = (norm.running_mean, norm.running_var)
    y, mean, variance = _NormAct.apply(
        x, norm.weight, norm.bias, slope, shortcut, running, norm.eps
    )
    if norm.training:
        _move(norm, mean, variance, x.numel() // x.shape[1])
    return y


@torch.no_grad()
def _move(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Running statistics after a batch, with the unbiased variance, as torch has it."""
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None and norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / max(count - 1, 1)), norm.momentum)


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) in channels-last memory as (N * H * W, C), the same memory."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _step(channels: int) -> int:
    return max(1, PIECE * torch.get_num_threads() // channels)


def _statistics(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) of rows (M, C)."""
    step = _step(rows.shape[1])
    pieces = rows.split(step)
    near = pieces[0].mean(0)  # sums around it do not cancel
    sums = rows.new_empty(len(pieces), 2, rows.shape[1])
    space = rows.new_empty(min(step, len(rows)), rows.shape[1])
    for piece, out in zip(pieces, sums, strict=True):
        moved = torch.sub(piece, near, out=space[: len(piece)])
        torch.sum(moved, 0, out=out[0])
        torch.sum(moved.mul_(moved), 0, out=out[1])
    first, second = (sums.sum(0, dtype=torch.float64) / len(rows)).unbind()
    return (near + first).float(), (second - first.square()).clamp_min_(0).float()


class _NormAct(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        slope: Tensor | None,
        shortcut: Tensor | None,
        running: tuple[Tensor, Tensor] | None,
        eps: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = _rows(x)
        mean, variance = _statistics(rows) if running is None else running
        inverse = torch.rsqrt(variance + eps)
        scale = weight * inverse
        shift = bias - mean * scale
        y = torch.empty_like(x) if any(ctx.needs_input_grad) else x
        step = _step(x.shape[1])
        out = _rows(y)
        space = rows.new_empty(min(step, len(rows)), x.shape[1])
        extra = [None] * len(rows.split(step)) if shortcut is None else _rows(shortcut).split(step)
        for piece, more, made in zip(rows.split(step), extra, out.split(step), strict=True):
            _affine(piece, scale, shift, more, made)
            if slope is not None:
                above = torch.clamp_min(made, 0.0, out=space[: len(made)])
                made.mul_(slope).addcmul_(above, 1.0 - slope)
        ctx.save_for_backward(x, shortcut, slope, mean, inverse, scale, shift)
        ctx.fixed = running is not None
        ctx.mark_non_differentiable(mean, variance)
        if y is x:
            ctx.mark_dirty(x)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor, *unused: Tensor) -> tuple[Tensor | None, ...]:
        x, shortcut, slope, mean, inverse, scale, shift = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        rows, upper = _rows(x), _rows(grad)
        step = _step(x.shape[1])
        if slope is None:
            inner, sums = upper, _sums(rows, upper, mean, step)
        else:
            made = torch.empty_like(x)
            inner = _rows(made)
            sums = _through_act(rows, upper, shortcut, slope, mean, (scale, shift), inner, step)
        for_slope, total, aligned = sums
        # Of batch statistics comes what the mean and the variance pass on.
        slant = -scale * inverse.square() * aligned / len(rows)
        base = -scale * total / len(rows) - slant * mean
        fresh = slope is None or shortcut is not None
        for_x = torch.empty_like(x) if fresh else made
        for piece, g, out in zip(
            rows.split(step), inner.split(step), _rows(for_x).split(step), strict=True
        ):
            if ctx.fixed:
                torch.mul(g, scale, out=out)
            else:
                torch.addcmul(base, g, scale, out=out)
                out.addcmul_(piece, slant)
        for_shortcut = None
        if shortcut is not None:
            for_shortcut = grad if slope is None else made
        return for_x, aligned * inverse, total, for_slope, for_shortcut, None, None


def _affine(
    piece: Tensor, scale: Tensor, shift: Tensor, more: Tensor | None, out: Tensor
) -> Tensor:
    """piece * scale + shift + more, all (m, C), into out."""
    torch.addcmul(shift, piece, scale, out=out)
    return out if more is None else out.add_(more)


def _sums(rows: Tensor, grad: Tensor, mean: Tensor, step: int) -> tuple[None, Tensor, Tensor]:
    """None, sum of grad (C,), sum of grad * (rows - mean) (C,)."""
    pieces = rows.split(step)
    sums = rows.new_empty(len(pieces), 2, rows.shape[1])
    space = rows.new_empty(min(step, len(rows)), rows.shape[1])
    for piece, g, out in zip(pieces, grad.split(step), sums, strict=True):
        torch.sum(g, 0, out=out[0])
        moved = torch.sub(piece, mean, out=space[: len(piece)])
        torch.sum(moved.mul_(g), 0, out=out[1])
    total, aligned = sums.sum(0, dtype=torch.float64).float().unbind()
    return None, total, aligned


def _through_act(
    rows: Tensor,
    grad: Tensor,
    shortcut: Tensor | None,
    slope: Tensor,
    mean: Tensor,
    affine: tuple[Tensor, Tensor],
    inner: Tensor,
    step: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient before PReLU, into `inner`, and the slope's, with the sums of `_sums`."""
    pieces = rows.split(step)
    extra = [None] * len(pieces) if shortcut is None else _rows(shortcut).split(step)
    sums = rows.new_empty(len(pieces), 3, rows.shape[1])
    spaces = rows.new_empty(2, min(step, len(rows)), rows.shape[1])
    threshold = torch.ops.aten.threshold_backward.grad_input
    for piece, g, more, out, into in zip(
        pieces, grad.split(step), extra, sums, inner.split(step), strict=True
    ):
        before, above = spaces[0, : len(piece)], spaces[1, : len(piece)]
        _affine(piece, *affine, more, before)
        threshold(g, before, 0.0, grad_input=above)  # the gradient where `before` is above 0
        torch.sub(g, above, out=into)
        torch.sum(before.mul_(into), 0, out=out[0])
        into.mul_(slope).add_(above)
        torch.sum(into, 0, out=out[1])
        torch.sub(piece, mean, out=before)
        torch.sum(before.mul_(into), 0, out=out[2])
    for_slope, total, aligned = sums.sum(0, dtype=torch.float64).float().unbind()
    return for_slope, total, aligned
