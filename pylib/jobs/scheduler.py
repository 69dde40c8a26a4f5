"""Jobs that a scheduler runs: submitted as arrays, waited for by rc file and by state.

A scheduler's front end (``slurm``, ``sge``) submits, tells states and cancels; the waiting is here
and the same for all. An rc file is the end of a job whatever the scheduler says; a job that the
scheduler calls ended, or no longer knows, and that has left no rc file after ``PATIENCE`` is
reported by the scheduler's own word and gets the footer that it could not write.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from pylib.jobs import logfile, task
from pylib.jobs.backend import Progress, Signalled, carried, signals_raised
from pylib.jobs.conf import Conf
from pylib.jobs.grammar import Array

PATIENCE = 30.0  # seconds from a job's end to its rc file, at most (network file systems)
FIRST_POLL, LAST_POLL = 2.0, 15.0  # seconds between two questions to the scheduler, growing
TIMEOUT = 60.0  # seconds a program of the scheduler may take
SILENCE = 60.0  # seconds without an answer of the scheduler before people are told
IDLE = 60.0  # seconds without a running job before people are told why; then four times as long
LINES = 10  # of what the scheduler itself wrote about a lost job that go into its log

# How a job ended that left no rc file -> its code of exit; anything else is 1.
CODES = {"OUT_OF_MEMORY": 137, "TIMEOUT": 124, "CANCELLED": 130, "PREEMPTED": 130}


class State(NamedTuple):
    """What a scheduler says of a job.

    Attributes:
        phase: ``waiting``, ``running``, ``ended`` or ``stuck`` (it will never start).
        word: the scheduler's own word, such as ``OUT_OF_MEMORY``.
        reason: why it waits, where the scheduler says so.
    """

    phase: str
    word: str
    reason: str = ""


class SubmitError(Exception):
    """The scheduler refused the jobs; the text is its own, with what to do."""


def submit(line: list[str], answer: str, conf_name: str) -> str:
    """Run a program that submits.

    Args:
        line: its words.
        answer: pattern of what it prints; the first group is the id.
        conf_name: the site's conf file, for messages.

    Raises:
        SubmitError: no such program, no answer in time, or refused.
    """
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise SubmitError(
            f"{line[0]}: no such program: is it the scheduler of this machine? "
            "local/check_cluster.sh looks, CMD_BACKEND=local needs none"
        ) from None
    except subprocess.TimeoutExpired:
        raise SubmitError(f"{line[0]} gave no answer within {TIMEOUT:.0f} s") from None
    found = re.search(answer, done.stdout, re.M)
    if done.returncode or found is None:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines()]
        told = "; ".join(line for line in lines if line and line != "Exiting.")
        told = told.rstrip(".") or f"code {done.returncode}"
        raise SubmitError(
            f"{line[0]} refused the jobs: {told}: the options come from --config or "
            f"conf/{conf_name} (see local/conf/{conf_name}.example); submitted: {' '.join(line)}"
        )
    return found[1]


def ask(line: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Run a program of the scheduler; None where it is missing or does not answer in time."""
    try:
        return subprocess.run(
            line, capture_output=True, text=True, timeout=TIMEOUT, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


class Scheduler(Protocol):
    """A front end. ``index`` counts the jobs of one submission from 1."""

    name: str
    largest: int  # jobs of one array, at most
    one: str  # format of the name of a single job, from the id of its submission and its index

    def line(
        self, script: str, name: str, count: int, array: Array, conf: Conf | None, queue: str
    ) -> list[str]:
        """The words that submit ``script`` as an array of ``count`` jobs."""
        ...

    def submit(
        self, script: str, name: str, count: int, array: Array, conf: Conf | None, queue: str
    ) -> str:
        """Submit ``script`` as an array of ``count`` jobs; returns its id. Raises SubmitError."""
        ...

    def states(self, handles: list[str]) -> dict[tuple[str, int], State] | None:
        """State of every job the scheduler still knows; None when it does not answer."""
        ...

    def why(self, handle: str) -> str:
        """Why nothing of this submission runs; empty where the states tell it, or nobody knows."""
        ...

    def cancel(self, handles: list[str]) -> None:
        """Cancel everything submitted under these ids, or single jobs by their names."""
        ...


class Scheduled:
    """Back end over a scheduler. See :class:`pylib.jobs.backend.Backend`."""

    def __init__(self, scheduler: Scheduler, clock: Callable[[], float] = time.monotonic) -> None:
        self.scheduler, self.clock = scheduler, clock
        self.place: dict[tuple[str, int], int] = {}  # (id of a submission, index) -> job
        self.where: dict[int, tuple[str, int]] = {}
        self.codes: dict[int, int] = {}
        self.ended: dict[int, tuple[float, str]] = {}  # job -> when its end was first seen, word
        self.running = 0
        self.idle = IDLE  # seconds without a running job after which people are told why
        self.ran = clock()  # when a job was last seen to run or to have run

    def plan(self, array: Array, ids: list[int], conf: Conf | None, queue: str) -> list[list[str]]:
        """The lines that would submit the jobs."""
        size, name = self.scheduler.largest, job_name(array)
        return [
            self.scheduler.line(
                script_path(queue, first // size), name, min(size, len(ids) - first), array, conf,
                queue,
            )
            for first in range(0, len(ids), size)
        ]  # fmt: skip

    def run(
        self,
        array: Array,
        ids: list[int],
        conf: Conf | None,
        queue: str,
        watch: Callable[[Progress], None],
    ) -> dict[int, int]:
        """Submit and wait; on INT or TERM cancel everything, then leave with 128 + signal."""
        description = task.describe(array, queue, tied=False, scheduler=self.scheduler.name)
        handles: list[str] = []
        with signals_raised():
            try:
                self._submit(array, ids, conf, queue, description, handles)
                self._wait(array, ids, handles, queue, watch)
            except Signalled as signalled:
                self._stop(array, ids, handles, queue)
                raise SystemExit(128 + signalled.number) from None
            except SubmitError:
                if handles:
                    self.scheduler.cancel(handles)
                raise
        return self.codes

    def _submit(
        self,
        array: Array,
        ids: list[int],
        conf: Conf | None,
        queue: str,
        description: str,
        handles: list[str],
    ) -> None:
        """Submit the jobs in arrays of at most `largest`; their ids are appended to `handles`."""
        size = self.scheduler.largest
        name = job_name(array)
        for first in range(0, len(ids), size):
            part = ids[first : first + size]
            script = write_script(queue, description, part, first // size)
            handle = self.scheduler.submit(script, name, len(part), array, conf, queue)
            handles.append(handle)
            for index, job in enumerate(part, 1):
                self.place[handle, index] = job
                self.where[job] = (handle, index)

    def _wait(
        self,
        array: Array,
        ids: list[int],
        handles: list[str],
        queue: str,
        watch: Callable[[Progress], None],
    ) -> None:
        begin = answered = self.clock()
        pause, due = FIRST_POLL, begin + FIRST_POLL
        while True:
            self._collect(ids, queue)
            if len(self.codes) == len(ids):
                return
            now = self.clock()
            if now >= due:
                open_handles = sorted({self.where[job][0] for job in ids if job not in self.codes})
                states = self.scheduler.states(open_handles)
                now = self.clock()
                if states is None:
                    if now - answered > SILENCE:
                        self._tell(f"{self.scheduler.name} has not answered for {SILENCE:.0f} s")
                        answered = now
                else:
                    answered = now
                    self._judge(array, ids, states, now, queue)
                    self._explain(states, now)
                pause = min(pause * 1.3, LAST_POLL)
                due = now + pause
            watch(self._progress(len(ids), now - begin))
            time.sleep(0.1 if now - begin < 10 else 0.5)

    def _collect(self, ids: list[int], queue: str) -> None:
        """Take the rc files that are there."""
        for name in os.listdir(queue):  # listing makes a network file system look anew
            number = name.removeprefix("rc.")
            if name.startswith("rc.") and number.isdigit() and int(number) not in self.codes:
                code = task.read_rc(queue, int(number))
                if code is not None and int(number) in self.where:
                    self.codes[int(number)] = code
                    self.ran = self.clock()

    def _judge(
        self,
        array: Array,
        ids: list[int],
        states: dict[tuple[str, int], State],
        now: float,
        queue: str,
    ) -> None:
        """Give up jobs that ended without an rc file, and those that can never start."""
        self.running = 0
        stuck: list[int] = []
        self._collect(ids, queue)
        for job in ids:
            if job in self.codes:
                continue
            state = states.get(self.where[job], State("ended", "UNKNOWN"))
            if state.phase == "running":
                self.running += 1
            if state.phase in ("running", "waiting"):
                self.ended.pop(job, None)  # a requeued job begins again
            elif state.phase == "stuck":
                stuck.append(job)
                self._give_up(array, job, state.word, state.reason, queue)
            else:
                seen, _ = self.ended.setdefault(job, (now, state.word))
                if now - seen >= PATIENCE:
                    self._give_up(array, job, state.word, state.reason, queue)
        if stuck:
            self.scheduler.cancel(self._names(stuck))

    def _names(self, jobs: list[int]) -> list[str]:
        """What to cancel so that these jobs end: whole submissions where nothing else is open."""
        still = {handle for job, (handle, _) in self.where.items() if job not in self.codes}
        places = [self.where[job] for job in jobs]
        return sorted(
            {h if h not in still else self.scheduler.one.format(h, index) for h, index in places}
        )

    def _explain(self, states: dict[tuple[str, int], State], now: float) -> None:
        """Tell people why nothing runs, where that lasts: some jobs can never start."""
        waiting = [key for key, state in states.items() if state.phase == "waiting"]
        if self.running or not waiting:
            self.ran, self.idle = now, IDLE
        elif now - self.ran >= self.idle:
            reasons = {states[key].reason for key in waiting} - {"", "None"}
            why = ", ".join(sorted(reasons)[:3]) or self.scheduler.why(waiting[0][0])
            told = f": {why}" if why else ""
            self._tell(f"no job has run for {now - self.ran:.0f} s, {len(waiting)} wait{told}")
            self.idle *= 4

    def _give_up(self, array: Array, job: int, word: str, reason: str, queue: str) -> None:
        """Count a job as failed by its scheduler's word, and end its log."""
        code = CODES.get(word, 1)
        path = array.log_of(job)
        handle, index = self.where[job]
        why = f" ({reason})" if reason and reason != "None" else ""
        lost = "is no longer known to" if word == "UNKNOWN" else "was ended by"
        end = f"as {word}{why}"
        if word == "UNKNOWN":
            end = "and left no code of exit: deleted, killed at a limit, or its machine died"
        note = f"# job {job} ({handle}, task {index}) {lost} {self.scheduler.name} {end}\n"
        if logfile.end(path) is None:
            # Of a job that never got as far as its log, this alone says why.
            name = f"sched.{self.scheduler.one.format(handle, index)}"
            own = logfile.tail(os.path.join(queue, name), LINES)
            with open(path, "a+b") as stream:
                stream.write((note + "".join(f"{line}\n" for line in own)).encode())
                logfile.append_footer(stream, code, 0.0, array.threads())
        self._tell(note[2:].strip())
        self.codes[job] = code

    def _stop(self, array: Array, ids: list[int], handles: list[str], queue: str) -> None:
        """Cancel all, wait for the rc files of what was running, end the other logs."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if handles:
            self.scheduler.cancel(handles)
        until = self.clock() + PATIENCE
        while self.clock() < until:
            self._collect(ids, queue)
            left = [job for job in self.where if job not in self.codes]
            states = self.scheduler.states(handles) if left else {}
            alive = {self.place.get(key) for key, state in (states or {}).items()
                     if state.phase in ("running", "waiting")}  # fmt: skip
            if not left or (states is not None and not alive & set(left)):
                break
            time.sleep(1.0)
        self._collect(ids, queue)
        for job in self.where:
            if job not in self.codes and os.path.exists(array.log_of(job)):
                self._give_up(array, job, "CANCELLED", "", queue)

    def _tell(self, text: str) -> None:
        print(f"{self.scheduler.name}: {text}", file=sys.stderr, flush=True)

    def _progress(self, total: int, elapsed: float) -> Progress:
        failed = sum(1 for code in self.codes.values() if code)
        ended = len(self.codes)
        eta = elapsed / ended * (total - ended) if ended else None
        return Progress(ended - failed, self.running, failed, total, eta)


def job_name(array: Array) -> str:
    """Name of an array in the scheduler's lists: that of its log."""
    return os.path.basename(array.log).removesuffix(".log")


def script_path(queue: str, part: int) -> str:
    """Where the batch script of a submission lies."""
    return os.path.join(queue, f"submit.{part}.sh")


def write_script(queue: str, description: str, ids: list[int], part: int) -> str:
    """Write the batch script of one submission; returns its path.

    Its task of index i runs job ``ids[i - 1]``. The shell is replaced by the task, which therefore
    gets the signals that the scheduler sends to the batch shell. What a job needs of the
    environment is said here, because a site's options may drop all of it.
    """
    exports = [f"export {word}" for word in carried()]
    numbers = " ".join(map(str, ids))
    lines = [
        "#!/usr/bin/env bash",
        f"# {len(ids)} jobs of {shlex.quote(os.path.basename(queue))}",
        f"cd {shlex.quote(os.getcwd())} || exit 1",
        *exports,
        f"ids=({numbers})",
        "index=${SLURM_ARRAY_TASK_ID:-${SGE_TASK_ID:-1}}",
        '[ "$index" != undefined ] || index=1',
        f"exec {shlex.quote(sys.executable)} -S -m pylib.jobs.task {shlex.quote(description)} "
        '"${ids[$((index - 1))]}"',
    ]
    path = script_path(queue, part)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
    os.chmod(path, 0o755)
    return path


def site_conf(name: str, root: str) -> str | None:
    """The site's conf file of a back end: ``conf/<name>.conf`` here, else of the repository."""
    for path in (f"conf/{name}.conf", os.path.join(root, "local", "conf", f"{name}.conf")):
        if os.path.isfile(path):
            return path
    return None
