"""What the end-to-end tests of all recipes share."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
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


def kill_tree(pid: int) -> None:
    """kill -9 a process and all that it started, in whatever process groups they are."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True)
    children: dict[int, list[int]] = {}
    for line in listing.stdout.splitlines():
        child, parent = map(int, line.split())
        children.setdefault(parent, []).append(child)
    found = [pid]
    for member in found:
        found += children.get(member, [])
    for member in found:
        try:
            os.kill(member, signal.SIGKILL)
        except ProcessLookupError:
            pass
