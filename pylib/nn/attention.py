"""Multi-head self-attention that picks the fastest exact form for its device and length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pylib.nn.dropout import keep_mask
from pylib.nn.linear import Linear, linear

# Below this many frames plain bmm + softmax is faster than the fused CPU kernel.
PLAIN_FRAMES = 160


class SelfAttention(nn.Module):
    """(B, T, D) -> (B, T, D), or (B, m, D) for the queries of chosen frames only.

    Args:
        dim: D, a multiple of `heads`.
        heads: attention heads.
        p: dropout on the attention weights.
    """

    def __init__(self, dim: int, heads: int, p: float) -> None:
        super().__init__()
        self.heads = heads
        self.p = p
        self.qkv = Linear(dim, 3 * dim)
        self.out = Linear(dim, dim)

    def forward(
        self, x: Tensor, bias: Tensor | None = None, queries: Tensor | None = None
    ) -> Tensor:
        """Attend over all frames of x.

        Args:
            x: (B, T, D).
            bias: (B, 1, 1, T) added to the scores, -inf on padded frames; None without padding.
            queries: (B, m, D), frames of x that ask; all of them by default.
        """
        rows, frames, dim = x.shape
        width = dim // self.heads
        q = None
        if queries is None:
            packed = self.qkv(x).view(rows, frames, 3, self.heads, width)
        else:
            weight, offset = self.qkv.weight, self.qkv.bias
            q = linear(queries, weight[:dim], offset[:dim])
            q = q.view(rows, queries.shape[1], self.heads, width)
            packed = linear(x, weight[dim:], offset[dim:])
            packed = packed.view(rows, frames, 2, self.heads, width)
        p = self.p if self.training else 0.0
        short = p > 0.0 or frames <= PLAIN_FRAMES
        if x.device.type == "cpu" and short and not torch.compiler.is_compiling():
            y = plain_attention(packed, q, bias, p)
        else:
            y = fused_attention(packed, q, bias, p)
        return self.out(y)


def fused_attention(packed: Tensor, q: Tensor | None, bias: Tensor | None, p: float) -> Tensor:
    """`plain_attention` by torch's fused kernel; the same arguments and result."""
    parts = packed.transpose(1, 3).unbind(2)
    asked = parts[0] if q is None else q.transpose(1, 2)
    mask = None if bias is None else bias.to(asked.dtype)
    y = F.scaled_dot_product_attention(asked, parts[-2], parts[-1], attn_mask=mask, dropout_p=p)
    return y.transpose(1, 2).flatten(2)


def plain_attention(packed: Tensor, q: Tensor | None, bias: Tensor | None, p: float) -> Tensor:
    """softmax(q k' / sqrt(d) + bias), dropout, times v.

    Args:
        packed: (B, T, 3, H, d) query, key and value, or (B, T, 2, H, d) key and value.
        q: (B, m, H, d) when it is not in `packed`.
        bias: (B, 1, 1, T) or None.
        p: dropout rate.

    Returns:
        (B, m, H * d); m = T without `q`.
    """
    return _PlainAttention.apply(packed, q, bias, p)


def _heads_first(x: Tensor) -> Tensor:
    """(B, T, H, d) -> (B * H, T, d), contiguous."""
    return x.transpose(1, 2).reshape(-1, x.shape[1], x.shape[3])


class _PlainAttention(torch.autograd.Function):
    """Attention by three batched products, its gradient written out.

    What autograd would do, with fewer passes over the (B, H, m, T) weights: scales ride on the
    products, the dropout mask is bytes, the backward pass works in place and writes the packed
    gradient once.
    """

    @staticmethod
    def forward(ctx, packed: Tensor, q: Tensor | None, bias: Tensor | None, p: float) -> Tensor:
        parts = packed.unbind(2)
        source = parts[0] if q is None else q
        batch, asked, heads, width = source.shape
        q, k, v = _heads_first(source), _heads_first(parts[-2]), _heads_first(parts[-1])
        root = width**-0.5
        scores = torch.baddbmm(q.new_empty(()), q, k.transpose(1, 2), beta=0, alpha=root)
        if bias is not None:
            scores.view(batch, heads, asked, -1).add_(bias.to(scores.dtype))
        weights = scores.softmax(dim=-1)
        keep, scale, dropped = None, 1.0, weights
        if p > 0.0:
            keep, scale = keep_mask(weights.shape, p)
            dropped = torch.mul(weights, keep, out=scores)
        y = torch.baddbmm(v.new_empty(()), dropped, v, beta=0, alpha=scale)
        ctx.save_for_backward(q, k, v, weights, keep, y)
        ctx.sizes = packed.shape, root, scale
        return y.view(batch, heads, asked, width).transpose(1, 2).reshape(batch, asked, -1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, keep, y = ctx.saved_tensors
        shape, root, scale = ctx.sizes
        batch, frames, parts, heads, width = shape
        grad = _heads_first(grad.view(batch, -1, heads, width))
        none = grad.new_empty(())
        dropped = weights if keep is None else weights * keep
        for_v = torch.baddbmm(none, dropped.transpose(1, 2), grad, beta=0, alpha=scale)
        inner = torch.baddbmm(none, grad, v.transpose(1, 2), beta=0, alpha=scale)
        # Softmax's gradient needs sum(dropped * inner) of each row, which equals grad . y.
        inner.mul_(dropped).addcmul_(weights, (grad * y).sum(-1, keepdim=True), value=-1)
        for_q = torch.baddbmm(none, inner, k, beta=0, alpha=root)
        for_k = torch.baddbmm(none, inner.transpose(1, 2), q, beta=0, alpha=root)
        for_packed = grad.new_empty(shape)
        made = (for_q, for_k, for_v)[3 - parts :]
        for i, part in enumerate(made):
            for_packed[:, :, i].copy_(part.view(batch, heads, frames, width).transpose(1, 2))
        if parts == 3:
            return for_packed, None, None, None
        return for_packed, for_q.view(batch, heads, -1, width).transpose(1, 2), None, None
