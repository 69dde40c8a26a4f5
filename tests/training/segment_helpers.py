"""Small sets of log-mel-like features with speakers, for the tests of segments and latents."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.tables import write_table
from pylib.features.cmvn import compute_cmvn

DIM = 8
META = {"kind": "logmel", "dim": DIM, "rate": 100.0, "config": {"mel_bins": DIM}}

FHVAE = {
    "system": "fhvae",
    "fhvae": {"feature_dim": DIM, "z1_dim": 3, "z2_dim": 4, "layers": 1, "hidden": 8},
    "objective": {"alpha": 1.0, "contrast": "supcon", "guard_after": 1000},
    "segments": {"cached": 6, "speakers": 2, "utterances": 2, "segments": 3, "eval_batch": 20},
    "optim": {"lr": 1e-3, "updates": 40, "betas": [0.95, 0.999], "weight_decay": 0.0},
    "run": {"log_every": 5, "save_every": 20, "validate_every": 20, "tensorboard": False},
}


def make_segment_set(
    folder: Path, name: str, frames: dict[str, list[int]], seed: int, cmvn: bool = False
) -> Path:
    """A data directory whose features have a mean of the speaker and smooth noise.

    frames: speaker -> frames of each utterance.
    """
    rng = np.random.default_rng(seed)
    data = folder / "data" / name
    data.mkdir(parents=True)
    (folder / "ark").mkdir(exist_ok=True)
    counts = {f"{spk}-{name}{i}": n for spk, all_ in frames.items() for i, n in enumerate(all_)}
    write_table(data / "utt2spk", {utt: utt.split("-")[0] for utt in counts})
    spk2utt = {
        spk: " ".join(u for u in sorted(counts) if u.startswith(f"{spk}-")) for spk in frames
    }
    write_table(data / "spk2utt", spk2utt)
    write_table(data / "spk2gender", dict.fromkeys(frames, "f"))
    write_table(data / "wav.scp", {utt: os.fspath(folder / f"{utt}.wav") for utt in counts})
    write_table(data / "text", dict.fromkeys(counts, "A TEST"))
    write_table(data / "utt2num_frames", counts)
    write_table(data / "utt2num_samples", {u: 400 + 160 * (n - 1) for u, n in counts.items()})
    write_table(data / "utt2dur", {u: 0.025 + 0.01 * (n - 1) for u, n in counts.items()})
    with ArkWriter(folder / "ark" / f"{name}.ark", data / "logmel.scp") as writer:
        for utt in sorted(counts):
            # The speaker decides the mean, whatever the set.
            voice = np.random.default_rng(sum(utt.split("-")[0].encode())).standard_normal(DIM)
            noise = rng.standard_normal((counts[utt], DIM)) * 0.5
            writer.write(utt, (3 + 2 * voice + noise).astype(np.float32))
    write_json(data / "logmel.json", META)
    if cmvn:
        compute_cmvn(data, "logmel")
    return data
