"""Recipes on real recordings: LibriSpeech's own, and any two sets for the vctk recipe."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.helpers import Recipe, rows

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif("TRIVIUM_REAL" not in os.environ, reason="TRIVIUM_REAL is not set"),
]


def test_librispeech_goes_all_the_way(tmp_path: Path) -> None:
    corpus = Path(os.environ["TRIVIUM_REAL"]) / "LibriSpeech"
    exp = tmp_path / "exp"
    recipe = Recipe("librispeech", ("--nj", "1", "--exp", str(exp), "--corpus-dir", str(corpus)))
    recipe.run("--set-pretrain", "optim.updates=20", "--set-finetune", "optim.updates=20")
    summary = json.loads((exp / "report" / "summary.json").read_text(encoding="utf-8"))
    assert any(row["measure"] == "wer" and row["decode"] == "lm" for row in summary["results"])
    assert "built-in" not in summary["corpus"]


def test_any_two_sets_go_through_vctk(tmp_path: Path) -> None:
    """Pieces of LibriSpeech's train speakers against the speakers of test-other."""
    corpus, libri = Path(os.environ["TRIVIUM_REAL"]) / "LibriSpeech", tmp_path / "libri"
    prepare = ROOT / "egs" / "librispeech" / "local" / "prepare_data.sh"
    combine = ROOT / "steps" / "combine_data.sh"
    subprocess.run(["bash", str(prepare), str(corpus), str(libri)], check=True)
    parts = [str(libri / name) for name in ("train_10m", "dev_part", "test_part")]
    subprocess.run(["bash", str(combine), str(libri / "other"), *parts], check=True)
    some = ROOT / "steps" / "subset_data_dir.sh"  # whole speakers
    words = ["--speakers", "true", str(libri / "train"), "80", str(libri / "some")]
    subprocess.run(["bash", str(some), *words], check=True)
    exp = tmp_path / "exp"
    options = ("--train-set", str(libri / "some"), "--unseen-set", str(libri / "other"))
    Recipe("vctk", ("--nj", "1")).run("--exp", str(exp), *options, "--chunk", "4")
    eers = [row for row in rows(exp) if row["measure"] == "eer"]
    assert eers and all(0 <= row["value"] <= 60 for row in eers)
