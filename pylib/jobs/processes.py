"""A process and everything it started, wherever their process groups are.

    python -S -m pylib.jobs.processes <pid>

prints the process ids. Read off /proc, or from ps where there is none.
"""

from __future__ import annotations

import os
import subprocess
import sys


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


def tree(top: int) -> list[int]:
    """``top`` and its descendants, children after their parents."""
    started: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        started.setdefault(parent, []).append(pid)
    found = [top]
    for pid in found:
        found.extend(sorted(started.get(pid, ())))
    return found


if __name__ == "__main__":
    print(*tree(int(sys.argv[1])))
