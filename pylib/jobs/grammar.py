"""Kaldi's command grammar: ``[options] [JOB=1:N] [options] <log> <command words...>``.

``JOB`` (any name) is replaced in the log name and the command where no letter or digit touches it.
Words are quoted for the shell, but for the operators that a caller escapes: ``\\| \\> \\;`` ...
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

OPERATORS = frozenset({"|", "||", "&&", ";", ">", ">>", "<", "2>&1", "(", ")"})
PICKS = ("all", "failed", "incomplete")

# Options of every back end, and the form of their values.
PORTABLE = {
    "mem": r"0|\d+(\.\d+)?[KMGTkmgt]?",
    "num-threads": r"[1-9]\d*",
    "max-jobs-run": r"[1-9]\d*",
    "gpu": r"\d+",
    "nodes": r"[1-9]\d*",
    "time": r"(\d+-)?\d+(:\d+){0,2}",
    "pick": "|".join(PICKS),
    "config": r".+",
    "dry-run": r"true|false",
}


class UsageError(Exception):
    """The command line breaks the grammar."""


class Array(NamedTuple):
    """An array of jobs as the command line states it.

    Attributes:
        options: values by option name without dashes.
        variable: the name that is replaced, such as ``JOB``; None for a single job.
        first, last: range of ids, both included; 1 and 1 for a single job.
        log: path of the log with the variable in it.
        command: words of the command with the variable in them.
    """

    options: dict[str, str]
    variable: str | None
    first: int
    last: int
    log: str
    command: list[str]

    def ids(self) -> range:
        """All ids of the array."""
        return range(self.first, self.last + 1)

    def log_of(self, job: int) -> str:
        """Path of the log of ``job``."""
        return substitute(self.log, self.variable, job)

    def command_of(self, job: int) -> str:
        """The command of ``job`` as one line for bash."""
        return " ".join(
            word if word in OPERATORS else shlex.quote(substitute(word, self.variable, job))
            for word in self.command
        )

    def all_logs(self) -> str:
        """The logs as one pattern for people: ``exp/log/x.*.log``."""
        return self.log if self.variable is None else _pattern(self.variable).sub("*", self.log)

    def threads(self) -> int:
        """Threads that each job may use."""
        return int(self.options.get("num-threads", "1"))


def _pattern(variable: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(variable)}(?![A-Za-z0-9])")


def substitute(word: str, variable: str | None, job: int) -> str:
    """``word`` with the variable replaced: in ``x_JOB.scp``, ``split4/JOB``; not ``MYJOBNAME``."""
    return word if variable is None else _pattern(variable).sub(str(job), word)


def parse(words: list[str], declared: frozenset[str] = frozenset()) -> Array:
    """Parse the words after the program's name.

    Args:
        words: options, range, log and command.
        declared: names of further options that a conf file declares.

    Raises:
        UsageError: with what is wrong and what was expected.
    """
    options: dict[str, str] = {}
    variable: str | None = None
    first = last = 1
    index = 0
    while index < len(words):
        word = words[index]
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals:
                index += 1
                if index == len(words):
                    raise UsageError(f"{word} needs a value")
                value = words[index]
            options[name] = _checked(name, value, declared)
        elif match := re.fullmatch(r"([A-Za-z_]\w*)=(\d+)(?::(\d+))?", word):
            if variable is not None:
                raise UsageError(
                    f"{word}: the range was given before, as {variable}={first}:{last}"
                )
            variable, first = match[1], int(match[2])
            last = int(match[3]) if match[3] else first
            if not 1 <= first <= last:
                raise UsageError(f"{word}: the range must start at 1 or more and not end before")
        else:
            break
        index += 1
    if index + 1 >= len(words):
        raise UsageError("expected [options] [JOB=1:N] <log-file> <command>...")
    log, command = words[index], words[index + 1 :]
    if re.match(r"[A-Za-z_]\w*=", log):
        raise UsageError(f"{log}: a range is JOB=1:N or JOB=n with whole numbers")
    if variable is not None and last > first and not _pattern(variable).search(log):
        raise UsageError(
            f"the log {log} must contain {variable}: {last - first + 1} jobs write logs"
        )
    if command[0] in OPERATORS:
        raise UsageError(f"the command begins with the operator {command[0]}")
    return Array(options, variable, first, last, log, command)


def _checked(name: str, value: str, declared: frozenset[str]) -> str:
    if name in PORTABLE:
        if not re.fullmatch(PORTABLE[name], value):
            raise UsageError(f"--{name} {value}: expected {_EXPECTED[name]}")
    elif name not in declared:
        known = ", ".join(f"--{one}" for one in sorted({*PORTABLE, *declared}))
        raise UsageError(f"unknown option --{name} (known: {known}; a conf file can declare more)")
    return value


_EXPECTED = {
    "mem": "memory of a job such as 500M or 2G",
    "num-threads": "a number of threads",
    "max-jobs-run": "a number of jobs",
    "gpu": "a number of GPUs",
    "nodes": "a number of machines",
    "time": "a limit such as 2:30:00",
    "pick": " or ".join(PICKS),
    "config": "a file",
    "dry-run": "true or false",
}
# Ours alone: no scheduler and no conf file is asked for these.
OWN = frozenset({"max-jobs-run", "pick", "config", "nodes", "dry-run"})


def bytes_of(memory: str) -> int:
    """``2G`` -> 2147483648; a bare number is in bytes, as Kaldi has it."""
    scale = {"K": 10, "M": 20, "G": 30, "T": 40}.get(memory[-1].upper())
    return int(memory) if scale is None else int(float(memory[:-1]) * (1 << scale))


def seconds_of(limit: str) -> int:
    """``[days-]hours:minutes:seconds`` -> seconds; Slurm's shorter forms likewise.

    One number is minutes, two are minutes:seconds, after ``days-`` they begin with hours.
    """
    days, dash, rest = limit.rpartition("-")
    parts = [int(part) for part in rest.split(":")]
    if dash:
        parts = (parts + [0, 0])[:3]
        return int(days) * 86400 + parts[0] * 3600 + parts[1] * 60 + parts[2]
    hours, minutes, seconds = {1: [0, parts[0], 0], 2: [0, *parts[:2]], 3: parts}[len(parts)]
    return hours * 3600 + minutes * 60 + seconds
