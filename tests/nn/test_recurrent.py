"""LSTM layers written out: values and gradients of nn.LSTM, constant inputs, initialisation."""

from __future__ import annotations

import pytest
import torch

from pylib.nn.recurrent import LSTM


def build(width: int, constant: int, layers: int, hidden: int = 12) -> LSTM:
    torch.manual_seed(0)
    module = LSTM(width, constant, hidden, layers)
    for item in module.parameters():
        torch.nn.init.normal_(item, std=0.3)
    return module


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize(("width", "constant"), [(5, 0), (5, 3), (0, 4)])
@pytest.mark.parametrize(("steps", "rows"), [(1, 3), (6, 1), (20, 7)])
def test_equals_torch(width: int, constant: int, layers: int, steps: int, rows: int) -> None:
    module = build(width, constant, layers)
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(steps, rows, width, generator=draw, requires_grad=True) if width else None
    c = torch.randn(rows, constant, generator=draw, requires_grad=True) if constant else None
    leaves = [item for item in (x, c, *module.parameters()) if item is not None]
    weight = torch.randn(steps, rows, 12, generator=draw)
    made = []
    for run in (module._plain, module._fast):
        out, last = run(x, c, steps)
        loss = (out * weight).sum() + (last**3).sum()
        made.append((out, last, *torch.autograd.grad(loss, leaves)))
    for ours, theirs in zip(made[1], made[0], strict=True):
        assert torch.allclose(ours, theirs, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("which", [0, 1])
def test_either_output_alone_has_the_right_gradient(which: int) -> None:
    module = build(4, 2, 2)
    x, c = torch.randn(5, 3, 4), torch.randn(3, 2)
    made = [
        torch.autograd.grad(run(x, c, 5)[which].square().sum(), list(module.parameters()))
        for run in (module._plain, module._fast)
    ]
    for ours, theirs in zip(*made, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-5)


def test_gradients_without_memory_of_their_own() -> None:
    module = build(4, 2, 2)
    x, c = torch.randn(5, 3, 4), torch.randn(3, 2)
    for reduce in (
        lambda out: out.sum(),
        lambda out: (out.transpose(0, 1) * x.sum(2).t()[..., None]).sum(),
    ):
        made = [
            torch.autograd.grad(reduce(run(x, c, 5)[0]), list(module.parameters()))
            for run in (module._plain, module._fast)
        ]
        for ours, theirs in zip(*made, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)


def test_parameters_are_those_of_torch() -> None:
    ours = build(5, 3, 2).state_dict()
    theirs = torch.nn.LSTM(8, 12, 2).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def test_many_rows_take_the_fast_way(monkeypatch: pytest.MonkeyPatch) -> None:
    module = build(5, 3, 1, 32)
    taken = []
    monkeypatch.setattr(module, "_fast", lambda *given: taken.append(given))
    for rows in (767, 768):
        module(torch.randn(4, rows, 5), torch.randn(rows, 3), 4)
    assert len(taken) == 1 and taken[0][0].shape[1] == 768


def test_forget_gate_starts_open() -> None:
    module = LSTM(5, 3, 4, 2)
    for layer in range(2):
        bias = getattr(module, f"bias_ih_l{layer}")
        assert bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
        assert not bool(getattr(module, f"bias_hh_l{layer}").any())


def test_bfloat16_autocast_stays_near() -> None:
    module = build(5, 3, 2)
    x, c = torch.randn(6, 4, 5), torch.randn(4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        out, last = module(x, c, 6)
    exact = module(x, c, 6)
    assert torch.allclose(out.float(), exact[0], atol=0.1)
    assert torch.allclose(last.float(), exact[1], atol=0.1)


def test_a_processor_without_half_precision_computes_in_float32(monkeypatch) -> None:
    """As those without AVX-512, where torch stops with an error of its library."""
    monkeypatch.setattr(
        "pylib.nn.recurrent._lacks_half", lambda _: torch.is_autocast_enabled("cpu")
    )
    module = build(5, 3, 2)
    x, c = torch.randn(6, 4, 5), torch.randn(4, 3)
    with torch.autocast("cpu", torch.bfloat16):
        out, last = module(x.bfloat16(), c, 6)
    exact = module(x.bfloat16().float(), c, 6)
    assert out.dtype == torch.float32
    assert torch.equal(out, exact[0]) and torch.equal(last, exact[1])


def test_double_precision_is_kept() -> None:
    module = build(5, 3, 1).double()
    out, _ = module(torch.randn(6, 4, 5).double(), torch.randn(4, 3).double(), 6)
    assert out.dtype == torch.float64
