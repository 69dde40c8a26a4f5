"""The loop learns: a CTC system spells letters that can be seen in its input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.ark import ArkWriter
from pylib.corpus.datadir import DataDir
from pylib.corpus.tables import write_table
from pylib.training.session import Request, train
from pylib.units.letters import encode
from tests.training.helpers import FINETUNE, make_set


def spell(folder: Path, name: str, count: int, seed: int) -> Path:
    """Utterances of random words, each letter 12 filter-bank frames of a pattern of its own."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(0).standard_normal((32, 80))
    texts = [" ".join("".join(rng.choice(list("ABCDE"), 2)) for _ in range(3))
             for _ in range(count)]  # fmt: skip
    data = make_set(folder, name, [1.2] * count, seed)
    utts = DataDir.load(data).utts
    write_table(data / "text", dict(zip(utts, texts, strict=True)))
    frames = {}
    with ArkWriter(folder / "ark" / f"{name}.spelled.ark", data / "feats.scp") as writer:
        for utt, text in zip(utts, texts, strict=True):
            rows = [np.repeat(patterns[[i, 1]], (8, 4), axis=0) for i in encode(text)]
            value = np.concatenate(rows) + 0.2 * rng.standard_normal((12 * len(rows), 80))
            frames[utt] = len(value)
            writer.write(utt, value.astype(np.float32))
    write_table(data / "utt2num_frames", frames)
    return data


@pytest.mark.slow
def test_letters_are_learned_and_generalise(tmp_path: Path, config_file) -> None:
    sets = spell(tmp_path, "train", 60, 1), spell(tmp_path, "dev", 10, 2)
    path = config_file(
        FINETUNE, model__layerdrop=0.0, model__dropout=0.0, ctc__mask_prob=0.0,
        ctc__channel_prob=0.0, optim__lr=1e-2, optim__warmup=0.1, optim__hold=0.4,
        optim__decay=0.5, optim__updates=200, run__validate_every=200, run__log_every=100,
        data__batch_seconds=20.0,
    )  # fmt: skip
    assert train(Request(*sets, tmp_path / "exp", path, device="cpu")) == 0
    run = json.loads((tmp_path / "exp" / "run.json").read_text(encoding="utf-8"))
    assert run["best"] < 5
