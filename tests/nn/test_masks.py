"""Span masks: bands, equal counts, padding, determinism."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pylib.corpus.errors import UserError
from pylib.nn.masks import MaskConfig, MaskedRows, draw_mask, span_mask


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("prob", "spans", "untrimmed", "trimmed"),
    [(0.65, 1, (0.48, 0.50), (0.43, 0.46)), (0.80, 2, (0.56, 0.58), (0.50, 0.54))],
)
@pytest.mark.parametrize("frames", [499, 999])
def test_masked_share(prob, spans, untrimmed, trimmed, frames) -> None:
    draw = generator()
    shares = {True: [], False: []}
    for same in shares:
        config = MaskConfig(prob, 10, spans, same)
        for _ in range(60):
            mask = draw_mask(torch.full((16,), frames), config, draw)
            shares[same].append(float(mask.float().mean()))
    assert untrimmed[0] < np.mean(shares[False]) < untrimmed[1]
    assert trimmed[0] < np.mean(shares[True]) < trimmed[1]


def test_rule_by_hand() -> None:
    """Number of spans, range of starts and clipping at the end, row by row."""
    lengths = torch.full((4000,), 60)
    mask = span_mask(lengths, 0.4, 7, 1, generator())
    # 0.4 * 60 / 7 = 3.43 spans: 3 or 4. Starts lie in [0, 53), so frame 58 is the last possible.
    longest = mask.sum(1).max()
    assert longest <= 28 and mask.sum(1).min() >= 7
    share = float((mask.sum(1) > 21).float().mean())
    assert 0.05 < share < 0.43, "only rows of four spans exceed 21 frames"
    start_of_row = mask[:, 0].float().mean()
    assert abs(float(start_of_row) - 3.43 / 53) < 0.012
    assert abs(float(mask[:, 58].float().mean()) - 3.43 / 53) < 0.012 and not mask[:, 59].any()
    # Short rows: T - length <= spans, so starts come from [0, spans + 1).
    short = span_mask(torch.full((2000,), 9), 0.65, 8, 1, generator())
    assert short[:, 0].any() and short[:, 8].any() and short[:, 1:8].all()
    assert torch.equal(short.sum(1).unique(), torch.tensor([8]))


def test_starts_are_without_replacement() -> None:
    mask = span_mask(torch.full((500,), 40), 0.5, 1, 1, generator())
    assert torch.equal(mask.sum(1).unique(), torch.tensor([20])), "spans of one frame never meet"


def test_equal_counts_and_no_padding() -> None:
    lengths = torch.tensor([100, 80, 55, 100])
    mask = draw_mask(lengths, MaskConfig(), generator(), width=110)
    assert mask.shape == (4, 110)
    assert len(mask.sum(1).unique()) == 1
    for row, length in enumerate(lengths.tolist()):
        assert not mask[row, length:].any()
    free = draw_mask(lengths, MaskConfig(same_count=False), generator())
    assert free.shape == (4, 100) and len(free.sum(1).unique()) > 1


def test_function_of_the_seed() -> None:
    lengths = torch.tensor([200, 150])
    first = draw_mask(lengths, MaskConfig(), generator(3))
    assert torch.equal(first, draw_mask(lengths, MaskConfig(), generator(3)))
    assert not torch.equal(first, draw_mask(lengths, MaskConfig(), generator(4)))


def test_a_row_masked_entirely_is_an_error_or_skipped() -> None:
    lengths = torch.tensor([50, 5] + [50] * 20)  # starts of row 1 are 0 (masks all of it) or 1
    seen = set()
    for seed in range(20):
        mask = span_mask(lengths, 0.65, 10, 1, generator(seed), skip_full=True)
        assert mask[0].any()
        seen.add(int(mask[1].sum()))
        if not mask[1].any():
            with pytest.raises(ValueError, match="row 1: all of its 5 frames"):
                span_mask(lengths, 0.65, 10, 1, generator(seed))
    assert seen == {0, 4}


def test_no_spans() -> None:
    mask = span_mask(torch.full((3,), 20), 0.01, 10, 0, generator(1))
    assert mask.shape == (3, 20) and not mask.any()


@pytest.mark.parametrize("same", [True, False])
def test_masked_rows_pick_the_masked_frames(same: bool) -> None:
    mask = draw_mask(torch.tensor([90, 70, 40]), MaskConfig(same_count=same), generator(2))
    rows = MaskedRows.of(mask)
    x = torch.randn(3, 90, 4)
    assert rows.count == int(mask.sum())
    assert torch.equal(rows.pick(x), x[mask])
    gathered = x.gather(1, rows.index[:, :, None].expand(-1, -1, 4))
    assert torch.equal(rows.unpack(gathered), x[mask])
    assert (rows.packed is None) == same


def test_bad_configurations() -> None:
    for changes in ({"prob": 0.0}, {"prob": 1.0}, {"length": 0}, {"min_spans": 0}):
        with pytest.raises(UserError, match="mask."):
            MaskConfig(**changes)
