"""Arks and scps: committed together, read with checks, readable by kaldiio and the reverse."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from pathlib import Path

import kaldiio
import numpy as np
import pytest

from pylib.corpus.ark import (
    ArkReader,
    ArkWriter,
    concat_scps,
    iter_scp,
    read_ints,
    read_mat,
    read_scp,
)
from pylib.corpus.arkformat import parse_rx
from pylib.corpus.errors import UserError
from pylib.corpus.tables import write_table

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)
MATS = {f"u{i:02d}": RNG.standard_normal((i + 1, 7)).astype(np.float32) for i in range(12)}
INTS = {f"u{i:02d}": RNG.integers(-5, 500, i).astype(np.int32) for i in range(12)}


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(items, name="a", **options):
    with ArkWriter(f"{name}.ark", f"{name}.scp", **options) as writer:
        for key, array in items.items():
            writer.write(key, array)
    return read_scp(f"{name}.scp")


@pytest.mark.parametrize("items", [MATS, INTS, {k: m[:, 0] for k, m in MATS.items()}])
def test_round_trip_and_kaldiio_reads_ours(items):
    scp = write(items)
    assert scp["u00"].startswith("a.ark:")
    other = kaldiio.load_scp("a.scp")
    for key, array in iter_scp("a.scp"):
        np.testing.assert_array_equal(array, items[key])
        np.testing.assert_array_equal(other[key], items[key])
        assert array.dtype == items[key].dtype
        assert array.flags.writeable


@pytest.mark.parametrize("method", [1, 2, 3, 5])
def test_compressed_reads_as_kaldiio_does(method):
    write(MATS, compression=method)
    other = kaldiio.load_scp("a.scp")
    for key, array in iter_scp("a.scp"):
        np.testing.assert_array_equal(array, other[key])
        assert np.abs(array - MATS[key]).max() < {1: 0.2, 2: 0.2, 3: 1e-3, 5: 0.05}[method]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_we_read_kaldiios(dtype):
    array = (RNG.standard_normal(9) * 100).astype(dtype)
    items = {"a": array, "b": array[:0]}
    if dtype != np.int32:
        items["c"] = array.reshape(3, 3)
    with kaldiio.WriteHelper("ark,scp:k.ark,k.scp") as writer:
        for key, value in items.items():
            writer(key, value)
    for key, value in iter_scp("k.scp"):
        np.testing.assert_array_equal(value, items[key])


def test_ranges_are_inclusive_and_never_clipped():
    scp = write({"m": MATS["u09"], "v": INTS["u09"]})
    m, v = scp["m"], scp["v"]
    np.testing.assert_array_equal(read_mat(f"{m}[2:4]"), MATS["u09"][2:5])
    np.testing.assert_array_equal(read_mat(f"{m}[0:0,1:6]"), MATS["u09"][:1, 1:])
    np.testing.assert_array_equal(read_mat(f"{m}[,1:2]"), MATS["u09"][:, 1:3])
    np.testing.assert_array_equal(read_mat(f"{m}[:,1:2]"), MATS["u09"][:, 1:3])
    np.testing.assert_array_equal(read_ints(f"{v}[3:8]"), INTS["u09"][3:])
    for bad in (f"{m}[2:10]", f"{m}[0:1,0:7]", f"{v}[0:9]", f"{v}[0:1,0:1]"):
        with pytest.raises(UserError, match=r"key 'k': a.ark:\d+: .*range"):
            read_mat(bad, "k")
    for bad in ("[3:2]", "[-1:2]", "[1]", "[a:b]", "[1:2:3]", "[1:2,1:2,1:2]"):
        with pytest.raises(UserError, match="bad range"):
            read_mat(m + bad)


@pytest.mark.parametrize("rx", ["cat a.ark |", "| cat", "-", "", "touch pwned |"])
def test_pipes_are_refused_and_not_run(rx, tmp_path):
    with pytest.raises(UserError, match="key 'k'"):
        read_mat(rx, "k")
    (tmp_path / "p.scp").write_text(f"k {rx}\n" if rx else "k\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"p.scp:1: "):
        read_scp("p.scp")
    assert not (tmp_path / "pwned").exists()


def test_pickles_and_text_arks_are_refused(tmp_path):
    (tmp_path / "evil.ark").write_bytes(b"k PKL\x80\x04\x95")
    (tmp_path / "text.ark").write_bytes(b"k  [\n  1 2 ]\n")
    for name in ("evil.ark", "text.ark"):
        with pytest.raises(UserError, match="no ark item stands at this offset"):
            read_mat(f"{name}:2")


def test_bad_offsets_name_key_file_and_offset():
    scp = write(MATS)
    offset = int(scp["u05"].rpartition(":")[2])
    for wrong in (offset + 1, offset - 1, 0):
        with pytest.raises(UserError, match=rf"key 'u05': a.ark:{wrong}: no ark item"):
            read_mat(f"a.ark:{wrong}", "u05")
    with pytest.raises(UserError, match=r"key 'u05': a.ark:999999: the file has only"):
        read_mat("a.ark:999999", "u05")
    with pytest.raises(UserError, match=r"gone.ark: cannot be opened"):
        read_mat("gone.ark:3", "u05")


@pytest.mark.parametrize("compression", [0, 1, 3])
def test_every_truncation_is_found(tmp_path, compression):
    scp = write({"a": MATS["u02"], "b": MATS["u04"]}, compression=compression)
    data = (tmp_path / "a.ark").read_bytes()
    start = int(scp["b"].rpartition(":")[2])
    for size in range(start, len(data)):
        (tmp_path / "cut.ark").write_bytes(data[:size])
        with pytest.raises(UserError, match=rf"key 'b': cut.ark:{start}: "):
            read_mat(f"cut.ark:{start}", "b")


def test_random_bytes_never_crash(tmp_path):
    scp = write({"a": MATS["u03"], "b": INTS["u07"]})
    data = (tmp_path / "a.ark").read_bytes()
    starts = [int(rx.rpartition(":")[2]) for rx in scp.values()]
    for _ in range(400):
        broken = bytearray(data)
        for _ in range(3):
            broken[RNG.integers(len(data))] = RNG.integers(256)
        (tmp_path / "x.ark").write_bytes(broken)
        with ArkReader() as reader:
            for start in starts:
                try:
                    reader.read(f"x.ark:{start}", "k")
                except UserError as error:
                    assert f"x.ark:{start}" in str(error)


def test_huge_promises_are_not_allocated(tmp_path):
    header = b"\0BFM \4" + struct.pack("<i", 2**31 - 1) + b"\4" + struct.pack("<i", 2**31 - 1)
    (tmp_path / "h.ark").write_bytes(header + b"\0" * 100)
    with pytest.raises(UserError, match="truncated"):
        read_mat("h.ark:0")


def test_duplicate_scp_keys_are_refused(tmp_path):
    (tmp_path / "d.scp").write_text("k a.ark:2\nk a.ark:9\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"d.scp:2: duplicate-key"):
        read_scp("d.scp")


def test_wrong_kind():
    scp = write({"m": MATS["u03"], "v": INTS["u07"]})
    with pytest.raises(UserError, match="holds floats"):
        read_ints(scp["m"])
    with pytest.raises(UserError, match="holds integers"):
        read_mat(scp["v"])


def test_writer_refuses(tmp_path):
    cases = [
        ("k", np.full((2, 2), np.nan, np.float32), UserError),
        ("k k", MATS["u00"], UserError),
        ("", MATS["u00"], UserError),
        ("k", np.zeros((2, 2, 2), np.float32), ValueError),
        ("k", np.zeros(3, np.int64), ValueError),
        ("k", np.zeros(3, np.float16), ValueError),
        ("k", np.zeros((2, 2), np.int32), ValueError),
    ]
    for key, array, error in cases:
        with pytest.raises(error), ArkWriter("w.ark", "w.scp") as writer:
            writer.write("good", MATS["u01"])
            writer.write(key, array)
    with pytest.raises(UserError, match="written twice"), ArkWriter("w.ark", "w.scp") as writer:
        writer.write("k", MATS["u01"])
        writer.write("k", MATS["u01"])
    with pytest.raises(UserError, match="compression 9"):
        ArkWriter("w.ark", "w.scp", compression=9)
    assert not list(tmp_path.iterdir())


def test_count_must_be_reached(tmp_path):
    with pytest.raises(UserError, match="1 items made of 2"):
        write({"a": MATS["u00"]}, count=2)
    assert not list(tmp_path.iterdir())


def test_interrupt_keeps_the_old_pair(tmp_path):
    write({"old": MATS["u00"]})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt), ArkWriter("a.ark", "a.scp") as writer:
        writer.write("new", MATS["u01"])
        raise KeyboardInterrupt
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("after", range(4))
def test_full_disk_never_leaves_an_scp_without_its_ark(tmp_path, monkeypatch, after):
    """The disk is full at the first flush, when nothing is lost, or at a later one."""
    old = write({"old": MATS["u00"]})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    real, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch, pytest.raises(OSError) as caught:
        patch.setattr(os, "fsync", full)
        write(MATS)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename is not None
    left = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    if after == 0:
        assert left == before
        np.testing.assert_array_equal(read_mat(old["old"]), MATS["u00"])
    else:
        assert set(left) == {"a.ark"}


LIMITED = """
import numpy as np, resource, signal, sys
from pylib.bin.entry import run
from pylib.corpus.ark import ArkWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
def main(argv):
    with ArkWriter("big.ark", "big.scp") as writer:
        for number in range(10):
            writer.write(f"u{number}", np.zeros((100, 80), np.float32))
run(main)
"""


def test_no_room_for_the_ark(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "big.ark" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_paths_in_scps(tmp_path, monkeypatch):
    (tmp_path / "recipe").mkdir()
    with ArkWriter(tmp_path / "out" / "a.ark", "recipe/a.scp") as writer:
        writer.write("k", MATS["u00"])
    assert read_scp("recipe/a.scp")["k"] == "out/a.ark:2"
    monkeypatch.chdir(tmp_path / "recipe")
    with ArkWriter(tmp_path / "out" / "a.ark", "a.scp") as writer:
        writer.write("k", MATS["u00"])
    assert read_scp("a.scp")["k"] == f"{tmp_path}/out/a.ark:2"
    assert parse_rx("dir:with/colon.ark:12").path == "dir:with/colon.ark"


def test_concat(tmp_path):
    write({"b": MATS["u00"]}, "1")
    write({"a": MATS["u01"]}, "2")
    assert concat_scps(["1.scp", "2.scp"], "all.scp") == 2
    assert list(read_scp("all.scp")) == ["a", "b"]
    write({"a": MATS["u02"]}, "3")
    with pytest.raises(UserError, match=r"3.scp: key 'a' is also in 2.scp"):
        concat_scps(["1.scp", "2.scp", "3.scp"], "all.scp")
    assert list(read_scp("all.scp")) == ["a", "b"]


def test_reader_keeps_few_files_open():
    for number in range(6):
        write({"k": MATS["u00"] + number}, str(number))
    with ArkReader(max_open=2) as reader:
        for _ in range(2):
            for number in range(6):
                array = reader.read(read_scp(f"{number}.scp")["k"])
                np.testing.assert_array_equal(array, MATS["u00"] + number)
        assert len(reader._files) == 2


def test_empty_matrix_round_trip():
    scp = write({"e": np.zeros((0, 5), np.float32)})
    assert read_mat(scp["e"]).shape == (0, 5)


def test_scp_needs_order(tmp_path):
    (tmp_path / "s.scp").write_text("b a.ark:2\na a.ark:9\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"s.scp:2: unsorted"):
        read_scp("s.scp")
    write_table("t.scp", {"a": "a.ark:2"})
    assert read_scp("t.scp") == {"a": "a.ark:2"}


@pytest.mark.parametrize("rx", ["a\0b.ark:5", "a.ark:" + "9" * 5000, "a.ark:\u00b2"])
def test_places_that_cannot_be_are_refused(rx: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="key 'u': .*cannot be opened"):
        read_mat(rx, "u")
