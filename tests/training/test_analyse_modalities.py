"""steps/analyse_modalities.sh on a model of two updates: every layer, every modality it has."""

from __future__ import annotations

import json
import shutil
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


def phones_of(data: Path, frames: list[int], without: int = 0) -> None:
    """Phones at 100 Hz beside the other streams, of all utterances but the last `without`."""
    text = make_av_set(data.parents[1] / f"text_{without}", data.name, frames, 9, "audiotext")
    for name in ("phones.scp", "phones.json"):
        lines = (text / name).read_text(encoding="utf-8").splitlines(keepends=True)
        kept = lines[: len(lines) - without] if name.endswith(".scp") else lines
        (data / name).write_text("".join(kept), encoding="utf-8")


def decodes(found: dict, measure: str) -> set[str]:
    """What `layer2/...` rows of a measure are of."""
    rows = [row for row in found["results"] if row["measure"] == measure]
    return {row["decode"][7:] for row in rows if row["decode"].startswith("layer2/")}


PAIRS = {"a->v", "v->a"}
WITH_TEXT = {f"{one}->p" for one in ("av", "a", "v")} | {f"p->{one}" for one in ("av", "a", "v")}


def test_text_lies_in_the_same_space(world: tuple[Path, Path], tmp_path: Path) -> None:
    """With aligned phones the model is shown these too; its judge stays the known times."""
    frames = [30, 41, 52, 35, 44, 30]
    data = make_av_set(tmp_path, "b", frames, 1)
    shutil.copy(world[1] / "phones.ctm", data)
    phones_of(data, frames)
    found = analyse((world[0], data), tmp_path / "q.json")
    assert decodes(found, "pnmi") == {"av", "a", "v", "p"}
    assert decodes(found, "retrieval") == PAIRS | WITH_TEXT
    assert set(found["picture"]["modalities"]) == {"av", "a", "v", "p"}
    assert found["analysis"]["phone_times"] == "known"


def test_aligned_phones_judge_where_no_times_are_known(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    """The utterance whose text has no phones is left out, not an error."""
    frames = [30, 41, 52, 35, 44, 30]
    data = make_av_set(tmp_path, "b", frames, 1)
    phones_of(data, frames, without=1)
    found = analyse((world[0], data), tmp_path / "q.json")
    assert found["analysis"]["phone_times"] == "aligned"
    assert found["analysis"]["utterances"] == len(frames) - 1
    assert decodes(found, "pnmi") == {"av", "a", "v", "p"}
    # An alignment has a phone, silence among them, everywhere.
    counts = {row["n"] for row in found["results"] if row["measure"] == "pnmi"}
    assert counts <= {sum(frames) - count for count in frames}


def test_a_model_without_text_has_the_other_three(world: tuple[Path, Path], tmp_path: Path) -> None:
    frames = [30, 41, 52, 35, 44, 30]
    data = make_av_set(tmp_path, "b", frames, 1)
    phones_of(data, frames)
    model = {**VATLM["av_model"], "streams": ["audio", "video"]}
    sections = {**VATLM, "av_model": model, "optim": {"lr": 1e-3, "updates": 1}}
    (tmp_path / "conf.toml").write_text(toml(sections), encoding="utf-8")
    request = Request(data, data, tmp_path / "exp", tmp_path / "conf.toml", (), device="cpu")
    assert train(request) == 0
    checkpoint = tmp_path / "exp" / "checkpoint_last.pt"
    found = analyse((checkpoint, data), tmp_path / "q.json")
    assert decodes(found, "pnmi") == {"av", "a", "v"} and decodes(found, "retrieval") == PAIRS


def test_without_phone_times(world: tuple[Path, Path], tmp_path: Path) -> None:
    data = make_av_set(tmp_path, "c", [20, 30, 25], 3)
    with pytest.raises(UserError, match=r"phones.ctm: no such file"):
        analyse((world[0], data), tmp_path / "q.json")
