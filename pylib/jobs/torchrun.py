"""The command line of torchrun for a training verb, and its run.

    python -S -m pylib.jobs.torchrun [--nproc N] [--nodes N] [--rendezvous HOST:PORT] [--id NAME] \\
        [--marker FILE] [--srun] [--print] -- <module> <arguments>...

runs torchrun, or prints its line. One process needs no torchrun: this one becomes the module. On
one node the rendezvous is torchrun's own with a free port, so two runs never collide; on several it
is c10d at the host and port given; within a job of Slurm at its first host, and a port that follows
from the job's number, so that no two jobs share one. With --srun, in a job of Slurm over several
nodes, srun starts this launcher on each of them.

USR1, a scheduler's warning of a time limit, must reach the trainings and not end torchrun: it is
ignored there and passed on to them, who have process groups of their own; a training may be warned
twice, where the scheduler itself reaches every process. torchrun turns a training's code 75
(stopped after a checkpoint) into 1, srun that of the first node into 143, as it kills the others;
where the training left FILE it is 75 again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shlex
import signal
import subprocess
import sys
from types import FrameType
from typing import NamedTuple

from pylib.jobs import processes

CHECKPOINTED = 75  # code of a training that stopped after a checkpoint
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class UsageError(Exception):
    """A world that cannot be launched."""


def argv(
    python: str,
    module: str,
    arguments: list[str],
    nproc: int = 1,
    nodes: int = 1,
    rendezvous: str | None = None,
    run_id: str = "trivium",
) -> list[str]:
    """The words that start ``python -m module arguments`` with ``nproc`` processes on each node.

    Args:
        python: the interpreter of the environment.
        rendezvous: ``host:port`` that all nodes reach; needed for more than one node.
        run_id: the same on all nodes, different between runs.

    Raises:
        UsageError: fewer than one process or node, or several nodes without a rendezvous.
    """
    if nproc < 1 or nodes < 1:
        raise UsageError(f"torchrun: --nproc {nproc} --nodes {nodes}: both must be at least 1")
    if nproc == 1 and nodes == 1:
        return [python, "-m", module, *arguments]
    words = [python, "-m", "torch.distributed.run", f"--nproc-per-node={nproc}"]
    if nodes == 1:
        words.append("--standalone")
    else:
        if rendezvous is None or not re.fullmatch(r"[^\s:]+:\d+", rendezvous):
            raise UsageError(
                f"torchrun: {nodes} nodes need --rendezvous HOST:PORT, a port of the first node "
                f"that the others reach, or a job of Slurm; {rendezvous!r} was given"
            )
        words += [
            f"--nnodes={nodes}",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={rendezvous}",
            f"--rdzv-id={run_id}",
        ]
    # A failed rank must not be restarted behind the ledger's back, and its size is fixed.
    return [*words, "--max-restarts=0", "-m", module, *arguments]


def of_slurm() -> tuple[str | None, str | None]:
    """Rendezvous and run id of the Slurm job that this process belongs to; None outside one.

    The port lies in 20000 .. 59999; a job that starts again gets another one, because the one
    before may still be closing.
    """
    job, nodes = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_JOB_NODELIST")
    if not job or not nodes or not job.isdigit():
        return None, None
    try:
        listed = subprocess.run(
            ["scontrol", "show", "hostnames", nodes], capture_output=True, text=True, check=True
        ).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return None, None
    restart = int(os.environ.get("SLURM_RESTART_COUNT", "0") or 0)
    # A name of Slurm's need not be one of the network: a node may have an address of its own.
    host = _address(listed[0])
    return f"{host}:{20000 + (8 * int(job) + restart % 8) % 40000}", f"{job}.{restart}"


def _address(node: str) -> str:
    """Network address of a node of Slurm; its name where Slurm tells none."""
    try:
        told = subprocess.run(
            ["scontrol", "show", "node", node], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return node
    found = re.search(r"NodeAddr=(\S+)", told)
    return found[1] if found else node


def srun(nodes: int, words: list[str]) -> list[str]:
    """The words that start this launcher on each node of a job of Slurm.

    Args:
        words: of the launcher, without --srun. The marker is for who waits for srun.
    """
    return ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1",
            "--kill-on-bad-exit=1", *words]  # fmt: skip


def _tie(warning: signal.Handlers) -> None:
    """In a child before its program: what USR1 does; TERM when its parent dies (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    signal.signal(signal.SIGUSR1, warning)


def _watch(line: list[str], marker: str, ranks: bool) -> int:
    """Run torchrun or srun and pass signals on to it; its code, or 75.

    In a group of its own: a signal to the group of this launcher would reach it twice, directly and
    passed on, and torchrun that is stopped while it stops leaves its trainings behind.

    Args:
        ranks: USR1 is for the child's children, each in a group of its own, and not for the child.
    """
    if marker and os.path.exists(marker):  # of a start before: this one has not stopped yet
        os.unlink(marker)
    # srun passes USR1 on to its tasks, unless it was told to ignore it.
    warning = signal.SIG_IGN if ranks else signal.SIG_DFL
    child = subprocess.Popen(line, process_group=0, preexec_fn=lambda: _tie(warning))

    def warn(number: int, _: FrameType | None) -> None:
        told = processes.children(child.pid) if ranks else [child.pid]
        for pid in told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: child.send_signal(number))
    signal.signal(signal.SIGUSR1, warn)
    code = child.wait()
    if code and marker and os.path.exists(marker):
        return CHECKPOINTED
    return code if code >= 0 else 128 - code


class Launch(NamedTuple):
    """What the words of the command line ask for.

    Attributes:
        options: values by name.
        flags: --print, --srun where given.
        command: the module and its arguments.
    """

    options: dict[str, str]
    flags: set[str]
    command: list[str]

    @property
    def nodes(self) -> int:
        """Machines, one launcher on each."""
        return int(self.options["nodes"])

    def line(self, rendezvous: str, run_id: str) -> list[str]:
        """The words of torchrun, or of the module where it takes none. Raises UsageError."""
        return argv(
            sys.executable, self.command[0], self.command[1:], int(self.options["nproc"]),
            self.nodes, rendezvous or None, run_id,
        )  # fmt: skip

    def again(self) -> list[str]:
        """The words that start this launcher on a node."""
        names = ("nproc", "nodes", "rendezvous", "id")
        given = [word for name in names if self.options[name]
                 for word in (f"--{name}", self.options[name])]  # fmt: skip
        return [sys.executable, "-S", "-m", "pylib.jobs.torchrun", *given, "--", *self.command]


def parse(words: list[str]) -> Launch:
    """Raises UsageError: an unknown option, no value, no number, no module."""
    options = {"nproc": "1", "nodes": "1", "rendezvous": "", "id": "trivium", "marker": ""}
    flags: set[str] = set()
    if "--" not in words:
        raise UsageError("torchrun: no -- before the module")
    cut = words.index("--")
    given, command = words[:cut], words[cut + 1 :]
    while given:
        name = given.pop(0).removeprefix("--")
        if name in ("print", "srun"):
            flags.add(name)
        elif name in options and given:
            options[name] = given.pop(0)
        else:
            raise UsageError(f"torchrun: unknown option or missing value: --{name}")
    if not command:
        raise UsageError("torchrun: no module after --")
    for name in ("nproc", "nodes"):
        if not options[name].isdecimal():
            raise UsageError(f"torchrun: --{name} {options[name]}: expected a number")
    return Launch(options, flags, command)


def main(words: list[str]) -> int:
    """See the module's text."""
    try:
        launch = parse(words)
        rendezvous, run_id = launch.options["rendezvous"], launch.options["id"]
        several = launch.nodes > 1
        if "print" in launch.flags:
            place = rendezvous or ("FIRST-NODE:20000" if several else "")
            line = launch.line(place, run_id)
            print(shlex.join(srun(launch.nodes, line) if "srun" in launch.flags else line))
            return 0
        if "srun" in launch.flags:
            line = srun(launch.nodes, launch.again())
        else:
            if several and not rendezvous:
                host, job = of_slurm()
                rendezvous, run_id = host or "", job or run_id
            line = launch.line(rendezvous, run_id)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    sys.stdout.flush()
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if launch.options["nproc"] == "1" and not several:
        os.execv(line[0], line)
    return _watch(line, launch.options["marker"], ranks="srun" not in launch.flags)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
