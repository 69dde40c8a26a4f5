"""How every verb ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Children find the package from any directory.
ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}

CALL = """
import argparse, errno, os, signal, time
from pylib.bin.entry import run
from pylib.corpus.errors import UserError
def main(argv):
    {body}
run(main)
"""


def call(body: str, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CALL.format(body=body), *argv],
        env=ENV,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ("return None", 0, ""),
        ("return 3", 3, ""),
        ("raise UserError('t:3: bad: mend it')", 1, "error: t:3: bad: mend it"),
        ("open('/none/such')", 1, "error: /none/such: No such file or directory: check the path"),
        ("raise OSError(errno.ENOSPC, 'x', 'big')", 1, "error: big: No space left on device: free"),
        ("raise MemoryError", 1, "out of memory"),
        ("raise KeyboardInterrupt", 130, "interrupted"),
        ("argparse.ArgumentParser().parse_args(['--x'])", 2, "unrecognized"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143, ""),
    ],
)
def test_exit_status_and_message(body, code, text):
    done = call(body)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_fault_of_ours_keeps_its_traceback():
    done = call("return 1 / 0")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert "internal error" in done.stderr


def test_arguments_are_passed():
    assert call("print(argv)", "a", "--b").stdout == "['a', '--b']\n"


def test_a_closed_pipe_is_quiet():
    code = CALL.format(body="[print('x' * 1000) for _ in range(10000)]")
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENV,
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.readline()
    child.stdout.close()
    errors = child.stderr.read()
    child.stderr.close()
    assert child.wait() == 141
    assert not errors


def test_sigterm_has_its_number():
    assert 128 + signal.SIGTERM == 143
