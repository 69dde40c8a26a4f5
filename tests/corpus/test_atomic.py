"""Nothing stands under its final name before it is complete."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pylib.corpus import atomic
from pylib.corpus.atomic import atomic_dir, atomic_path, require_free_space, write_json, write_text
from pylib.corpus.errors import UserError

# Children find the package from any directory.
ENV = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_success_replaces_in_one_step(tmp_path):
    write_text(tmp_path / "f", "old")
    with atomic_path(tmp_path / "f") as temp:
        temp.write_text("new")
        assert (tmp_path / "f").read_text() == "old"
    assert (tmp_path / "f").read_text() == "new"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_the_old_file(tmp_path, error):
    write_text(tmp_path / "f", "old")
    with pytest.raises(error), atomic_path(tmp_path / "f") as temp:
        temp.write_text("half")
        raise error
    assert (tmp_path / "f").read_text() == "old"
    assert names(tmp_path) == ["f"]


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(UserError, match="nothing was written"), atomic_path(tmp_path / "f"):
        pass
    assert not names(tmp_path)


def test_directory_in_the_way(tmp_path):
    (tmp_path / "d").mkdir()
    with pytest.raises(UserError, match="is a directory"), atomic_path(tmp_path / "d"):
        pass
    write_text(tmp_path / "f", "x")
    with pytest.raises(UserError, match="is a file"), atomic_dir(tmp_path / "f"):
        pass


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "f", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("exchange", [True, False])
def test_directory_is_replaced_as_a_whole(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(atomic, "_exchange", lambda a, b: False)
    for content in ("old", "new"):
        with atomic_dir(tmp_path / "d") as temp:
            (temp / content).write_text(content)
    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == ["new"]
    with pytest.raises(ValueError), atomic_dir(tmp_path / "d") as temp:
        (temp / "half").write_text("x")
        raise ValueError
    assert names(tmp_path / "d") == ["new"]
    assert names(tmp_path) == ["d"]


def test_a_reader_never_finds_the_directory_missing(tmp_path):
    with atomic_dir(tmp_path / "d") as temp:
        (temp / "f").write_text("x")
    stop, missing = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            if not (tmp_path / "d" / "f").exists():
                missing.append(1)

    thread = threading.Thread(target=look)
    thread.start()
    for _ in range(30):
        with atomic_dir(tmp_path / "d") as temp:
            (temp / "f").write_text("x")
    stop.set()
    thread.join()
    if atomic._exchange(tmp_path / "d", tmp_path / "d"):
        assert not missing


def test_full_disk_by_fsync(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_text(tmp_path / "f", "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as caught:
        write_text(tmp_path / "f", "new")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename
    assert (tmp_path / "f").read_text() == "old"
    assert names(tmp_path) == ["f"]


LIMITED = """
import resource, signal, sys
from pylib.bin.entry import run
from pylib.corpus.atomic import write_text
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
run(lambda argv: write_text(argv[0], "x" * 100000))
"""


def test_file_size_limit_is_a_message_with_the_path(tmp_path):
    target = tmp_path / "big"
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(target)],
        capture_output=True,
        text=True,
        check=False,
        env=ENV,
    )
    assert run.returncode == 1
    assert "error: " in run.stderr
    assert str(target) in run.stderr
    assert "Traceback" not in run.stderr
    assert not names(tmp_path)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096


KILLED = """
import sys, time
from pylib.corpus.atomic import atomic_path
with atomic_path(sys.argv[1]) as temp:
    temp.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_kill_9_leaves_no_final_name_and_the_next_run_sweeps(tmp_path):
    target = tmp_path / "f"
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE, text=True, env=ENV
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not target.exists()
    assert len(names(tmp_path)) == 1
    time.sleep(0.01)
    write_text(target, "whole")
    assert names(tmp_path) == ["f"]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "j", {"x": float("nan")})
    write_json(tmp_path / "j", {"b": "ä", "a": [1]})
    assert (tmp_path / "j").read_text(encoding="utf-8").startswith('{\n  "a"')
    assert names(tmp_path) == ["j"]


def test_free_space(tmp_path):
    require_free_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(UserError, match="GB needed"):
        require_free_space(tmp_path, 1 << 60)
