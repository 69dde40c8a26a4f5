"""Features of any layer of a checkpoint are those of the encoder, and say where they come from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.bin import dump_feats
from pylib.corpus import derived
from pylib.corpus.errors import UserError
from pylib.features.reader import FeatureReader
from pylib.training import checkpoint
from pylib.training.build import build_system
from pylib.training.config import from_dict
from pylib.training.extract import LayerExtractor, pick_device, run_identity
from tests.training.helpers import PRETRAIN, make_set


def tiny(folder: Path, frontend: str) -> Path:
    """A checkpoint of random weights."""
    settings = {**PRETRAIN, "model": {**PRETRAIN["model"], "frontend": frontend}}
    if frontend == "waveform":
        settings["model"]["conv_dim"] = 16
    config = from_dict(settings, "test")
    torch.manual_seed(0)
    system = build_system(config, 0)
    payload = {
        "format": checkpoint.FORMAT, "system": "mt4ssl", "config": config.as_dict(),
        "model": system.state_dict(), "optimizer": {}, "update": 0, "provenance": {}, "vocab": None,
    }  # fmt: skip
    checkpoint.save(folder, [checkpoint.LAST], payload)
    return folder / checkpoint.LAST


@pytest.mark.parametrize(
    "frontend,rate,align", [("fbank", 25.0, "centre"), ("waveform", 50.0, "start")]
)
def test_layers_in_one_pass_are_those_of_extract(
    tmp_path: Path, frontend: str, rate: float, align: str
) -> None:
    data = make_set(tmp_path, "dev", [1.0, 0.73], 0, frontend)
    model = LayerExtractor(tiny(tmp_path / "exp", frontend), data)
    assert (model.rate, model.layers) == (rate, 2)
    for utt in model.utts:
        together = model.read_layers(utt, [0, 1, 2])
        for layer, matrix in enumerate(together):
            alone = model.read(utt, layer)
            assert alone.dtype == np.float32 and alone.shape[1] == 32
            np.testing.assert_array_equal(matrix, alone)
        assert not np.array_equal(together[0], together[1])
    assert np.array_equal(model.read_layers(model.utts[0], [2])[0], model.read(model.utts[0], 2))
    meta = model.meta(2)
    assert (meta["layer"], meta["rate"], meta["align"], meta["dim"]) == (2, rate, align, 32)
    assert len(meta["checkpoint_sha256"]) == 64
    with pytest.raises(UserError, match="layer 3.*0 to 2"):
        model.read(model.utts[0], 3)


def test_dump_and_read_back(tmp_path: Path) -> None:
    sets = [make_set(tmp_path, "dev", [1.0, 0.73, 1.4], 0), make_set(tmp_path, "test", [0.8], 1)]
    path = tiny(tmp_path / "exp", "fbank")
    places = [str(word) for data in sets for word in (data, tmp_path / f"arks_{data.name}")]
    for part in (["--shard", "1/2"], ["--shard", "2/2"], ["--merge", "2"]):
        assert dump_feats.main([*part, "--layer", "1", str(path), *places]) == 0
    for data in sets:
        reader = FeatureReader(data, "hidden1")
        model = LayerExtractor(path, data)
        assert reader.meta == model.meta(1)
        assert [*reader.utts] == model.utts
        for utt in reader.utts:
            np.testing.assert_array_equal(reader.read(utt), model.read(utt, 1))


def test_a_full_disk_is_told_before_the_first_ark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_set(tmp_path, "one", [2.0, 3.0], 1)
    path = tiny(tmp_path / "exp", "fbank")
    wanted = []
    monkeypatch.setattr(derived, "require_free_space", lambda place, need: wanted.append(need))
    assert dump_feats.main(["--layer", "1", str(path), str(data), str(tmp_path / "arks")]) == 0
    reader = FeatureReader(data, "hidden1")
    written = sum(reader.read(utt).nbytes for utt in reader.utts)
    assert written <= wanted[0] < 1.2 * written


def test_a_data_directory_without_a_place_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dump_feats.main(["x.pt", "data", "arks", "more"])
    assert "data directories and what is made of them come in pairs" in capsys.readouterr().err


def test_identity_of_a_run(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_last.pt"
    with pytest.raises(UserError, match="--system and --seed"):
        run_identity(path)
    assert run_identity(path, "hubert", 2) == ("hubert", 2)
    (tmp_path / "run.json").write_text(json.dumps({"system": "mt4ssl", "seed": 7}))
    assert run_identity(path) == ("mt4ssl", 7)
    assert run_identity(path, seed=1) == ("mt4ssl", 1)


def test_unknown_device() -> None:
    with pytest.raises(UserError, match="tpu"):
        pick_device("tpu")
