"""What a run tells: train.log and stderr, metrics.jsonl, TensorBoard, progress with an ETA."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pylib.corpus.atomic import write_text

log = logging.getLogger("train")


def open_log(folder: Path, first: bool) -> None:
    """Log to stderr and `train.log`; processes other than the first only say warnings."""
    logging.captureWarnings(True)
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(logging.INFO if first else logging.WARNING)
    line = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if first:
        handlers.append(logging.FileHandler(folder / "train.log", encoding="utf-8"))
    for handler in handlers:
        handler.setFormatter(line)
        root.addHandler(handler)


class MetricsFile:
    """metrics.jsonl: one JSON object a line, and the same numbers for TensorBoard."""

    def __init__(self, folder: Path, update: int, tensorboard: bool) -> None:
        """
        Args:
            folder: of the run.
            update: updates already done; later lines of a run that was killed are removed.
            tensorboard: write event files too.
        """
        self.path = folder / "metrics.jsonl"
        self._writer: Any = None
        self._folder = folder
        self._tensorboard = tensorboard
        self._forget_after(update)

    def _forget_after(self, update: int) -> None:
        if self.path.exists():
            write_text(self.path, "".join(line for line, _ in _records(self.path, update)))

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record: it has `update` and `type` (train, dev)."""
        line = json.dumps({key: _rounded(value) for key, value in record.items()})
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")
        if self._tensorboard:
            self._events(record)

    def _events(self, record: Mapping[str, Any]) -> None:
        if self._writer is None:
            self._writer = EventWriter(self._folder / "tensorboard")
        for key, value in record.items():
            if key != "update" and isinstance(value, int | float) and math.isfinite(value):
                self._writer(f"{record['type']}/{key}", float(value), int(record["update"]))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def _records(path: Path, update: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(line, record) of metrics.jsonl up to an update; not what a killed process left of a line."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
            if record["update"] <= update:
                yield line + "\n", record
        except (ValueError, KeyError, TypeError):
            continue


def seconds_until(folder: Path, update: int) -> float:
    """Seconds of all starts of a run until an update, as metrics.jsonl tells; 0 without it."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return 0.0
    return max((float(row.get("wall_s", 0.0)) for _, row in _records(path, update)), default=0.0)


class EventWriter:
    """TensorBoard scalars without SummaryWriter, whose import costs 2 s."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = Event, Summary
        self._file = EventFileWriter(os.fspath(folder))

    def __call__(self, tag: str, value: float, step: int) -> None:
        summary = self._summary(value=[self._summary.Value(tag=tag, simple_value=value)])
        self._file.add_event(self._event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        self._file.close()


class ProgressLine:
    """`update 300/2000 (15 %) ...  eta 4:10`, on stderr: rewritten on a terminal, else logged."""

    def __init__(self, total: int, every_s: float = 30.0) -> None:
        self.total, self._every = total, every_s
        self._terminal = sys.stderr.isatty()
        self._last = 0.0
        self._began: tuple[float, int] | None = None

    def eta_s(self, update: int) -> float:
        """Seconds left, from the pace since this process began."""
        if self._began is None or update <= self._began[1]:
            return math.nan
        elapsed = time.monotonic() - self._began[0]
        return elapsed / (update - self._began[1]) * (self.total - update)

    def show(self, update: int, numbers: Mapping[str, float]) -> None:
        """Tell how far the run is, at most every few seconds."""
        now = time.monotonic()
        if self._began is None:
            self._began = (now, update)
        if now - self._last < (1.0 if self._terminal else self._every) and update < self.total:
            return
        self._last = now
        parts = "  ".join(f"{key} {value:.4g}" for key, value in numbers.items())
        share = 100 * update / self.total
        left = _clock(self.eta_s(update))
        line = f"update {update}/{self.total} ({share:.0f} %)  {parts}  eta {left}"
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{line}" + ("\n" if update >= self.total else ""))
            sys.stderr.flush()
        else:
            log.info(line)


def _clock(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _rounded(value: Any) -> Any:
    """Floats at 6 significant digits; NaN and infinity, which JSON lacks, as strings."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value
