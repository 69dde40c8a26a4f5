"""Lists of trials: `<enrol> <test> target|nontarget same|cross|unknown` a line."""

from __future__ import annotations

import os
from pathlib import Path

from pylib.corpus.errors import UserError

Trial = tuple[str, str, bool, str]


def read_trials(path: str | os.PathLike[str]) -> list[Trial]:
    """Trials of a file: enrolment and test utterance, whether one speaker, gender.

    Raises:
        UserError: missing file, a line of another form.
    """
    name = os.fspath(path)
    if not Path(path).is_file():
        raise UserError(f"{name}: no such file: make the list with steps/make_trials.sh")
    trials: list[Trial] = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        good = len(fields) == 4 and fields[2] in ("target", "nontarget")
        if not good or fields[3] not in ("same", "cross", "unknown"):
            raise UserError(
                f"{name}:{number}: '{line[:60]}': '<enrol> <test> target|nontarget "
                "same|cross|unknown' expected"
            )
        trials.append((fields[0], fields[1], fields[2] == "target", fields[3]))
    return trials
