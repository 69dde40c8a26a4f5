"""A k-means on disk belongs to one kind of features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.units.kmeans import FitOptions, FitResult
from pylib.units.kmeans_model import load, save

FEATURES = {"kind": "mfcc", "dim": 39, "rate": 100.0, "config": {"lifter": 22.0}, "compression": 0}


def saved(path: Path, features: dict | None = None) -> Path:
    rng = np.random.default_rng(0)
    result = FitResult(rng.standard_normal((5, 39)).astype(np.float32), 1.5, np.arange(5), 10, 2, 7)
    save(path, result, FitOptions(clusters=5), features or FEATURES, "mfcc", "speaker", "data/x")
    return path


def test_round_trip(tmp_path: Path) -> None:
    model = load(saved(tmp_path / "km"))
    assert model.centroids.shape == (5, 39)
    assert (model.stem, model.cmvn) == ("mfcc", "speaker")
    assert model.meta()["clusters"] == 5
    assert model.meta()["source"]["kind"] == "mfcc"
    model.require({**FEATURES, "compression": 3}, "data/y/mfcc.json")


@pytest.mark.parametrize(
    "change", [{"kind": "fbank"}, {"dim": 80}, {"rate": 50.0}, {"config": {"lifter": 0.0}}]
)
def test_other_features_are_refused_with_both_named(tmp_path: Path, change: dict) -> None:
    model = load(saved(tmp_path / "km"))
    with pytest.raises(UserError) as caught:
        model.require({**FEATURES, **change}, "data/y/mfcc.json")
    message = str(caught.value)
    name, value = next(iter(change.items()))
    assert "data/y/mfcc.json" in message and str(tmp_path / "km") in message
    assert repr(value) in message and repr(FEATURES[name]) in message


def test_layers_and_checkpoints_are_told_apart(tmp_path: Path) -> None:
    hidden = {"kind": "hidden", "dim": 39, "rate": 50.0, "layer": 6, "checkpoint_sha256": "aa"}
    model = load(saved(tmp_path / "km", hidden))
    model.require(hidden, "x")
    for change in ({"layer": 5}, {"checkpoint_sha256": "bb"}, {"input_normalised": True}):
        with pytest.raises(UserError, match=next(iter(change))):
            model.require({**hidden, **change}, "x")


def test_unfinished_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fit one"):
        load(tmp_path / "km")
    saved(tmp_path / "km")
    with open(tmp_path / "km" / "centroids.npy", "r+b") as stream:
        stream.seek(200)
        stream.write(b"\x01\x02\x03")
    with pytest.raises(UserError, match="is not the one"):
        load(tmp_path / "km")
    saved(tmp_path / "km")
    (tmp_path / "km" / "kmeans.json").write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path / "km")
    saved(tmp_path / "km")
    info = json.loads((tmp_path / "km" / "kmeans.json").read_text(encoding="utf-8"))
    (tmp_path / "km" / "kmeans.json").write_text(json.dumps({**info, "features": []}))
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path / "km")
