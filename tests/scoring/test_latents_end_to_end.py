"""A model is trained for a moment; its latents are verified, identified, probed and reported."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.bin import dump_latents, make_trials, probe_phones, report, score_sid, score_sv
from pylib.corpus.tables import read_table, write_table
from pylib.training.session import Request, train
from tests.training.conftest import toml
from tests.training.segment_helpers import FHVAE, make_segment_set

LATENTS = "exp/fhvae_1/latents"


def with_words(data: Path) -> Path:
    """Texts that differ and phone times for a set of features."""
    lengths = read_table(data / "utt2dur")
    write_table(data / "text", {utt: f"WORD {utt}" for utt in lengths})
    lines = [
        f"{utt} 1 {0.1 * i:.2f} 0.10 P{(7 * i + len(utt)) % 3}\n"
        for utt, length in sorted(lengths.items())
        for i in range(int(float(length) / 0.1))
    ]
    (data / "phones.ctm").write_text("".join(lines), encoding="utf-8")
    return data


@pytest.mark.slow
def test_latents_of_a_model_are_scored_and_reported(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    seen = [f"s{i}" for i in range(5)]
    counts = np.random.default_rng(0).integers(60, 140, (5, 4)).tolist()
    frames = dict(zip(seen, counts, strict=True))
    sets = [
        make_segment_set(tmp_path, "train", frames, 1, cmvn=True),
        # One utterance of each speaker is shorter than a segment.
        make_segment_set(tmp_path, "test", dict.fromkeys(seen, [60, 19, 80]), 3),
        make_segment_set(tmp_path, "unseen", {f"u{i}": [60, 19, 80, 90] for i in range(3)}, 4),
    ]
    dev = make_segment_set(tmp_path, "dev", dict.fromkeys(seen, [60]), 2)
    Path("conf.toml").write_text(toml({**FHVAE, "optim": {"updates": 20}}), encoding="utf-8")
    request = Request(sets[0], dev, Path("exp/fhvae_1"), Path("conf.toml"), device="cpu")
    train(request)
    for data in map(with_words, sets):
        words = ["exp/fhvae_1/checkpoint_last.pt", str(data), f"{LATENTS}/{data.name}"]
        assert dump_latents.main(words) == 0
    assert make_trials.main([str(sets[2]), "trials"]) == 0
    train_set, test_set, unseen = (f"{LATENTS}/{name}" for name in ("train", "test", "unseen"))
    for name in ("svector", "z1mean"):
        out = f"exp/fhvae_1/quality_sv_{name}.json"
        words = ["--latent", name, "--draws", "20", train_set, unseen, "trials", out]
        assert score_sv.main(words) == 0
    assert score_sid.main([train_set, test_set, "exp/fhvae_1/quality_sid.json"]) == 0
    words = ["--feats", "z1,z2", train_set, unseen, "exp/fhvae_1/quality_phones.json"]
    assert probe_phones.main(words) == 0
    words = ["--recipe", "vctk", "--preset", "smoke", "--corpus", "built-in easy"]
    assert report.main([*words, "--latents", unseen, "exp", "exp/report"]) == 0
    rows = json.loads(Path("exp/report/summary.json").read_text(encoding="utf-8"))["results"]
    assert {row["measure"] for row in rows} == {
        "eer", "eer_same_gender", "min_dcf", "sid_accuracy", "phone_accuracy", "eer_content",
        "eer_same_gender_content", "min_dcf_content", "sid_accuracy_content",
    }  # fmt: skip
    origin = json.loads(Path(unseen, "latents.json").read_text(encoding="utf-8"))
    assert {(row["system"], row["seed"]) for row in rows} == {(origin["system"], origin["seed"])}
