"""The errors a user can mend, and the defects that validation reports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class UserError(Exception):
    """Bad input, bad option or a broken file: something the user can mend.

    The message is one or more lines `where: what: how to fix`. `pylib.bin.entry.run` prints it
    without a traceback and exits 1; every other exception is a fault of ours.
    """


@dataclass(frozen=True, order=True)
class Defect:
    """One thing wrong with one line of one file.

    Args:
        path: file (or directory) that has the defect.
        line: line number from 1; 0 where the defect belongs to the whole file.
        rule: short name of the rule broken, such as `duplicate-key`.
        what: what is there, and what was expected.
        fix: what the user can do about it.
    """

    path: str
    line: int
    rule: str
    what: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        return f"{where}: {self.rule}: {self.what}: {self.fix}"


def raise_defects(defects: Iterable[Defect], limit: int = 20) -> None:
    """Raise one `UserError` that lists `defects`; do nothing when there are none.

    Args:
        defects: in the order they should be shown.
        limit: how many lines are shown before "and N more".
    """
    found = list(defects)
    if not found:
        return
    lines = [str(defect) for defect in found[:limit]]
    if len(found) > limit:
        lines.append(f"... and {len(found) - limit} more of the {len(found)} defects")
    raise UserError("\n".join(lines))
