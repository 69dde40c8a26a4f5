"""A Transformer decoder that reads an encoder's frames, whole for training, stepwise for search.

Pre-norm blocks with ReLU, sinusoidal positions (half sines, half cosines, the first token at
position 2), input and output embeddings shared, by default no scale on the embeddings: the shape
of fairseq's decoder as arXiv 2201.02184 and 2211.11275 fine-tune it. With the scale of arXiv
1706.03762 a token's identity does not drown in its position: it learns faster from few sentences.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.nn.dropout import Dropout
from pylib.nn.linear import Linear, linear

PAD = 1  # id of padding: its embedding is zero and learns nothing
_FIRST = 2  # position of the first token
_ROOM = 16  # tokens by which a cache grows


@dataclass(frozen=True)
class DecoderSize:
    """What a decoder is built from.

    Attributes:
        vocab: tokens, V.
        memory_dim: width of the encoder, E.
        dim, ffn_dim, layers, heads: of the decoder.
        dropout, attention_dropout, activation_dropout: rates while training.
        scaled: whether embeddings count sqrt(dim) times before positions are added.
    """

    vocab: int
    memory_dim: int
    dim: int
    ffn_dim: int
    layers: int
    heads: int
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    scaled: bool = False


def sinusoids(count: int, dim: int, first: int = 0) -> Tensor:
    """Positions first .. first + count - 1 as (count, dim) float32: dim / 2 sines, then cosines.

    The wavelengths go from 2 pi to 20,000 pi in a geometric row; an odd dim ends with a zero.
    """
    half = dim // 2
    rate = torch.exp(torch.arange(half, dtype=torch.float64) * (-math.log(1e4) / max(half - 1, 1)))
    angle = torch.arange(first, first + count, dtype=torch.float64)[:, None] * rate
    table = torch.cat([angle.sin(), angle.cos()], dim=1)
    return F.pad(table, (0, dim - 2 * half)).float()


class DecoderBlock(nn.Module):
    """Self-attention over the tokens so far, attention to the encoder's frames, feed-forward."""

    def __init__(self, size: DecoderSize) -> None:
        super().__init__()
        dim = size.dim
        self.heads = size.heads
        self.p = size.attention_dropout
        self.self_norm = nn.LayerNorm(dim)
        self.self_qkv = Linear(dim, 3 * dim)
        self.self_out = Linear(dim, dim)
        self.cross_norm = nn.LayerNorm(dim)
        self.cross_q = Linear(dim, dim)
        self.cross_kv = Linear(size.memory_dim, 2 * dim)
        self.cross_out = Linear(dim, dim)
        self.ffn_norm = nn.LayerNorm(dim)
        self.fc1 = Linear(dim, size.ffn_dim)
        self.fc2 = Linear(size.ffn_dim, dim)
        self.dropout = Dropout(size.dropout)
        self.inner_dropout = Dropout(size.activation_dropout)

    def forward(self, x: Tensor, memory: Tensor, bias: Tensor | None) -> Tensor:
        """x (B, U, D), memory (B, T, E), bias (B, 1, 1, T) or None -> (B, U, D)."""
        rows, count, dim = x.shape
        p = self.p if self.training else 0.0
        packed = self.self_qkv(self.self_norm(x)).view(rows, count, 3, self.heads, -1)
        q, k, v = packed.transpose(1, 3).unbind(2)
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        x = x + self.dropout(self.self_out(y.transpose(1, 2).reshape(rows, count, dim)))
        k, v = self.cross_parts(memory)
        return self._rest(x, k, v, bias, p)

    def cross_parts(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, T, d) of the encoder's frames (B, T, E)."""
        rows, frames, _ = memory.shape
        packed = self.cross_kv(memory).view(rows, frames, 2, self.heads, -1)
        k, v = packed.transpose(1, 3).unbind(2)
        return k, v

    def step(self, x: Tensor, past: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
        """One more token of many hypotheses.

        Args:
            x: (B, n, D), the newest token of n hypotheses of each of B utterances.
            past: (B * n, 2, U, D), keys and values of the tokens so far; those of the newest,
                the last, are written here.
            k, v: of `cross_parts`.
            bias: (B, 1, 1, T) or None.
        """
        rows, count, dim = x.shape
        packed = self.self_qkv(self.self_norm(x)).view(rows * count, 3, dim)
        past[:, :, -1] = packed[:, 1:]
        heads = past.unflatten(3, (self.heads, -1)).transpose(2, 3)
        keys, values = heads.unbind(1)
        q = packed[:, 0].reshape(rows * count, self.heads, 1, -1)
        y = F.scaled_dot_product_attention(q, keys, values)
        x = x + self.self_out(y.reshape(rows, count, dim))
        return self._rest(x, k, v, bias, 0.0)

    def _rest(self, x: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, p: float) -> Tensor:
        """What follows self-attention; x (B, m, D)."""
        rows, count, dim = x.shape
        q = self.cross_q(self.cross_norm(x)).view(rows, count, self.heads, -1).transpose(1, 2)
        mask = None if bias is None else bias.to(q.dtype)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
        x = x + self.dropout(self.cross_out(y.transpose(1, 2).reshape(rows, count, dim)))
        hidden = self.inner_dropout(F.relu(self.fc1(self.ffn_norm(x))))
        return x + self.dropout(self.fc2(hidden))


class DecoderState:
    """Hypotheses of a search: n of each of B utterances, all U tokens long.

    Attributes:
        cross: for each block keys and values (B, H, T, d) of the encoder's frames.
        bias: (B, 1, 1, T), -inf beyond an utterance's frames; None where all are equally long.
        past: (B * n, 2 * blocks, at least U, D), keys and values of the tokens so far.
        length: U.
    """

    def __init__(
        self, cross: list[tuple[Tensor, Tensor]], bias: Tensor | None, rows: int, dim: int
    ) -> None:
        self.cross, self.bias, self.length = cross, bias, 0
        self.past = cross[0][0].new_empty(rows, 2 * len(cross), _ROOM, dim)
        # Where the next `select` writes: fresh memory for each would cost more than the copy.
        self._spare = self.past.new_empty(0)

    def select(self, rows: Tensor, utterances: Tensor | None = None) -> None:
        """Go on with other hypotheses.

        Args:
            rows: (B' * n',) int64, which of the B * n each is a continuation of.
            utterances: (B',) int64, which utterances are kept; None = all.
        """
        shape = (len(rows), *self.past.shape[1:])
        if self._spare.shape[1:] != shape[1:] or len(self._spare) < len(rows):
            self._spare = self.past.new_empty(shape)
        made = self._spare[: len(rows)]
        torch.index_select(self.past, 0, rows, out=made)
        self.past, self._spare = made, self.past
        if utterances is not None:
            self.cross = [
                (k.index_select(0, utterances), v.index_select(0, utterances))
                for k, v in self.cross
            ]
            if self.bias is not None:
                self.bias = self.bias.index_select(0, utterances)

    def grow(self) -> None:
        """Make room for one more token."""
        rows, parts, room, dim = self.past.shape
        if self.length == room:
            wider = self.past.new_empty(rows, parts, room + _ROOM, dim)
            wider[:, :, :room] = self.past
            self.past = wider
        self.length += 1


class Decoder(nn.Module):
    """Token embeddings, positions, blocks, a closing norm, and the embeddings again as output."""

    def __init__(self, size: DecoderSize) -> None:
        super().__init__()
        self.size = size
        self.scale = size.dim**0.5 if size.scaled else 1.0
        self.embedding = nn.Embedding(size.vocab, size.dim, padding_idx=PAD)
        self.dropout = Dropout(size.dropout)
        self.blocks = nn.ModuleList(DecoderBlock(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.dim)
        self._table = torch.zeros(0, size.dim)
        nn.init.normal_(self.embedding.weight, 0.0, size.dim**-0.5)
        with torch.no_grad():
            self.embedding.weight[PAD].zero_()
        for module in self.blocks.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for block in self.blocks:
            assert isinstance(block, DecoderBlock)
            for packed in (block.self_qkv, block.cross_kv):
                for part in packed.weight.split(size.dim):
                    nn.init.xavier_uniform_(part, gain=2**-0.5)
            nn.init.xavier_uniform_(block.cross_q.weight, gain=2**-0.5)

    def positions(self, first: int, count: int) -> Tensor:
        """(count, D) positions of tokens first .. first + count - 1, counted from 0."""
        device = self.embedding.weight.device
        if len(self._table) < first + count or self._table.device != device:
            size = max(64, 2 * (first + count))
            self._table = sinusoids(size, self.size.dim, _FIRST).to(device)
        return self._table[first : first + count]

    def forward(self, tokens: Tensor, memory: Tensor, padding: Tensor | None) -> Tensor:
        """Scores of the token after each token.

        Args:
            tokens: (B, U) int64, beginning with the end-of-sentence symbol.
            memory: (B, T, E), the encoder's frames.
            padding: (B, T) bool, True beyond an utterance's frames; None without padding.

        Returns:
            (B, U, V), not normalised.
        """
        x = self.scale * self.embedding(tokens) + self.positions(0, tokens.shape[1])
        x = self.dropout(x)
        bias = _bias(padding, memory)
        for block in self.blocks:
            x = block(x, memory, bias)
        return self._output(x)

    def begin(self, memory: Tensor, padding: Tensor | None) -> DecoderState:
        """State before the first token, one hypothesis an utterance; arguments as in `forward`."""
        cross = [block.cross_parts(memory) for block in self.blocks]
        return DecoderState(cross, _bias(padding, memory), len(memory), self.size.dim)

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """Read one token of every hypothesis; changes the state.

        Args:
            tokens: (B * n,) int64, the hypotheses of an utterance beside each other.

        Returns:
            (B * n, V) scores of the next token, not normalised: what `forward` gives for the last
            token of the sequences so far.
        """
        position = self.positions(state.length, 1)
        state.grow()
        rows = state.cross[0][0].shape[0]
        x = (self.scale * self.embedding(tokens) + position).view(rows, -1, self.size.dim)
        x = x.to(state.past.dtype)
        for i, (block, (k, v)) in enumerate(zip(self.blocks, state.cross, strict=True)):
            past = state.past[:, 2 * i : 2 * i + 2, : state.length]
            x = block.step(x, past, k, v, state.bias)
        return self._output(x).flatten(0, 1)

    def _output(self, x: Tensor) -> Tensor:
        return linear(self.norm(x), self.embedding.weight)


def _bias(padding: Tensor | None, memory: Tensor) -> Tensor | None:
    """(B, 1, 1, T) with -inf on padded frames; None without padding."""
    if padding is None:
        return None
    bias = torch.zeros(padding.shape, dtype=memory.dtype, device=memory.device)
    return bias.masked_fill_(padding, float("-inf"))[:, None, None, :]
