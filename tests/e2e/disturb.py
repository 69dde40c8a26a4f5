"""The cheap stages of the LibriSpeech recipe, put back to a known state before each disturbance."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.helpers import tree_of
from tests.e2e.outputs import Watch, compare

ROOT = Path(__file__).resolve().parents[2]
CORPUS = (
    "train_speakers=2 labelled_speakers=1 dev_speakers=1 test_speakers=1 train_minutes=0.4 "
    "labelled_minutes=0.2 dev_minutes=0.1 test_minutes=0.1 lm_sentences=50"
)
OPTIONS = (
    "--preset", "smoke", "--system", "hubert", "--frontend", "waveform", "--clusters", "8",
    "--corpus-set", CORPUS, "--nj", "1",
)  # fmt: skip
Done = subprocess.CompletedProcess


class Bench:
    """``<root>/here/exp`` is worked in; what an undisturbed run leaves there is kept beside it.

    Args:
        root: an empty directory.
    """

    def __init__(self, root: Path) -> None:
        self.here, self.prepared, self.whole = root / "here", root / "prepared", root / "whole"
        self.here.mkdir()
        self.exp = self.here / "exp"
        self._must("--stop-stage", "data")
        shutil.copytree(self.exp, self.prepared / "exp")
        self._must()
        shutil.copytree(self.exp, self.whole / "exp")

    def command(self, *options: str) -> list[str]:
        """The recipe up to the labels."""
        recipe = str(ROOT / "egs" / "librispeech" / "run.sh")
        stop = () if "--stop-stage" in options else ("--stop-stage", "labels")
        return ["bash", recipe, *OPTIONS, *stop, "--exp", str(self.exp), *options]

    def run(self, *options: str, before: Callable[[], None] | None = None) -> Done[str]:
        """One run to its end; ``before`` is called in the new process."""
        return subprocess.run(
            self.command(*options), capture_output=True, text=True, stdin=subprocess.DEVNULL,
            preexec_fn=before, timeout=600,
        )  # fmt: skip

    def _must(self, *options: str) -> None:
        done = self.run(*options)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    def restore(self) -> None:
        """Data directories are prepared, nothing else."""
        shutil.rmtree(self.exp, ignore_errors=True)
        shutil.copytree(self.prepared / "exp", self.exp)

    @contextmanager
    def stopped_in(self, stage: str, until: str) -> Iterator[subprocess.Popen[str]]:
        """A run whose processes all stand still in a stage, once a file like ``until`` is there."""
        process = subprocess.Popen(
            self.command(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 300
        while not any(self.exp.glob(until)):
            assert process.poll() is None and time.monotonic() < deadline, f"{stage}: no {until}"
            time.sleep(0.005)
        still = stand_still(process.pid)
        try:
            yield process
        finally:
            for pid in still:
                _signal(pid, signal.SIGCONT)

    def goes_on(self) -> str:
        """The same command ends well and everything is as if nothing had happened; its output."""
        assert (found := Watch(self.here).faults()) == [], found
        done = self.run()
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        compared = compare(self.whole, self.here)
        assert compared.bad == [] and compared.compared > 20
        watch = Watch(self.here)
        assert watch.faults() == [] and watch.passing() == []
        return done.stdout


def stand_still(pid: int) -> list[int]:
    """SIGSTOP for a process and all that it started, and what they start meanwhile."""
    still: list[int] = []
    while fresh := [member for member in tree_of(pid) if member not in still]:
        for member in fresh:
            _signal(member, signal.SIGSTOP)
        still += fresh
    return still


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Callable[..., None]]:
    """A file system of ``size`` bytes in memory at ``place``; yields what mounts it differently.

    Raises OSError where this process may not mount.
    """
    _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))

    def again(option: str) -> None:
        _mount("-o", f"remount,{option}", str(place))

    try:
        yield again
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr.strip())


def refused(done: Done[str], *words: str) -> str:
    """What a run said that ended in an error: with these words and without a traceback alone."""
    told = done.stdout + done.stderr
    assert done.returncode not in (0, 75), told
    assert "Traceback" not in told and "internal error" not in told, told
    missing = [word for word in words if word not in told]
    assert not missing, f"{missing} not in: {told}"
    return told


def touch_all(folder: Path, names: Sequence[str], when: float) -> None:
    """Give files, by patterns, another time of change."""
    for name in names:
        for path in folder.rglob(name):
            os.utime(path, (when, when))
