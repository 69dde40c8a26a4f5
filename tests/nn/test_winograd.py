"""Winograd's convolution against the definition, in values and gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import pylib.nn.winograd as winograd
from pylib.nn.winograd import conv3x3


@pytest.mark.parametrize("side", [3, 6, 9])
@pytest.mark.parametrize("rows", [1, 5, 7])
def test_values_and_gradients(side: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one piece and in several, against torch in float64."""
    torch.manual_seed(0)
    x = torch.randn(rows, 8, side, side).to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.randn(6, 8, 3, 3, requires_grad=True)
    wide = [t.detach().double().requires_grad_() for t in (x, weight)]
    expected = F.conv2d(*wide, None, 1, 1)
    upper = torch.randn(expected.shape)
    theirs = torch.autograd.grad(expected, wide, upper.double())
    for piece in (2**22, 25 * (side // 3) ** 2 * 8 * 2):
        monkeypatch.setattr(winograd, "PIECE", piece)
        found = winograd._Winograd.apply(x, weight)
        assert found.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(found.double(), expected, atol=2e-4, rtol=1e-4)
        mine = torch.autograd.grad(found, (x, weight), upper)
        for a, b in zip(mine, theirs, strict=True):
            torch.testing.assert_close(a.double(), b, atol=5e-4, rtol=1e-4)


def test_gradients_of_one_side_only() -> None:
    x, weight = torch.randn(2, 4, 3, 3), torch.randn(4, 4, 3, 3)
    for inputs in ((x.requires_grad_(), weight), (x.detach(), weight.requires_grad_())):
        winograd._Winograd.apply(*inputs).sum().backward()
    assert x.grad is not None and weight.grad is not None


def test_it_runs_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    calls = []
    plain = winograd._Winograd.apply
    monkeypatch.setattr(winograd._Winograd, "apply", lambda *a: calls.append(1) or plain(*a))
    weight = torch.randn(256, 256, 3, 3) / 48
    for rows, side, expected in ((64, 3, 1), (63, 3, 0), (64, 4, 0), (64, 6, 1)):
        calls.clear()
        x = torch.randn(rows, 256, side, side)
        torch.testing.assert_close(
            conv3x3(x, weight), F.conv2d(x, weight, None, 1, 1), atol=1e-4, rtol=1e-4
        )
        assert len(calls) == expected
    x = torch.randn(64, 256, 3, 3)
    calls.clear()
    with torch.autocast("cpu", torch.bfloat16):
        assert conv3x3(x, weight).dtype == torch.bfloat16
    assert not calls
