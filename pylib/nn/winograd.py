"""3x3 convolutions on small pictures by Winograd's F(3x3, 3x3): a third of the products.

A 3x3 tile of the output costs 25 products of the transformed input and weights where the
definition takes 81. The transforms are small constant matrices; what is left is 25 matrix
products, which run at full speed where the pictures are small and the channels many. Source:
Winograd, Arithmetic Complexity of Computations (1980); Lavin and Gray, arXiv 1509.09308.
The values are float32 throughout and differ from torch's by rounding.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from pylib.nn.linear import matmul

TILE = 3  # outputs a side
PATCH = 5  # inputs a side that a tile sees
POINTS = (0.0, 1.0, -1.0, 2.0)  # where the polynomials are evaluated, and infinity
SIDES = (3, 6)  # pictures of these sides gain; above, the transforms cost what they save
PIECE = 2**22  # numbers in the patches of the pictures that go through together
LEAST = 256  # channels on both sides from which it pays
FEWEST = 64  # pictures from which the transformed weights pay


def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """x (N, C, H, W) with weight (O, C, 3, 3), stride 1, padding 1: (N, O, H, W)."""
    usable = (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.shape[2] == x.shape[3]
        and x.shape[2] in SIDES
        and len(x) >= FEWEST
        and min(weight.shape[:2]) >= LEAST
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )
    return _Winograd.apply(x, weight) if usable else F.conv2d(x, weight, None, 1, 1)


def _one_dimension() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(3, 5) back, (5, 3) of the weights, (5, 5) of the input, in float64."""
    back = np.zeros((TILE, PATCH))
    weights = np.zeros((PATCH, 3))
    inputs = np.zeros((PATCH, PATCH))
    for i, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        back[:, i] = [point**power for power in range(TILE)]
        weights[i] = [point**power for power in range(3)]
        weights[i] /= np.prod([point - other for other in others])
        inputs[i, :-1] = np.poly(others)[::-1]
    back[-1, -1] = weights[-1, -1] = 1.0
    inputs[-1] = np.poly(POINTS)[::-1]
    return back, weights, inputs


@cache
def _matrices(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Constant matrices for pictures whose sides are multiples of 3, float32.

    Returns:
        into (25 * tiles, H * W), weights (25, 9), back (H * W, 25 * tiles).
    """
    back, weights, inputs = _one_dimension()
    down, across = height // TILE, width // TILE
    into = np.zeros((PATCH, PATCH, down, across, height + 2, width + 2))
    out = np.zeros((height, width, PATCH, PATCH, down, across))
    for i in range(down):
        for j in range(across):
            top, left = TILE * i, TILE * j
            patch = np.einsum("ka,lb->klab", inputs, inputs)
            into[:, :, i, j, top : top + PATCH, left : left + PATCH] = patch
            tile = np.einsum("ak,bl->abkl", back, back)
            out[top : top + TILE, left : left + TILE, :, :, i, j] = tile
    size = PATCH * PATCH * down * across
    made = (
        into[..., 1:-1, 1:-1].reshape(size, height * width),
        np.kron(weights, weights),
        out.reshape(height * width, size),
    )
    return tuple(torch.tensor(matrix, dtype=torch.float32) for matrix in made)


def _pixels_first(x: Tensor) -> Tensor:
    """(N, C, H, W) as (H * W, N * C)."""
    rows, channels, height, width = x.shape
    return x.permute(2, 3, 0, 1).reshape(height * width, rows * channels)


def _products(a: Tensor, b: Tensor) -> Tensor:
    """a (25, M, K) times b (25, K, N)."""
    made = a.new_empty(len(a), a.shape[1], b.shape[2])
    for left, right, out in zip(a, b, made, strict=True):
        out.copy_(matmul(left, right))
    return made


def _pieces(x: Tensor, into: Tensor) -> list[slice]:
    """Pictures that go through together: their patches fit the processor's cache."""
    step = max(1, PIECE // (into.shape[0] * x.shape[1]))
    return [slice(start, start + step) for start in range(0, len(x), step)]


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        into, _, back = _matrices(*x.shape[2:])
        taps = _taps(weight)
        y = _empty(x, weight.shape[0])
        for piece in _pieces(x, into):
            made = _products(_patches(x[piece], into), taps)
            _put(y[piece], matmul(back, made.view(back.shape[1], -1)))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        into, taps, back = _matrices(*x.shape[2:])
        outputs, channels = weight.shape[:2]
        for_x = _empty(x, channels) if ctx.needs_input_grad[0] else None
        for_weight = None
        mixed = _taps(weight).transpose(1, 2)
        for piece in _pieces(x, into):
            upper = matmul(back.t(), _pixels_first(grad[piece]))
            upper = upper.view(PATCH * PATCH, -1, outputs)
            if for_x is not None:
                inner = _products(upper, mixed)
                _put(for_x[piece], matmul(into.t(), inner.view(into.shape[0], -1)))
            if ctx.needs_input_grad[1]:
                inner = _products(_patches(x[piece], into).transpose(1, 2), upper)
                part = matmul(taps.t(), inner.view(PATCH * PATCH, -1))
                for_weight = part if for_weight is None else for_weight.add_(part)
        if for_weight is not None:
            for_weight = for_weight.view(3, 3, channels, outputs).permute(3, 2, 0, 1).contiguous()
        return for_x, for_weight


def _empty(x: Tensor, channels: int) -> Tensor:
    """(N, channels, H, W), channels last in memory."""
    rows, _, height, width = x.shape
    return x.new_empty(rows, height, width, channels).permute(0, 3, 1, 2)


def _put(pictures: Tensor, pixels: Tensor) -> None:
    """Copy (H * W, N * C) into pictures (N, C, H, W)."""
    rows, channels, height, width = pictures.shape
    pictures.copy_(pixels.view(height, width, rows, channels).permute(2, 3, 0, 1))


def _patches(x: Tensor, into: Tensor) -> Tensor:
    """Transformed input (25, tiles * N, C)."""
    return matmul(into, _pixels_first(x)).view(PATCH * PATCH, -1, x.shape[1])


def _taps(weight: Tensor) -> Tensor:
    """Transformed weights (25, C, O)."""
    outputs, channels = weight.shape[:2]
    taps = _matrices(TILE, TILE)[1]
    flat = weight.permute(2, 3, 1, 0).reshape(9, channels * outputs)
    return matmul(taps, flat).view(PATCH * PATCH, channels, outputs)
