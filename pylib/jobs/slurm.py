"""Slurm: sbatch arrays, squeue's states, scancel.

State is asked with ``squeue -t all``, which tells ended jobs apart for as long as the controller
remembers them; accounting (sacct) is never needed, many sites have none.
"""

from __future__ import annotations

import re

from pylib.jobs.backend import Backend
from pylib.jobs.conf import Conf
from pylib.jobs.grammar import OWN, Array, bytes_of
from pylib.jobs.scheduler import Scheduled, State, ask, submit

RUNNING = frozenset({"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "SUSPENDED"})
WAITING = frozenset(
    {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD",
     "SPECIAL_EXIT", "RESIZING"}
)  # fmt: skip
# A job that waits for one of these waits for ever.
NEVER = re.compile(
    r"DependencyNeverSatisfied|PartitionConfig|PartitionNodeLimit|PartitionTimeLimit|Invalid\w*|"
    r"BadConstraints|AccountNotAllowed|QOSNotAllowed|JobHeldUser|JobHeldAdmin|launch failed"
)
SIGNAL_BEFORE = 120  # seconds before the time limit at which a job may save itself


def options_of(array: Array) -> list[str]:
    """sbatch's words for the portable options, where no conf file maps them. Names no partition."""
    given, words = array.options, []
    if bytes_of(given.get("mem", "0")):
        words.append(f"--mem={max(1, bytes_of(given['mem']) >> 20)}M")
    if "num-threads" in given:
        words.append(f"--cpus-per-task={given['num-threads']}")
    if given.get("gpu", "0") != "0":
        words.append(f"--gres=gpu:{given['gpu']}")
    if "time" in given:
        words.append(f"--time={given['time']}")
    return words


def command_line(
    script: str, name: str, count: int, array: Array, conf: Conf | None, queue: str
) -> list[str]:
    """The words that submit an array."""
    if conf is None:
        words = ["sbatch", *options_of(array)]
    else:
        words = conf.words({key: value for key, value in array.options.items() if key not in OWN})
    throttle = f"%{array.options['max-jobs-run']}" if "max-jobs-run" in array.options else ""
    words += ["--parsable", f"--job-name={name}"]
    words += [f"--output={queue}/sched.%A_%a", "--open-mode=append"]
    nodes = int(array.options.get("nodes", "1"))
    if nodes > 1:
        words += [f"--nodes={nodes}", "--ntasks-per-node=1"]
    if "time" in array.options:
        # Time to save itself; what ends with code 75 then is requeued by its own task.
        words += ["--requeue", f"--signal=B:USR1@{SIGNAL_BEFORE}"]
    return [*words, f"--array=1-{count}{throttle}", script]


class Slurm:
    """Front end; see :class:`pylib.jobs.scheduler.Scheduler`."""

    name = "slurm"
    largest = 1000  # MaxArraySize is 1001 where a site has not changed it
    one = "{}_{}"

    def submit(
        self, script: str, name: str, count: int, array: Array, conf: Conf | None, queue: str
    ) -> str:
        line = self.line(script, name, count, array, conf, queue)
        return submit(line, r"^\s*(\d+)(;\S+)?\s*$", "slurm.conf")

    def line(
        self, script: str, name: str, count: int, array: Array, conf: Conf | None, queue: str
    ) -> list[str]:
        return command_line(script, name, count, array, conf, queue)

    def states(self, handles: list[str]) -> dict[tuple[str, int], State] | None:
        line = ["squeue", "-h", "-r", "-t", "all", "-o", "%F|%K|%T|%r", "-j", ",".join(handles)]
        done = ask(line)
        if done is None or (done.returncode and "Invalid job id" not in done.stderr):
            return None
        return parse(done.stdout)

    def why(self, handle: str) -> str:
        return ""  # squeue's states come with their reasons

    def cancel(self, handles: list[str]) -> None:
        ask(["scancel", *handles])  # states tell whether they ended


def parse(text: str) -> dict[tuple[str, int], State]:
    """States from lines ``<array id>|<index>|<state>|<reason>``."""
    out: dict[tuple[str, int], State] = {}
    for line in text.splitlines():
        parts = line.strip().split("|", 3)
        if len(parts) != 4:
            continue
        handle, index, word, reason = parts
        if word in RUNNING:
            phase = "running"
        elif word in WAITING:
            phase = "stuck" if NEVER.search(reason) else "waiting"
        else:
            phase = "ended"
        out[handle, int(index) if index.isdigit() else 1] = State(phase, word, reason)
    return out


def backend() -> Backend:
    """A fresh back end for one array."""
    return Scheduled(Slurm())
