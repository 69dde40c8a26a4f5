"""The table of LibriSpeech's open files, and the script that fetches them."""

from __future__ import annotations

import functools
import io
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pylib.bin.download import read_items

ROOT = Path(__file__).parents[2]
LOCAL = ROOT / "egs" / "librispeech" / "local"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves tmp_path/www."""
    root = tmp_path / "www"
    root.mkdir()
    handler = functools.partial(Quiet, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def download(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(LOCAL / "download.sh"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_table_names_every_open_part_with_a_checksum() -> None:
    items = read_items(LOCAL / "downloads.txt")
    subsets = {"train-clean-100", "train-clean-360", "train-other-500"}
    subsets |= {f"{role}-{kind}" for role in ("dev", "test") for kind in ("clean", "other")}
    assert set(items) == subsets | {"lm-text", "lm-4gram", "lexicon", "librilight"}
    for name, item in items.items():
        assert item.url.startswith("https://") and item.checksum is not None
        if name in subsets:
            assert item.action == f"tar:LibriSpeech/{name}"
            assert item.url.endswith(f"/resources/12/{name}.tar.gz")
    values = [item.checksum.value for item in items.values() if item.checksum]
    assert len(set(values)) == len(values)


def test_a_wrong_archive_is_refused(server: str, tmp_path: Path) -> None:
    place = tmp_path / "www" / "resources" / "12"
    place.mkdir(parents=True)
    with tarfile.open(place / "dev-clean.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("LibriSpeech/dev-clean/1/2/1-2-0000.flac")
        tar.addfile(info, io.BytesIO())
    corpus = tmp_path / "corpora" / "LibriSpeech"
    result = download("--mirror", server, "--parts", "dev-clean", str(corpus))
    assert result.returncode == 1, result.stderr
    assert (
        "md5 is" in result.stderr and "42e2234ba48799c1f50f24a7926300a1 expected" in result.stderr
    )
    assert list((tmp_path / "corpora").iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "LibriSpeech" / "dev-clean").mkdir(parents=True)
    # a server that does not exist: nothing is asked of it
    result = download("--mirror", "http://127.0.0.1:9", "--parts", "dev-clean", str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert result.stdout == "dev-clean: is there already\n"


def test_unknown_parts_and_missing_server(server: str, tmp_path: Path) -> None:
    result = download("--parts", "dev-cleen", str(tmp_path / "c"))
    assert result.returncode == 1 and "known are train-clean-100" in result.stderr
    result = download("--mirror", server, "--parts", "lexicon", str(tmp_path / "c"))
    assert result.returncode == 1 and "HTTP 404" in result.stderr
    assert download().returncode == 2
