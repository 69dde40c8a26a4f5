"""The settings of egs/lrs3 against the published tables, and which of them run.sh takes."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from pylib.training.config import TrainConfig, load_config
from pylib.training.schedules import learning_rate

RECIPE = Path(__file__).resolve().parents[2] / "egs" / "lrs3"
BATCH = {"base": 80.0, "large": 40.0}  # seconds: 2,000 and 1,000 frames
# Pieces of the name that run.sh asks for -> updates, warm-up, decay, freeze: VATLM's rows.
FINETUNE = {
    ("base", "av", "30h", ""): (50_000, 15_000, 20_000, 30_000),
    ("base", "av", "30h", "vox"): (50_000, 15_000, 20_000, 30_000),
    ("base", "v", "30h", ""): (40_000, 10_000, 20_000, 24_000),
    ("base", "v", "30h", "vox"): (50_000, 15_000, 20_000, 30_000),
    ("base", "av", "433h", "vox"): (60_000, 20_000, 40_000, 48_000),
    ("base", "v", "433h", "vox"): (30_000, 10_000, 20_000, 18_000),
    ("large", "av", "30h", "vox"): (60_000, 20_000, 40_000, 48_000),
    ("large", "av", "433h", "vox"): (60_000, 20_000, 40_000, 48_000),
    ("large", "v", "30h", "vox"): (18_000, 6_000, 12_000, 14_400),
    ("large", "v", "433h", "vox"): (30_000, 10_000, 20_000, 18_000),
}
DECODERS = {"base": (6, 768, 3072, 4), "large": (9, 1024, 4096, 8)}


def chosen(*words: str) -> str:
    """What the function of local/configurations.sh answers in the recipe's directory."""
    done = subprocess.run(
        ["bash", "-c", '. ../../local/configurations.sh && chosen "$@"', "chosen", *words],
        cwd=RECIPE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def finetune(preset: str, *parts: str) -> TrainConfig:
    return load_config(RECIPE / chosen(f"seq2seq_{preset}", *parts)).config


@pytest.mark.parametrize("case", FINETUNE, ids="-".join)
def test_fine_tuning_has_the_published_schedule(case: tuple[str, ...]) -> None:
    config = finetune(*case)
    updates, warmup, decay, freeze = FINETUNE[case]
    optim = config.optim
    assert (optim.schedule, optim.updates) == ("tri_stage", updates)
    assert round(optim.warmup * updates) == warmup
    assert (optim.hold, round(optim.decay * updates)) == (0.0, decay)
    assert config.seq2seq.freeze_updates == freeze
    assert config.av_data.batch_seconds == BATCH[case[0]]
    # The rates that come of it at the corners.
    assert learning_rate(warmup, optim) == pytest.approx(1e-3)
    assert learning_rate(warmup + decay // 2, optim) == pytest.approx(1e-3 * 0.05**0.5)
    for late in {warmup + decay, (warmup + decay + updates) // 2, updates}:
        assert learning_rate(late, optim) == pytest.approx(5e-5)


@pytest.mark.parametrize("case", FINETUNE, ids="-".join)
def test_fine_tuning_has_the_published_settings(case: tuple[str, ...]) -> None:
    config = finetune(*case)
    optim, seq, model = config.optim, config.seq2seq, config.av_model
    assert (optim.lr, optim.betas, optim.eps) == (1e-3, (0.9, 0.98), 1e-8)
    assert (optim.final_scale, optim.micro_batches) == (0.05, 8)  # 8 GPUs
    decoder = (seq.decoder_layers, seq.decoder_dim, seq.decoder_ffn, seq.decoder_heads)
    assert decoder == DECODERS[case[0]]
    assert (seq.dropout, seq.attention_dropout, seq.activation_dropout) == (0.1, 0.0, 0.1)
    assert (seq.label_smoothing, seq.ctc_weight, seq.scale_embedding) == (0.1, 0.0, False)
    assert seq.modality_dropout == 0.0
    if case[1] == "v":
        assert seq.modalities == ("video",)
    assert (model.dropout, model.attention_dropout, model.activation_dropout) == (0.0, 0.0, 0.1)
    assert (model.layerdrop, model.feature_grad_mult) == (0.1, 1.0)
    assert (config.av_data.max_seconds, config.av_data.crop, config.av_data.flip) == (
        20.0,
        "random",
        0.5,
    )
    assert config.run.best_metric == "accuracy"


# Pieces of the name -> rate, warm-up, updates, GPUs, masking, audio and video share and length of
# masks, dropout of modalities and of the audio among them, shares of the kinds of data.
MASKS = ("input", 0.8, 10, 0.3)
VATLM = {
    "base": (5e-4, 32_000, 400_000, 32, *MASKS, 10, 0.5, 0.5, (0.08, 0.1, 0.15, 0.15)),
    "base vox": (2e-3, 64_000, 400_000, 32, *MASKS, 10, 0.5, 0.5, (0.13, 0.15, 0.32, 0.3)),
    "large vox": (2e-3, 48_000, 600_000, 64, *MASKS, 5, 0.5, 0.5, (0.13, 0.15, 0.32, 0.3)),
}
AVHUBERT = {
    "base": (5e-4, 32_000, 400_000, 32, *MASKS, 5, 0.5, 0.5),
    "base vox": (2e-3, 64_000, 800_000, 32, *MASKS, 5, 0.5, 0.5),
    "large vox": (2e-3, 48_000, 600_000, 64, *MASKS, 5, 0.5, 0.5),
}
FUSED = ("feature", 0.8, 10, 0.8, 10)
BOOTSTRAP = {
    ("base", 1): (5e-4, 32_000, 400_000, 32, *FUSED, 0.0, 0.5),
    ("base", 2): (5e-4, 32_000, 400_000, 32, *FUSED, 0.0, 0.5),
    ("base", 4): (5e-4, 32_000, 400_000, 32, *FUSED, 0.0, 0.5),
    ("base vox", 1): (2e-3, 64_000, 800_000, 32, *FUSED, 0.0, 0.5),
    ("base vox", 2): (2e-3, 64_000, 800_000, 32, *FUSED, 0.5, 0.5),
    ("base vox", 4): (2e-3, 64_000, 800_000, 32, *FUSED, 0.5, 0.5),
    ("large vox", 1): (2e-3, 64_000, 800_000, 32, *FUSED, 0.0, 0.5),
    ("large vox", 2): (2e-3, 64_000, 800_000, 32, *FUSED, 0.5, 0.5),
    ("large vox", 4): (2e-3, 64_000, 800_000, 32, *FUSED, 0.5, 0.5),
}


def pretraining(config: TrainConfig, kinds: int) -> tuple[object, ...]:
    """A row of the tables above, of settings that train `kinds` kinds of data in an update."""
    optim, mask = config.optim, config.av_mask
    assert (optim.schedule, optim.betas, optim.eps) == ("linear", (0.9, 0.98), 1e-6)
    assert (optim.weight_decay, optim.clip_norm) == (0.01, 10.0)
    assert config.av_model.feature_grad_mult == 0.1
    masks = (mask.audio_prob, mask.audio_length, mask.video_prob, mask.video_length)
    return (
        optim.lr, round(optim.warmup * optim.updates), optim.updates, optim.micro_batches // kinds,
        config.av_model.masking, *masks, mask.modality_dropout, mask.audio_dropout,
    )  # fmt: skip


@pytest.mark.parametrize("case", VATLM)
def test_vatlm_has_the_published_settings(case: str) -> None:
    preset, *parts = case.split()
    config = load_config(RECIPE / chosen(f"vatlm_{preset}", *parts)).config
    assert (*pretraining(config, 4), config.mixture.dist) == VATLM[case]
    assert config.av_data.batch_seconds == 120.0  # 3,000 frames of each kind
    assert config.units.unmasked_weight == 0.0


@pytest.mark.parametrize("case", AVHUBERT)
def test_avhubert_has_the_published_settings(case: str) -> None:
    preset, *parts = case.split()
    config = load_config(RECIPE / chosen(f"avhubert_{preset}", *parts)).config
    assert pretraining(config, 1) == AVHUBERT[case]
    assert config.av_data.batch_seconds == 40.0  # 1,000 frames
    assert config.units.unmasked_weight == (1.0 if preset == "large" else 0.0)


def plan(*options: str) -> list[list[str]]:
    """Words of the trainings that run.sh would start."""
    done = subprocess.run(
        ["bash", RECIPE / "run.sh", "--dry-run", *options],
        capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("steps/train.sh ")]
    return [shlex.split(line) for line in lines]


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


@pytest.mark.parametrize("corpus", ["base", "base vox", "large vox"])
def test_run_takes_the_settings_of_the_corpora_and_the_iteration(corpus: str) -> None:
    preset, *vox = corpus.split()
    options = ["--vox", "/data/vox"] if vox else []
    trainings = plan("--preset", preset, "--labelled", "433h", *options)
    files = {words[-1]: after(words, "--config").split() for words in trainings}
    for it in (1, 2, 3, 4):
        config = load_config([RECIPE / f for f in files[f"exp/pretrain_avhubert_it{it}_s1"]]).config
        assert pretraining(config, 1) == BOOTSTRAP[corpus, min(it, 2) if it < 4 else 4]
        assert (config.av_model.layers, config.av_model.dim) == (12, 768)
        assert config.units.unmasked_weight == 0.0
    assert files["exp/pretrain_vatlm_it5_s1"] == [chosen(f"vatlm_{preset}", *vox)]
    for streams in ("av", "v"):
        name = chosen(f"seq2seq_{preset}", streams, "433h", *vox)
        assert files[f"exp/finetune_vatlm_it5_433h_{streams}_s1"] == [name]


@pytest.mark.parametrize("preset", ["base", "large"])
@pytest.mark.parametrize("labelled", ["30h", "433h"])
def test_one_model_for_all_modalities_has_the_schedule_of_both(preset: str, labelled: str) -> None:
    both, one = finetune(preset, "av", labelled), finetune(preset, "all", labelled)
    assert one.optim == both.optim
    assert one.seq2seq.freeze_updates == both.seq2seq.freeze_updates
    assert (one.seq2seq.modality_dropout, one.seq2seq.audio_dropout) == (0.5, 0.5)


def test_a_file_is_chosen_by_the_parts_that_it_has() -> None:
    assert chosen("seq2seq_base", "v", "433h", "vox") == "conf/seq2seq_base_v_433h.toml"
    assert chosen("seq2seq_base", "v", "30h", "vox") == "conf/seq2seq_base_v_vox.toml"
    assert chosen("seq2seq_base", "av", "433h", "") == "conf/seq2seq_base_433h.toml"
    assert chosen("seq2seq_mini", "all", "433h", "vox") == "conf/seq2seq_mini.toml"
