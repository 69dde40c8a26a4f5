"""Back end for this machine: as many jobs at once as processors, memory and GPUs allow.

The number of jobs is the number of shards of the data; how many run at once is decided here.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from pylib.jobs import logfile, task
from pylib.jobs.backend import Backend, Progress, Signalled, signals_raised
from pylib.jobs.conf import Conf
from pylib.jobs.grammar import Array, UsageError, bytes_of

MEMORY_SHARE = 0.9  # of the available memory that jobs may ask for together


def available_memory() -> int | None:
    """Bytes that new processes can use: /proc/meminfo, or less where a cgroup says so."""
    found: list[int] = []
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            for line in stream:
                if line.startswith("MemAvailable:"):
                    found.append(int(line.split()[1]) * 1024)
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as stream:
            limit = stream.read().strip()
        if limit != "max":
            with open("/sys/fs/cgroup/memory.current", encoding="ascii") as stream:
                found.append(int(limit) - int(stream.read()))
    except (OSError, ValueError):
        pass  # not Linux, or no cgroup: what was found so far counts
    return min(found) if found else None


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[str]:
    """Ids of the GPUs of this machine, as CUDA_VISIBLE_DEVICES takes them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [one for one in visible.split(",") if one not in ("", "-1")]
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(lines))]


def slots(array: Array, devices: list[str]) -> int:
    """How many jobs of the array run at once.

    Raises:
        UsageError: a job asks for more GPUs or memory than the machine has.
    """
    limits = [int(array.options.get("max-jobs-run", sys.maxsize))]
    if "max-jobs-run" not in array.options:
        limits.append(max(1, processors() // array.threads()))
    per_job = int(array.options.get("gpu", "0"))
    if per_job:
        if len(devices) < per_job:
            raise UsageError(
                f"--gpu {per_job}: this machine has {len(devices)} GPUs that CUDA can see: "
                "run with --gpu 0 or elsewhere"
            )
        limits.append(len(devices) // per_job)
    memory = bytes_of(array.options.get("mem", "0"))
    available = available_memory()
    if memory and available is not None:
        if memory > available:
            raise UsageError(
                f"--mem {array.options['mem']}: a job needs more than the {available >> 20} MB "
                "that are free: end other programs, or lower --mem"
            )
        limits.append(int(available * MEMORY_SHARE) // memory)
    return max(1, min(limits))


class Local:
    """Jobs as children of this process. See :class:`pylib.jobs.backend.Backend`."""

    def __init__(self) -> None:
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.devices_of: dict[int, list[str]] = {}
        self.codes: dict[int, int] = {}
        self.started: dict[int, float] = {}
        self.waiting: list[int] = []
        self.most = 0  # jobs at once
        self.here: list[subprocess.Popen[bytes]] = []  # tasks that a warning is passed on to

    def plan(self, array: Array, ids: list[int], conf: Conf | None, queue: str) -> list[list[str]]:
        """No scheduler is asked."""
        return []

    def run(
        self,
        array: Array,
        ids: list[int],
        conf: Conf | None,
        queue: str,
        watch: Callable[[Progress], None],
    ) -> dict[int, int]:
        """Run the jobs; ends them all when INT or TERM arrives, then leaves with 128 + signal.

        USR1, a scheduler's warning of a time limit, is passed on: this may itself run within a job.
        """
        free = gpus() if int(array.options.get("gpu", "0")) else []
        self.most = self.limit(array, free)
        description = task.describe(array, queue, tied=True)
        self.waiting = list(ids)
        begin = time.monotonic()
        signal.signal(signal.SIGUSR1, self._warn)
        with signals_raised():
            try:
                while self.waiting or self.running:
                    while self.waiting and len(self.running) < self.most:
                        self._start(array, self.waiting.pop(0), description, free)
                    self._reap(array, queue, free)
                    watch(self._progress(len(ids), time.monotonic() - begin))
                    if len(self.running) >= self.most or not self.waiting:
                        time.sleep(0.02 if time.monotonic() - begin < 2 else 0.1)
            except Signalled as signalled:
                self._stop(array, queue)
                raise SystemExit(128 + signalled.number) from None
        return self.codes

    def limit(self, array: Array, devices: list[str]) -> int:
        """How many jobs run at once."""
        return slots(array, devices)

    def _start(self, array: Array, job: int, description: str, free: list[str]) -> None:
        environment = dict(os.environ)
        count = int(array.options.get("gpu", "0"))
        if count:
            self.devices_of[job] = [free.pop(0) for _ in range(count)]
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self.devices_of[job])
        self.started[job] = time.monotonic()
        # A warning that comes before the task listens waits: the mask is inherited.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        # A group of its own: Ctrl-C reaches a job only through here, once.
        self.running[job] = subprocess.Popen(
            [sys.executable, "-S", "-m", "pylib.jobs.task", description, str(job)],
            stdin=subprocess.DEVNULL,
            env=environment,
            process_group=0,
        )
        self.here = [one for one in self.here if one.poll() is None] + [self.running[job]]
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})

    def _warn(self, number: int, frame: FrameType | None) -> None:
        for process in self.here:
            if process.poll() is None:
                process.send_signal(signal.SIGUSR1)

    def _reap(self, array: Array, queue: str, free: list[str]) -> None:
        for job, process in list(self.running.items()):
            code = process.poll()
            if code is None:
                continue
            del self.running[job]
            free.extend(self.devices_of.pop(job, []))
            self._ended(array, job, code, queue)

    def _ended(self, array: Array, job: int, code: int, queue: str) -> None:
        """What ran a job ended with this code."""
        told = task.read_rc(queue, job)
        self.codes[job] = self._lost(array, job, code) if told is None else told

    def _lost(self, array: Array, job: int, code: int) -> int:
        """A job that left no rc file was killed from outside: write the footer in its place."""
        code = 128 - code if code < 0 else code or 1
        path = array.log_of(job)
        if os.path.exists(path) and logfile.end(path) is None:
            with open(path, "r+b") as stream:
                seconds = time.monotonic() - self.started[job]
                logfile.append_footer(stream, code, seconds, array.threads())
        return code

    def _stop(self, array: Array, queue: str) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        for process in self.running.values():
            process.wait()
        self._reap(array, queue, [])

    def _progress(self, total: int, elapsed: float) -> Progress:
        failed = sum(1 for code in self.codes.values() if code)
        ended = len(self.codes)
        eta = elapsed / ended * (total - ended) if ended else None
        return Progress(ended - failed, len(self.running), failed, total, eta)


def backend() -> Backend:
    """A fresh back end for one array."""
    return Local()
