"""The command line of torchrun for a training verb. Nothing here spawns a process of its own.

    python -S -m pylib.jobs.torchrun [--nproc N] [--nodes N] [--rendezvous HOST:PORT] [--id NAME] \\
        [--print] -- <module> <arguments>...

replaces itself by torchrun (or prints the line). One process needs no torchrun: the module is run
directly. On one node the rendezvous is torchrun's own with a free port, so two runs never collide;
on several it is c10d at the host and port given, the first host of the allocation under Slurm.
"""

from __future__ import annotations

import os
import re
import shlex
import sys


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
                f"that the others reach; {rendezvous!r} was given"
            )
        words += [
            f"--nnodes={nodes}",
            "--rdzv-backend=c10d",
            f"--rdzv-endpoint={rendezvous}",
            f"--rdzv-id={run_id}",
        ]
    # A failed rank must not be restarted behind the ledger's back, and its size is fixed.
    return [*words, "--max-restarts=0", "-m", module, *arguments]


def main(words: list[str]) -> int:
    """See the module's text."""
    options = {"nproc": "1", "nodes": "1", "rendezvous": "", "id": "trivium"}
    only_print = False
    try:
        cut = words.index("--")
        given, command = words[:cut], words[cut + 1 :]
        while given:
            name = given.pop(0).removeprefix("--")
            if name == "print":
                only_print = True
            elif name in options and given:
                options[name] = given.pop(0)
            else:
                raise UsageError(f"torchrun: unknown option or missing value: --{name}")
        if not command:
            raise UsageError("torchrun: no module after --")
        line = argv(
            sys.executable,
            command[0],
            command[1:],
            int(options["nproc"]),
            int(options["nodes"]),
            options["rendezvous"] or None,
            options["id"],
        )
    except (UsageError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    if not only_print:
        sys.stdout.flush()
        os.execv(line[0], line)
    print(shlex.join(line))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
