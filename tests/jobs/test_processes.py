"""Descendants of a process, in whatever group."""

from __future__ import annotations

import os
import subprocess
import time

from pylib.jobs import processes


def test_children_of_children_in_other_groups_are_found() -> None:
    child = subprocess.Popen(
        ["bash", "-c", "setsid sleep 60 & sleep 61 & wait"], start_new_session=True
    )
    try:
        deadline = time.monotonic() + 10
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
