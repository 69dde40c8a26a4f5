"""Phones to frames: the regulator against repeat_interleave, padding that changes nothing."""

from __future__ import annotations

import pytest
import torch

from pylib.nn.length_regulator import ConvStack, DurationPredictor, expand, sinusoids
from pylib.nn.phone_batch import PhoneBatch


def test_rows_are_repeated() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        x = torch.randn(3, 7, 5, generator=generator)
        durations = torch.randint(0, 4, (3, 7), generator=generator)
        durations[0, 0] = 1
        made = expand(x, durations)
        assert made.shape[1] == int(durations.sum(1).max())
        for row in range(3):
            expected = torch.repeat_interleave(x[row], durations[row], dim=0)
            torch.testing.assert_close(made[row, : len(expected)], expected, rtol=0, atol=0)
            assert not made[row, len(expected) :].any()


def test_a_given_width_cuts_and_fills() -> None:
    x, durations = torch.ones(1, 2, 1), torch.tensor([[2, 1]])
    assert expand(x, durations, 5)[0, :, 0].tolist() == [1, 1, 1, 0, 0]
    assert expand(x, durations, 2)[0, :, 0].tolist() == [1, 1]


def test_gradients_add_up_over_the_frames_of_a_phone() -> None:
    x = torch.randn(1, 3, 2, requires_grad=True)
    expand(x, torch.tensor([[2, 0, 3]])).sum().backward()
    assert x.grad is not None
    assert x.grad[0, :, 0].tolist() == [2, 0, 3]


@pytest.mark.parametrize("dim", [8, 7])
def test_positions(dim: int) -> None:
    table = sinusoids(5, dim, torch.device("cpu"))
    assert table.shape == (5, dim)
    torch.testing.assert_close(table[:, 0], torch.arange(5).float().sin())


def test_padding_changes_nothing() -> None:
    torch.manual_seed(1)
    stack = ConvStack(2, 12, 2, 24, 5, 0.0).eval()
    predictor = DurationPredictor(12, 10, 3, 0.0).eval()
    x = torch.randn(2, 9, 12)
    lengths = torch.tensor([9, 4])
    x[1, 4:] = 77.0  # must not be read
    both = stack(
        x.masked_fill(torch.arange(9)[None, :, None] >= lengths[:, None, None], 0), lengths
    )
    alone = stack(x[1:, :4], torch.tensor([4]))
    torch.testing.assert_close(both[1:, :4], alone, rtol=0, atol=1e-5)
    assert not both[1, 4:].any()
    torch.testing.assert_close(
        predictor(both, lengths)[1:, :4], predictor(alone, torch.tensor([4])), rtol=0, atol=1e-5
    )


def test_what_lies_beyond_is_blanked_by_the_stack_itself() -> None:
    torch.manual_seed(2)
    stack = ConvStack(1, 8, 2, 16, 3, 0.0).eval()
    x, lengths = torch.randn(2, 6, 8), torch.tensor([6, 3])
    other = x.clone()
    other[1, 3:] = 5.0
    torch.testing.assert_close(stack(x, lengths), stack(other, lengths), rtol=0, atol=0)


def test_batches_are_checked() -> None:
    one = torch.ones(1, 2, dtype=torch.int64)
    batch = PhoneBatch(one, torch.tensor([2]), one, one, torch.tensor([2]), ("u",))
    assert len(batch) == 1 and batch.name(0) == "u" and batch.name(1) == "row 1 of the batch"
    assert batch.to("cpu").input_lengths.tolist() == [2]
    with pytest.raises(ValueError, match="one duration a phone"):
        PhoneBatch(one, torch.tensor([2]), one[:, :1], one, torch.tensor([2]))
    with pytest.raises(ValueError, match="labels has other rows"):
        PhoneBatch(one, torch.tensor([2]), one, one.repeat(2, 1), torch.tensor([2]))
