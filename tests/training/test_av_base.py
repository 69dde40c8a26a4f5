"""VATLM Base as the recipe configures it: one real update, through the code that trains."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pylib.nn.modal_batch import KINDS
from pylib.training.build import build_system
from pylib.training.config import load_config
from pylib.training.distributed import single
from pylib.training.schedules import learning_rate
from pylib.training.step import Updater, make_optimizer
from tests.systems.test_vatlm import clips

CONFIG = Path(__file__).resolve().parents[2] / "egs" / "lrs3" / "conf" / "vatlm_base.toml"


@pytest.mark.slow
def test_one_update_of_base_on_a_cpu() -> None:
    """One batch of each kind, AdamW at the peak rate: every parameter takes a step of its own.

    1.7 GB of weights, gradients and moments, 0.4 GB of the weights before.
    """
    config = load_config(CONFIG).config
    torch.manual_seed(0)
    system = build_system(config).train()
    assert sum(item.numel() for item in system.parameters()) == 107_497_448 + 768
    before = {name: item.detach().clone() for name, item in system.named_parameters()}
    # Most processors imitate bf16, which takes many times as long.
    run = replace(config.run, precision="fp32")
    updater = Updater(system, make_optimizer(system, config.optim), config.optim, run, single())
    batches = [(number, clips(kind, [25, 17])) for number, kind in enumerate(KINDS)]
    rate = learning_rate(round(config.optim.warmup * config.optim.updates), config.optim)
    assert rate == config.optim.lr
    done = updater.update(batches, rate)
    # 2,004 units by cosine: what a guess costs, and more while nothing is known.
    assert math.isfinite(done.loss) and math.log(1000) < done.loss < 20
    assert done.count > 0 and 0 < done.grad_norm < math.inf
    decay = 1 - rate * config.optim.weight_decay
    still = [
        name
        for name, item in system.named_parameters()
        # Decay alone moves every weight a little; Adam's first step moves what learns by its rate.
        if float((item.detach() - decay * before[name]).abs().max()) < 0.5 * rate
    ]
    assert not still
    assert all(torch.isfinite(item).all() for item in system.parameters())
