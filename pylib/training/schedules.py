"""Learning rate as a pure function of the update.

Source: fairseq `optim/lr_scheduler/tri_stage_lr_scheduler.py` (linear warm-up, hold,
*exponential* decay although the data2vec paper says linear) and `polynomial_decay_schedule.py`.
"""

from __future__ import annotations

import math

from pylib.training.settings import OptimConfig


def tri_stage(
    update: int,
    updates: int,
    lr: float,
    phases: tuple[float, float, float],
    init_scale: float,
    final_scale: float,
) -> float:
    """Learning rate after `update` of `updates` updates (0 = before the first).

    phases: shares of warm-up, hold and decay. From init_scale * lr linearly to lr, held, then
    exponentially to final_scale * lr, which the updates that the shares leave over keep (as in
    fairseq). Without a decay the rate stays at lr.
    """
    warmup, hold, decay = (round(updates * share) for share in phases)
    if update < warmup:
        return lr * (init_scale + (1 - init_scale) * update / warmup)
    update -= warmup
    if update < hold:
        return lr
    update -= hold
    if update <= decay and decay > 0:
        return lr * math.exp(math.log(final_scale) * update / decay)
    return lr * (final_scale if decay > 0 else 1.0)


def linear(update: int, updates: int, lr: float, warmup: float) -> float:
    """Learning rate after `update` of `updates` updates: linear up to lr, linear down to 0."""
    warm = round(updates * warmup)
    if warm and update <= warm:
        return lr * max(update, 1) / warm  # a first step at rate 0 would be lost
    if update >= updates:
        return 0.0
    return lr * (updates - update) / (updates - warm)


def learning_rate(update: int, config: OptimConfig) -> float:
    """The configured schedule's learning rate for the step that follows `update` updates.

    As in fairseq, step n+1 uses the rate of n finished updates.
    """
    if config.schedule == "tri_stage":
        phases = (config.warmup, config.hold, config.decay)
        return tri_stage(
            update, config.updates, config.lr, phases, config.init_scale, config.final_scale
        )
    return linear(update, config.updates, config.lr, config.warmup)
