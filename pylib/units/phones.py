"""Phone times (`phones.ctm`), which judge units and layers and are never trained on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_lines

Times = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PhoneTimes:
    """Phones of one utterance in order of time.

    Attributes:
        starts: float64 (n,), seconds.
        ends: float64 (n,), seconds.
        names: the n phones.
    """

    starts: Times
    ends: Times
    names: tuple[str, ...]

    def at(self, times: Times, ids: dict[str, int]) -> npt.NDArray[np.int64]:
        """Phone at each time.

        Args:
            times: float64 (T,), seconds.
            ids: phone -> id.

        Returns:
            int64 (T,), -1 where no phone is said to be.
        """
        where = np.searchsorted(self.starts, times, side="right") - 1
        codes = np.array([ids[name] for name in self.names] + [-1], dtype=np.int64)
        inside = (where >= 0) & (times < self.ends[np.maximum(where, 0)])
        return np.where(inside, codes[where], -1)


def read_phones(path: str | os.PathLike[str]) -> dict[str, PhoneTimes]:
    """Read `<utt> 1 <start s> <duration s> <phone>` lines.

    Returns:
        utterance -> its phones.

    Raises:
        UserError: missing file; a line of another form, times that overlap or run backwards, an
            utterance whose lines are not together; with file and line.
    """
    name = os.fspath(path)
    if not Path(path).is_file():
        raise UserError(
            f"{name}: no such file: PNMI, purity and probes need phone times (the built-in corpus "
            "has them; for another corpus, put a forced alignment there)"
        )
    found: dict[str, PhoneTimes] = {}
    rows: list[tuple[float, float, str]] = []
    current = ""
    for number, line in enumerate(read_lines(path), 1):
        utt, row = _parse(f"{name}:{number}", line)
        if utt != current:
            if utt in found:
                raise UserError(
                    f"{name}:{number}: lines of '{utt}' are not together: sort the file"
                )
            _close(found, current, rows)
            current, rows = utt, []
        if rows and row[0] < rows[-1][1] - 1e-3:
            raise UserError(
                f"{name}:{number}: starts at {row[0]:g} s, before the phone above ends "
                f"({rows[-1][1]:g} s): sort by time or correct it"
            )
        rows.append(row)
    _close(found, current, rows)
    if not found:
        raise UserError(f"{name}: is empty: make it again")
    return found


def _parse(where: str, line: str) -> tuple[str, tuple[float, float, str]]:
    fields = line.split()
    try:
        utt, _, start, duration, phone = fields
        begin, length = float(start), float(duration)
        if not (0 <= begin < float("inf") and 0 <= length < float("inf")):
            raise ValueError(line)
    except ValueError as error:
        raise UserError(
            f"{where}: '{line.rstrip()[:60]}': '<utt> 1 <start> <duration> <phone>' expected: "
            "correct the line, or align again"
        ) from error
    return utt, (begin, begin + length, phone)


def _close(found: dict[str, PhoneTimes], utt: str, rows: list[tuple[float, float, str]]) -> None:
    if rows:
        starts, ends, names = zip(*rows, strict=True)
        found[utt] = PhoneTimes(np.array(starts), np.array(ends), tuple(names))


def phone_ids(*tables: dict[str, PhoneTimes]) -> dict[str, int]:
    """Phone -> id over all phones of some tables, in order of name."""
    names = {name for table in tables for times in table.values() for name in times.names}
    return {name: i for i, name in enumerate(sorted(names))}


def mean_duration(table: dict[str, PhoneTimes]) -> float:
    """Mean length of a phone in seconds."""
    total = sum(float((times.ends - times.starts).sum()) for times in table.values())
    return total / max(1, sum(len(times.names) for times in table.values()))
