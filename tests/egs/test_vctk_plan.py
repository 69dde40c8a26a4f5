"""What egs/vctk/run.sh plans and refuses, and on what its stages depend, without running them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pylib.features.config import SpectrumConfig
from pylib.training.build import build_system
from pylib.training.config import TrainConfig, load_config
from pylib.training.session import _as_wide_as_features

RECIPE = Path(__file__).resolve().parents[2] / "egs" / "vctk"


def recipe(*words: str, code: int = 0, **environment: str) -> str:
    """Standard output of the recipe, or its standard error where it shall fail."""
    done = subprocess.run(
        ["bash", str(RECIPE / "run.sh"), *words], capture_output=True, text=True,
        stdin=subprocess.DEVNULL, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def stages(folder: Path, *words: str) -> dict[str, dict[str, list[str]]]:
    """First output of each call of a stage -> what the ledger is told: in, out and command."""
    told, stub = folder / "told", folder / "python"
    stub.write_text(
        f"""#!/usr/bin/env bash
if [ "$1 $2 $3 $4" = "-S -m pylib.jobs.ledger status" ]; then
  printf '%s\\t' "${{@:5}}" >>{told}
  echo >>{told}
  exit 0
fi
exec {sys.executable} "$@"
""",
        "utf-8",
    )
    stub.chmod(0o755)
    recipe("--status", "--exp", str(folder / "exp"), *words, TRIVIUM_PYTHON=str(stub))
    found = {}
    for line in told.read_text("utf-8").splitlines():
        parts = line.rstrip("\t").split("\t")
        cut = parts.index("--")
        call: dict[str, list[str]] = {"command": parts[cut + 1 :]}
        for word in parts[:cut]:
            if word.startswith("--"):
                values = call.setdefault(word[2:], [])
            else:
                values.append(word)
        found[call["out"][0].removeprefix(f"{folder}/exp/")] = call
    return found


def test_conversions_are_made_and_judged_again_when_what_decides_them_changes(
    tmp_path: Path,
) -> None:
    """wav.scp holds names only: a retrained model or another vocoder leaves it as it is."""
    calls = stages(tmp_path, "--preset", "mini")
    exp = f"{tmp_path}/exp"
    for system in ("fhvae_s1", "cfhvae_strong_s1", "baselines"):
        method = "meanvar" if system == "baselines" else "shift"
        made = calls[f"{system}/convert/{method}/wav.scp"]
        reads_model = f"{exp}/{system}/checkpoint_best.pt" in made["in"]
        assert reads_model == (system != "baselines")
        heard = {f"{exp}/{system}/convert/{method}/{name}" for name in ("convert.json", "wav")}
        judged = calls[f"{system}/quality_vc_{method}.json"]["in"]
        assert heard <= set(judged)
        assert heard <= set(calls[f"{system}/decode_{method}_greedy/scoring"]["in"])
        assert f"{exp}/baselines/quality_natural.json" in judged  # the threshold
        assert f"{exp}/baselines/convert/source/convert.json" in judged


@pytest.mark.parametrize("preset", ["base", "large"])
def test_the_published_presets_are_of_the_real_corpus(preset: str) -> None:
    """Never the built-in one by default: its 1,800 utterances are fewer than a pass takes."""
    told = recipe("--preset", preset, code=2)
    assert "trains on VCTK: give --corpus-dir DIR" in told
    plan = recipe("--preset", preset, "--dry-run", "--stop-stage", "2")
    assert "make_mini_corpus" not in plan
    assert "local/download.sh data/local/VCTK-Corpus-0.92" in plan
    assert not (RECIPE / "data" / "local" / "VCTK-Corpus-0.92").exists()
    asked = recipe("--preset", preset, "--corpus-size", "full", "--dry-run", "--stop-stage", "1")
    assert "make_mini_corpus.sh --layout vctk --size full" in asked


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--feats mfcc", "--feats mfcc: one of logmel logspec logspec200"),
        ("--vocoder hifigan", "--vocoder hifigan: one of griffinlim world"),
        ("--methods shift,replace", "--methods shift,replace: none or some of shift replace"),
        ("--methods knn_mel", "--methods knn_mel: none or some of"),
        ("--baselines shift", "--baselines shift: none or some of source target"),
        ("--baselines meanvar", "source, copy synthesis, is what conversions are judged against"),
        ("--recognise z3", "--recognise z3: none or some of z1 z2"),
        ("--latent-hop 3", "--latent-hop 3: must divide segments.eval_shift = 20"),
        ("--latent-hop 0", "--latent-hop 0: expected a whole number, 1 or more"),
        ("--quality-utts some", "--quality-utts some: expected a whole number, 0 or more"),
        ("--references 0", "--references 0: expected a whole number, 1 or more"),
        ("--systems nothing", "no system nothing: "),
    ],
)
def test_a_value_that_would_fail_after_the_trainings_is_refused(words: str, told: str) -> None:
    assert told in recipe(*words.split(), "--dry-run", code=2)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--download true", "--download true: give --corpus-dir DIR"),
        ("--download", "--download true: give --corpus-dir DIR"),
        ("--train-set a", "--train-set needs --unseen-set"),
        ("--unseen-set b", "--unseen-set b: give --train-set DIR too"),
        ("--chunk 4", "--chunk 4 would be ignored without --train-set"),
        ("--train-set a --unseen-set b --corpus-dir c", "--corpus-dir c would be ignored with"),
        ("--train-set a --unseen-set b --mic mic2", "--mic mic2 would be ignored with"),
        ("--train-set a --unseen-set b --unseen=c", "--unseen c would be ignored with"),
        ("--train-set a --unseen-set b --methods shift", "--methods shift would be ignored with"),
        ("--ssl a.pt --methods shift", "--methods shift would be ignored with --ssl"),
        ("--ssl a.pt --recognise z1", "--recognise z1 would be ignored with --ssl"),
        ("--ssl-layer 6", "--ssl-layer 6 would be ignored without --ssl"),
        ("--corpus-dir c --corpus_seed 2", "--corpus-seed 2 would be ignored with --corpus-dir"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words: str, told: str) -> None:
    assert told in recipe(*words.split(), "--dry-run", code=2)


def test_what_a_preset_sets_is_not_asked_for() -> None:
    """Nor is what asks for nothing: only the command line's own words are refused."""
    plan = ("--dry-run", "--stop-stage", "2")
    recipe("--train-set", "a", "--unseen-set", "b", "--methods", "", "--chunk", "4", *plan)
    recipe("--ssl", "a.pt", "--recognise", "", *plan)
    assert "corpus" in recipe("--preset", "base", "--list-stages")


def trainings(text: str) -> dict[str, tuple[TrainConfig, int]]:
    """Directory of a training -> its resolved configuration, and how many processes share it."""
    found = {}
    for line in text.splitlines():
        if line.startswith("steps/train.sh "):
            words = shlex.split(line)
            given = dict(zip(words, words[1:], strict=False))
            paths = [RECIPE / name for name in given["--config"].split()]
            config = load_config(paths, given["--set"].split()).config
            count = max(int(given["--ngpu"]), 1) * int(given.get("--num-nodes", "1"))
            folder = Path(words[-1])
            found[f"{folder.parent.name}/{folder.name}"] = (config, count)
    return found


@pytest.mark.parametrize("preset", ["base", "large"])
def test_several_gpus_train_the_recognisers_and_one_the_others(preset: str) -> None:
    words = ("--preset", preset, "--systems", "cfhvae", "--ngpu", "2", "--num-nodes", "2")
    found = trainings(recipe(*words, "--dry-run", "--stop-stage", "8"))
    assert len(found) == 4
    for name, (config, count) in found.items():
        if config.system == "fhvae":
            assert count == 1, name
        else:
            assert count == 4 and config.optim.micro_batches % count == 0, name
            assert config.data is not None
            assert config.data.batch_seconds * config.optim.micro_batches == 160, name


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--preset base --ngpu 3", "3 processes cannot share the 4 micro-batches"),
        ("--preset mini --nproc 2", "2 processes cannot share the 1 micro-batches"),
        ("--preset base --num-nodes 8", "8 processes cannot share the 4 micro-batches"),
        ("--train-set a --unseen-set b --ngpu 2", "no recogniser is trained"),
    ],
)
def test_processes_that_cannot_share_a_training_are_refused(words: str, told: str) -> None:
    assert told in recipe(*words.split(), "--dry-run", code=2)


@pytest.mark.parametrize(("preset", "updates"), [("base", 500_000), ("large", 1_000_000)])
def test_published_systems_have_published_batches_and_contrastive_ones_a_warm_up(
    preset: str, updates: int
) -> None:
    found = trainings(recipe("--preset", preset, "--dry-run", "--recognise", "", "--methods", ""))
    systems = {n: c for n, (c, _) in found.items() if c.system == "fhvae"}
    assert {name.removeprefix("exp/").removesuffix("_s1") for name in systems} == {
        "fhvae", "fhvae_alpha0", "fhvae_speaker",
        "cfhvae", "cfhvae_strong", "cfhvae_alpha1", "cfhvae_alpha10", "cfhvae_shuffled",
    }  # fmt: skip
    for name, config in systems.items():
        assert config.segments is not None and config.objective is not None
        assert config.segments.batch_size == 256 and config.optim.updates == updates
        contrastive = config.objective.contrast != "none"
        assert contrastive == name.startswith("exp/cfhvae")
        assert config.segments.speakers == (16 if contrastive else 0)
        assert config.objective.contrast_warmup == (updates // 20 if contrastive else 0)


@pytest.mark.parametrize("preset", ["smoke", "mini", "small"])
@pytest.mark.parametrize("system", ["fhvae", "cfhvae_strong", "fhvae_speaker"])
def test_the_compared_systems_have_the_same_batches(preset: str, system: str) -> None:
    """RESULTS.md was made with these, and without a warm-up."""
    paths = [
        RECIPE / "conf" / f"{name}.toml" for name in (f"fhvae_{preset}", f"objective_{system}")
    ]
    config = load_config(paths).config
    assert config.segments is not None and config.objective is not None
    assert config.segments.speakers == (4 if preset == "smoke" else 16)
    assert config.objective.contrast_warmup == 0


@pytest.mark.parametrize("feats", ["logspec200", "logspec"])
def test_large_is_as_wide_as_its_features(feats: str, tmp_path: Path) -> None:
    plan = recipe("--preset", "large", "--feats", feats, "--dry-run", "--stop-stage", "3")
    assert f"steps/make_feats.sh --cmd local/run.sh --nj 2 --kind {feats} " in plan
    loaded = load_config([RECIPE / "conf" / "fhvae_large.toml"], ["segments.features=logspec"])
    dim = SpectrumConfig.preset(feats).dim
    (tmp_path / "logspec.json").write_text(json.dumps({"dim": dim}), "utf-8")
    config = _as_wide_as_features(loaded, tmp_path)
    assert config.fhvae is not None and config.fhvae.feature_dim == dim
    if feats == "logspec200":
        with torch.device("meta"):
            system = build_system(config)
        sizes = {name: item.numel() for name, item in system.named_parameters()}
        assert sum(sizes.values()) - sizes["table"] == 1_436_176


def test_phone_times_of_the_real_corpus_are_made_and_read(tmp_path: Path) -> None:
    """It comes without them: else neither the probe nor the gap from men to women is measured."""
    (tmp_path / "real").mkdir()
    (tmp_path / "made").mkdir()
    words = ("--preset", "mini", "--systems", "fhvae", "--methods", "", "--recognise", "")
    calls = stages(tmp_path / "real", *words, "--corpus-dir", "/data/VCTK-Corpus-0.92")
    data = f"{tmp_path}/real/exp/data"
    align = calls["data/unseen/phones.ctm"]
    assert align["command"][0].endswith("local/align_content.sh")
    times = {f"{data}/train/phones.ctm", f"{data}/unseen/phones.ctm"}
    assert times <= set(align["out"])
    latents = next(call for call in calls.values() if call["name"] == ["latents"])
    assert times <= set(latents["in"])  # copies of the sets, with their phone times
    assert times <= set(calls["baselines/quality_phones_f.json"]["in"])
    assert "fhvae_s1/quality_phones_f.json" in calls
    built_in = stages(tmp_path / "made", *words)
    assert "data/unseen/phones.ctm" not in built_in  # it tells them itself
    assert "fhvae_s1/quality_phones_f.json" in built_in


def test_features_of_a_checkpoint_are_measured_for_speakers(tmp_path: Path) -> None:
    """Identification of seen speakers needs no text, only a test set."""
    calls = stages(tmp_path, "--preset", "mini", "--ssl", "a.pt", "--systems", "fhvae")
    assert "fhvae_s1/quality_sid.json" in calls and "fhvae_s1/quality_sv_svector.json" in calls
    assert not any("ctc_" in name or "convert" in name for name in calls)
