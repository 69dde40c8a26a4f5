"""Learning rates of the published configurations."""

from __future__ import annotations

import pytest

from pylib.training.schedules import learning_rate
from pylib.training.settings import OptimConfig

PRETRAIN = OptimConfig()  # the defaults are MT4SSL Base
FINETUNE = OptimConfig(lr=5e-5, warmup=0.1, hold=0.4, decay=0.5, final_scale=0.05, updates=20_000)
# VATLM's fine-tuning on 30 h: 15 k of warm-up, 20 k of decay, and 15 k at 0.05 of the peak.
TAIL = OptimConfig(lr=1e-3, warmup=0.3, hold=0.0, decay=0.4, final_scale=0.05, updates=50_000)
HUBERT = OptimConfig(schedule="linear", warmup=0.08, updates=400_000)


@pytest.mark.parametrize(
    ("config", "update", "rate"),
    [
        (PRETRAIN, 0, 5e-6),
        (PRETRAIN, 6_000, 2.525e-4),
        (PRETRAIN, 12_000, 5e-4),
        (PRETRAIN, 372_000, 5e-4),
        (PRETRAIN, 386_000, 5e-5),
        (PRETRAIN, 400_000, 5e-6),
        (FINETUNE, 0, 5e-7),
        (FINETUNE, 1_000, 2.525e-5),
        (FINETUNE, 2_000, 5e-5),
        (FINETUNE, 10_000, 5e-5),
        (FINETUNE, 15_000, 1.118e-5),
        (FINETUNE, 20_000, 2.5e-6),
        (TAIL, 0, 1e-5),
        (TAIL, 14_999, 1e-3 * (0.01 + 0.99 * 14_999 / 15_000)),
        (TAIL, 15_000, 1e-3),
        (TAIL, 25_000, 1e-3 * 0.05**0.5),
        (TAIL, 34_999, 1e-3 * 0.05 ** (19_999 / 20_000)),
        (TAIL, 35_000, 5e-5),
        (TAIL, 35_001, 5e-5),
        (TAIL, 50_000, 5e-5),
        (HUBERT, 16_000, 2.5e-4),
        (HUBERT, 32_000, 5e-4),
        (HUBERT, 216_000, 2.5e-4),
        (HUBERT, 400_000, 0.0),
    ],
)
def test_published_rates(config: OptimConfig, update: int, rate: float) -> None:
    assert learning_rate(update, config) == pytest.approx(rate, rel=2e-4, abs=1e-12)


def test_first_linear_step_is_not_lost() -> None:
    assert learning_rate(0, HUBERT) == pytest.approx(5e-4 / 32_000)


@pytest.mark.parametrize("updates", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("schedule", ["tri_stage", "linear"])
def test_short_runs_have_finite_positive_rates(updates: int, schedule: str) -> None:
    config = OptimConfig(schedule=schedule, updates=updates)
    rates = [learning_rate(n, config) for n in range(updates)]
    assert all(0 < rate <= config.lr for rate in rates)


def test_no_decay_stays_at_peak() -> None:
    config = OptimConfig(warmup=0.5, hold=0.5, decay=0.0, updates=10)
    assert learning_rate(10, config) == config.lr
