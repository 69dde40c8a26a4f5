"""The settings of egs/lrs3 against the published tables, and which of them run.sh takes."""

from __future__ import annotations

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
    """What local/choices.sh's function of this name answers, run in the recipe's directory."""
    done = subprocess.run(
        ["bash", "-c", '. local/choices.sh && chosen "$@"', "chosen", *words],
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
