"""The gradient does not depend on how an update's work is split."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pylib.systems.mt4ssl as mt4ssl
from pylib.nn.batch import Batch
from pylib.nn.encoder import EncoderConfig
from pylib.nn.masks import MaskConfig
from pylib.systems.ctc import CTC, CTCConfig
from pylib.training.distributed import single
from pylib.training.settings import OptimConfig, RunConfig
from pylib.training.step import GradientBuffer, NonFiniteError, Updater, make_optimizer, seed_micro
from tests.training.helpers import FINETUNE, PRETRAIN, same_state

CALM = {"dropout": 0.0, "attention_dropout": 0.0, "layerdrop": 0.0}
MODEL = PRETRAIN["model"] | CALM


def make_batch(rows: int, frames: int = 120, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return Batch(
        inputs=torch.randn(rows, frames, 80, generator=generator),
        input_lengths=torch.full((rows,), frames),
        labels=torch.randint(0, 8, (rows, frames // 4), generator=generator),
        tokens=torch.randint(4, 30, (rows, 5), generator=generator),
        token_lengths=torch.full((rows,), 5),
        utts=tuple(f"u{row}" for row in range(rows)),
    )


def part(batch: Batch, rows: slice) -> Batch:
    return Batch(
        inputs=batch.inputs[rows],
        input_lengths=batch.input_lengths[rows],
        labels=batch.labels[rows],
        tokens=batch.tokens[rows],
        token_lengths=batch.token_lengths[rows],
        utts=batch.utts[rows],
    )


def updater(system: torch.nn.Module, **optim: object) -> Updater:
    config = OptimConfig(**optim)  # type: ignore[arg-type]
    return Updater(system, make_optimizer(system, config), config, RunConfig(), single())


def pretraining() -> mt4ssl.MT4SSL:
    torch.manual_seed(5)
    return mt4ssl.MT4SSL(
        EncoderConfig(**MODEL), mt4ssl.TargetsConfig(**PRETRAIN["targets"]), MaskConfig(length=4)
    )


def finetuning() -> CTC:
    torch.manual_seed(5)
    return CTC(EncoderConfig(**MODEL), CTCConfig(mask_prob=0.0, channel_prob=0.0), 32)


@pytest.mark.parametrize("make", [pretraining, finetuning])
def test_gradient_of_a_batch_equals_that_of_its_parts(make, monkeypatch) -> None:
    monkeypatch.setattr(
        mt4ssl, "draw_mask", lambda lengths, config, generator, width: _odd_frames(lengths, width)
    )
    batch = make_batch(4)
    whole, split = updater(make()), updater(make())
    (loss, count, _, units), _ = whole.gradients([(0, batch)])
    parts = [(0, part(batch, slice(0, 1))), (1, part(batch, slice(1, 4)))]  # unequal on purpose
    (split_loss, split_count, _, split_units), _ = split.gradients(parts)
    assert (count, units) == (split_count, split_units)
    assert split_loss == pytest.approx(loss, rel=1e-6)
    torch.testing.assert_close(split.buffer.flat, whole.buffer.flat, rtol=1e-4, atol=1e-4)
    assert whole.buffer.flat.norm() > 0


def _odd_frames(lengths: torch.Tensor, width: int) -> torch.Tensor:
    return (torch.arange(width) % 2 == 1).expand(len(lengths), width).clone()


def test_loss_is_divided_by_the_global_count() -> None:
    system = finetuning()
    step = updater(system, lr=1e-9)
    parts = [(0, part(make_batch(4), slice(0, 1))), (1, part(make_batch(4), slice(1, 4)))]
    result = step.update(parts, 1e-9)
    assert result.count == 4
    sums = []
    with torch.no_grad():
        system.eval()
        sums = [float(system(batch, torch.Generator()).loss_sum) for _, batch in parts]
    assert result.loss == pytest.approx(sum(sums) / 4, rel=1e-5)


def test_clipping_scales_the_step() -> None:
    step = updater(finetuning(), clip_norm=0.5)
    result = step.update([(0, make_batch(2))], 1e-4)
    assert result.grad_norm > 0.5
    assert float(step.buffer.flat.norm()) == pytest.approx(0.5, rel=1e-4)


def test_randomness_belongs_to_the_micro_batch() -> None:
    generator = torch.Generator()

    def draw(seed: int, index: int) -> tuple[float, float]:
        seed_micro(seed, index, generator)
        return float(torch.rand(1)), float(torch.rand(1, generator=generator))

    first = draw(1, 7)
    draw(1, 8)
    assert draw(1, 7) == first
    assert draw(1, 8) != first and draw(2, 7) != first
    assert first[0] != first[1]


def test_skipped_layers_get_zero_gradients_and_frozen_ones_none() -> None:
    system = finetuning()
    buffer = GradientBuffer(system)
    buffer.clear()
    assert all(item.grad is not None and not item.grad.any() for item in system.parameters()
               if item.requires_grad)  # fmt: skip
    system.ctc = CTCConfig(freeze_updates=5, mask_prob=0.0, channel_prob=0.0)
    buffer.clear()
    assert [name for name, item in system.named_parameters() if item.grad is not None] == [
        "head.weight", "head.bias",
    ]  # fmt: skip
    system.set_update(5)
    buffer.clear()
    assert system.encoder.projection.weight.grad is not None


def test_frozen_encoder_stays_bit_for_bit() -> None:
    torch.manual_seed(0)
    system = CTC(EncoderConfig(**MODEL), CTCConfig(freeze_updates=2, channel_length=4), 32)
    step = updater(system, weight_decay=0.1)
    before = {key: value.clone() for key, value in system.state_dict().items()}
    for update in range(2):
        system.set_update(update)
        step.update([(update, make_batch(2))], 1e-2)
    after = system.state_dict()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert moved == {"head.weight", "head.bias"}


def test_not_finite_gradient_leaves_the_weights_alone() -> None:
    system = finetuning()
    step = updater(system)
    batch = make_batch(2)
    batch.inputs[0, 3, 3] = float("nan")
    before = {key: value.clone() for key, value in system.state_dict().items()}
    with pytest.raises(NonFiniteError, match="utterances of this process: u0 u1"):
        step.update([(0, batch)], 1e-3)
    assert all(torch.equal(before[key], value) for key, value in system.state_dict().items())


def test_overflow_under_fp16_lowers_the_scale_and_repeats() -> None:
    class Overflowing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        def forward(self, batch: Batch, generator: torch.Generator):
            loss = (self.weight.half() * 1000).sum().float()  # x 128 is more than fp16 holds
            return mt4ssl.LossOutput(loss, torch.tensor(1.0), {})

    system = Overflowing()
    config = OptimConfig()
    step = Updater(
        system, make_optimizer(system, config), config, RunConfig(precision="fp16"), single()
    )
    result = step.update([(0, make_batch(1))], 1e-3)
    assert step.scale == 64
    assert result.grad_norm == pytest.approx(1000 * 3**0.5, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("base", [PRETRAIN, FINETUNE], ids=["mt4ssl", "ctc"])
def test_two_processes_equal_one_with_accumulation(
    base, sets, config_file, forks, tmp_path: Path
) -> None:
    """Dropout, LayerDrop and masks on; weights, teacher and Adam agree bit for bit."""
    path = config_file(base, optim__updates=4, optim__micro_batches=2)
    for processes, name in ((1, "one"), (2, "two")):
        words = ("--device", "cpu", "--config", path, *sets, tmp_path / name)
        forks.run(processes, "pylib.bin.train", *words)
    last = "checkpoint_last.pt"
    assert same_state(tmp_path / "one" / last, tmp_path / "two" / last) == []
