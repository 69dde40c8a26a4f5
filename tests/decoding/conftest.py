"""A small decodable set: data directory, log-probabilities that spell its text with noise, LM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.bin import make_lexicon, make_lm
from pylib.corpus.atomic import write_json
from pylib.corpus.datadir import write_datadir
from pylib.decoding.logprobs import dump_batches, merge_dump, plan_batches
from pylib.decoding.tokens import Tokens
from pylib.units.letters import VOCABULARY, encode

WORDS = ["THE", "CAT", "DOG", "SAT", "ON", "A", "MAT", "BIG", "RED", "TREE"]


def noisy_log_probs(rng: np.random.Generator, text: str, noise: float) -> np.ndarray:
    """(T, 32): a path that spells `text`, hidden in Gaussian noise."""
    path: list[int] = []
    for token in encode(text):
        path += [token] * rng.integers(1, 3) + [0] * rng.integers(1, 3)
    logits = rng.normal(size=(len(path), len(VOCABULARY))) * noise
    logits[np.arange(len(path)), path] += 4
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def make_set(root: Path, name: str, rng: np.random.Generator, noise: float = 1.6) -> None:
    """data/<name>, exp/ft/logprobs_<name> below `root`; the last utterance has no frame."""
    utts = {f"s{i % 4}-{i:03d}": f"s{i % 4}" for i in range(12)}
    text = {u: " ".join(rng.choice(WORDS, size=rng.integers(2, 6))) for u in utts}
    (root / "wav").mkdir(exist_ok=True)
    for utt in utts:
        soundfile.write(root / "wav" / f"{utt}.wav", np.zeros(32000), 16000)
    write_datadir(
        root / "data" / name,
        wav={u: str(root / "wav" / f"{u}.wav") for u in utts},
        utt2spk=utts,
        text=text,
        utt2dur=dict.fromkeys(utts, 2.0),
        utt2num_samples=dict.fromkeys(utts, 32000),
    )
    short = max(utts)
    matrices = {u: noisy_log_probs(rng, text[u], noise) for u in sorted(utts) if u != short}
    out = root / "exp" / "ft" / f"logprobs_{name}"
    out.mkdir(parents=True)
    batches = plan_batches({u: len(m) for u, m in matrices.items()}, 100)
    for shard in (1, 2):
        dump_batches(out, batches, lambda utts: [matrices[u] for u in utts], shard, 2)
    merge_dump(
        out,
        2,
        sorted(matrices),
        [short],
        Tokens(VOCABULARY),
        {"checkpoint": {"path": "x.pt"}, "data": f"data/{name}", "frame_rate": 50.0},
    )


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Current directory with data/{dev,test}, exp/ft/logprobs_*, exp/ft/run.json and exp/lm."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    for name in ("dev", "test"):
        make_set(tmp_path, name, rng)
    write_json(
        tmp_path / "exp" / "ft" / "run.json", {"system": "mt4ssl", "seed": 3, "preset": "mini"}
    )
    sentences = [" ".join(rng.choice(WORDS, size=rng.integers(2, 6))) for _ in range(100)]
    (tmp_path / "lm.txt").write_text("\n".join(sentences) + "\n", encoding="utf-8")
    assert make_lexicon.main(["lm.txt", "exp/lm"]) == 0
    assert make_lm.main(["--tool", "python", "--order", "3", "lm.txt", "exp/lm"]) == 0
    return tmp_path
