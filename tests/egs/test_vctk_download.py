"""The script that fetches VCTK, and zip archives."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pylib.bin.download import read_items
from pylib.corpus.download import unpack_zip
from pylib.corpus.errors import UserError
from tests.egs.test_librispeech_download import server as server
from tests.egs.vctk_trees import LOCAL

PLACE = "bitstream/handle/10283/3443"


def download(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(LOCAL / "download.sh"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def pack(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return path


def test_the_table() -> None:
    items = read_items(LOCAL / "downloads.txt")
    assert set(items) == {"vctk"}
    item = items["vctk"]
    assert item.action == "zip:VCTK-Corpus-0.92" and item.checksum is not None
    assert item.url == f"https://datashare.ed.ac.uk/{PLACE}/VCTK-Corpus-0.92.zip"
    assert item.checksum.value.startswith("f96258be9fdc2cbf")


def test_a_wrong_archive_is_refused(server: str, tmp_path: Path) -> None:
    pack(tmp_path / "www" / PLACE / "VCTK-Corpus-0.92.zip", {"txt/p225/p225_001.txt": b"x"})
    corpus = tmp_path / "corpora" / "VCTK-Corpus-0.92"
    done = download("--mirror", server, str(corpus))
    assert done.returncode == 1 and "sha256 is" in done.stderr
    assert list((tmp_path / "corpora").iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "VCTK-Corpus-0.92").mkdir()
    done = download("--mirror", "http://127.0.0.1:9", str(tmp_path))
    assert done.returncode == 0 and done.stdout == "vctk: is there already\n", done.stderr
    assert download().returncode == 2


def test_fetched_and_unpacked(server: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / "www" / "c.zip", {"txt/p225/p225_001.txt": b"Hello.\n", "log": b""})
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    table = tmp_path / "table.txt"
    table.write_text(f"vctk zip:VCTK-Corpus-0.92 {server}/c.zip sha256:{digest}\n", "utf-8")
    words = [sys.executable, "-m", "pylib.bin.download", str(table), str(tmp_path / "to"), "vctk"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "to/VCTK-Corpus-0.92/txt/p225/p225_001.txt").read_text("utf-8") == "Hello.\n"
    assert [path.name for path in (tmp_path / "to").iterdir()] == ["VCTK-Corpus-0.92"]


def test_a_top_directory_of_the_same_name_is_left_out(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"corpus/txt/a": b"1", "corpus/b": b"2"})
    unpack_zip(archive, tmp_path / "corpus")
    assert {path.name for path in (tmp_path / "corpus").iterdir()} == {"txt", "b"}
    with pytest.raises(UserError, match="is there already"):
        unpack_zip(archive, tmp_path / "corpus")


@pytest.mark.parametrize("name", ["../out", "/abs", "a/../../out", "a\\..\\out"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"fine": b"1", name: b"2"})
    with pytest.raises(UserError, match="unsafe member"):
        unpack_zip(archive, tmp_path / "in" / "corpus")
    assert not (tmp_path / "out").exists() and not (tmp_path / "in" / "corpus").exists()


def test_a_broken_archive_leaves_nothing(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"fine": b"1" * 5000})
    data = bytearray(archive.read_bytes())
    data[60] ^= 255
    for content in (bytes(data), bytes(data[:100])):
        archive.write_bytes(content)
        with pytest.raises(UserError, match="fetch it again"):
            unpack_zip(archive, tmp_path / "in" / "corpus")
        assert not list((tmp_path / "in").glob("*"))
