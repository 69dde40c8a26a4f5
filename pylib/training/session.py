"""One run from its arguments to its files: opens data, goes on or begins, trains, records."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pylib.corpus.atomic import sha256_file, write_json
from pylib.corpus.derived import read_meta
from pylib.corpus.errors import UserError
from pylib.systems.fhvae import FHVAE, ObjectiveConfig
from pylib.training import checkpoint, precision, sharding
from pylib.training.av_text import stored
from pylib.training.build import adopt, build_system, parameters, start_from
from pylib.training.config import LoadedConfig, TrainConfig, differences, load_config
from pylib.training.data import vocabulary
from pylib.training.distributed import Processes, processes
from pylib.training.health import TrainingStopped
from pylib.training.logs import open_log
from pylib.training.loop import Preempted, Trainer, best_measure, peak_memory_gb
from pylib.training.phone_data import PhoneSet
from pylib.training.plan import describe
from pylib.training.provenance import code_version, versions
from pylib.training.segment_data import SegmentSet
from pylib.training.sets import AnySet, Sets, open_sets
from pylib.training.signals import EXIT_PREEMPTED, StopRequest, stop_on_signals

log = logging.getLogger("train")

PREEMPTED = "preempted"  # left by exit 75; torchrun turns that status into 1


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    train: Path
    dev: Path
    folder: Path
    config: Path | Sequence[Path] | None = None
    overrides: tuple[str, ...] = ()
    init: Path | None = None
    system_name: str = ""
    preset: str = ""
    device: str = "auto"
    plan_only: bool = False
    argv: tuple[str, ...] = ()


def train(request: Request) -> int:
    """Train, or go on training, or find the work done. Returns the exit status (0 or 75).

    Raises UserError: bad configuration, data that does not fit, another run in the same
    directory, settings other than those the directory was begun with, or a sick run.
    """
    loaded = load_config(request.config, request.overrides)
    payload = None
    if request.init is not None:
        payload = checkpoint.load(request.init)
        loaded = LoadedConfig(adopt(loaded, payload, str(request.init)), loaded.origins)
        config = loaded.config
    else:
        config = _as_wide_as_features(loaded, request.train)
        _check_start(config)
    _check_measure(config)
    sharding.check(loaded)
    with processes(request.device, config.run.sharding == "full") as where:
        config = precision.settle(config, request.folder, where)
        if request.plan_only:
            return _print_plan(request, config, where)
        request.folder.mkdir(parents=True, exist_ok=True)
        with _alone(request.folder, where):
            open_log(request.folder, where.first)
            with stop_on_signals() as stop:
                return _train(request, config, payload, where, stop)


def _check_start(config: TrainConfig) -> None:
    """Random convolutions must be able to learn."""
    if config.ctc is None or not config.ctc.freeze_frontend:
        return
    if config.encoder.frontend == "waveform":
        raise UserError(
            "ctc.freeze_frontend = true without --init: the convolutions would keep their random "
            "weights: give --init a pre-trained checkpoint, or set ctc.freeze_frontend=false"
        )


def _as_wide_as_features(loaded: LoadedConfig, train: Path) -> TrainConfig:
    """Features other than filter banks say themselves how wide they are, unless it is written."""
    config, written = loaded.config, loaded.origins
    if config.fhvae is not None and config.segments is not None:
        if "fhvae.feature_dim" in written:
            return config
        dim = int(read_meta(train, config.segments.features).get("dim", config.fhvae.feature_dim))
        return replace(config, fhvae=replace(config.fhvae, feature_dim=dim))
    if config.data is None or config.model is None or config.data.features == "feats":
        return config
    if config.model.frontend != "fbank" or "model.fbank_dim" in written:
        return config
    dim = int(read_meta(train, config.data.features).get("dim", config.model.fbank_dim))
    return replace(config, model=replace(config.model, fbank_dim=dim))


def _train(
    request: Request,
    config: TrainConfig,
    init: Mapping[str, Any] | None,
    where: Processes,
    stop: StopRequest,
) -> int:
    marker = request.folder / PREEMPTED
    if where.first:
        marker.unlink(missing_ok=True)
    sets = open_sets(request.train, request.dev, config)
    identity = _identity(request, config, sets)
    trainer = _trainer(request, config, init, sets, identity, where)
    resumed = _resume(trainer, identity)
    if trainer.progress.finished:
        log.info("%s: complete (%d updates)", request.folder, trainer.progress.update)
        _record(request, trainer, sets[0])
        return 0
    if where.first:
        write_json(request.folder / "config.json", config.as_dict())
        for text in describe(config, trainer.system, sets[0], sets[1], where):
            log.info(text)
        verb = "going on from" if resumed else "beginning at"
        log.info("%s update %d", verb, trainer.progress.update)
    try:
        reason = trainer.run(stop)
    except Preempted as stopped:
        if where.first:
            marker.touch()
        log.warning("stopped by a signal: %s; run the same command to go on", stopped)
        return EXIT_PREEMPTED
    except TrainingStopped as stopped:
        log.error("training stopped: %s", stopped)
        raise UserError(
            f"{request.folder}: training stopped: {stopped}: checkpoints are as they were before"
        ) from None
    log.info("done after %d updates (%s)", trainer.progress.update, reason)
    _record(request, trainer, sets[0])
    return 0


def _check_measure(config: TrainConfig) -> None:
    measure = best_measure(config)
    if config.system != "ctc" and measure in ("wer", "cer"):
        raise UserError(f"run.best_metric = {measure}: pre-training has none: use loss or none")
    if config.system != "fhvae" and measure == "bound":
        raise UserError("run.best_metric = bound: only fhvae has one: use loss or none")
    if measure == "accuracy" and config.system not in ("seq2seq", "vatlm", "phone2unit"):
        raise UserError(f"run.best_metric = accuracy: {config.system} has none: use loss or none")
    if config.run.patience and not (measure and config.run.validate_every):
        raise UserError("run.patience needs run.best_metric and run.validate_every")


def _identity(
    request: Request,
    config: TrainConfig,
    sets: Sets,
) -> dict[str, Any]:
    """What must be equal for a run to go on: settings, data, first weights, batch size."""
    return {
        **config.identity(),
        "data": {
            "train": sets[0].identity,
            "dev": None if sets[1] is None else sets[1].identity,
        },
        "init": None if request.init is None else sha256_file(request.init),
    }


def _trainer(
    request: Request,
    config: TrainConfig,
    init: Mapping[str, Any] | None,
    sets: Sets,
    identity: Mapping[str, Any],
    where: Processes,
) -> Trainer:
    torch.manual_seed(config.run.seed)
    vocab = vocabulary(config)
    system = _fresh(config, sets[0])
    if init is not None:
        start_from(system, init, str(request.init))
    if where.sharded:
        sharding.shard(system, where)
    else:
        system.to(where.device)
        for item in (*system.parameters(), *system.buffers()):
            where.broadcast_(item.data)
    if config.run.compile:
        system.compile(dynamic=True)
    provenance = {
        **code_version(),
        "versions": versions(),
        "argv": list(request.argv),
        "config_hash": config.hash(),
        "data": dict(identity["data"]),
        "init": identity["init"],
        "system_name": _system_name(request, config, init),
        "preset": request.preset,
        "seed": config.run.seed,
    }
    about = {
        "vocab": list(vocab) or None,
        **_about_segments(sets[0]),
        **_about_subwords(config),
        **_about_units(sets[0]),
        "identity": checkpoint.plain(identity),
        "provenance": checkpoint.plain(provenance),
    }
    return Trainer(config, system, sets[0], sets[1], request.folder, where, about)


def _fresh(config: TrainConfig, train_set: AnySet) -> nn.Module:
    """The system with fresh weights, and with the statistics of its training set where it has."""
    if not isinstance(train_set, SegmentSet):
        return build_system(config, len(vocabulary(config)))
    system = build_system(config, rows=train_set.rows)
    assert isinstance(system, FHVAE) and train_set.mean is not None
    system.set_normalisation(torch.as_tensor(train_set.mean), torch.as_tensor(train_set.std))
    return system


def _about_segments(train_set: AnySet) -> dict[str, Any]:
    """What a checkpoint of a segment system needs to be read without its data: rows, features."""
    if not isinstance(train_set, SegmentSet):
        return {}
    return {"rows": train_set.rows, "features": checkpoint.plain(dict(train_set.meta))}


def _about_subwords(config: TrainConfig) -> dict[str, Any]:
    """The subword model, which a checkpoint of seq2seq carries with it."""
    if config.system != "seq2seq" or config.av_data is None:
        return {}
    return {"subwords": stored(config.av_data.subwords)}


def _about_units(train_set: AnySet) -> dict[str, Any]:
    """Which units a phone2unit model makes: what it says of texts is labelled alike."""
    if not isinstance(train_set, PhoneSet):
        return {}
    return {"labels": checkpoint.plain(dict(train_set.labels))}


def _resume(trainer: Trainer, identity: Mapping[str, Any]) -> bool:
    """Go on from what the run left when there is something, if it is of this very run."""
    kept = trainer.store.read()
    if kept is None:
        return False
    path, payload = kept
    changed = differences(payload.get("identity", {}), checkpoint.plain(identity))
    if changed:
        raise UserError(
            f"{path}: was trained with other settings, going on would mix two runs: use another "
            "directory, or remove this one\n" + "\n".join(f"  {item}" for item in changed)
        )
    trainer.restore(payload)
    return True


def _system_name(request: Request, config: TrainConfig, init: Mapping[str, Any] | None) -> str:
    """Name in reports: as asked, else that of the pre-training, else what the settings say."""
    if request.system_name:
        return request.system_name
    if config.system in ("ctc", "seq2seq"):
        return "scratch" if init is None else str(init["provenance"]["system_name"])
    if config.objective is not None:
        return _fhvae_name(config.objective)
    if config.system == "vatlm" and config.av_model is not None:
        return "vatlm" if "phone" in config.av_model.streams else "avhubert"
    if config.targets is None:
        return config.system
    if config.targets.offline_weight == 0:
        return "data2vec"
    if config.targets.online_weight > 0:
        return "mt4ssl"
    return "hubert" if config.targets.offline_head == "cosine" else "offte"


def _fhvae_name(objective: ObjectiveConfig) -> str:
    """fhvae or cfhvae (contrastive), and what sets it apart from the default."""
    name = "fhvae" if objective.contrast == "none" else "cfhvae"
    if objective.contrast not in ("none", "supcon"):
        name += f"_{objective.contrast}"
    name += "_speaker" if objective.table == "speaker" else ""
    name += f"_a{objective.alpha:g}"
    return name + ("_shuffled" if objective.shuffle_speakers else "")


def _record(request: Request, trainer: Trainer, train_set: AnySet) -> None:
    """run.json: what this run was and what it took."""
    if not trainer.where.first:
        return
    progress, provenance = trainer.progress, trainer.about["provenance"]
    write_json(
        request.folder / "run.json",
        {
            "system": provenance["system_name"],
            "task": trainer.config.system,
            "preset": request.preset,
            "seed": trainer.config.run.seed,
            "parameters": parameters(trainer.system),
            "updates": progress.update,
            "finished": progress.finished,
            "best_metric": trainer.measure or None,
            "best": progress.best,
            "best_update": progress.best_update if progress.best is not None else None,
            "audio_hours_seen": progress.units / train_set.rate / 3600,
            "train_hours": train_set.hours,
            "wall_s": trainer.wall_s,
            "peak_memory_gb": peak_memory_gb(trainer.where.device),
            "commit": provenance["commit"],
            "dirty": provenance["dirty"],
            "versions": provenance["versions"],
            "argv": provenance["argv"],
            "config_hash": provenance["config_hash"],
            "data": provenance["data"],
            "init": provenance["init"],
        },
    )


def _print_plan(request: Request, config: TrainConfig, where: Processes) -> int:
    sets = open_sets(request.train, request.dev, config)
    system = _fresh(config, sets[0])
    if where.first:
        print("\n".join(describe(config, system, sets[0], sets[1], where)))
    return 0


@contextmanager
def _alone(folder: Path, where: Processes) -> Iterator[None]:
    """Refuse a second run in the same directory (the first process holds the lock)."""
    if not where.first:
        yield
        return
    with (folder / ".lock").open("w", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another run is training here: wait for it or use another directory"
            ) from None
        yield
