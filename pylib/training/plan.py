"""What a run will do, in numbers a user can check before spending the time."""

from __future__ import annotations

from torch import nn

from pylib.training.av_data import AVSet
from pylib.training.build import parameters
from pylib.training.config import TrainConfig
from pylib.training.distributed import Processes
from pylib.training.mixture_plan import MixturePlan
from pylib.training.precision import computes_bf16
from pylib.training.segment_data import SegmentSet
from pylib.training.segment_plan import SegmentPlan
from pylib.training.sets import AnySet
from pylib.training.sharding import LAYERS


def describe(
    config: TrainConfig,
    system: nn.Module,
    train: AnySet,
    dev: AnySet | None,
    where: Processes,
) -> list[str]:
    """Lines on model, data, effective batch, updates, memory and the constants in updates."""
    optim, plan = config.optim, train.plan
    lines = [
        f"system {config.system}: {parameters(system):,} trainable parameters, "
        f"precision {config.run.precision}, {where.world} process(es) on {where.device.type}, "
        f"seed {config.run.seed}",
    ]
    if config.run.precision == "bf16" and not computes_bf16(where.device):
        lines.append("this device only imitates bf16: run.precision = fp32 is several times faster")
    if isinstance(train, SegmentSet):
        lines += _segments(config, train)
    elif isinstance(train, AVSet) and isinstance(train.plan, MixturePlan):
        lines += _mixture(train, train.plan)
    else:
        lines.append(
            f"train {train.path}: {len(train.plan.kept)} utterances, {train.hours:.2f} h; "
            f"{100 * train.plan.waste:.1f} % lost to "
            f"{'cropping' if train.plan.crop else 'padding'}"
        )
    if dev is not None:
        lines.append(f"dev {dev.path}: {len(dev.utts)} utterances, {dev.hours:.2f} h")
    micro = optim.micro_batches
    per_batch = plan.seconds_per_epoch / plan.batches_per_epoch
    per_epoch = plan.batches_per_epoch / micro
    limits = config.data or config.av_data or config.phone_data
    most = per_batch if limits is None else limits.batch_seconds
    lines += [
        f"batch: {per_batch / 60 * micro:.2f} minutes of audio an update ({per_batch:.1f} s x "
        f"{micro} micro-batches over {where.world} process(es); at most "
        f"{most * micro / 60:.2f})",
        f"updates: {optim.updates:,} = {optim.updates / per_epoch:.1f} epochs of "
        f"{per_epoch:.1f} updates, {optim.updates * per_batch * micro / 3600:.1f} h of audio; "
        f"schedule {optim.schedule}, peak rate {optim.lr:g}",
        _memory_line(config, system, where),
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


def _mixture(train: AVSet, plan: MixturePlan) -> list[str]:
    """Lines on the kinds of data that take turns, and which of them ends the epoch."""
    lines = []
    fewest = min(plan.formed)
    for part, one, count, formed in zip(
        train.parts, plan.parts, plan.counts, plan.formed, strict=True
    ):
        hours = float(one.lengths[one.kept].sum()) / train.rate / 3600
        unused = formed - fewest
        lines.append(
            f"train {part.reader.path} ({part.reader.kind}): {len(one.kept)} utterances, "
            f"{hours:.2f} h; {count} utterances an epoch in {formed} batches"
            + (f", {unused} of them left over" if unused else "")
        )
    return lines


def _segments(config: TrainConfig, train: SegmentSet) -> list[str]:
    """Lines on a training set of segments: its table, its passes, its batches."""
    settings, plan = config.segments, train.plan
    assert settings is not None and isinstance(plan, SegmentPlan)
    whose = "speakers" if plan.by_speaker else "utterances"
    again = ", estimated anew in each pass" if plan.hierarchical else ""
    batch = (
        f"{settings.speakers} speakers x {settings.utterances} utterances x {settings.segments}"
        if settings.speakers
        else "drawn at random"
    )
    return [
        f"train {train.path}: {len(train.utts)} utterances of {len(train.names)} speakers, "
        f"{train.hours:.2f} h; features {settings.features}",
        f"table: {plan.rows:,} {whose}{again}; passes over {plan.cached:,} of "
        f"{len(train.utts):,} utterances, {settings.batch_size} segments a batch, {batch}",
    ]


def _memory_line(config: TrainConfig, system: nn.Module, where: Processes) -> str:
    """What a process holds besides activations."""
    total = _memory(system)
    line = f"memory: {total / 1e9:.2f} GB of weights, gradients, Adam and teacher"
    if config.run.sharding == "none":
        return line + ", activations beside that"
    several = (where.world,) if where.world > 1 else (2, 8, 64)  # a plan is made by one process
    shares = ", ".join(f"{total / count / 1e9:.2f} GB over {count} processes" for count in several)
    line += f", sharded (run.sharding = full): a process holds {shares}; activations beside that, "
    weights = sum(item.numel() for item in system.parameters())
    if config.run.precision != "fp32":  # autocast keeps what it has cast for the backward pass
        line += f"{2 * weights / 1e9:.2f} GB of weights in {config.run.precision}, "
    return line + f"and whole layers while they compute, {8 * _widest(system) / 1e9:.2f} GB"


def _widest(system: nn.Module) -> int:
    """Parameters whole at a time when sharded: outside the layers, and of two layers."""
    layers = [
        sum(item.numel() for item in module.parameters())
        for module in system.modules()
        if isinstance(module, LAYERS)
    ]
    return sum(item.numel() for item in system.parameters()) - sum(layers) + 2 * max(layers)


def _memory(system: nn.Module) -> int:
    """Bytes of state: 16 a trainable parameter (weight, gradient, two moments), 4 another."""
    trainable = parameters(system)
    others = sum(item.numel() for item in system.parameters()) - trainable
    return 16 * trainable + 4 * others
