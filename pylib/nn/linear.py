"""Linear layers that use the faster of the two matrix libraries inside torch's CPU build.

torch sends float32 products on x86 to MKL, which on AMD processors runs below half of their
speed; oneDNN, which torch uses for bfloat16 and for convolutions, runs at full speed there and
equals MKL on Intel (measured, one core of an AVX512 EPYC: 107 against 240 GFLOP/s). The values
are float32 products either way and differ by rounding only. Everything else (other devices and
types, autocast, torch.compile, a torch without the operator) goes through `F.linear`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# The operator is the one torch's own compiler emits for linear layers; it takes strided inputs.
_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (M, K) times weight (N, K) transposed, plus bias (N,), by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(_dense(x), _dense(weight), bias, "none", [], "")


def _dense(x: Tensor) -> Tensor:
    """x (M, N) itself where its rows or its columns lie in memory one by one, else a copy.

    oneDNN takes a matrix or its transpose, and refuses what `expand` makes.
    """
    (rows, columns), (down, across) = x.shape, x.stride()
    if (across == 1 and down >= columns) or (down == 1 and across >= rows):
        return x
    return x.clone(memory_format=torch.contiguous_format)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """a (M, K) times b (K, N) without a gradient, by the faster library."""
    if _AVAILABLE and a.device.type == "cpu" and a.dtype == b.dtype == torch.float32:
        return _product(a, b.t())
    return torch.mm(a, b)


class _OneDNNLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        for_x = _product(grad, weight.t()) if ctx.needs_input_grad[0] else None
        for_weight = _product(grad.t(), x.t()) if ctx.needs_input_grad[1] else None
        for_bias = grad.sum(0) if ctx.needs_input_grad[2] else None
        return for_x, for_weight, for_bias


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., K) times weight (N, K) transposed, plus bias (N,): (..., N)."""
    if (
        not _AVAILABLE
        or x.device.type != "cpu"
        or x.dtype != torch.float32
        or weight.dtype != torch.float32
        or x.numel() == 0
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
    ):
        return F.linear(x, weight, bias)
    flat = x.reshape(-1, x.shape[-1])
    if torch.is_grad_enabled():
        y = _OneDNNLinear.apply(flat, weight, bias)
    else:
        y = _product(flat, weight, bias)
    return y.view(*x.shape[:-1], weight.shape[0])


class Linear(nn.Linear):
    """`nn.Linear` by way of `linear`; same parameters, same initialisation."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)
