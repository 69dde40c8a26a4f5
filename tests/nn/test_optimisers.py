"""Optimisers are torch's, and leave its compiler alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from pylib.nn import optimisers

ROOT = Path(__file__).resolve().parents[2]


def fitted(kind: type[torch.optim.Optimizer], **options: object) -> torch.Tensor:
    torch.manual_seed(0)
    module, x = torch.nn.Linear(4, 3), torch.randn(5, 4)
    optimizer = kind(module.parameters(), lr=0.05, **options)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = module(x).square().sum()
        value.backward()
        return value

    for _ in range(5):
        optimizer.step(loss)
    return module.weight


def test_they_step_as_torch_s_do() -> None:
    assert torch.equal(fitted(optimisers.AdamW, fused=True), fitted(torch.optim.AdamW, fused=True))
    assert torch.equal(fitted(optimisers.LBFGS), fitted(torch.optim.LBFGS))


def test_the_compiler_is_not_imported() -> None:
    """Its import takes longer than most updates; nothing is compiled unless asked for."""
    code = """
import sys
from tests.nn.test_optimisers import fitted, optimisers, torch
fitted(optimisers.AdamW, fused=True), fitted(optimisers.LBFGS)
optimizer = optimisers.AdamW([torch.nn.Parameter(torch.ones(1))])
optimizer.load_state_dict(optimizer.state_dict())
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
