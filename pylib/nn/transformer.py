"""The context network: positions, then post- or pre-norm blocks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.nn.attention import SelfAttention
from pylib.nn.dropout import Dropout
from pylib.nn.linear import Linear
from pylib.nn.positional import positions


@dataclass(frozen=True)
class TransformerSize:
    """What a context network is built from; the fields are `EncoderConfig`'s."""

    dim: int
    ffn_dim: int
    layers: int
    heads: int
    norm: str
    pos_conv_depth: int
    pos_conv_width: int
    pos_conv_groups: int
    mask_pos_conv: bool
    dropout: float
    attention_dropout: float
    activation_dropout: float
    layerdrop: float


class FeedForward(nn.Module):
    """Linear, GELU, dropout, linear. (..., D) -> (..., D), before dropout and residual."""

    def __init__(self, dim: int, ffn_dim: int, p: float) -> None:
        super().__init__()
        self.fc1 = Linear(dim, ffn_dim)
        self.dropout = Dropout(p)
        self.fc2 = Linear(ffn_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.dropout(F.gelu(self.fc1(x))))


class Block(nn.Module):
    """One Transformer block; `norm` says whether normalisation follows or precedes."""

    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.pre = size.norm == "pre"
        self.attention = SelfAttention(size.dim, size.heads, size.attention_dropout)
        self.attention_norm = nn.LayerNorm(size.dim)
        self.ffn = FeedForward(size.dim, size.ffn_dim, size.activation_dropout)
        self.ffn_norm = nn.LayerNorm(size.dim)
        self.dropout = Dropout(size.dropout)

    def forward(
        self,
        x: Tensor,
        bias: Tensor | None = None,
        index: Tensor | None = None,
        skip: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Output and feed-forward output before its residual add.

        Args:
            x: (B, T, D).
            bias: (B, 1, 1, T), -inf on padded frames, or None.
            index: (B, m) frames to compute; all by default. Keys and values are always all.
            skip: give the input back for both.

        Returns:
            block output and feed-forward output, both (B, T, D), or (B, m, D) with `index`.
        """
        asked = x if index is None else take_frames(x, index)
        if skip:
            return asked, asked
        if self.pre:
            keys = self.attention_norm(x)
            queries = None if index is None else self.attention_norm(asked)
            x = asked + self.dropout(self.attention(keys, bias, queries))
            hidden = self.ffn(self.ffn_norm(x))
            return x + self.dropout(hidden), hidden
        queries = None if index is None else asked
        x = self.attention_norm(asked + self.dropout(self.attention(x, bias, queries)))
        hidden = self.ffn(x)
        return self.ffn_norm(x + self.dropout(hidden)), hidden


def take_frames(x: Tensor, index: Tensor) -> Tensor:
    """Frames `index` (B, m) of x (B, T, D), as (B, m, D)."""
    rows, frames, dim = x.shape
    offset = torch.arange(rows, device=x.device).unsqueeze(1) * frames
    flat = x.reshape(rows * frames, dim).index_select(0, (index + offset).flatten())
    return flat.view(rows, -1, dim)


class Transformer(nn.Module):
    """Positions added to the input, LayerNorm and dropout, blocks with LayerDrop.

    Linear layers start as N(0, 0.02) with zero biases (fairseq: init_bert_params).

    Attributes:
        visit_all: go into the blocks that LayerDrop skips too, and out again. For sharded
            parameters: processes that skip different blocks still fetch all of them together.
    """

    def __init__(self, size: TransformerSize) -> None:
        super().__init__()
        self.pre = size.norm == "pre"
        self.layerdrop = size.layerdrop
        self.visit_all = False
        self.pos_conv = positions(
            size.dim,
            size.pos_conv_depth,
            size.pos_conv_width,
            size.pos_conv_groups,
            size.mask_pos_conv,
        )
        self.norm = nn.LayerNorm(size.dim)
        self.dropout = Dropout(size.dropout)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.02)
                nn.init.zeros_(module.bias)

    def embed(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """Input of the first block (layer 0) for projected features x (B, T, D)."""
        if padding is not None:
            x = x.masked_fill(padding.unsqueeze(2), 0.0)
        x = x + self.pos_conv(x, padding)
        return self.dropout(x if self.pre else self.norm(x))

    def forward(
        self,
        x: Tensor,
        padding: Tensor | None = None,
        *,
        index: Tensor | None = None,
        last: int | None = None,
    ) -> Tensor:
        """Run the blocks.

        Args:
            x: (B, T, D) projected features.
            padding: (B, T) bool, True on padded frames; None without padding.
            index: (B, m) frames to compute in the last block; all by default.
            last: stop after this many blocks, and return that block's output as it is;
                0 is the input of the first. By default all, with the closing LayerNorm of a
                pre-norm network.

        Returns:
            (B, T, D), or (B, m, D) with `index`.
        """
        x = self.embed(x, padding)
        bias = attention_bias(padding, x)
        count = len(self.blocks) if last is None else last
        kept = self._kept()
        for i, block in enumerate(self.blocks[:count]):
            chosen = index if i == count - 1 else None
            if kept[i] or self.visit_all:
                x, _ = block(x, bias, chosen, not kept[i])
            elif chosen is not None:
                x = take_frames(x, chosen)
        return self.norm(x) if self.pre and last is None else x

    def feed_forward_outputs(
        self, x: Tensor, padding: Tensor | None, layers: Collection[int]
    ) -> list[Tensor]:
        """Feed-forward outputs before their residual add (B, T, D) of blocks `layers` (1-based).

        What a teacher's targets are made of. Only with LayerDrop off, that is in
        eval mode: a dropped layer has no output.
        """
        if self.training and self.layerdrop > 0:
            raise RuntimeError("feed_forward_outputs: call eval() first, LayerDrop drops layers")
        x = self.embed(x, padding)
        bias = attention_bias(padding, x)
        outputs = []
        for number, block in enumerate(self.blocks[: max(layers)], 1):
            x, hidden = block(x, bias)
            if number in layers:
                outputs.append(hidden)
        return outputs

    def _kept(self) -> list[bool]:
        # Drawn on the CPU from torch.manual_seed's state, whatever the device: no wait, and the
        # same layers for the same seed on every machine.
        if not self.training or self.layerdrop == 0.0:
            return [True] * len(self.blocks)
        return (torch.rand(len(self.blocks)) >= self.layerdrop).tolist()


def attention_bias(padding: Tensor | None, x: Tensor) -> Tensor | None:
    """(B, 1, 1, T) with -inf on padded frames, in x's type; None without padding."""
    if padding is None:
        return None
    bias = torch.zeros(padding.shape, dtype=x.dtype, device=x.device)
    return bias.masked_fill_(padding, float("-inf"))[:, None, None, :]
