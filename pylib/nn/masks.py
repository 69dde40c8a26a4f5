"""Span masks by fairseq's rule, as pure functions of a generator.

A row of T valid frames gets n = max(min_spans, floor(prob * T / length + u)) spans, u ~ U[0,1)
per row; their starts are drawn without replacement from [0, T - length), or from [0, n + 1)
when T - length <= n; spans may overlap and stop at T. With `same_count` every row is then
trimmed to the smallest count of the batch by showing single random frames again.
Source: fairseq data_utils.compute_mask_indices; HuBERT is the same
rule with prob 0.80 and min_spans 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.nn.norms import send


@dataclass(frozen=True)
class MaskConfig:
    """Which frames the student must predict. Names in brackets are fairseq's."""

    prob: float = 0.65  # expected share of frames if spans did not overlap (mask_prob)
    length: int = 10  # frames of a span (mask_length); 10 is 200 ms at 50 Hz
    min_spans: int = 1  # spans a row has at least (min_masks)
    same_count: bool = True  # trim rows to the batch's smallest count (require_same_masks)

    def __post_init__(self) -> None:
        if not 0.0 < self.prob < 1.0:
            raise UserError(f"mask.prob = {self.prob}: expected between 0 and 1, such as 0.65")
        if self.length < 1:
            raise UserError(f"mask.length = {self.length}: expected at least 1 frame")
        if self.min_spans < 1:
            raise UserError(f"mask.min_spans = {self.min_spans}: expected at least 1")


def span_mask(
    lengths: Tensor,
    prob: float,
    length: int,
    min_spans: int,
    generator: torch.Generator,
    *,
    width: int | None = None,
    same_count: bool = False,
    skip_full: bool = False,
) -> Tensor:
    """Mask of spans, True where masked.

    Args:
        lengths: (B,) int64 on the CPU, valid frames of each row.
        prob, length, min_spans: see `MaskConfig`.
        generator: CPU generator; the mask is a function of its state and `lengths` alone.
        width: columns of the mask, the longest length by default.
        same_count: trim every row to the smallest count.
        skip_full: leave a row unmasked where its spans would cover all of it (fine-tuning:
            there an utterance shorter than a span is still worth its loss) instead of an error.

    Returns:
        (B, width) bool on the CPU; nothing beyond a row's length is masked.

    Raises:
        ValueError: a row would be masked entirely (too short for a span of `length`).
    """
    rows = lengths.shape[0]
    width = int(lengths.max()) if width is None else width
    u = torch.rand(rows, generator=generator, dtype=torch.float64)
    spans = (prob * lengths / float(length) + u).floor().long().clamp_min(min_spans)
    choices = torch.where(lengths - length <= spans, spans + 1, lengths - length)
    # Without replacement: the n smallest of random keys. Starts that cannot be drawn sort last.
    keys = torch.rand(rows, max(width, int(choices.max())), generator=generator)
    column = torch.arange(keys.shape[1])
    keys.masked_fill_(column >= choices[:, None], 2.0)
    order = keys.argsort(dim=1)
    drawn = column < spans[:, None]
    starts = torch.zeros(rows, keys.shape[1] + length, dtype=torch.int32)
    starts.scatter_(1, order, drawn.to(torch.int32))
    covered = starts.cumsum(1)
    covered[:, length:] -= starts.cumsum(1)[:, :-length]
    mask = (covered[:, :width] > 0) & (torch.arange(width) < lengths[:, None])
    full = mask.sum(1) >= lengths
    if bool(full.any()):
        if not skip_full:
            row = int(full.nonzero()[0])
            raise ValueError(
                f"row {row}: all of its {int(lengths[row])} frames would be masked by spans of "
                f"{length}: raise data.min_seconds or lower mask.length"
            )
        mask &= ~full[:, None]
    return cut_to_fewest(mask, generator) if same_count else mask


def cut_to_fewest(mask: Tensor, generator: torch.Generator) -> Tensor:
    """The mask with as many frames in every row as in the row that has fewest."""
    keep = int(mask.sum(1).min())
    keys = torch.rand(mask.shape, generator=generator).masked_fill_(~mask, 2.0)
    chosen = keys.argsort(dim=1)[:, :keep]
    return torch.zeros_like(mask).scatter_(1, chosen, True)


def draw_mask(
    lengths: Tensor, config: MaskConfig, generator: torch.Generator, width: int | None = None
) -> Tensor:
    """Mask of one pre-training micro-batch: `span_mask` with a configuration."""
    return span_mask(
        lengths,
        config.prob,
        config.length,
        config.min_spans,
        generator,
        width=width,
        same_count=config.same_count,
    )


@dataclass(frozen=True)
class MaskedRows:
    """Where the masked frames of a batch are.

    Attributes:
        mask: (B, T) bool.
        flat: (M,) int64, positions of the masked frames in the flattened (B * T).
        index: (B, m) int64, masked frames of each row in order; rows that have fewer than m
            repeat their first one.
        packed: (M,) int64 positions of the masked frames in the flattened (B * m), or None
            where every row has m of them.
    """

    mask: Tensor
    flat: Tensor
    index: Tensor
    packed: Tensor | None

    @staticmethod
    def of(mask: Tensor, device: torch.device | str = "cpu") -> MaskedRows:
        """Index a CPU mask (B, T) and move the result to `device`."""
        counts = mask.sum(1)
        widest, fewest = int(counts.max()), int(counts.min())
        flat = mask.flatten().nonzero().squeeze(1)
        columns = flat % mask.shape[1]
        packed = None
        if widest == fewest:
            index = columns.view(mask.shape[0], widest)
        else:
            used = torch.arange(widest) < counts[:, None]
            index = torch.zeros(mask.shape[0], widest, dtype=torch.long)
            index[used] = columns
            index = torch.where(used, index, index[:, :1])
            packed = send(used.flatten().nonzero().squeeze(1), device)
        return MaskedRows(send(mask, device), send(flat, device), send(index, device), packed)

    @property
    def count(self) -> int:
        """M, how many frames are masked."""
        return self.flat.shape[0]

    def pick(self, x: Tensor) -> Tensor:
        """Masked frames of x (B, T, D), as (M, D) in row-major order."""
        return x.flatten(0, 1).index_select(0, self.flat)

    def unpack(self, x: Tensor) -> Tensor:
        """Masked frames of x (B, m, D), which holds the frames of `index`, as (M, D)."""
        x = x.flatten(0, 1)
        return x if self.packed is None else x.index_select(0, self.packed)
