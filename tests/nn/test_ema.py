"""The teacher."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pylib.nn.ema import Teacher, decay
from pylib.nn.encoder import EncoderConfig
from pylib.nn.norms import time_statistics
from pylib.nn.transformer import Transformer

TINY = EncoderConfig(dim=32, ffn_dim=64, layers=3, heads=4, pos_conv_groups=4)
SINGLE = replace(TINY, pos_conv_depth=1, pos_conv_width=16)


def test_decay_schedule() -> None:
    values = [decay(n, 0.999, 0.9999, 30000) for n in (0, 15000, 30000, 400000)]
    assert values == pytest.approx([0.999, 0.99945, 0.9999, 0.9999], abs=1e-12)
    assert decay(0, 0.99, 0.999, 0) == 0.999


@pytest.mark.parametrize("config", [TINY, SINGLE], ids=["stacked", "weight_norm"])
def test_closed_form_and_copied_positions(config: EncoderConfig) -> None:
    torch.manual_seed(0)
    student = Transformer(config.transformer())
    teacher = Teacher(config.transformer(), 2)
    teacher.copy_from(student)
    start = {n: p.detach().clone().double() for n, p in student.named_parameters()}
    moved = {n: start[n] + 0.1 * torch.randn_like(start[n]) for n in start}
    student.load_state_dict({n: v.float() for n, v in moved.items()})
    for _ in range(10):
        teacher.step(student, 0.9)
    for name, value in teacher.context.named_parameters():
        assert not value.requires_grad and value.dtype == torch.float32
        if name.startswith("pos_conv."):
            expected = moved[name]
        else:
            expected = 0.9**10 * start[name] + (1 - 0.9**10) * moved[name]
        torch.testing.assert_close(value.double(), expected, atol=1e-6, rtol=1e-5)


def test_small_steps_survive_in_float32() -> None:
    """1 - tau of 1e-4 is below what half precision can add."""
    student = Transformer(TINY.transformer())
    teacher = Teacher(TINY.transformer(), 1)
    teacher.copy_from(student)
    before = teacher.context.blocks[0].ffn.fc1.weight.clone()
    with torch.no_grad():
        student.blocks[0].ffn.fc1.weight.add_(0.01)
    half = student.to(torch.bfloat16)
    teacher.step(half, 0.9999)
    moved = teacher.context.blocks[0].ffn.fc1.weight - before
    assert 0 < float(moved.abs().mean()) < 1e-5


def test_targets_by_definition_and_without_padding() -> None:
    torch.manual_seed(0)
    teacher = Teacher(TINY.transformer(), 2)
    x = torch.randn(2, 30, 32)
    lengths = torch.tensor([30, 20])
    padding = torch.arange(30)[None] >= lengths[:, None]
    everything = torch.arange(60)
    with torch.no_grad():
        full = teacher.targets(x, None, torch.tensor([30, 30]), everything).view(2, 30, 32)
        outputs = teacher.context.feed_forward_outputs(x, None, [2, 3])
        expected = sum(F.instance_norm(o.transpose(1, 2)).transpose(1, 2) for o in outputs) / 2
        torch.testing.assert_close(full, expected, atol=1e-5, rtol=1e-5)
        # statistics of a padded row are those of the row alone.
        padded = teacher.targets(x, padding, lengths, everything).view(2, 30, 32)
        alone = teacher.targets(x[1:, :20], None, lengths[1:], torch.arange(20))
    torch.testing.assert_close(padded[1, :20], alone, atol=1e-5, rtol=1e-4)


def test_always_eval_and_never_a_gradient() -> None:
    teacher = Teacher(TINY.transformer(), 2)
    teacher.train()
    assert not any(m.training for m in teacher.modules())
    x = torch.randn(1, 12, 32, requires_grad=True)
    assert not teacher.targets(x, None, torch.tensor([12]), torch.arange(12)).requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())


def test_statistics() -> None:
    x = 5 + torch.randn(2, 11, 3)
    mean, inverse = time_statistics(x, None)
    torch.testing.assert_close(mean[:, 0], x.mean(1))
    torch.testing.assert_close(inverse[:, 0], (x.var(1, correction=0) + 1e-5).rsqrt())
    with pytest.raises(ValueError, match="lengths"):
        time_statistics(x, torch.zeros(2, 11, dtype=torch.bool))
