"""egs/librispeech/run.sh from corpus to report: smoke preset, second run (kills: test_crash)."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.e2e.helpers import ROW, Recipe, digests, metrics, rows

RECIPE = Recipe("librispeech", ("--nj", "1"))
run = RECIPE.run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = tmp_path_factory.mktemp("smoke") / "exp"
    run("--exp", str(exp))
    return exp


def test_report_has_a_row_for_every_set_and_decoding(smoke: Path) -> None:
    summary = json.loads((smoke / "report" / "summary.json").read_text(encoding="utf-8"))
    assert set(summary) == {"recipe", "preset", "corpus", "revision", "wall_s", "results"}
    assert summary["preset"] == "smoke" and "built-in" in summary["corpus"]
    assert all(set(row) == ROW for row in summary["results"])
    rates = {(r["set"], r["measure"], r["decode"]): r for r in summary["results"]}
    for name in ("dev_clean", "test_clean"):
        for measure in ("wer", "cer"):
            for decode in ("greedy", "lm"):
                row = rates[name, measure, decode]
                assert row["n"] > 0 and row["low"] <= row["value"] <= row["high"]
    units = {r["measure"] for r in summary["results"] if r["system"] == "kmeans it1"}
    assert {"pnmi", "phone_purity", "cluster_purity"} <= units
    assert (smoke / "report" / "index.html").stat().st_size > 10_000


def test_models_learnt_something(smoke: Path) -> None:
    """Masked accuracy far above chance (1/50), letters above guessing."""
    [pretrain] = smoke.glob("pretrain_*")
    lines = metrics(pretrain)
    accuracy = [line["accuracy"] for line in lines if "accuracy" in line]
    assert accuracy[-1] > 3 / 50
    cer = [r["value"] for r in rows(smoke) if r["measure"] == "cer"]
    assert min(cer) < 75  # the empty hypothesis has 100


def test_second_run_changes_nothing(smoke: Path) -> None:
    before = digests(smoke)
    start = time.monotonic()
    done = run("--exp", str(smoke))
    assert "everything is up to date" in done.stdout
    assert digests(smoke) == before
    print(f"second run: {time.monotonic() - start:.1f} s")  # shown, not asserted: machines differ


def test_another_configuration_is_refused_in_one_line(smoke: Path) -> None:
    done = run("--exp", str(smoke), "--clusters", "40", check=False)
    assert done.returncode == 1
    [line] = [text for text in done.stderr.splitlines() if "clusters" in text]
    assert "50" in line and "40" in line and "--force" in line


def test_second_iteration_labels_with_the_first_ones_model(smoke: Path) -> None:
    """HuBERT on MFCC clusters, MT4SSL on clusters of its features; iteration 1 stays done."""
    few = ("--set-pretrain", "optim.updates=20", "--set-bootstrap", "optim.updates=20")
    done = run("--exp", str(smoke), "--iteration", "2", "--stop-stage", "pretrain", *few)
    assert "stage 7 (relabel): done" in done.stdout
    [model] = smoke.glob("pretrain_mt4ssl_it2_*")
    assert (model / "checkpoint_last.pt").is_file()
    first, second = (
        json.loads((smoke / "data" / name / "labels.json").read_text(encoding="utf-8"))
        for name in ("train", "train_it2")
    )
    assert first["rate"] == second["rate"] == 25
    assert first["sha256"] != second["sha256"]
    assert "everything is up to date" in run("--exp", str(smoke)).stdout
