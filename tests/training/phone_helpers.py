"""Data directories of aligned phones whose units follow from the phones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pylib.corpus.derived import Derived, write_shards
from pylib.corpus.tables import write_table
from pylib.units.align_stage import both
from pylib.units.phone_set import SIL, phone_ids

CLUSTERS = 12
WORDS = {"A": ["AH"], "CAT": ["K", "AE", "T"], "SAT": ["S", "AE", "T"], "MAP": ["M", "AE", "P"]}
LABELS = {
    "kind": "labels",
    "rate": 25.0,
    "align": "start",
    "kmeans": "somewhere",
    "sha256": "5e7",
    "clusters": CLUSTERS,
}


def lexicon(path: Path) -> Path:
    """WORDS as a file."""
    lines = [f"{word} {' '.join(phones)}\n" for word, phones in WORDS.items()]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def make_set(data: Path, count: int, seed: int) -> dict[str, tuple[np.ndarray, ...]]:
    """`count` utterances with phones and labels: utterance -> ids, lengths at 100 Hz, units."""
    rng = np.random.default_rng(seed)
    made: dict[str, tuple[np.ndarray, ...]] = {}
    text = {}
    for number in range(count):
        words = list(rng.choice(list(WORDS), rng.integers(3, 7)))
        phones = [SIL, *(p for word in words for p in phone_ids(WORDS[word])), SIL]
        lengths = (4 * (1 + np.array(phones) % 3)).astype(np.int32)
        lengths[0] = 8
        ids = np.repeat(phones, lengths).astype(np.int32)
        utt = f"spk{number % 3}-{number:03d}"
        made[utt] = ids, lengths, (ids[::4] % CLUSTERS).astype(np.int32)
        text[utt] = " ".join(words)
    data.mkdir(parents=True)
    write_table(data / "text", text)
    write_table(data / "utt2spk", {utt: utt.partition("-")[0] for utt in made})
    stems = both(data, data / "arks", "ctm", (b"",), 1)
    stems.append(Derived(data, "labels", data / "arks", LABELS, (b"",), 1))
    utts = sorted(made)
    write_shards(stems, 1, utts, lambda utt: made[utt])
    for stem in stems:
        stem.commit(utts)
    return made
