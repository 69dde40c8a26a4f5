"""The statistics file of a training set: right, and refused for other features."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pylib.bin.compute_cmvn import main
from pylib.corpus.atomic import sha256_file, write_json
from pylib.corpus.derived import read_meta
from pylib.corpus.errors import UserError
from pylib.features.cmvn import cmvn_path, load_cmvn
from tests.features.helpers import feature_dir

CONFIG = {"window": 400, "floor": 1e-5}


def a_set(root: Path, **meta: object) -> tuple[Path, np.ndarray]:
    rng = np.random.default_rng(1)
    matrices = {f"{s}-1": rng.standard_normal((30, 3)) * [1, 5, 0] - 7 for s in "abc"}
    data = feature_dir(root, matrices, "logmel", config=CONFIG, **meta)
    return data, np.concatenate([m.astype(np.float32) for m in matrices.values()])


def test_statistics_of_all_frames_in_float64(tmp_path: Path) -> None:
    data, frames = a_set(tmp_path)
    assert main([str(data)]) == 0
    path = cmvn_path(data, "logmel")
    mean, std = load_cmvn(path, read_meta(data, "logmel"))
    assert mean.dtype == std.dtype == np.float64
    np.testing.assert_allclose(mean, frames.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(std[:2], frames.astype(np.float64).std(0)[:2], rtol=1e-9)
    assert std[2] == 1e-3  # floored: a bin that does not vary
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (content["frames"], content["utterances"], content["kind"]) == (90, 3, "logmel")
    assert content["sha256"] == sha256_file(data / "logmel.scp")
    before = path.read_bytes()
    main([str(data), "--feats", "logmel"])
    assert path.read_bytes() == before


def test_the_file_of_another_feature_is_refused(tmp_path: Path) -> None:
    data, _ = a_set(tmp_path)
    main([str(data)])
    path, meta = cmvn_path(data, "logmel"), read_meta(data, "logmel")
    load_cmvn(path, {**meta, "compression": 3})  # stored otherwise, the same features
    for change in ({"kind": "logspec"}, {"dim": 4}, {"rate": 50.0}, {"config": {"floor": 1e-8}}):
        with pytest.raises(UserError, match=f"{next(iter(change))}.*of other features"):
            load_cmvn(path, {**meta, **change})
    # Layers of a model have no config: the whole description counts.
    hidden = {"kind": "hidden", "dim": 3, "rate": 100.0, "layer": 6}
    write_json(data / "hidden6_cmvn.json", {**json.loads(path.read_text()), **hidden,
                                            "config": {"layer": 6}})  # fmt: skip
    load_cmvn(data / "hidden6_cmvn.json", hidden)
    with pytest.raises(UserError, match="config"):
        load_cmvn(data / "hidden6_cmvn.json", {**hidden, "layer": 5})


def test_broken_files_are_refused(tmp_path: Path) -> None:
    data, _ = a_set(tmp_path)
    meta = read_meta(data, "logmel")
    path = cmvn_path(data, "logmel")
    with pytest.raises(UserError, match="compute_cmvn.sh"):
        load_cmvn(path, meta)
    main([str(data)])
    good = json.loads(path.read_text(encoding="utf-8"))
    for key, value in (("std", [1, 1, 0]), ("mean", [0, 0]), ("mean", None), ("std", ["x"] * 3)):
        write_json(path, {**good, key: value})
        with pytest.raises(UserError, match="make it again"):
            load_cmvn(path, meta)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not readable as JSON"):
        load_cmvn(path, meta)
