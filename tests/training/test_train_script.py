"""steps/train.sh: the verb as recipes call it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.helpers import PRETRAIN, ROOT, process_env


def script(cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(ROOT / "steps" / "train.sh"), *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=180,
        env=process_env(TRIVIUM_PYTHON=sys.executable),
    )  # fmt: skip


@pytest.mark.slow
def test_train_then_nothing_to_do_then_other_settings(sets, config_file, tmp_path: Path) -> None:
    path = config_file(PRETRAIN)
    arguments = ("--config", path, "--seed", "7", "--system-name", "mt4ssl", *sets, "exp/pre")
    first = script(tmp_path, *arguments)
    assert first.returncode == 0, first.stderr
    last = tmp_path / "exp" / "pre" / "checkpoint_last.pt"
    written = last.stat().st_mtime_ns
    assert script(tmp_path, *arguments).returncode == 0
    assert last.stat().st_mtime_ns == written
    other = script(tmp_path, "--set", "optim.lr=0.5, mask.length=3", *arguments)
    assert other.returncode == 1
    assert "optim.lr: 0.001 -> 0.5" in other.stderr + other.stdout


@pytest.mark.slow
def test_plan_and_dry_run_train_nothing(sets, config_file, tmp_path: Path) -> None:
    path = config_file(PRETRAIN)
    plan = script(tmp_path, "--plan", "--config", path, *sets, "exp/pre")
    assert "trainable parameters" in plan.stdout, plan.stderr
    line = script(tmp_path, "--dry-run", "--ngpu", "4", "--config", path, *sets, "exp/pre")
    assert "torch.distributed.run --nproc-per-node=4" in line.stdout, line.stderr
    assert "--device cuda" in line.stdout
    assert not (tmp_path / "exp").exists()
