"""The lrs3 recipe on clips of a real face."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.e2e.helpers import Recipe, rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif("TRIVIUM_REAL" not in os.environ, reason="TRIVIUM_REAL is not set"),
]


def some_clips(corpus: Path, out: Path) -> Path:
    """A smaller tree of the same layout: the whole one takes ten minutes."""
    for clip in sorted(corpus.rglob("*.mp4"))[::8]:
        folder = out / clip.parent.relative_to(corpus)
        folder.mkdir(parents=True, exist_ok=True)
        for path in (clip, clip.with_suffix(".txt")):
            shutil.copyfile(path, folder / path.name)
    return out


def test_it_runs_unchanged(tmp_path: Path) -> None:
    """Without the other kinds of data: they are absent, not invented."""
    exp = tmp_path / "exp"
    corpus = some_clips(Path(os.environ["TRIVIUM_REAL"]) / "LRS3", tmp_path / "LRS3")
    recipe = Recipe("lrs3", ("--nj", "1", "--corpus-dir", str(corpus), "--exp", str(exp)))
    few = ("--set-pretrain", "optim.updates=20", "--set-finetune", "optim.updates=20")
    done = recipe.run("--iteration", "1", *few)
    assert "everything" not in done.stdout
    assert not (exp / "data" / "onlytext").exists()
    found = {(row["decode"], row["n"]) for row in rows(exp) if row["measure"] == "wer"}
    assert {"av", "a", "v"} <= {decode for decode, _ in found}
    excluded = (exp / "data" / "mouth" / "test" / "mouth_excluded.txt").read_text(encoding="utf-8")
    assert excluded == ""  # every clip of the test set shows its face
