"""steps/analyse_modalities.sh on a model of two updates: every layer, every modality it has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pylib.bin import analyse_modalities
from pylib.corpus.errors import UserError
from pylib.scoring.collect import check_row
from pylib.training.session import Request, train
from tests.training.av_helpers import VATLM, make_av_set
from tests.training.helpers import toml

PHONES = ["AA", "B", "IY", "M", "SIL"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Checkpoint and data directory with true phone times."""
    root = tmp_path_factory.mktemp("modal")
    sets = [make_av_set(root, name, [30, 41, 52, 35, 44, 30], i) for i, name in enumerate("ab")]
    sections = {**VATLM, "optim": {"lr": 1e-3, "updates": 2, "micro_batches": 1}}
    (root / "conf.toml").write_text(toml(sections), encoding="utf-8")
    exp = root / "exp"
    assert train(Request(*sets, exp, root / "conf.toml", (), device="cpu")) == 0
    rng = np.random.default_rng(0)
    utts = (sets[1] / "utt2spk").read_text(encoding="utf-8").split()[::2]
    lines = [
        f"{utt} 1 {0.1 * i:.1f} 0.1 {PHONES[rng.integers(5)]}\n" for utt in utts for i in range(11)
    ]
    (sets[1] / "phones.ctm").write_text("".join(lines), encoding="utf-8")
    return exp / "checkpoint_last.pt", sets[1]


def analyse(world: tuple[Path, Path], out: Path, *options: str) -> dict:
    where = [str(world[0]), str(world[1]), str(out)]
    assert analyse_modalities.main(["--clusters", "8", "--candidates", "5", *options, *where]) == 0
    return json.loads(out.read_text(encoding="utf-8"))


def test_every_layer_and_modality(world: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "quality_modalities.json"
    found = analyse(world, out)
    rows = [check_row(row, out) for row in found["results"]]
    assert {row["measure"] for row in rows} == {"pnmi", "retrieval"}
    assert {row["decode"] for row in rows if row["measure"] == "pnmi"} == {
        f"layer{layer}/{name}" for layer in range(3) for name in ("av", "a", "v")
    }
    assert {row["system"] for row in rows} == {"vatlm"} and {row["set"] for row in rows} == {"b"}
    assert all(0 <= row["value"] <= 1 for row in rows)
    picture = found["picture"]
    assert len(picture["pca"]) == len(picture["tsne"]) == len(picture["phones"]) > 20
    assert set(picture["modalities"]) == {"av", "a", "v"} and "SIL" not in picture["phones"]
    assert found["analysis"]["clusters"] <= 8
    again = analyse(world, out)
    assert again == found


def test_chosen_layers(world: tuple[Path, Path], tmp_path: Path) -> None:
    found = analyse(world, tmp_path / "q.json", "--layers", "2", "--system", "mine", "--seed", "7")
    assert {row["decode"].partition("/")[0] for row in found["results"]} == {"layer2"}
    assert {(row["system"], row["seed"]) for row in found["results"]} == {("mine", 7)}
    for text in ("3", "x", "0,9", ","):
        with pytest.raises(UserError, match="has layers 0 to 2"):
            analyse(world, tmp_path / "q.json", "--layers", text)


def test_without_phone_times(world: tuple[Path, Path], tmp_path: Path) -> None:
    data = make_av_set(tmp_path, "c", [20, 30, 25], 3)
    with pytest.raises(UserError, match=r"phones.ctm: no such file"):
        analyse((world[0], data), tmp_path / "q.json")
