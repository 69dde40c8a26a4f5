"""egs/lrs3/run.sh from corpus to report: smoke preset, second run, kill."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests.e2e.helpers import ROW, Recipe, digests, killed_and_resumed, metrics, rows

RECIPE = Recipe("lrs3", ("--nj", "1"))
run = RECIPE.run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Path:
    exp = tmp_path_factory.mktemp("smoke") / "exp"
    run("--exp", str(exp))
    return exp


def test_every_modality_and_condition_is_reported(smoke: Path) -> None:
    found = rows(smoke)
    assert all(set(row) == ROW for row in found)
    wers = {(row["set"], row["decode"]) for row in found if row["measure"] == "wer"}
    clean = {("test", "av"), ("test", "a"), ("test", "v"), ("test", "v_other")}
    assert wers >= clean | {("test_babble_0", "av"), ("test_babble_0", "a")}
    assert {row["measure"] for row in found} >= {"wer", "cer", "pnmi"}
    page = (smoke / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("<img") >= 2 and 'class="sheet"' in page


def test_the_three_modalities_are_looked_for_in_one_space(smoke: Path) -> None:
    """Sound, lips and text: what each layer knows of phones, and which finds which."""
    found = rows(smoke)
    layers = {f"layer{n}" for n in range(3)}
    known = {row["decode"] for row in found if row["measure"] == "pnmi" and "/" in row["decode"]}
    assert known == {f"{layer}/{name}" for layer in layers for name in ("av", "a", "v", "p")}
    finds = {row["decode"].partition("/")[2] for row in found if row["measure"] == "retrieval"}
    assert finds >= {"a->v", "v->a", "p->a", "a->p", "p->v", "v->p"}


def test_all_four_kinds_of_data_were_learnt_from(smoke: Path) -> None:
    lines = metrics(smoke / "pretrain_vatlm_it2_s1")
    trained = [line for line in lines if line["type"] == "train"]
    for kind in ("videoaudio", "audiotext", "onlytext", "onlyaudio"):
        losses = [line[f"ce_{kind}"] for line in trained]
        assert losses[-1] < losses[0], (kind, losses)


def test_second_run_changes_nothing(smoke: Path) -> None:
    before = digests(smoke)
    start = time.monotonic()
    done = run("--exp", str(smoke))
    assert "everything is up to date" in done.stdout, done.stdout
    assert digests(smoke) == before
    print(f"second run: {time.monotonic() - start:.1f} s")  # shown, not asserted: machines differ


def test_another_system_goes_beside_the_first(smoke: Path) -> None:
    """Only what the new one needs is made; both are in the report."""
    done = run("--exp", str(smoke), "--systems", "vatlm avhubert", "--analyse", "false")
    assert "stage 8 (relabel): up to date" in done.stdout
    assert {row["system"] for row in rows(smoke) if row["measure"] == "wer"} == {
        "vatlm",
        "avhubert",
    }


def test_killed_training_ends_the_same(smoke: Path) -> None:
    """kill -9 in the middle of the pre-training, then the same command: the same weights."""
    whole, resumed = killed_and_resumed(RECIPE, smoke, "pretrain_avhubert_it1_s1", "bootstrap")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_full_scale_plan_is_printed() -> None:
    done = subprocess.run(
        ["bash", str(RECIPE.script), "--preset", "base", "--dry-run", "--ngpu", "8",
         "--corpus-dir", "/data/LRS3", "--musan", "/data/musan", "--exp", "exp_plan",
         "--tedlium", "/data/TEDLIUM_release-3"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps = [line for line in done.stdout.splitlines() if line.startswith("steps/train.sh")]
    assert sum("conf/avhubert_base.toml conf/bootstrap_base.toml" in line for line in steps) == 4
    assert "conf/vatlm_base.toml" in done.stdout and "torch.distributed.run" in done.stdout
    assert not (RECIPE.script.parent / "exp_plan").exists()
