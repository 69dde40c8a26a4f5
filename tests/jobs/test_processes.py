"""Descendants of a process, in whatever group."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pylib.jobs import processes


def test_children_of_children_in_other_groups_are_found() -> None:
    child = subprocess.Popen(
        ["bash", "-c", "setsid sleep 60 & sleep 61 & wait"], start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while len(found := processes.tree(child.pid)) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert found[0] == child.pid
        assert len(found) == 3
        assert child.pid in processes.tree(os.getpid())
    finally:
        for pid in reversed(processes.tree(child.pid)):
            os.kill(pid, 9)
        child.wait()
    assert processes.tree(child.pid) == [child.pid]


def test_nothing_below_a_launcher_is_told() -> None:
    """A job's own words may hold the name of a launcher."""
    job = ["bash", "-c", "sleep 62 & wait", "-m", "pylib.jobs.cmd"]
    launcher = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    words = [sys.executable, "-c", launcher, *job]
    assert len(_told(words)) == 3
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "pylib" / "jobs"
        package.mkdir(parents=True)
        for place in (package.parent, package):  # before the real one, wherever PYTHONPATH has it
            (place / "__init__.py").touch()
        (package / "own.py").write_text(launcher, encoding="utf-8")
        words = [sys.executable, "-S", "-m", "pylib.jobs.own", *job]
        assert len(_told(words, cwd=folder)) == 1


def _told(words: list[str], **options: str) -> list[int]:
    """Who is told of three processes: what ran ``words``, a shell, and a sleep."""
    child = subprocess.Popen(words, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 60
        while len(processes.tree(child.pid)) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return processes.tree(child.pid, stop_at=processes.is_launcher)
    finally:
        os.killpg(child.pid, 9)
        child.wait()
