"""Kaldi's conf grammar (queue.conf, slurm.conf): from portable options to a scheduler's own.

command sbatch --export=PATH     the fixed part
option mem=* --mem-per-cpu $0    $0 is the value; the general case
option mem=0                     a special case, here: add nothing
default gpu=0                    as if --gpu 0 were on the command line
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from pylib.jobs.grammar import UsageError


class Conf(NamedTuple):
    """A parsed conf file.

    Attributes:
        path: the file, for messages.
        command: words of the fixed part.
        options: by option name, then by value (``*`` for any), the words to add.
        defaults: values of options that were not given.
    """

    path: str
    command: list[str]
    options: dict[str, dict[str, list[str]]]
    defaults: dict[str, str]

    def declared(self) -> frozenset[str]:
        """Names of the declared options, without dashes in front, with ``-`` inside."""
        return frozenset(self.options)

    def words(self, given: dict[str, str]) -> list[str]:
        """The scheduler's command line for the options given.

        Raises:
            UsageError: an option that is not declared, or a value that is not allowed.
        """
        line = list(self.command)
        for name, value in {**self.defaults, **given}.items():
            if name not in self.options:
                raise UsageError(f"{self.path}: no line `option {name}=...` allows --{name}")
            cases = self.options[name]
            if value in cases:
                line += cases[value]
            elif "*" in cases:
                line += [word.replace("$0", value) for word in cases["*"]]
            else:
                allowed = ", ".join(sorted(cases))
                raise UsageError(f"{self.path}: --{name} {value}: only {allowed} is declared")
        return line


def read(path: str) -> Conf:
    """Read a conf file.

    Raises:
        UsageError: not readable, or a line that is none of the three kinds, with its number.
    """
    command: list[str] | None = None
    options: dict[str, dict[str, list[str]]] = {}
    defaults: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if not text:
            continue
        kind, _, rest = text.partition(" ")
        pair = re.match(r"([A-Za-z][\w-]*)=(\S*)\s*(.*)", rest.strip())
        if kind == "command" and rest:
            command = shlex.split(rest)
        elif kind == "option" and pair:
            name = pair[1].replace("_", "-")
            options.setdefault(name, {})[pair[2]] = shlex.split(pair[3])
        elif kind == "default" and pair and not pair[3]:
            defaults[pair[1].replace("_", "-")] = pair[2]
        else:
            raise UsageError(
                f"{path}:{number}: expected `command ...`, `option name=value ...` or "
                f"`default name=value`, found {line.strip()!r}"
            )
    if command is None:
        raise UsageError(f"{path}: no line `command ...`: it names the program that submits")
    return Conf(path, command, options, defaults)
