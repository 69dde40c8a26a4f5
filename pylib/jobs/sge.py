"""Sun Grid Engine and its heirs: qsub arrays, qstat's states, qdel.

qstat lists what waits or runs; what it no longer lists has ended.
"""

from __future__ import annotations

import getpass
import os
import pwd
import re

from pylib.jobs.backend import Backend
from pylib.jobs.conf import Conf
from pylib.jobs.grammar import OWN, Array, bytes_of, seconds_of
from pylib.jobs.scheduler import Scheduled, State, SubmitError, ask, submit


def options_of(array: Array) -> list[str]:
    """qsub's words for the portable options, where no conf file maps them.

    ``mem_free`` is known to a stock installation; ``ram_free``, which Kaldi asks for, is not.
    """
    given, words = array.options, []
    if bytes_of(given.get("mem", "0")):
        words += ["-l", f"mem_free={max(1, bytes_of(given['mem']) >> 20)}M"]
    if "num-threads" in given and given["num-threads"] != "1":
        words += ["-pe", "smp", given["num-threads"]]
    if given.get("gpu", "0") != "0":
        words += ["-l", f"gpu={given['gpu']}"]
    if "time" in given:
        words += ["-l", f"h_rt={seconds_of(given['time'])}"]
    return words


def command_line(
    script: str, name: str, count: int, array: Array, conf: Conf | None, queue: str
) -> list[str]:
    """The words that submit an array."""
    if conf is None:
        words = ["qsub", *options_of(array)]
    else:
        given = {key: value for key, value in array.options.items() if key not in OWN}
        if "time" in given:  # Grid Engine knows neither days nor minutes without hours
            given["time"] = str(seconds_of(given["time"]))
        words = conf.words(given)
    # -notify: USR2 comes before KILL, which would reach the task and not its job.
    words += ["-terse", "-cwd", "-V", "-notify", "-S", "/bin/bash"]
    words += ["-j", "y", "-o", f"{queue}/sched.$JOB_ID.$TASK_ID"]
    # A job's name must not begin with a digit.
    words += ["-N", re.sub(r"[^\w.-]", "_", f"t{name}" if name[:1].isdigit() else name)]
    if "max-jobs-run" in array.options:
        words += ["-tc", array.options["max-jobs-run"]]
    return [*words, "-t", f"1-{count}", script]


class GridEngine:
    """Front end; see :class:`pylib.jobs.scheduler.Scheduler`."""

    name = "sge"
    largest = 10000  # below max_aj_tasks of a stock installation
    one = "{}.{}"

    def submit(
        self, script: str, name: str, count: int, array: Array, conf: Conf | None, queue: str
    ) -> str:
        if int(array.options.get("nodes", "1")) > 1:
            raise SubmitError(
                "sge: a job over several nodes is not supported: use slurm, or one node"
            )
        line = self.line(script, name, count, array, conf, queue)
        return submit(line, r"^\s*(\d+)(\.\S+)?\s*$", "queue.conf")

    def line(
        self, script: str, name: str, count: int, array: Array, conf: Conf | None, queue: str
    ) -> list[str]:
        return command_line(script, name, count, array, conf, queue)

    def states(self, handles: list[str]) -> dict[tuple[str, int], State] | None:
        done = ask(["qstat", "-u", _user()])
        if done is None or done.returncode:
            return None
        found = parse(done.stdout, set(handles))
        for handle in {handle for (handle, _), state in found.items() if state.phase == "stuck"}:
            told = ask(["qstat", "-j", handle])
            for index, reason in errors(told.stdout if told else "").items():
                if (handle, index) in found:
                    found[handle, index] = found[handle, index]._replace(reason=reason)
        return found

    def why(self, handle: str) -> str:
        done = ask(["qalter", "-w", "p", handle])  # whether it could start now; changes nothing
        lines = [line.strip() for line in done.stdout.splitlines()] if done else []
        return "; ".join([line for line in lines if line and "verification:" not in line][:3])

    def cancel(self, handles: list[str]) -> None:
        ask(["qdel", *handles])  # states tell whether they ended


def parse(text: str, handles: set[str]) -> dict[tuple[str, int], State]:
    """States from qstat's table; its last column holds task ids such as ``3`` or ``4-10:2,12``."""
    out: dict[tuple[str, int], State] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 8 or words[0] not in handles:
            continue
        word = words[4]
        if "E" in word:
            state = State("stuck", word, "the job is in an error state: see qstat -j " + words[0])
        elif "r" in word or "t" in word:
            state = State("running", word)
        else:
            state = State("waiting", word)
        for index in _indices(words[-1]):
            out[words[0], index] = state
    return out


def errors(text: str) -> dict[int, str]:
    """Why tasks are in an error state, by index, from what ``qstat -j`` says."""
    lines = re.findall(r"^error reason\s+(\d+):\s*(.*?)\s*$", text, re.M)
    return {int(index): re.sub(r"^\S+ \S+ \[\d+:\d+\]: ", "", reason) for index, reason in lines}


def _user() -> str:
    """Owner of this process; the environment may name another."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return getpass.getuser()


def _indices(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match:
            first, last = int(match[1]), int(match[2] or match[1])
            found += range(first, last + 1, int(match[3] or 1))
    return found or [1]


def backend() -> Backend:
    """A fresh back end for one array."""
    return Scheduled(GridEngine())
