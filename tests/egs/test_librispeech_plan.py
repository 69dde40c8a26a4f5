"""What egs/librispeech/run.sh --dry-run plans at full scale, where no test can run it."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from pylib.training.config import TrainConfig, load_config

RECIPE = Path(__file__).resolve().parents[2] / "egs" / "librispeech"


def plan(*words: str, code: int = 0) -> str:
    done = subprocess.run(
        ["bash", str(RECIPE / "run.sh"), *words], capture_output=True, text=True,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def trainings(text: str) -> dict[str, tuple[TrainConfig, int]]:
    """Directory of a training -> its resolved configuration, and how many processes share it."""
    found = {}
    lines = text.splitlines()
    for line, below in zip(lines, lines[1:], strict=False):
        if not line.startswith("steps/train.sh "):
            continue
        words = shlex.split(line)
        given = dict(zip(words, words[1:], strict=False))
        paths = [RECIPE / name for name in given["--config"].split()]
        config = load_config(paths, given["--set"].split()).config
        count = int(given["--ngpu"]) * int(given.get("--num-nodes", "1"))
        assert "pylib.bin.train --device cuda" in below
        assert count == 1 or f"--nproc-per-node={given['--ngpu']} " in below
        found[Path(words[-1]).name] = (config, count)
    return found


def test_the_plan_of_base_is_the_papers_at_full_scale() -> None:
    """The plain command: real LibriSpeech, HuBERT for the labels, MT4SSL, CTC, all by torchrun."""
    text = plan("--preset", "base", "--dry-run")
    assert "make_mini_corpus" not in text and "local/download.sh" in text
    assert text.count("-m torch.distributed.run --nproc-per-node=8 ") == 3
    found = trainings(text)
    assert list(found) == [
        "pretrain_hubert_it1_s1", "pretrain_mt4ssl_it2_s1", "finetune_mt4ssl_it2_10h_s1"
    ]  # fmt: skip
    labels, model = found["pretrain_hubert_it1_s1"][0], found["pretrain_mt4ssl_it2_s1"][0]
    assert labels.targets is not None and model.targets is not None
    assert (labels.targets.clusters, labels.optim.updates) == (100, 250_000)
    assert (model.targets.clusters, model.optim.updates) == (500, 400_000)
    assert "--layer 6 --clusters 500 --fraction 0.02 --rate 50" in text
    assert "--given data/local/4-gram.arpa.gz" in text
    assert not (RECIPE / "data" / "local" / "LibriSpeech").exists()


@pytest.mark.parametrize("nodes", [1, 2, 8])
@pytest.mark.parametrize("preset", ["base", "large"])
def test_every_training_can_be_shared(preset: str, nodes: int) -> None:
    """On 8, 16 and 64 GPUs, with README's settings for 64."""
    more = ["--set-pretrain", "data.batch_seconds=59.4 optim.micro_batches=64"]
    more += ["--set-bootstrap", "data.batch_seconds=43.75 optim.micro_batches=64"]
    words = ["--preset", preset, "--num-nodes", str(nodes), *(more if nodes == 8 else [])]
    for name, (config, count) in trainings(plan(*words, "--dry-run")).items():
        assert config.optim.micro_batches % count == 0, name


def test_a_second_iteration_of_hubert_is_trained_longer() -> None:
    found = trainings(plan("--preset", "base", "--system", "hubert", "--dry-run"))
    optim = found["pretrain_hubert_it2_s1"][0].optim
    assert (optim.updates, round(optim.updates * optim.warmup)) == (400_000, 32_000)
    assert "pretrain_hubert_it1_s1" in found


def test_data2vec_needs_no_labels() -> None:
    text = plan("--preset", "base", "--system", "data2vec", "--dry-run")
    assert list(trainings(text)) == ["pretrain_data2vec_it2_s1", "finetune_data2vec_it2_10h_s1"]
    assert "kmeans" not in text


@pytest.mark.parametrize("preset", ["smoke", "mini", "small", "base", "large"])
def test_scratch_is_the_same_fine_tuning_of_random_weights(preset: str) -> None:
    words = ("--preset", preset, "--dry-run", "--ngpu", "1")
    [(name, (scratch, _))] = trainings(plan(*words, "--system", "scratch")).items()
    assert name.startswith("finetune_scratch")
    found = trainings(plan(*words))
    model = next(config for key, (config, _) in found.items() if "pretrain_mt4ssl" in key).encoder
    tuned = next(config for key, (config, _) in found.items() if key.startswith("finetune"))
    assert scratch.ctc is not None and tuned.ctc is not None
    assert not scratch.ctc.freeze_frontend and scratch.ctc.freeze_updates == 0
    assert scratch.optim == tuned.optim and scratch.data == tuned.data
    shape = ("frontend", "conv_norm", "dim", "ffn_dim", "layers", "heads", "norm", "fbank_stack")
    shape += ("pos_conv_depth", "pos_conv_width", "pos_conv_groups", "feature_grad_mult")
    assert [getattr(scratch.encoder, key) for key in shape] == [getattr(model, k) for k in shape]


def test_each_system_is_tuned_as_it_was_published() -> None:
    rows = {}
    for system in ("mt4ssl", "hubert", "data2vec"):
        found = trainings(plan("--preset", "base", "--system", system, "--dry-run"))
        rows[system] = found[f"finetune_{system}_it2_10h_s1"][0]
    assert [rows[s].ctc.freeze_updates for s in rows] == [0, 10_000, 10_000]
    assert [rows[s].optim.lr for s in rows] == [5e-5, 2e-5, 5e-5]
    text = plan("--preset", "base", "--system", "hubert", "--tuning", "mt4ssl", "--dry-run")
    assert trainings(text)["finetune_hubert_it2_10h_s1"][0] == rows["mt4ssl"]


def test_options_that_would_be_ignored_are_refused() -> None:
    assert "--tuning wavlm: mt4ssl" in plan("--tuning", "wavlm", "--dry-run", code=2)
    assert "--download true: give" in plan("--download", "true", "--dry-run", code=2)


def test_base_without_a_corpus_is_refused() -> None:
    told = plan("--preset", "base", code=2)
    assert "--corpus-dir" in told and "Traceback" not in told
