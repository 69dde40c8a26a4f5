"""What the end-to-end tests of all recipes share."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import torch

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


@dataclass(frozen=True)
class Recipe:
    """A recipe with the smoke preset.

    Attributes:
        name: directory below egs/.
        options: given to every run.
    """

    name: str
    options: tuple[str, ...] = ()

    @property
    def script(self) -> Path:
        return Path(__file__).resolve().parents[2] / "egs" / self.name / "run.sh"

    def command(self, *options: str) -> list[str]:
        """The words of a run."""
        fixed = ["--preset", "smoke", "--threads", "1", *self.options]
        return ["bash", str(self.script), *fixed, *options]

    def run(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run it; its output is shown when it fails."""
        done = subprocess.run(
            self.command(*options), capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    def run_and_kill(self, folder: Path, pattern: str, *options: str) -> None:
        """Run it, and kill -9 all of it as soon as `folder` holds something of that pattern."""
        quiet = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
        }
        process = subprocess.Popen(self.command(*options), start_new_session=True, **quiet)
        deadline = time.monotonic() + 900
        while not list(folder.glob(pattern)):
            assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
            time.sleep(0.1)
        kill_tree(process.pid)
        process.wait()


def killed_and_resumed(recipe: Recipe, exp: Path, model: str, stage: str) -> tuple[dict, dict]:
    """Weights of a finished training, and of the same one killed in the middle and started again.

    Args:
        recipe: has run in ``exp``, which is as it was afterwards.
        model: directory of the training below ``exp``.
        stage: name of the stage that trains it.
    """
    options = ("--exp", str(exp), "--stop-stage", stage)
    finished = exp / f"{model}.finished"
    (exp / model).rename(finished)
    try:
        recipe.run_and_kill(exp, f"{model}/checkpoint_*.pt", *options)
        recipe.run(*options)
        whole, resumed = (
            torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]
            for folder in (finished, exp / model)
        )
    finally:
        shutil.rmtree(exp / model, ignore_errors=True)
        finished.rename(exp / model)
    return whole, resumed


def rows(exp: Path) -> list[dict]:
    """Results of summary.json."""
    return json.loads((exp / "report" / "summary.json").read_text(encoding="utf-8"))["results"]


def metrics(folder: Path) -> list[dict]:
    """Lines of metrics.jsonl of a training."""
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]
