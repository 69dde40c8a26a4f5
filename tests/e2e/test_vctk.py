"""egs/vctk/run.sh from corpus to report: smoke preset, second run, kill."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests.e2e.helpers import ROW, Recipe, digests, killed_and_resumed, metrics, rows

RECIPE = Recipe("vctk", ("--nj", "1"))
run = RECIPE.run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = tmp_path_factory.mktemp("smoke") / "exp"
    run("--exp", str(exp))
    return exp


def test_report_has_every_kind_of_measure(smoke: Path) -> None:
    found = rows(smoke)
    assert all(set(row) == ROW for row in found)
    measures = {(row["system"], row["measure"]) for row in found}
    known = ("eer", "eer_content", "sid_accuracy", "phone_accuracy", "acceptance", "mcd", "cer")
    for measure in known:
        assert ("cfhvae", measure) in measures, measure
    assert ("source", "acceptance") in measures
    page = (smoke / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("<audio") >= 3 and page.count("<img") >= 3
    assert "\u2193" in page and "\u2191" in page  # every table says which direction is better


def test_model_learnt_something(smoke: Path) -> None:
    """The dev bound rises; copy-synthesis of the source is taken for the source, not the target."""
    lines = metrics(smoke / "cfhvae_s1")
    bounds = [line["bound"] for line in lines if line["type"] == "dev"]
    assert bounds == sorted(bounds) and bounds[-1] > -2270  # N(0, 1) on normalised features
    heard = {r["measure"]: r["value"] for r in rows(smoke) if r["system"] == "source"}
    assert heard["source_acceptance"] > heard["acceptance"]


def test_second_run_changes_nothing(smoke: Path) -> None:
    before = digests(smoke)
    start = time.monotonic()
    done = run("--exp", str(smoke))
    assert "everything is up to date" in done.stdout, done.stdout
    assert digests(smoke) == before
    print(f"second run: {time.monotonic() - start:.1f} s")  # shown, not asserted: machines differ


def test_another_system_goes_beside_the_first(smoke: Path) -> None:
    """Only what the new one needs is made; both are in the report, without conversions."""
    less = ("--methods", "", "--recognise", "")
    done = run("--exp", str(smoke), "--systems", "cfhvae fhvae_speaker", *less)
    assert "stage 1 (corpus): up to date" in done.stdout
    found = {row["system"] for row in rows(smoke) if row["measure"] == "eer"}
    assert {"cfhvae", "fhvae_speaker"} <= found


def test_killed_training_ends_the_same(smoke: Path) -> None:
    """kill -9 in the middle of the training, then the same command: the same weights."""
    whole, resumed = killed_and_resumed(RECIPE, smoke, "cfhvae_s1", "train")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_full_scale_plan_is_printed() -> None:
    done = subprocess.run(
        ["bash", str(RECIPE.script), "--preset", "base", "--dry-run", "--ngpu", "1",
         "--corpus-dir", "/data/VCTK-Corpus-0.92", "--exp", "exp_plan"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("conf/fhvae_base.toml conf/objective_") == 6  # and trainer's own line
    assert done.stdout.count("conf/fhvae_base.toml conf/contrast_base.toml conf/objective_") == 10
    assert not (RECIPE.script.parent / "exp_plan").exists()
