"""What the end-to-end tests of all recipes share."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

#: Fields of a row of summary.json.
ROW = {"system", "seed", "set", "measure", "decode", "value", "low", "high", "n", "file"}


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file below a folder but the ledger."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".stages" not in path.parts
    }


def tree_of(pid: int) -> list[int]:
    """A process and all that it started, in whatever process groups they are, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        parent = int(stat.rpartition(")")[2].split()[1])
        children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for member in found:
        found += children.get(member, [])
    return found


def kill_tree(pid: int) -> None:
    """kill -9 a process and all that it started."""
    for member in tree_of(pid):
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            pass
