"""Small audio-visual data directories and configurations for the tests of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.tables import write_table
from pylib.features.logfbank import logfbank
from pylib.features.mouth_store import COMPRESSION, describe_mouth, to_matrix
from pylib.units.labels import picture_frames
from pylib.units.phone_set import FIRST_PHONE, SIL, phones_meta

CLUSTERS = 8
WORDS = ["HELLO", "WORLD", "ITS", "A", "TEST", "OF", "MOUTHS"]

MODEL = {
    # Not 4: there torch's convolutions write beyond the end of their memory (oneDNN, CPU).
    "resnet_width": 8, "video_pool": 4, "dim": 32, "ffn_dim": 64, "layers": 2, "heads": 2,
    "pos_conv_width": 8, "pos_conv_groups": 4, "layerdrop": 0.2,
}  # fmt: skip
SHARED = {
    "av_model": MODEL,
    "av_data": {"min_seconds": 0.2, "max_seconds": 3.0, "batch_seconds": 6.0, "threads": 1},
    "run": {"log_every": 2, "save_every": 3, "validate_every": 4, "tensorboard": False},
}
VATLM = {
    "system": "vatlm",
    **SHARED,
    "units": {"clusters": CLUSTERS, "cosine_dim": 16},
    "mixture": {"dist": [0.5, 0.5, 0.5, 0.5]},
    "optim": {"lr": 1e-3, "updates": 6, "micro_batches": 1},
}
SEQ2SEQ = {
    "system": "seq2seq",
    **SHARED,
    "seq2seq": {"decoder_layers": 1, "decoder_dim": 32, "decoder_ffn": 64, "decoder_heads": 2},
    "optim": {"lr": 1e-3, "updates": 6},
}


def make_av_set(
    folder: Path, name: str, frames: list[int], seed: int, kind: str = "videoaudio",
    clusters: int = CLUSTERS, extra: int = 0,
) -> Path:  # fmt: skip
    """A data directory of one kind: random pictures, tones, phones and units at 25 Hz.

    frames: pictures (25 Hz) of each utterance. extra: samples beyond the last whole frame.
    """
    rng = np.random.default_rng(seed)
    data = folder / "data" / name
    data.mkdir(parents=True)
    (folder / "ark").mkdir(exist_ok=True)
    utts = [f"s{i % 3}-{name}{i:03d}" for i in range(len(frames))]
    sizes = dict(sorted(zip(utts, frames, strict=True)))
    write_table(data / "utt2spk", {utt: utt.split("-")[0] for utt in utts})
    write_table(data / "text", {utt: " ".join(rng.choice(WORDS, 2)) for utt in utts})
    if kind == "onlytext":
        write_table(data / "utt2num_frames", sizes)
    else:
        sizes = _audio(folder, data, name, {u: 640 * n + extra for u, n in sizes.items()}, rng)
    if kind == "videoaudio":
        write_table(data / "utt2num_video", sizes)
        pictures = {u: rng.integers(0, 256, (n, 96, 96), dtype=np.uint8) for u, n in sizes.items()}
        arrays = {utt: to_matrix(value) for utt, value in pictures.items()}
        _ark(folder, data, name, "mouth", arrays, describe_mouth(), COMPRESSION)
    if kind in ("audiotext", "onlytext"):
        phones = {utt: _phones(count, rng) for utt, count in sizes.items()}
        _ark(folder, data, name, "phones", phones, phones_meta())
    labels = {u: rng.integers(0, clusters, n).astype(np.int32) for u, n in sizes.items()}
    meta = {"kind": "labels", "rate": 25, "align": "start", "clusters": clusters, "sha256": "x"}
    _ark(folder, data, name, "labels", labels, meta)
    return data


def _audio(
    folder: Path, data: Path, name: str, samples: dict[str, int], rng: np.random.Generator
) -> dict[str, int]:
    """wav.scp, its lengths and log filter banks. Returns the frames at 25 Hz."""
    (folder / "wav").mkdir(exist_ok=True)
    write_table(data / "utt2num_samples", samples)
    write_table(data / "utt2dur", {utt: count / 16000 for utt, count in samples.items()})
    write_table(data / "wav.scp", {utt: str(folder / "wav" / f"{utt}.wav") for utt in samples})
    feats = {}
    for utt, count in samples.items():
        # Every picture's stretch has a pitch and a loudness of its own.
        pitch = np.repeat(rng.uniform(0.02, 1.5, count // 640 + 1), 640)[:count]
        loud = np.repeat(10 ** rng.uniform(-3, -0.3, count // 640 + 1), 640)[:count]
        tone = loud * np.sin(np.cumsum(pitch))
        wave = (tone + 0.001 * rng.standard_normal(count)).astype(np.float32)
        soundfile.write(folder / "wav" / f"{utt}.wav", wave, 16000, subtype="PCM_16")
        feats[utt] = logfbank(soundfile.read(folder / "wav" / f"{utt}.wav", dtype="float32")[0])
    _ark(folder, data, name, "logfbank", feats, {"kind": "logfbank", "dim": 26, "rate": 100})
    return {utt: picture_frames(count) for utt, count in samples.items()}


def _phones(frames: int, rng: np.random.Generator) -> np.ndarray:
    ids = np.repeat(rng.integers(FIRST_PHONE, 46, 4 * frames // 6 + 1), 6)[: 4 * frames]
    ids[:4] = SIL
    return ids.astype(np.int32)


def _ark(
    folder: Path, data: Path, name: str, stem: str, arrays: dict, meta: dict, compression: int = 0
) -> None:
    with ArkWriter(folder / "ark" / f"{name}.{stem}.ark", data / f"{stem}.scp", compression) as w:
        for utt, value in arrays.items():
            w.write(utt, value)
    write_json(data / f"{stem}.json", meta)
