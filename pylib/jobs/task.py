"""What runs on the node for one job of an array: log, command, footer, then the rc file.

    python -S -m pylib.jobs.task <task.json> <job>

The same for all back ends. ``task.json`` holds what :func:`describe` wrote. The job is one process
group: INT and TERM to this process are passed on, then KILL after a while. The rc file (``code
seconds host``) is renamed into place after the footer was written, so it implies a complete log.
USR2, by which Grid Engine says that KILL will follow, is taken as TERM.
USR1, a scheduler's warning of a time limit, is passed on too: a job that then ends with code 75 has
written a checkpoint, is put back into the queue, and its log goes on when it starts again.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from pylib.jobs import files, logfile
from pylib.jobs.grammar import Array, seconds_of

GRACE = 60.0  # seconds between TERM and KILL: enough to write a checkpoint
SGE_GRACE = 45.0  # the same under Grid Engine: below the 60 s between its USR2 and its KILL
EARLY = 5.0  # seconds before its time limit from which a job asked to stop counts as over it
# Below the queue directory: all tasks of the array end, or one by stop.<job> (the ssh back end).
STOP_FILE = "stop"
CHECKPOINTED = 75  # code of a job that stopped on TERM and can go on
# The shell and launchers below it live through the warning of a time limit; trainings act on it.
PIPEFAIL = "set -euo pipefail\ntrap '' USR1\n"


def describe(array: Array, queue: str, tied: bool, scheduler: str = "") -> str:
    """Write ``task.json`` for an array below its queue directory; returns its path.

    Args:
        tied: whether a job ends when the process that started it is gone (the local back end).
        scheduler: whose job this is, where one can put it back into its queue.
    """
    path = os.path.join(queue, "task.json")
    task = {
        "jobs": {str(job): [array.log_of(job), array.command_of(job)] for job in array.ids()},
        "cwd": os.getcwd(),
        "queue": os.path.abspath(queue),
        "threads": array.threads(),
        "set_threads": "num-threads" in array.options,
        "limit": seconds_of(array.options["time"]) if "time" in array.options else None,
        "tied": tied,
        "scheduler": scheduler,
    }
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(task, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
    return path


def write_rc(queue: str, job: int, code: int, seconds: float) -> None:
    """Say how a job ended: ``rc.<job>`` with ``code seconds host``, atomically."""
    path = os.path.join(queue, f"rc.{job}")
    temporary = f"{path}.{os.getpid()}.new"
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(f"{code} {seconds:.1f} {socket.gethostname()}\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)


def read_rc(queue: str, job: int) -> int | None:
    """Code of exit that the rc file tells; None while there is none."""
    try:
        with open(os.path.join(queue, f"rc.{job}"), encoding="utf-8") as stream:
            return int(stream.read().split()[0])
    except FileNotFoundError:
        return None


class Stop:
    """Takes INT, TERM and USR1: passes them on to the job's group, and remembers that it did."""

    def __init__(self, scheduler: str) -> None:
        self.asked = False
        self.told = False  # whether the job's group has got its one TERM
        self.warned = False
        self.child: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGINT, self._take)
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(signal.SIGUSR2, self._take)
        # Grid Engine's USR1 announces that the job will be suspended: nothing to act on.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN if scheduler == "sge" else self._warn)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})

    def _warn(self, number: int, frame: object) -> None:
        self.warned = True
        if self.child is not None and self.child.returncode is None:
            _signal_group(self.child, signal.SIGUSR1)

    def _take(self, number: int, frame: object) -> None:
        self.asked = True
        # A second TERM would have a training leave without its checkpoint.
        if not self.told and self.child is not None and self.child.returncode is None:
            self.told = _signal_group(self.child, signal.SIGTERM)

    def watch(self, child: subprocess.Popen[bytes]) -> None:
        """From now on the job is ``child``; a signal that came before reaches it now."""
        self.child = child
        if self.asked and not self.told:
            self.told = _signal_group(child, signal.SIGTERM)
        if self.warned:
            _signal_group(child, signal.SIGUSR1)


def run(task: dict[str, Any], job: int) -> int:
    """Run one job to its end; returns its code of exit."""
    log, command = task["jobs"][str(job)]
    environment = dict(os.environ)
    if task["set_threads"]:
        environment["OMP_NUM_THREADS"] = str(task["threads"])
    start = time.monotonic()
    stop = Stop(task["scheduler"])
    again = int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0 and bool(task["scheduler"])
    with open(log, "a+b" if again and logfile.is_of(log, command) else "w+b") as stream:
        if stream.tell():
            stream.write(f"# Started again on {socket.gethostname()}\n".encode())
        else:
            stream.write(logfile.header(command).encode())
        stream.flush()
        child = subprocess.Popen(
            ["bash", "-c", PIPEFAIL + command],
            stdin=subprocess.DEVNULL,
            stdout=_appending(log),
            stderr=subprocess.STDOUT,
            cwd=task["cwd"],
            env=environment,
            process_group=0,
        )
        stop.watch(child)
        code = _wait(child, start, task, stop, job)
        # Nothing of the job outlives it, whatever way it ended.
        grace = SGE_GRACE if task["scheduler"] == "sge" else GRACE
        _end_group(child, grace if code in (124, 130) else 0.0, stop.told)
        if code in (124, 130) and child.returncode == CHECKPOINTED:
            code = CHECKPOINTED
        seconds = time.monotonic() - start
        if code == CHECKPOINTED and stop.warned and _requeue(task["scheduler"], log):
            return code
        logfile.append_footer(stream, code, seconds, task["threads"])
    write_rc(task["queue"], job, code, seconds)
    return code


def _requeue(scheduler: str, log: str) -> bool:
    """Put this job back into its queue; whether that worked. It has neither footer nor rc file."""
    number = os.environ.get("SLURM_JOB_ID")
    if scheduler != "slurm" or number is None:
        return False
    words = ["scontrol", "requeue", number]
    note = f"# Checkpoint written before the time limit: {' '.join(words)}\n"
    with open(log, "ab") as stream:
        stream.write(note.encode())
    return subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode == 0


def _appending(log: str) -> int:
    """Descriptor for the job's output: always at the end, so a job that opens it twice is whole."""
    return os.open(log, os.O_WRONLY | os.O_APPEND)


def _wait(
    child: subprocess.Popen[bytes], start: float, task: dict[str, Any], stop: Stop, job: int
) -> int:
    """Code of exit: the job's own, 124 over the limit, 130 when it was asked to stop."""
    parent, limit, tied = os.getppid(), task["limit"], task["tied"]

    def asked() -> int:  # schedulers that enforce the limit themselves ask in the same way
        return 130 if limit is None or time.monotonic() - start < limit - EARLY else 124

    stop_file = os.path.join(task["queue"], STOP_FILE)
    stop_files = (stop_file, f"{stop_file}.{job}")
    while True:
        try:
            code = child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            # Slurm enforces the limit itself, and warns before.
            over = limit is not None and time.monotonic() - start > limit
            if over and task["scheduler"] != "slurm":
                return 124
            if stop.asked:
                return asked()
            if (tied and os.getppid() != parent) or any(map(os.path.exists, stop_files)):
                return 130
        else:
            if stop.asked and code != 0:
                return asked()
            return code if code >= 0 else 128 - code


def _signal_group(child: subprocess.Popen[bytes], number: int) -> bool:
    """Whether the job's process group still had someone to take the signal."""
    try:
        os.killpg(child.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _end_group(child: subprocess.Popen[bytes], grace: float, told: bool) -> None:
    """End what is left of the job's process group: TERM where not told yet, a grace, then KILL."""
    if grace and _signal_group(child, 0 if told else signal.SIGTERM):
        until = time.monotonic() + grace
        while time.monotonic() < until and _signal_group(child, 0):
            child.poll()
            time.sleep(0.05)
    _signal_group(child, signal.SIGKILL)
    child.wait()


def main(argv: list[str]) -> int:
    """See the module's text."""
    path, job = argv
    try:
        with open(path, encoding="utf-8") as stream:
            task = json.load(stream)
        os.chdir(task["cwd"])
        return run(task, int(job))
    except OSError as error:  # of a log, of the queue directory: without an rc file the job failed
        print(f"job {job}: {files.advice(error)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
