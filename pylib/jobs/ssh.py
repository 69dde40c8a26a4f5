"""Machines reached by ssh, as Kaldi's ssh.pl has them: a list, and a shared file system.

The list is ``$TRIVIUM_HOSTS``, else ``.queue/machines`` here: a line a machine, its name and, if
more than one job may run there at once, their number. Keys must be set up: nothing is asked for.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from pylib.jobs import local, logfile, task
from pylib.jobs.backend import Backend, Progress, carried
from pylib.jobs.conf import Conf
from pylib.jobs.grammar import Array, UsageError

MACHINES = ".queue/machines"


class Machine(NamedTuple):
    """A machine and how many jobs may run there at once."""

    name: str
    slots: int


def machines(path: str) -> list[Machine]:
    """Read a list of machines.

    Raises:
        UsageError: missing, empty, or a line that is not ``name [jobs]``, with its number.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}): list the machines there, a line each, or "
            "name the list by TRIVIUM_HOSTS"
        ) from None
    found: list[Machine] = []
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        good = len(words) <= 2 and not words[0].startswith("-")
        if not good or not (len(words) == 1 or words[1].isdigit() and int(words[1]) > 0):
            raise UsageError(f"{path}:{number}: expected `machine [jobs at once]`, found {line!r}")
        found.append(Machine(words[0], int(words[1]) if len(words) == 2 else 1))
    if not found:
        raise UsageError(f"{path}: lists no machine")
    return found


class Ssh(local.Local):
    """Jobs over ssh, a machine for each free slot. See :class:`pylib.jobs.backend.Backend`."""

    def __init__(self) -> None:
        super().__init__()
        self.free: list[str] = []
        self.host: dict[int, str] = {}

    def run(
        self,
        array: Array,
        ids: list[int],
        conf: Conf | None,
        queue: str,
        watch: Callable[[Progress], None],
    ) -> dict[int, int]:
        """Run the jobs; ends them all when INT or TERM arrives, then leaves with 128 + signal."""
        listed = machines(os.environ.get("TRIVIUM_HOSTS") or MACHINES)
        if int(array.options.get("gpu", "0")):
            raise UsageError("--gpu: the ssh back end does not share out GPUs: use local or slurm")
        # In turn: no machine gets a second job before each has one.
        most = max(machine.slots for machine in listed)
        self.free = [m.name for turn in range(most) for m in listed if m.slots > turn]
        return super().run(array, ids, conf, queue, watch)

    def limit(self, array: Array, devices: list[str]) -> int:
        """As many jobs at once as the machines have slots, or --max-jobs-run."""
        return min(len(self.free), int(array.options.get("max-jobs-run", sys.maxsize)))

    def _start(self, array: Array, job: int, description: str, free: list[str]) -> None:
        host = self.free.pop(0)
        self.host[job] = host
        self.started[job] = time.monotonic()
        exports = " ".join(carried())
        python, where = shlex.quote(sys.executable), shlex.quote(os.getcwd())
        remote = (
            f"cd {where} && exec env {exports} {python} -S -m pylib.jobs.task "
            f"{shlex.quote(os.path.abspath(description))} {job}"
        )
        self.running[job] = subprocess.Popen(
            ["ssh", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=30", host, remote],
            stdin=subprocess.DEVNULL,
            process_group=0,
        )

    def _freed(self, job: int) -> None:
        self.free.append(self.host.pop(job))

    def _lost(self, array: Array, job: int, code: int) -> int:
        """ssh ended and no rc file is there: it could not connect (255), or the machine died."""
        path = array.log_of(job)
        if code == 255 and not os.path.exists(path):
            with open(path, "w+b") as stream:
                stream.write(f"# ssh could not run job {job}: see its message above\n".encode())
                logfile.append_footer(stream, 255, 0.0, array.threads())
            return 255
        return super()._lost(array, job, code)

    def _stop(self, array: Array, queue: str) -> None:
        """Ask the tasks through the shared file system: ending ssh would leave them running."""
        with open(os.path.join(queue, task.STOP_FILE), "w", encoding="utf-8"):
            pass
        until = time.monotonic() + task.GRACE
        while time.monotonic() < until and any(p.poll() is None for p in self.running.values()):
            time.sleep(0.1)
        super()._stop(array, queue)


def backend() -> Backend:
    """A fresh back end for one array."""
    return Ssh()
