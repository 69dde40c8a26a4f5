"""What a back end owes the front end, and the list of them."""

from __future__ import annotations

import importlib
import os
import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NamedTuple, Protocol

from pylib.jobs.conf import Conf
from pylib.jobs.grammar import Array, UsageError

# Of the environment, what a job needs on another machine or in a scheduler's hands.
_CARRIED = (
    "PATH", "PYTHONPATH", "PYTHONUTF8", "PYTHONUNBUFFERED", "LC_ALL", "OMP_NUM_THREADS",
    "VIRTUAL_ENV", "HOME",
)  # fmt: skip


class Signalled(Exception):
    """INT or TERM arrived while jobs were waited for."""

    def __init__(self, number: int) -> None:
        self.number = number


def _raise(number: int, frame: FrameType | None) -> None:
    raise Signalled(number)


@contextmanager
def signals_raised() -> Iterator[None]:
    """INT and TERM raise Signalled for the duration."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    old = [signal.signal(number, _raise) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)


def carried() -> list[str]:
    """``NAME=value`` words, quoted for the shell, of the environment that a job elsewhere needs."""
    names = [name for name in os.environ if name in _CARRIED or name.startswith("TRIVIUM_")]
    return [f"{name}={shlex.quote(os.environ[name])}" for name in sorted(names)]


class Progress(NamedTuple):
    """Jobs by state, and the seconds still expected (None while unknown)."""

    done: int
    running: int
    failed: int
    total: int
    eta: float | None


class Backend(Protocol):
    """Runs jobs of an array and waits for them.

    A back end starts ``pylib.jobs.task`` once for each id, wherever its scheduler puts it, and
    takes the rc file as the job's end. It passes INT and TERM on to what it started.
    """

    def run(
        self,
        array: Array,
        ids: list[int],
        conf: Conf | None,
        queue: str,
        watch: Callable[[Progress], None],
    ) -> dict[int, int]:
        """Code of exit by id, once all jobs of ``ids`` ended."""
        ...

    def plan(self, array: Array, ids: list[int], conf: Conf | None, queue: str) -> list[list[str]]:
        """Command lines that would give the jobs to a scheduler; none where there is none."""
        ...


# name -> module with `backend() -> Backend`
BACKENDS = {
    "local": "pylib.jobs.local",
    "slurm": "pylib.jobs.slurm",
    "sge": "pylib.jobs.sge",
    "ssh": "pylib.jobs.ssh",
}


def load(name: str) -> Backend:
    """The back end of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in BACKENDS:
        raise UsageError(
            f"no back end {name!r}, only {', '.join(sorted(BACKENDS))}: correct CMD_BACKEND or "
            "--cmd-backend, or give a command of your own by --train-cmd and --decode-cmd"
        )
    found: Backend = importlib.import_module(BACKENDS[name]).backend()
    return found
