"""steps/convert.sh's work: the same whatever the shards, whole or not at all, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pylib.conversion.stage import ConversionStage
from pylib.corpus.ark import read_mat, read_scp
from pylib.corpus.audio import read_audio
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table
from pylib.corpus.validate import validate
from tests.conversion.helpers_model import fresh, saved
from tests.conversion.helpers_voice import voice_dir

PAIRS = "a-0 c c-1,c-2\na-1 d d-0\nb-0 c c-1,c-2\nb-2 a a-0,a-1\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("convert")
    data = voice_dir(root)
    (root / "pairs").write_text(PAIRS, encoding="utf-8")
    model = saved(root / "fhvae" / "checkpoint_best.pt", data, fresh(data))
    return {"data": data, "pairs": root / "pairs", "checkpoint": model}


def stage(world: dict[str, Path], out: Path, **options: Any) -> ConversionStage:
    settings = {"method": "shift", "iterations": 3, "examples": 2, **options}
    if settings["method"] in ("shift", "replace", "knn_z1"):
        settings.setdefault("checkpoint", str(world["checkpoint"]))
    return ConversionStage(world["data"], world["pairs"], out, **settings)


def convert(world: dict[str, Path], out: Path, **options: Any) -> ConversionStage:
    made = stage(world, out, **options)
    for index in range(1, made.jobs + 1):
        made.make_shard(index)
    made.commit()
    return made


def test_the_data_directory_of_a_conversion(world: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(world, out, dump=True, jobs=2)
    data = DataDir.load(out)
    assert data.utts == ["a-b-2", "c-a-0", "c-b-0", "d-a-1"]
    assert data.utt2spk == {"a-b-2": "a", "c-a-0": "c", "c-b-0": "c", "d-a-1": "d"}
    assert data.text == {
        "a-b-2": "TEXT 2", "c-a-0": "TEXT 0", "c-b-0": "TEXT 0", "d-a-1": "TEXT 1",
    }  # fmt: skip
    assert read_table(out / "source")["a-b-2"] == "b-2"
    assert read_table(out / "target_refs")["c-a-0"] == "c-1 c-2"
    assert read_table(out / "spk2gender") == {"a": "m", "c": "m", "d": "f"}
    source = DataDir.load(world["data"])
    for utt in data.utts:
        made, natural = data.read_utt(utt), source.read_utt(read_table(out / "source")[utt])
        assert len(natural) - 160 < len(made) <= len(natural)
        assert len(made) == data.utt2num_samples[utt]
        assert 0.001 < np.abs(made).max() < 1
    info = json.loads((out / "convert.json").read_text(encoding="utf-8"))
    wanted = {"method": "shift", "vocoder": "griffinlim", "system": "cfhvae", "seed": 5,
              "conversions": 4, "features": "logmel", "preset": "smoke"}  # fmt: skip
    assert wanted.items() <= info.items()
    assert Path(info["checkpoint"]) == world["checkpoint"]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("<audio") == page.count("data:audio/flac;base64,") == 6
    assert page.count("data:image/png;base64,") == 6 and "http" not in page
    assert read_scp(out / "converted.scp").keys() == set(data.utts)
    first = read_mat(read_scp(out / "converted.scp")["a-b-2"])
    assert first.shape[1] == 80 and len(data.read_utt("a-b-2")) == 400 + 160 * (len(first) - 1)


def test_a_valid_data_directory(world: dict[str, Path], tmp_path: Path) -> None:
    convert(world, tmp_path / "out", method="source", vocoder="world")
    from pylib.corpus.checker import Options

    report = validate(tmp_path / "out", Options(no_feats=True, check_audio="full"))
    assert not report.defects


@pytest.mark.parametrize("vocoder", ["griffinlim", "world"])
def test_the_same_whatever_the_shards(world: dict[str, Path], tmp_path: Path, vocoder: str) -> None:
    for jobs in (1, 3):
        convert(world, tmp_path / f"n{jobs}", vocoder=vocoder, jobs=jobs, method="replace")
    for name in ("a-b-2", "c-a-0", "c-b-0", "d-a-1"):
        one, three = (read_audio(tmp_path / n / "wav" / f"{name}.wav") for n in ("n1", "n3"))
        np.testing.assert_array_equal(one, three)
    for name in ("utt2spk", "text", "source", "carrier", "utt2dur", "convert.json", "index.html"):
        assert (tmp_path / "n1" / name).read_bytes() == (tmp_path / "n3" / name).read_bytes()


def test_another_conversion_takes_the_place_of_the_old(
    world: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    convert(world, out, method="source")
    (out / "logmel.scp").write_text("c-a-0 old.ark:5\n", encoding="utf-8")
    (out / "wav" / "z-z-9.wav").write_bytes(b"")
    before = read_audio(out / "wav" / "c-a-0.wav")
    convert(world, out, method="meanvar")
    assert not (out / "logmel.scp").exists() and not (out / "wav" / "z-z-9.wav").exists()
    assert np.abs(read_audio(out / "wav" / "c-a-0.wav") - before).max() > 0.01
    content = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    convert(world, out, method="meanvar")
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == content


@pytest.mark.parametrize("vocoder", ["griffinlim", "world"])
def test_bins_of_the_transform_are_converted_too(tmp_path: Path, vocoder: str) -> None:
    data = voice_dir(tmp_path, 2, "logspec200", text=False)
    (tmp_path / "pairs").write_text("a-0 c c-1\n", encoding="utf-8")
    made = ConversionStage(data, tmp_path / "pairs", tmp_path / "out", "meanvar", vocoder,
                           feats="logspec", iterations=3)  # fmt: skip
    assert made.make_shard(1) == made.commit() == 1
    out = DataDir.load(tmp_path / "out")
    assert out.text is None and np.abs(out.read_utt("c-a-0")).max() > 0.001


def test_missing_and_foreign_shards_are_refused(world: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = stage(world, out, method="source", jobs=2)
    made.make_shard(1)
    with pytest.raises(UserError, match="shard 2/2 is missing"):
        made.commit()
    made.make_shard(2)
    with pytest.raises(UserError, match="shard 1/2 is missing"):
        stage(world, out, method="meanvar", jobs=2).commit()
    (out / "wav" / "c-a-0.wav").unlink()
    with pytest.raises(UserError, match="'c-a-0' not made"):
        made.commit()
    assert not (out / "wav.scp").exists() and not (out / "convert.json").exists()


def test_refusals(world: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    for options, message in (
        ({"method": "swap"}, "--method swap: use shift"),
        ({"vocoder": "hifigan"}, "--vocoder hifigan: use griffinlim, world"),
        ({"checkpoint": ""}, "give --checkpoint"),
        ({"iterations": 0}, "--iterations 0"),
    ):
        with pytest.raises(UserError, match=message):
            stage(world, out, **options)
    with pytest.raises(UserError, match="name another directory"):
        stage(world, world["data"])
    with pytest.raises(UserError, match="logspec.json: no such file"):
        stage(world, out, method="source", feats="logspec").make_shard(1)


def test_a_system_may_be_named(world: dict[str, Path], tmp_path: Path) -> None:
    assert stage(world, tmp_path, method="source").info["system"] == "source"
    assert stage(world, tmp_path, system="best").info["system"] == "best"
