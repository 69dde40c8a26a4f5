"""Directories of latents as steps/dump_latents.sh writes them, with known geometry."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.datadir import write_datadir


def write_vectors(directory: Path, stem: str, vectors: Mapping[str, np.ndarray]) -> None:
    with ArkWriter(directory / f"{stem}.ark", directory / f"{stem}.scp") as writer:
        for utt, vector in sorted(vectors.items()):
            writer.write(utt, vector.astype(np.float32))
    write_json(directory / f"{stem}.json", {"stem": stem})


def latent_dir(
    root: Path,
    speakers: str,
    first: int = 0,
    count: int = 8,
    noise: float = 0.3,
    dim: int = 6,
    **origin: object,
) -> Path:
    """Sequence latents around a centre of each speaker and content latents that are noise.

    Utterances are `<speaker>-<number>` from `first`; a speaker's centre depends on its name alone.
    """
    utts = [f"{s}-{i:02d}" for s in speakers for i in range(first, first + count)]
    write_datadir(
        root,
        wav={u: f"/none/{u}.wav" for u in utts},
        utt2spk={u: u[0] for u in utts},
        utt2dur=dict.fromkeys(utts, 1.0),
        utt2num_samples=dict.fromkeys(utts, 16000),
    )
    vectors, content = {}, {}
    for utt in utts:
        rng = np.random.default_rng(list(utt.encode()))
        centre = np.random.default_rng([ord(utt[0])]).standard_normal(dim)
        vectors[utt] = 2.0 + centre + noise * rng.standard_normal(dim)
        content[utt] = rng.standard_normal(dim)
    write_vectors(root, "svector", vectors)
    write_vectors(root, "z1mean", content)
    about = {"system": "fhvae", "seed": 3, "preset": "mini", "checkpoint_sha256": "c0ffee"}
    write_json(root / "latents.json", about | origin)
    return root


def write_trials(path: Path, utts: list[str], gender: dict[str, str]) -> Path:
    """All pairs; `gender`: speaker -> m, f or '' (unknown)."""
    lines = []
    for i, one in enumerate(utts):
        for other in utts[i + 1 :]:
            label = "target" if one[0] == other[0] else "nontarget"
            a, b = gender[one[0]], gender[other[0]]
            kind = "unknown" if not (a and b) else "same" if a == b else "cross"
            lines.append(f"{one} {other} {label} {kind}\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path
