"""Machines reached by ssh, as Kaldi's ssh.pl has them: a list, and a shared file system.

The list is ``$TRIVIUM_HOSTS``, else ``.queue/machines`` here: a line a machine, its name and, if
more than one job may run there at once, their number. Names may be those of ssh's configuration,
and ``$TRIVIUM_SSH`` may stand for ``ssh``, such as ``ssh -F site.conf``. Keys must be set up:
nothing is asked for. Jobs of a machine that cannot be reached go to the others.
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
# What ssh takes from the command line first counts: TRIVIUM_SSH may say otherwise.
OPTIONS = ("-oBatchMode=yes", "-oConnectTimeout=30", "-oServerAliveInterval=30")
UNREACHED = 255  # ssh's own code; also that of a connection which broke
PAUSE, LASTING = 2.0, 5.0  # seconds between tries to reach a machine, and until it is given up
PATIENCE = 15.0  # seconds that a job has to end itself and say so once its connection is gone


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


def command() -> list[str]:
    """Words of ssh: ``$TRIVIUM_SSH``, else its name.

    Raises:
        UsageError: quotes that do not match.
    """
    try:
        return shlex.split(os.environ.get("TRIVIUM_SSH", "")) or ["ssh"]
    except ValueError as error:
        raise UsageError(f"TRIVIUM_SSH={os.environ['TRIVIUM_SSH']}: {error}") from None


class Ssh(local.Local):
    """Jobs over ssh, a machine for each free slot. See :class:`pylib.jobs.backend.Backend`."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[Machine] = []
        self.free: list[str] = []
        self.host: dict[int, str] = {}
        self.since: dict[str, float] = {}  # machine -> since when it has not been reached
        self.resting: list[tuple[float, str]] = []  # until when a place is not tried again

    def run(
        self,
        array: Array,
        ids: list[int],
        conf: Conf | None,
        queue: str,
        watch: Callable[[Progress], None],
    ) -> dict[int, int]:
        """Run the jobs; ends them all when INT or TERM arrives, then leaves with 128 + signal."""
        self.listed = listed = machines(os.environ.get("TRIVIUM_HOSTS") or MACHINES)
        if int(array.options.get("gpu", "0")):
            raise UsageError("--gpu: the ssh back end does not share out GPUs: use local or slurm")
        # In turn: no machine gets a second job before each has one.
        most = max(machine.slots for machine in listed)
        self.free = [m.name for turn in range(most) for m in listed if m.slots > turn]
        return super().run(array, ids, conf, queue, watch)

    def limit(self, array: Array, devices: list[str]) -> int:
        """As many jobs at once as the machines have slots, or --max-jobs-run."""
        slots = len(self.running) + len(self.free)
        return min(slots, int(array.options.get("max-jobs-run", sys.maxsize)))

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
            [*command(), *OPTIONS, host, remote],
            stdin=subprocess.DEVNULL,
            process_group=0,
        )

    def _reap(self, array: Array, queue: str, free: list[str]) -> None:
        now = time.monotonic()
        self.free += [host for due, host in self.resting if due <= now]
        self.resting = [(due, host) for due, host in self.resting if due > now]
        super()._reap(array, queue, free)
        self.most = self.limit(array, [])

    def _ended(self, array: Array, job: int, code: int, queue: str) -> None:
        """ssh ended: the job did, the machine could not be reached, or the connection broke."""
        host = self.host.pop(job)
        silent = task.read_rc(queue, job) is None
        if silent and not os.path.exists(array.log_of(job)):
            if code == UNREACHED:
                self._unreached(array, job, host)
                return
            self._never_began(array, job, host, code)
        elif silent and (code == UNREACHED or code < 0):
            self._end_unseen(queue, job, host)
        self.free.append(host)
        self.since.pop(host, None)
        super()._ended(array, job, code, queue)

    def _unreached(self, array: Array, job: int, host: str) -> None:
        """Put a job back, and give its machine up where that lasts.

        Of many connections at once sshd turns some away (MaxStartups): those come again.
        """
        now = time.monotonic()
        self.waiting.insert(0, job)
        since = self.since.setdefault(host, now)
        others = [one for one, name in self.host.items() if name == host]
        if any(self.started[one] > since and os.path.exists(array.log_of(one)) for one in others):
            since = self.since[host] = now
        if now - since < LASTING:
            if since == now:  # ssh's own message may name an address only
                self._tell(f"{host} was not reached, see above: it is tried again")
            self.resting.append((now + PAUSE, host))
            return
        known = any(machine.name == host for machine in self.listed)
        self.listed = [machine for machine in self.listed if machine.name != host]
        self.free = [name for name in self.free if name != host]
        self.resting = [(due, name) for due, name in self.resting if name != host]
        if known:
            to = "its jobs go to the others" if self.listed else "no machine is left"
            self._tell(f"{host} was not reached for {now - since:.0f} s: {to}")
        if not self.listed:
            for left in self.waiting:
                self._never_began(array, left, host, UNREACHED)
                self.codes[left] = UNREACHED
            self.waiting = []

    def _never_began(self, array: Array, job: int, host: str, code: int) -> None:
        """Write a log in the place of a job that did not get as far as its own."""
        with open(array.log_of(job), "w+b") as stream:
            note = f"# job {job} did not begin: ssh to {host} ended with code {code}\n"
            stream.write(note.encode())
            logfile.append_footer(stream, code or 1, 0.0, array.threads())

    def _end_unseen(self, queue: str, job: int, host: str) -> None:
        """A job that began is out of sight: have it end, and wait a while for its own word."""
        self._tell(f"{host} is silent about job {job}: it is ended")
        with open(os.path.join(queue, f"{task.STOP_FILE}.{job}"), "w", encoding="utf-8"):
            pass
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and task.read_rc(queue, job) is None:
            time.sleep(0.1)
            os.listdir(queue)  # makes a network file system look anew

    def _tell(self, text: str) -> None:
        print(f"ssh: {text}", file=sys.stderr, flush=True)

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
