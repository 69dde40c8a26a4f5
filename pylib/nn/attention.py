"""Multi-head self-attention that picks the fastest exact form for its device and length."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.nn.dropout import dropout
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
        if queries is None:
            packed = self.qkv(x).view(rows, frames, 3, self.heads, dim // self.heads)
            q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
        else:
            weight, offset = self.qkv.weight, self.qkv.bias
            q = linear(queries, weight[:dim], offset[:dim])
            q = q.view(rows, queries.shape[1], self.heads, -1).transpose(1, 2)
            packed = linear(x, weight[dim:], offset[dim:])
            packed = packed.view(rows, frames, 2, self.heads, dim // self.heads)
            k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
        p = self.p if self.training else 0.0
        if x.device.type == "cpu" and (p > 0.0 or frames <= PLAIN_FRAMES):
            y = plain_attention(q, k, v, bias, p)
        else:
            mask = None if bias is None else bias.to(q.dtype)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
        return self.out(y.transpose(1, 2).reshape(rows, -1, dim))


def plain_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, p: float) -> Tensor:
    """softmax(q k' / sqrt(d) + bias), dropout, times v.

    Args:
        q: (B, H, m, d); k, v: (B, H, T, d); bias: (B, 1, 1, T) or None; p: dropout rate.

    Returns:
        (B, H, m, d).
    """
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(2, 3))
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    weights = dropout(scores.softmax(dim=-1), p, True)
    return torch.matmul(weights, v)
