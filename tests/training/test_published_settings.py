"""The base configurations of LibriSpeech are the published ones, field by field.

Sources of the values: MT4SSL's code/config/pretraining/base_librispeech.yaml and
finetuning/base_10h.yaml, fairseq's examples/data2vec, examples/hubert and
examples/wav2vec/config/finetuning; collected in sections 5 and 6 of the specification of MT4SSL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pylib.systems.mt4ssl import MT4SSL
from pylib.training.build import build_system
from pylib.training.config import TrainConfig, differences, load_config

CONF = Path(__file__).resolve().parents[2] / "egs" / "librispeech" / "conf"

# Rows of section 5 that all systems share. bf16 stands for the papers' fp16, which is an option.
PRETRAINING: dict[str, Any] = {
    "optim.betas": [0.9, 0.98], "optim.eps": 1e-6, "optim.weight_decay": 0.01, "optim.lr": 5e-4,
    "model.frontend": "waveform", "model.conv_dim": 512, "model.conv_bias": False,
    "model.dim": 768, "model.ffn_dim": 3072, "model.layers": 12, "model.heads": 12,
    "model.norm": "post", "model.pos_conv_groups": 16,
    "model.dropout": 0.1, "model.attention_dropout": 0.1, "model.activation_dropout": 0.0,
    "model.layerdrop": 0.05,
    "mask.length": 10, "mask.same_count": True, "data.min_seconds": 2.0,
    "run.precision": "bf16", "run.save_every": 25_000,
}  # fmt: skip
MT4SSL_COLUMN: dict[str, Any] = {
    "optim.updates": 400_000, "optim.micro_batches": 16, "data.batch_seconds": 3_800_000 / 16_000,
    "optim.schedule": "tri_stage", "optim.warmup": 0.03, "optim.hold": 0.90, "optim.decay": 0.07,
    "optim.init_scale": 0.01, "optim.final_scale": 0.01, "optim.clip_norm": 0.0,
    "model.dropout_input": 0.0, "model.dropout_features": 0.0, "model.feature_grad_mult": 1.0,
    "targets.feature_penalty": 0.0, "model.conv_norm": "layer", "data.normalise": True,
    "model.pos_conv_depth": 5, "model.pos_conv_width": 95,  # 5 x k19
    "mask.prob": 0.65, "mask.min_spans": 1, "data.crop": "start",
    "data.max_seconds": 320_000 / 16_000,
    "targets.offline_weight": 1.0, "targets.offline_head": "linear", "targets.clusters": 500,
    "targets.online_weight": 1.0, "targets.teacher_layers": 8, "targets.ema_start": 0.999,
    "targets.ema_end": 0.9999, "targets.ema_anneal": 30_000, "targets.guard_after": 5_000,
}  # fmt: skip
HUBERT_COLUMN: dict[str, Any] = {
    # The first iteration.
    "optim.updates": 250_000, "optim.micro_batches": 32, "data.batch_seconds": 1_400_000 / 16_000,
    "optim.schedule": "linear", "optim.warmup": 32_000 / 250_000, "optim.clip_norm": 10.0,
    "model.dropout_input": 0.1, "model.dropout_features": 0.1, "model.feature_grad_mult": 0.1,
    "targets.feature_penalty": 10.0, "model.conv_norm": "group", "data.normalise": False,
    "model.pos_conv_depth": 1, "model.pos_conv_width": 128,
    "mask.prob": 0.80, "mask.min_spans": 2, "data.crop": "random_aligned",
    "data.max_seconds": 250_000 / 16_000,
    "targets.offline_weight": 1.0, "targets.offline_head": "cosine", "targets.clusters": 100,
    "targets.cosine_dim": 256, "targets.temperature": 0.1, "targets.online_weight": 0.0,
}  # fmt: skip
COLUMNS: dict[str, dict[str, Any]] = {
    "mt4ssl": MT4SSL_COLUMN,
    "data2vec": {**MT4SSL_COLUMN, "targets.offline_weight": 0.0, "data.crop": "random_aligned"},
    "hubert": HUBERT_COLUMN,
    "hubert_it2": {
        **HUBERT_COLUMN, "optim.updates": 400_000, "optim.warmup": 32_000 / 400_000,
        "targets.clusters": 500,
    },
    "offte": {**MT4SSL_COLUMN, "targets.online_weight": 0.0},
}  # fmt: skip
MINUTES = {16: 63.3, 32: 46.7}  # of audio in an update, at most, by GPUs of the paper

# What the rows of section 6 share.
FINETUNING: dict[str, Any] = {
    "optim.betas": [0.9, 0.98], "optim.eps": 1e-8, "optim.weight_decay": 0.0,
    "optim.schedule": "tri_stage", "optim.warmup": 0.1, "optim.hold": 0.4, "optim.decay": 0.5,
    "optim.init_scale": 0.01, "optim.final_scale": 0.05, "optim.clip_norm": 0.0,
    "model.dropout": 0.0, "model.attention_dropout": 0.0, "model.activation_dropout": 0.1,
    "ctc.final_dropout": 0.0, "ctc.freeze_frontend": True, "ctc.mask_length": 10,
    "ctc.channel_length": 64,
}  # fmt: skip
ROW = (
    "optim.lr", "optim.updates", "ctc.mask_prob", "ctc.channel_prob", "model.layerdrop",
    "ctc.freeze_updates",
)  # fmt: skip
ROWS: dict[str, tuple[float, ...]] = {
    "ctc_base_10m": (5e-5, 13_000, 0.65, 0.25, 0.1, 10_000),
    "ctc_base_1h": (5e-5, 13_000, 0.65, 0.25, 0.1, 10_000),
    "ctc_base_10h": (5e-5, 20_000, 0.65, 0.5, 0.05, 0),  # MT4SSL's: nothing is frozen
    "ctc_base_10h_data2vec": (5e-5, 20_000, 0.65, 0.5, 0.05, 10_000),  # wav2vec 2.0's
    "ctc_base_10h_hubert": (2e-5, 25_000, 0.75, 0.5, 0.1, 10_000),
    "ctc_base_100h": (3e-5, 80_000, 0.65, 0.5, 0.1, 0),
    "ctc_base_960h": (1e-4, 320_000, 0.5, 0.1, 0.1, 0),
}
# HuBERT stops after 25 k updates of a schedule of 8 k + 72 k, on the way down to 0.05.
SCHEDULES: dict[str, dict[str, Any]] = {
    "ctc_base_10h_hubert": {
        "optim.warmup": 8 / 25, "optim.hold": 0.0, "optim.decay": 17 / 25,
        "optim.final_scale": pytest.approx(0.05 ** (17 / 72), abs=5e-4),
    },
}  # fmt: skip
UPDATE_SECONDS = 1600  # 3.2 M samples x 8, however micro-batches share them


def resolved(stem: str) -> tuple[TrainConfig, dict[str, Any]]:
    """A configuration, and its settings by `section.key`."""
    config = load_config(CONF / f"{stem}.toml").config
    flat = {
        f"{section}.{key}": value
        for section, values in config.as_dict().items()
        if section != "system"
        for key, value in values.items()
    }
    return config, flat


def check(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize("name", COLUMNS)
def test_pretraining_is_as_published(name: str) -> None:
    system, _, iteration = name.partition("_")
    config, found = resolved("_".join(filter(None, (system, "base", iteration))))
    assert config.system == "mt4ssl"
    check(found, PRETRAINING | COLUMNS[name])
    minutes = found["data.batch_seconds"] * found["optim.micro_batches"] / 60
    assert minutes == pytest.approx(MINUTES[found["optim.micro_batches"]], abs=0.05)


def test_relatives_differ_from_mt4ssl_in_nothing_else() -> None:
    whole = resolved("mt4ssl_base")[0].as_dict()
    assert differences(whole, resolved("data2vec_base")[0].as_dict()) == [
        'data.crop: "start" -> "random_aligned"',
        "targets.offline_weight: 1.0 -> 0.0",
    ]
    assert differences(whole, resolved("offte_base")[0].as_dict()) == [
        "targets.online_weight: 1.0 -> 0.0"
    ]


@pytest.mark.parametrize(
    ("name", "terms"),
    [("mt4ssl", "both"), ("data2vec", "mse"), ("hubert", "ce"), ("offte", "ce")],
)
def test_only_the_terms_that_count_are_built(name: str, terms: str) -> None:
    """data2vec has no classifier; HuBERT and Off-TE have neither teacher nor regression."""
    config, _ = resolved(f"{name}_base")
    with torch.device("meta"):
        system = build_system(config)
    assert isinstance(system, MT4SSL)
    assert (system.offline_head is not None) == (terms in ("both", "ce"))
    assert (system.online_head is not None) == (terms in ("both", "mse"))
    assert (system.teacher is not None) == (terms in ("both", "mse"))


@pytest.mark.parametrize("name", ROWS)
def test_finetuning_is_as_published(name: str) -> None:
    config, found = resolved(name)
    assert config.system == "ctc"
    expected = FINETUNING | SCHEDULES.get(name, {}) | dict(zip(ROW, ROWS[name], strict=True))
    check(found, expected)
    assert found["data.batch_seconds"] * found["optim.micro_batches"] == UPDATE_SECONDS
