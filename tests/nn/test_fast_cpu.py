"""The CPU forms of linear layers, dropout and attention against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pylib.corpus.errors import UserError
from pylib.nn.attention import SelfAttention, fused_attention, plain_attention
from pylib.nn.dropout import Dropout, check_rate, dropout, keep_mask
from pylib.nn.linear import Linear, linear


@pytest.mark.parametrize("shape", [(7, 12), (3, 5, 12), (1, 12), (0, 12)])
def test_linear_and_its_gradients(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = Linear(12, 8)
    x = torch.randn(shape, requires_grad=True)
    parts = (x, layer.weight, layer.bias)
    found = layer(x)
    expected = F.linear(*parts)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(expected)
    pairs = zip(
        torch.autograd.grad(found, parts, weight, allow_unused=True),
        torch.autograd.grad(expected, parts, weight),
        strict=True,
    )
    for mine, theirs in pairs:
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("inputs", [1, 2, 5])
@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_linear_with_odd_strides(rows: int, inputs: int, outputs: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(inputs, outputs).t().requires_grad_()
    for source in (
        torch.randn(rows, inputs),
        torch.randn(1, inputs).expand(rows, inputs),
        torch.randn(rows, 1).expand(rows, inputs),
        torch.randn(inputs, rows).t(),
        torch.randn(rows, 2 * inputs)[:, ::2],
        torch.randn(2 * rows, inputs)[::2],
    ):
        x = source.detach().requires_grad_()
        found, expected = linear(x, weight), F.linear(x, weight)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        mine = torch.autograd.grad(found.sum(), (x, weight))  # an expanded gradient
        theirs = torch.autograd.grad(expected.sum(), (x, weight))
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_linear_of_views_and_without_bias() -> None:
    torch.manual_seed(0)
    weight = torch.randn(24, 6)
    x = torch.randn(4, 6, 9).transpose(1, 2)
    with torch.no_grad():
        for part in (weight[:8], weight[8:16]):
            torch.testing.assert_close(linear(x, part), F.linear(x, part), atol=1e-5, rtol=1e-5)


def test_linear_follows_autocast() -> None:
    layer = Linear(16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(torch.randn(4, 16))
        assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert layer.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("p", [0.05, 0.1, 0.5, 0.999])
def test_dropout_rate_and_scale(p: float) -> None:
    torch.manual_seed(0)
    share = sum(float(keep_mask((1000, 37), p)[0].float().mean()) for _ in range(200)) / 200
    assert abs(share - (1 - p)) < 2e-3 + 0.004 * (p > 0.99)
    keep, scale = keep_mask((4000, 50), p)
    assert abs(float(keep.float().mean()) * scale - 1) < 0.1


def test_dropout_gradient_uses_the_same_mask() -> None:
    torch.manual_seed(0)
    x = torch.ones(50, 50, requires_grad=True)
    y = dropout(x, 0.3, True)
    y.sum().backward()
    assert torch.equal(y, x.grad)
    assert 0.6 < float((y > 0).float().mean()) < 0.8
    torch.manual_seed(5)
    first = dropout(x, 0.3, True)
    torch.manual_seed(5)
    assert torch.equal(first, dropout(x, 0.3, True))
    assert dropout(x, 0.3, False) is x and Dropout(0.0)(x) is x
    with pytest.raises(UserError, match="model.dropout"):
        check_rate("model.dropout", 1.0)


def packed(parts: int) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(2, 5, parts, 2, 4, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_plain_attention_gradients(p: float) -> None:
    bias = torch.zeros(2, 1, 1, 5, dtype=torch.float64)
    bias[1, ..., 3:] = float("-inf")
    q = torch.randn(2, 3, 2, 4, dtype=torch.float64, requires_grad=True)

    def seeded(*parts: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(2)
        return plain_attention(parts[0], parts[1] if len(parts) > 1 else None, bias, p)

    assert torch.autograd.gradcheck(seeded, (packed(3),))
    assert torch.autograd.gradcheck(seeded, (packed(2), q))


def test_plain_equals_fused_attention() -> None:
    bias = torch.zeros(2, 1, 1, 5, dtype=torch.float64)
    bias[0, ..., 4:] = float("-inf")
    q = torch.randn(2, 3, 2, 4, dtype=torch.float64)
    for parts, asked in ((3, None), (2, q)):
        x = packed(parts)
        torch.testing.assert_close(
            plain_attention(x, asked, bias, 0.0), fused_attention(x, asked, bias, 0.0)
        )


def test_attention_dropout_is_unbiased() -> None:
    x = packed(3)
    torch.manual_seed(0)
    with torch.no_grad():
        mean = torch.stack([plain_attention(x, None, None, 0.2) for _ in range(4000)]).mean(0)
        assert (mean - plain_attention(x, None, None, 0.0)).abs().max() < 0.05


def test_queries_of_chosen_frames() -> None:
    torch.manual_seed(0)
    layer = SelfAttention(24, 3, 0.0)
    x = torch.randn(2, 9, 24)
    torch.testing.assert_close(layer(x, None, x[:, 2:5]), layer(x)[:, 2:5], atol=1e-6, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
