"""A process and everything it started, wherever their process groups are.

    python -S -m pylib.jobs.processes [--told] <pid>...

prints the process ids: of all, or of those that a signal is sent to. A launcher (a module of
pylib.jobs) passes a signal on to what it started, and a training that gets a second TERM leaves
without its checkpoint: so nobody below a launcher is told. Read off /proc, or from ps where there
is none.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable


def parents() -> dict[int, int]:
    """Parent by process, for all processes of this machine."""
    found: dict[int, int] = {}
    if not os.path.isdir("/proc/self"):
        listed = subprocess.run(
            ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
        )
        rows = [line.split() for line in listed.stdout.splitlines()]
        return {int(pid): int(parent) for pid, parent in rows}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stream:
                    # The program's name is in brackets and may hold blanks and brackets.
                    found[int(name)] = int(stream.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue  # it ended meanwhile
    return found


def children(of: int) -> list[int]:
    """Processes that this one has started and that have not ended, in ascending order."""
    return sorted(pid for pid, parent in parents().items() if parent == of)


def tree(*tops: int, stop_at: Callable[[int], bool] = lambda _: False) -> list[int]:
    """``tops`` and their descendants, children after their parents.

    Args:
        stop_at: whose descendants are left out.
    """
    started: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        started.setdefault(parent, []).append(pid)
    found = list(tops)
    for pid in found:
        if not stop_at(pid):
            found.extend(one for one in sorted(started.get(pid, ())) if one not in found)
    return found


def is_launcher(pid: int) -> bool:
    """Whether a process is ``python -m pylib.jobs.<module>``, by its command line."""
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as stream:
            words = stream.read().split("\0")
    except OSError:
        words = subprocess.run(
            ["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False
        ).stdout.split()
    # The options of Python come before its module, the words of the job's own command after it.
    return "-m" in words[:3] and words[words.index("-m") + 1].startswith("pylib.jobs.")


if __name__ == "__main__":
    told = sys.argv[1] == "--told"
    tops = [int(word) for word in sys.argv[1 + told :]]
    print(*(tree(*tops, stop_at=is_launcher) if told else tree(*tops)))
