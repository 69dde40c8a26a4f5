"""USR1 and TERM: finish the update at hand, write a checkpoint, exit 75."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

EXIT_PREEMPTED = 75  # sysexits.h EX_TEMPFAIL: run me again


class StopRequest:
    """Whether a signal has asked this process to stop. A second TERM acts as usual."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        if number == signal.SIGTERM:
            signal.signal(number, self._before[number])


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Catch USR1 and TERM for the duration of a run (main thread only)."""
    request = StopRequest()
    for number in (signal.SIGUSR1, signal.SIGTERM):
        request._before[number] = signal.getsignal(number)
        signal.signal(number, request._note)
    try:
        yield request
    finally:
        for caught, handler in request._before.items():
            signal.signal(caught, handler)
