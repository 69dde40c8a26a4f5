"""Small FHVAEs: fresh ones on disk, and one trained for a moment on artificial voices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from pylib.corpus.derived import read_meta
from pylib.features.reader import FeatureReader
from pylib.nn.segments import SegmentBatch
from pylib.systems.fhvae import FHVAE, FHVAEConfig, ObjectiveConfig
from pylib.training import checkpoint
from pylib.training.config import from_dict

SMALL: dict[str, Any] = {
    "system": "fhvae",
    "fhvae": {"layers": 1, "hidden": 32, "z1_dim": 8, "z2_dim": 8},
    "objective": {"alpha": 0.0, "contrast": "supcon"},
    "segments": {"features": "logmel"},
    "optim": {},
    "run": {},
}


def fresh(data: Path, seed: int = 0, **sizes: object) -> FHVAE:
    """An untrained model with the statistics of a data directory's features."""
    torch.manual_seed(seed)
    model = FHVAE(FHVAEConfig(**{**SMALL["fhvae"], **sizes}), ObjectiveConfig(), 4)
    frames = np.concatenate([m for _, m in features(data)])
    model.set_normalisation(torch.from_numpy(frames.mean(0)), torch.from_numpy(frames.std(0)))
    return model.eval()


def features(data: Path) -> list[tuple[str, np.ndarray]]:
    """(utterance, features) of a data directory."""
    reader = FeatureReader(data, "logmel")
    return [(utt, reader.read(utt)) for utt in reader.utts]


def saved(path: Path, data: Path, model: FHVAE) -> Path:
    """A checkpoint as training writes it."""
    config = from_dict(SMALL, "test")
    payload = {
        "format": checkpoint.FORMAT,
        "system": "fhvae",
        "config": config.as_dict(),
        "model": model.state_dict(),
        "vocab": None,
        "rows": len(model.table),
        "features": read_meta(data, "logmel"),
        "provenance": {"system_name": "cfhvae", "seed": 5, "preset": "smoke"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.save(path.parent, [path.name], payload)
    return path


def train(model: FHVAE, data: Path, updates: int, seed: int = 0) -> FHVAE:
    """Train on all utterances of a data directory, every speaker a sequence of the table."""
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    sets = features(data)
    speakers = sorted({utt.split("-")[0] for utt, _ in sets})
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3, betas=(0.95, 0.999))
    size = model.model.segment
    model.train()
    for _ in range(updates):
        chosen = rng.integers(len(sets), size=64)
        starts = [rng.integers(len(sets[i][1]) - size + 1) for i in chosen]
        frames = [sets[i][1][s : s + size] for i, s in zip(chosen, starts, strict=True)]
        who = torch.tensor([speakers.index(sets[i][0].split("-")[0]) for i in chosen])
        count = len(chosen)
        batch = SegmentBatch(
            segments=torch.from_numpy(np.stack(frames)),
            sequences=who,
            counts=torch.full((count,), 40.0),
            speakers=who,
            utterances=torch.from_numpy(chosen),
            input_lengths=torch.full((count,), size),
            utts=tuple(sets[i][0] for i in chosen),
            refresh=None,
        )
        loss = model(batch, generator).loss_sum / count
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 50.0)
        optimizer.step()
    return model.eval()
