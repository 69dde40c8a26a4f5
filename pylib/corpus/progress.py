"""Progress of a long job as log lines: done, speed, time left."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Prints a line at most every `every` seconds, and one at the end.

    Args:
        what: what is being done, such as `mfcc of data/train`.
        unit: what is counted.
        every: seconds between lines.
        stream: where to; stderr when None.
    """

    def __init__(
        self, what: str, unit: str = "utterances", every: float = 10.0, stream: TextIO | None = None
    ) -> None:
        self._what, self._unit, self._every, self._stream = what, unit, every, stream
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Report that `done` of `total` are done."""
        now = time.monotonic()
        if done < total and now - self._last < self._every:
            return
        self._last = now
        spent = now - self._start
        line = f"{self._what}: {done}/{total} {self._unit}, {spent:.0f} s"
        if 0 < done < total:
            line += f", {spent / done * (total - done):.0f} s left"
        print(line, file=self._stream or sys.stderr, flush=True)
