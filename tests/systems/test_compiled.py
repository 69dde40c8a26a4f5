"""run.compile: what the compiler traces is the same model (without its code generation)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.systems.test_mt4ssl import TINY, audio, build, close, generator, gradients

HUBERT = {"conv_norm": "group", "pos_conv_depth": 1, "feature_grad_mult": 0.1}


@pytest.mark.slow
def test_a_compiled_model_learns_the_same() -> None:
    """Two shapes of batch, of which the second must not be traced as the first was."""
    torch.compiler.reset()
    config = replace(TINY, frontend="waveform", layerdrop=0.0, **HUBERT)
    plain, compiled = build(config), build(config)
    compiled.compile(dynamic=True, backend="eager")
    batches = audio(4, 16000), audio(3, 12000)
    for batch in batches:
        for system in (plain, compiled):
            system.zero_grad()
        first, second = (s(batch, generator()) for s in (plain, compiled))
        torch.testing.assert_close(first.loss_sum, second.loss_sum)
        first.loss_sum.backward()
        second.loss_sum.backward()
        close(gradients(plain), gradients(compiled))
