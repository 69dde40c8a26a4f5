"""Small data directories and configurations for the tests of training."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
import torch

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.tables import write_table

ROOT = Path(__file__).resolve().parents[2]
CLUSTERS = 8

# Two layers x 32, filter banks at 25 Hz: an update takes about 10 ms.
TINY = {
    "model": {
        "frontend": "fbank", "fbank_stack": 4, "dim": 32, "ffn_dim": 64, "layers": 2, "heads": 2,
        "pos_conv_depth": 2, "pos_conv_width": 6, "pos_conv_groups": 4, "layerdrop": 0.2,
    },
    "data": {"min_seconds": 0.5, "max_seconds": 3.0, "batch_seconds": 8.0},
    "run": {"log_every": 2, "save_every": 3, "validate_every": 4, "tensorboard": False},
}  # fmt: skip
PRETRAIN = {
    "system": "mt4ssl",
    **TINY,
    "targets": {"clusters": CLUSTERS, "teacher_layers": 2, "ema_start": 0.9, "ema_end": 0.99,
                "ema_anneal": 20},
    "mask": {"length": 4},
    "optim": {"lr": 1e-3, "updates": 8},
}  # fmt: skip
FINETUNE = {
    "system": "ctc",
    **TINY,
    "ctc": {"channel_length": 4, "freeze_frontend": False},
    "optim": {"lr": 1e-3, "updates": 8},
}


def toml(sections: dict) -> str:
    """TOML text of a nested dict."""
    lines = [f"{key} = {_value(value)}" for key, value in sections.items()
             if not isinstance(value, dict)]  # fmt: skip
    for name, section in sections.items():
        if isinstance(section, dict):
            lines += [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in section.items())]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


def make_set(
    folder: Path, name: str, seconds: list[float], seed: int, frontend: str = "fbank"
) -> Path:
    """A data directory with audio (waveform) or filter banks, labels at the model's rate, text."""
    rng = np.random.default_rng(seed)
    data = folder / "data" / name
    data.mkdir(parents=True)
    utts = [f"s{i % 3}-{name}{i:03d}" for i in range(len(seconds))]
    samples = {utt: int(16000 * length) for utt, length in zip(utts, seconds, strict=True)}
    words = ["HELLO", "WORLD", "IT'S", "A", "TEST"]
    write_table(data / "utt2spk", {utt: utt.split("-")[0] for utt in utts})
    write_table(data / "utt2num_samples", samples)
    write_table(data / "utt2dur", {utt: count / 16000 for utt, count in samples.items()})
    write_table(data / "text", {utt: " ".join(rng.choice(words, 2)) for utt in utts})
    write_table(data / "wav.scp", {utt: str(folder / "wav" / f"{utt}.wav") for utt in utts})
    frames = {utt: (count - 400) // 160 + 1 for utt, count in samples.items()}
    write_table(data / "utt2num_frames", frames)
    (folder / "wav").mkdir(exist_ok=True)
    (folder / "ark").mkdir(exist_ok=True)
    fbank = frontend == "fbank"
    for utt in utts if not fbank else []:
        tone = 0.1 * rng.standard_normal(samples[utt])
        soundfile.write(folder / "wav" / f"{utt}.wav", tone, 16000)
    with ArkWriter(folder / "ark" / f"{name}.fbank.ark", data / "feats.scp") as writer:
        for utt in sorted(utts):
            writer.write(utt, rng.standard_normal((frames[utt], 80)).astype(np.float32))
    write_json(data / "feats.json", {"kind": "fbank", "dim": 80, "rate": 100})
    with ArkWriter(folder / "ark" / f"{name}.labels.ark", data / "labels.scp") as writer:
        for utt in sorted(utts):
            count = frames[utt] // 4 if fbank else (samples[utt] - 400) // 320 + 1
            writer.write(utt, rng.integers(0, CLUSTERS, count).astype(np.int32))
    write_json(
        data / "labels.json",
        {
            "rate": 25 if fbank else 50,
            "align": "centre" if fbank else "start",
            "clusters": CLUSTERS,
            "sha256": "x",
        },
    )
    return data


def process_env(**environment: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **environment}


def same_state(first: Path, second: Path) -> list[str]:
    """Names of the tensors of two checkpoints that differ in any bit (weights, optimizer)."""
    one = torch.load(first, weights_only=True)
    two = torch.load(second, weights_only=True)
    different = [f"model.{key}" for key in one["model"]
                 if not torch.equal(one["model"][key], two["model"][key])]  # fmt: skip
    for number, state in one["optimizer"]["state"].items():
        for key, value in state.items():
            if not torch.equal(value, two["optimizer"]["state"][number][key]):
                different.append(f"optimizer.{number}.{key}")
    if one["optimizer"]["state"].keys() != two["optimizer"]["state"].keys():
        different.append("optimizer.state")
    return different
