"""What a run will do, in numbers a user can check before spending the time."""

from __future__ import annotations

from torch import nn

from pylib.training.build import parameters
from pylib.training.config import TrainConfig
from pylib.training.data import SpeechSet
from pylib.training.distributed import Processes


def describe(
    config: TrainConfig,
    system: nn.Module,
    train: SpeechSet,
    dev: SpeechSet | None,
    where: Processes,
) -> list[str]:
    """Lines on model, data, effective batch, updates, memory and the constants in updates."""
    plan, optim = train.plan, config.optim
    micro = optim.micro_batches
    per_batch = plan.seconds_per_epoch / plan.batches_per_epoch
    per_epoch = plan.batches_per_epoch / micro
    lines = [
        f"system {config.system}: {parameters(system):,} trainable parameters, "
        f"precision {config.run.precision}, {where.world} process(es) on {where.device.type}, "
        f"seed {config.run.seed}",
        f"train {train.path}: {len(plan.kept)} utterances, {train.hours:.2f} h; "
        f"{100 * plan.waste:.1f} % lost to {'cropping' if plan.crop else 'padding'}",
    ]
    if dev is not None:
        lines.append(f"dev {dev.path}: {len(dev.utts)} utterances, {dev.hours:.2f} h")
    lines += [
        f"batch: {per_batch / 60 * micro:.2f} minutes of audio an update ({per_batch:.1f} s x "
        f"{micro} micro-batches over {where.world} process(es); at most "
        f"{config.data.batch_seconds * micro / 60:.2f})",
        f"updates: {optim.updates:,} = {optim.updates / per_epoch:.1f} epochs of "
        f"{per_epoch:.1f} updates, {optim.updates * per_batch * micro / 3600:.1f} h of audio; "
        f"schedule {optim.schedule}, peak rate {optim.lr:g}",
        f"memory: {_memory(system) / 1e9:.2f} GB of weights, gradients, Adam and teacher, "
        "activations beside that",
    ]
    targets = config.targets
    if targets is not None and targets.online_weight > 0:
        lines.append(
            f"teacher: tau {targets.ema_start:g} -> {targets.ema_end:g} over "
            f"{targets.ema_anneal:,} of {optim.updates:,} updates; collapse guard after "
            f"{targets.guard_after:,}"
        )
    if config.ctc is not None and config.ctc.freeze_updates:
        lines.append(f"encoder frozen for the first {config.ctc.freeze_updates:,} updates")
    return lines


def _memory(system: nn.Module) -> int:
    """Bytes of state: 16 a trainable parameter (weight, gradient, two moments), 4 another."""
    trainable = parameters(system)
    others = sum(item.numel() for item in system.parameters()) - trainable
    return 16 * trainable + 4 * others
