"""Mouth pictures in arks: not a bit lost, read fast, bad items refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from kaldiio import load_mat

from pylib.corpus.ark import ArkReader, ArkWriter, read_scp
from pylib.corpus.errors import UserError
from pylib.features.mouth_store import (
    COMPRESSION,
    contact_sheet,
    describe_mouth,
    read_mouth,
    strip,
    to_matrix,
)


def store(folder: Path, items: dict[str, np.ndarray], compression: int = COMPRESSION) -> dict:
    with ArkWriter(folder / "m.ark", folder / "m.scp", compression) as writer:
        for key, value in items.items():
            writer.write(key, value)
    return read_scp(folder / "m.scp")


def clip(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (length, 96, 96), dtype=np.uint8)


def test_every_byte_comes_back(tmp_path: Path) -> None:
    every = np.resize(np.arange(256, dtype=np.uint8), (3, 96, 96))
    flat = np.full((2, 96, 96), 255, dtype=np.uint8)
    clips = {"a": every, "b": clip(7), "c": flat, "d": np.zeros((1, 96, 96), dtype=np.uint8)}
    scp = store(tmp_path, {key: to_matrix(value) for key, value in clips.items()})
    with ArkReader() as reader:
        for key, value in clips.items():
            back = read_mouth(reader, scp[key], key)
            assert back.dtype == np.uint8 and back.flags.writeable
            np.testing.assert_array_equal(back, value)
            # Another reader of Kaldi's formats sees the same numbers.
            np.testing.assert_array_equal(load_mat(scp[key]), value.reshape(len(value), -1))
    assert (tmp_path / "m.ark").stat().st_size < 13 * 9216 + 200
    assert describe_mouth()["dim"] == 9216 and describe_mouth()["compression"] == COMPRESSION


@pytest.mark.parametrize("compression", [0, 5])
def test_floats_are_read_where_they_are_grey_values(tmp_path: Path, compression: int) -> None:
    value = np.resize(np.arange(256, dtype=np.uint8), (4, 96, 96))
    scp = store(tmp_path, {"a": to_matrix(value)}, compression)
    with ArkReader() as reader:
        np.testing.assert_array_equal(read_mouth(reader, scp["a"], "a"), value)


def test_items_that_are_no_pictures_are_refused(tmp_path: Path) -> None:
    scp = store(
        tmp_path,
        {
            "half": np.full((2, 9216), 0.5, dtype=np.float32),
            "high": np.full((2, 9216), 300, dtype=np.float32),
            "ints": np.arange(9216, dtype=np.int32),
            "other": np.zeros((2, 26), dtype=np.float32),
        },
        compression=0,
    )
    with ArkReader() as reader:
        for key in ("half", "high"):
            with pytest.raises(UserError, match=f"'{key}'.*grey"):
                read_mouth(reader, scp[key], key)
        for key in ("other", "ints"):
            with pytest.raises(UserError, match=f"'{key}'.*9216"):
                read_mouth(reader, scp[key], key)
        with pytest.raises(UserError, match="range"):
            read_mouth(reader, scp["half"] + "[0:0]", "half")
    data = (tmp_path / "m.ark").read_bytes()
    (tmp_path / "m.ark").write_bytes(data[:-5000])
    with ArkReader() as reader, pytest.raises(UserError, match="truncated"):
        read_mouth(reader, scp["other"], "other")
    with pytest.raises(ValueError, match="uint8"):
        to_matrix(np.zeros((2, 96, 96), dtype=np.float32))  # type: ignore[arg-type]


def test_strips_and_sheets() -> None:
    value = np.arange(30, dtype=np.uint8)[:, None, None] * np.ones((1, 96, 96), dtype=np.uint8)
    row = strip(value, 4)
    assert row.shape == (96, 384) and row[0, ::96].tolist() == [0, 10, 19, 29]
    assert strip(value[:2], 4)[0, ::96].tolist() == [0, 1, 255, 255]
    assert strip(value, 4, every=12.5)[0, ::96].tolist() == [0, 12, 25, 255]
    assert (strip(value[:0], 3) == 255).all()
    two = clip(5)
    sheet = contact_sheet({"one": value, "two": two}, columns=5)
    assert sheet.shape == (2 * 112, 480) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[16:112], strip(value, 5))
    np.testing.assert_array_equal(sheet[128:], strip(two, 5))
    # The names are written in the bands above.
    assert (sheet[:16] < 128).any() and (sheet[112:128] < 128).any()
    with pytest.raises(UserError, match="no clips"):
        contact_sheet({})
