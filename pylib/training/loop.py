"""The one loop: updates, logging, validation, checkpoints, stopping and going on.

Everything random is a pure function of (seed, global micro-batch index), so that n updates equal
k updates + kill + resume, bit for bit on CPU.
"""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pylib.corpus.errors import UserError
from pylib.nn.loss import Metrics, add_metrics, summarise
from pylib.training import checkpoint
from pylib.training.config import TrainConfig
from pylib.training.dataset import Loader, micro_indices
from pylib.training.distributed import Processes
from pylib.training.health import Monitor, TrainingStopped, bands
from pylib.training.logs import MetricsFile, ProgressLine, seconds_until
from pylib.training.reduce import of_present_kinds, reduce_metrics
from pylib.training.representation import PhoneJudge
from pylib.training.running_norms import RunningNorms
from pylib.training.schedules import learning_rate
from pylib.training.sets import AnySet
from pylib.training.signals import StopRequest
from pylib.training.step import NonFiniteError, Updater, make_optimizer
from pylib.training.store import Store
from pylib.training.validation import Interrupted, validate

log = logging.getLogger("train")


class Preempted(Exception):
    """A signal asked to stop; the checkpoint is written. Run the same command to go on."""


@dataclass
class Progress:
    """How far a run is: all that a checkpoint holds besides weights and optimizer.

    No clock times: equal runs make equal checkpoints.
    """

    update: int = 0
    units: int = 0  # input units learned from, all processes
    validated: int = -1  # update of the last validation
    best: float | None = None
    best_update: int = -1
    not_better: int = 0  # validations since the best
    scale: float = 0.0  # fp16 loss scale, 0 = not set yet
    calm: int = 0
    finished: str = ""  # why the run is over


@dataclass
class Interval:
    """What happened since the last line of metrics."""

    metrics: Metrics
    updates: int
    units: int
    norm_sum: float
    norm_max: float
    began: float
    waited: float

    @classmethod
    def start(cls, waited: float) -> Interval:
        return cls({}, 0, 0, 0.0, 0.0, time.perf_counter(), waited)


class Trainer:
    """Trains one system on one set, in one of the processes of a run."""

    def __init__(
        self,
        config: TrainConfig,
        system: nn.Module,
        train: AnySet,
        dev: AnySet | None,
        folder: Path,
        where: Processes,
        about: Mapping[str, Any],
    ) -> None:
        """
        Args:
            config: of the run.
            system: with fresh weights, on the device, shared out already if it shall be.
            train, dev: the sets; without dev there is no validation.
            folder: of the run; the first process writes there, the others only parts of a state.
            where: this process.
            about: plain values that go into each checkpoint: provenance, identity, vocab.
        """
        self.config, self.train, self.dev = config, train, dev
        # What a system may have besides forward: update, set_update, before_update, after_update,
        # health.
        self.system: Any = system
        self.folder, self.where, self.about = folder, where, about
        self.progress = Progress()
        self.accumulate = where.share(config.optim.micro_batches)
        self.optimizer = make_optimizer(system, config.optim)
        self.updater = Updater(system, self.optimizer, config.optim, config.run, where)
        self.store = Store(folder, where, system, self.optimizer, config.run.keep)
        guarded = config.targets or config.objective
        self.norms = RunningNorms(system, where)
        self.monitor = Monitor(system, guarded.guard_after if guarded else 0)
        self.measure = best_measure(config)
        targets = config.targets
        self.phones = None if targets is None else PhoneJudge.of(dev, targets.clusters)
        self.wall_s = 0.0  # of all starts of this run
        self._files: MetricsFile | None = None
        self._clock = time.monotonic()

    # ---- checkpoints

    def restore(self, payload: Mapping[str, Any]) -> None:
        """Go on from a checkpoint of this run."""
        self.store.restore(payload)
        self.progress = Progress(
            **{key: value for key, value in payload["progress"].items() if key != "wall_s"}
        )  # checkpoints once held that
        self.wall_s = seconds_until(self.folder, self.progress.update)
        if self.where.first:  # the run may have been killed before it did
            checkpoint.prune(self.folder, self.config.run.keep)
        self.norms.begin()
        if self.progress.scale:
            self.updater.scale, self.updater.calm = self.progress.scale, self.progress.calm
        if hasattr(self.system, "update"):
            self.system.update = self.progress.update

    def _tick(self) -> None:
        now = time.monotonic()
        self.wall_s += now - self._clock
        self._clock = now

    def save(self, *names: str) -> None:
        """Write the state under the names given.

        Raises TrainingStopped, nothing written, when a weight is NaN or infinite.
        """
        self._tick()
        self.norms.join()
        if not self.store.finite():
            raise TrainingStopped(
                f"update {self.progress.update}: weights are NaN or infinite: lower optim.lr, "
                "lengthen the warm-up or set optim.clip_norm"
            )
        self.progress.scale, self.progress.calm = self.updater.scale, self.updater.calm
        about = {
            "format": checkpoint.FORMAT,
            "system": self.config.system,
            "config": self.config.as_dict(),
            "model": None,  # the store's to fill in
            "optimizer": None,
            "update": self.progress.update,
            "progress": asdict(self.progress),
            **self.about,
        }
        self.store.save(names, about, bool(self.progress.finished))

    # ---- the loop

    def run(self, stop: StopRequest) -> str:
        """Train until done. Returns why the run is over (`updates` or `patience`).

        Raises Preempted after a signal (checkpoint written), TrainingStopped when the run is
        sick (no checkpoint written).
        """
        if self.progress.finished:
            return self.progress.finished
        run, optim = self.config.run, self.config.optim
        if self.where.first:
            self._files = MetricsFile(self.folder, self.progress.update, run.tensorboard)
        loader = Loader(
            micro_indices(
                self.progress.update, optim.updates, self.accumulate, self.where.rank,
                self.where.world,
            ),
            self.train.plan, self.train.make, self.config.prefetch,
            pin=self.where.device.type == "cuda",
        )  # fmt: skip
        line = ProgressLine(optim.updates)
        self._clock = time.monotonic()
        self.system.train()
        interval = Interval.start(loader.waited)
        try:
            line.show(self.progress.update, {})
            if self.progress.update:
                self._close_update(stop, resumed=True)
            while not self.progress.finished:
                stopping = self._update(loader, interval, stop)
                update = self.progress.update
                # The health is looked at before anything is written.
                if update % run.log_every == 0 or self._save_due() or self._validation_due():
                    interval = self._log(interval, loader.waited, line)
                if stopping:
                    self.save(checkpoint.LAST)
                    raise Preempted(f"checkpoint of update {update} written")
                began = time.perf_counter()
                self._close_update(stop)
                interval.began += time.perf_counter() - began
        finally:
            loader.close()
            if self._files is not None:
                self._files.close()
        return self.progress.finished

    def _save_due(self) -> bool:
        update = self.progress.update
        return update % self.config.run.save_every == 0 or update >= self.config.optim.updates

    def _close_update(self, stop: StopRequest, resumed: bool = False) -> None:
        """What is due after an update: validation, the end of the run, checkpoints."""
        run, progress = self.config.run, self.progress
        better = self._validation_due() and self._validate(stop)
        if progress.update >= self.config.optim.updates:
            progress.finished = "updates"
        elif run.patience and progress.not_better >= run.patience:
            progress.finished = "patience"
        names = [checkpoint.BEST] if better else []
        if progress.finished or (self._save_due() and not resumed):
            names += [checkpoint.numbered(progress.update)] if run.keep else [checkpoint.LAST]
        if names:
            # What a run goes on from comes last: it never tells of a best that is not there.
            self.save(*dict.fromkeys([*names, checkpoint.LAST]))

    def _update(self, loader: Loader, interval: Interval, stop: StopRequest) -> bool:
        """One update; whether some process was asked to stop."""
        update, device = self.progress.update, self.where.device
        if hasattr(self.system, "set_update"):
            self.system.set_update(update)
        batches = []
        for _ in range(self.accumulate):
            index, batch = loader.next()
            batches.append((index, batch.to(device, non_blocking=True)))
        rate = learning_rate(update, self.config.optim)
        try:
            if hasattr(self.system, "before_update"):
                self._before_update(batches)
            result = self.updater.update(batches, rate, bool(stop))
        except NonFiniteError as error:
            raise TrainingStopped(f"update {update + 1}: {error}") from None
        except ValueError as error:  # what the systems say of a batch they cannot take
            log.error("update %d: %s", update + 1, error, exc_info=True)
            raise UserError(f"{self.train.path}: update {update + 1}: {error}") from error
        self.progress.update = update + 1
        self.progress.units += result.units
        if hasattr(self.system, "after_update"):
            self.system.after_update(update + 1)
        interval.metrics = add_metrics([interval.metrics, result.metrics])
        interval.updates += 1
        interval.units += result.units
        interval.norm_sum += result.grad_norm
        interval.norm_max = max(interval.norm_max, result.grad_norm)
        return result.stop

    def _before_update(self, batches: Sequence[tuple[int, Any]]) -> None:
        """Let the system do what comes before gradients, the same in every process.

        All micro-batches of an update ask for the same, so the first of this process will do.
        """
        with self.updater.autocast():
            changed = self.system.before_update([batches[0][1]], self.optimizer)
        if changed and self.where.world > 1:
            for item in self.system.parameters():
                self.where.broadcast_(item.data)

    def _log(self, interval: Interval, waited: float, line: ProgressLine) -> Interval:
        """Write one line of metrics, look after the health, start a new interval."""
        numbers = summarise(of_present_kinds(reduce_metrics(interval.metrics, self.where)))
        now = time.perf_counter()
        elapsed = max(now - interval.began, 1e-9)
        self._tick()
        update = self.progress.update
        numbers |= {
            "grad_norm": interval.norm_sum / interval.updates,
            "grad_norm_max": interval.norm_max,
            "lr": learning_rate(update - 1, self.config.optim),
        }
        rate = self.train.rate
        record = {
            "type": "train",
            "update": update,
            "epoch": self._epoch(update),
            **numbers,
            "audio_hours": self.progress.units / rate / 3600,
            "audio_per_s": interval.units / rate / elapsed,
            "updates_per_s": interval.updates / elapsed,
            "wait_share": (waited - interval.waited) / elapsed,
            "wall_s": self.wall_s,
            "peak_memory_gb": peak_memory_gb(self.where.device),
        }
        if self.config.run.precision == "fp16":
            record["loss_scale"] = self.updater.scale
        if self._files is not None:
            self._files.write(record)
            names = ("loss", "bound", "accuracy", "mse", "lr")
            shown = {name: numbers[name] for name in names if name in numbers}
            shown["audio/s"] = interval.units / rate / elapsed
            line.show(update, shown)
        self.monitor.check(numbers, update)
        return Interval.start(waited)

    def _epoch(self, update: int) -> float:
        micro = update * self.config.optim.micro_batches
        return micro / self.train.plan.batches_per_epoch

    # ---- validation

    def _validation_due(self) -> bool:
        run, update = self.config.run, self.progress.update
        if self.dev is None or run.validate_every == 0 or self.progress.validated == update:
            return False
        if update >= self.config.optim.updates:
            return True
        return update > 0 and update >= run.validate_after and update % run.validate_every == 0

    def _validate(self, stop: StopRequest) -> bool:
        """Measure the development set; whether this is the best so far."""
        assert self.dev is not None
        update, began = self.progress.update, time.perf_counter()
        self.norms.join()
        try:
            numbers = validate(
                self.system, self.dev, self.updater, self.where, lambda: bool(stop), self.phones
            )
        except Interrupted:
            self.save(checkpoint.LAST)
            raise Preempted(f"checkpoint of update {update} written") from None
        self.progress.validated = update
        better = self._note_best(numbers)
        if self._files is not None:
            seconds = time.perf_counter() - began
            self._files.write(
                {"type": "dev", "update": update, **numbers, "best": better, "seconds": seconds}
            )
        shown = "  ".join(f"{key} {value:.4g}" for key, value in numbers.items())
        log.info("dev at update %d: %s%s", update, shown, "  (best)" if better else "")
        for text in bands(self.config):
            log.info("  for comparison: %s", text)
        return better

    def _note_best(self, numbers: Mapping[str, float]) -> bool:
        if not self.measure:
            return False
        progress, value = self.progress, numbers[self.measure]
        # A bound of the likelihood and an accuracy are the better the higher, all else the lower.
        sign = -1 if self.measure in ("bound", "accuracy") else 1
        if progress.best is None or sign * value < sign * progress.best:
            progress.best, progress.best_update, progress.not_better = (
                value, progress.update, 0,
            )  # fmt: skip
            return True
        progress.not_better += 1
        return False


def best_measure(config: TrainConfig) -> str:
    """Name of the measure that chooses checkpoint_best, or "" for none."""
    chosen = config.run.best_metric
    if chosen == "auto":
        if config.system == "seq2seq" and config.seq2seq is not None:
            # A head of CTC alone predicts no token after another: it has no such accuracy.
            return "accuracy" if config.seq2seq.ctc_weight < 1 else "loss"
        chosen = {"ctc": "wer", "fhvae": "bound", "phone2unit": "loss"}
        return chosen.get(config.system, "")
    return "" if chosen == "none" else chosen


def peak_memory_gb(device: torch.device) -> float:
    """Most memory this process has used so far: on the accelerator, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
