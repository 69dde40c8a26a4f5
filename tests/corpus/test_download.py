"""Downloads against a server on loopback that breaks off, restarts, changes files and lies."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pylib.bin import download as verb
from pylib.corpus.download import Checksum, fetch, unpack_tar
from pylib.corpus.errors import UserError

BODY = bytes(range(256)) * 4000  # 1 MB


class Server(ThreadingHTTPServer):
    """Serves `files`; `break_after` lists after how many bytes each next answer breaks off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/a.bin": BODY}
        self.break_after: list[int] = []
        self.ranges: list[str | None] = []
        self.supports_range = True
        self.status: list[int] = []  # answers to give before serving

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.ranges.append(self.headers.get("Range"))
        if self.server.status:
            self.send_error(self.server.status.pop(0))
            return
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        start = 0
        wanted = self.headers.get("Range")
        if wanted and self.server.supports_range and self.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        part = body[start:]
        if self.server.break_after:
            part = part[: self.server.break_after.pop(0)]
        self.wfile.write(part)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def md5(body: bytes) -> Checksum:
    return Checksum("md5", hashlib.md5(body).hexdigest())


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_plain_download(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "sub" / "a.bin"
    seen: list[tuple[int, int]] = []
    assert fetch(
        f"{server.url}/a.bin", target, md5(BODY), progress=lambda a, b: seen.append((a, b))
    )
    assert target.read_bytes() == BODY and names(target.parent) == ["a.bin"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert not fetch(f"{server.url}/a.bin", target, md5(BODY))
    assert len(server.ranges) == 1  # the second call asked nothing


def test_broken_connections_are_resumed(server: Server, tmp_path: Path) -> None:
    server.break_after = [300_000, 0, 500_000]
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), wait=0.01)
    assert (tmp_path / "a.bin").read_bytes() == BODY
    assert server.ranges == [None, "bytes=300000-", "bytes=300000-", "bytes=800000-"]


def test_a_later_run_goes_on(server: Server, tmp_path: Path) -> None:
    server.break_after = [400_000] + [0] * 9
    with pytest.raises(UserError, match="400000 bytes are kept"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), retries=2, wait=0.01)
    assert names(tmp_path) == ["a.bin.part", "a.bin.part.json"]
    server.break_after = []
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY))
    assert server.ranges[-1] == "bytes=400000-"
    assert (tmp_path / "a.bin").read_bytes() == BODY and names(tmp_path) == ["a.bin"]


def test_a_changed_file_starts_again(server: Server, tmp_path: Path) -> None:
    server.break_after = [400_000] + [0] * 9
    with pytest.raises(UserError):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", None, retries=1, wait=0.01)
    server.break_after = []
    server.files["/a.bin"] = new = BODY[::-1]
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5(new))
    assert (tmp_path / "a.bin").read_bytes() == new


def test_a_server_without_ranges(server: Server, tmp_path: Path) -> None:
    server.supports_range = False
    server.break_after = [700_000]
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), wait=0.01)
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_a_part_that_is_whole(server: Server, tmp_path: Path) -> None:
    """Killed between the last byte and the rename."""
    server.break_after = [400_000] + [0] * 9
    with pytest.raises(UserError):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), retries=1, wait=0.01)
    (tmp_path / "a.bin.part").write_bytes(BODY)
    server.break_after = []
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY))
    assert (tmp_path / "a.bin").read_bytes() == BODY


def test_server_errors(server: Server, tmp_path: Path) -> None:
    server.status = [503, 429]
    assert fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY), wait=0.01)
    with pytest.raises(UserError, match="404.*check the URL"):
        fetch(f"{server.url}/none.bin", tmp_path / "none.bin", None)
    assert server.ranges.count(None) == 4  # 404 is not tried again


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected: removed it"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5(b"other"))
    assert names(tmp_path) == []
    (tmp_path / "a.bin").write_bytes(b"mine")
    with pytest.raises(UserError, match="is there but"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", md5(BODY))
    assert (tmp_path / "a.bin").read_bytes() == b"mine"


def test_too_little_space(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match="needed"):
        fetch(f"{server.url}/a.bin", tmp_path / "a.bin", None)
    assert not (tmp_path / "a.bin").exists()


@pytest.mark.parametrize("text", ["md5:12", "crc:00", "md5", "sha256:" + "G" * 64])
def test_checksums_are_parsed(text: str) -> None:
    with pytest.raises(UserError, match="checksum"):
        Checksum.parse(text)
    assert Checksum.parse("-") is None
    assert Checksum.parse("md5:" + "0" * 32) == Checksum("md5", "0" * 32)


def test_other_schemes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="only http"):
        fetch("file:///etc/passwd", tmp_path / "x", None)


def make_tar(path: Path, members: dict[str, bytes], link: tuple[str, str] | None = None) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
        if link is not None:
            info = tarfile.TarInfo(link[0])
            info.type, info.linkname = tarfile.SYMTYPE, link[1]
            tar.addfile(info)
    return path


def test_unpacking_adds_to_the_tree(tmp_path: Path) -> None:
    first = make_tar(tmp_path / "1.tgz", {"Top/a/x": b"1", "Top/README": b"old"})
    second = make_tar(tmp_path / "2.tgz", {"Top/b/y": b"2", "Top/README": b"new"})
    assert unpack_tar(first, tmp_path / "out", "Top") == ["README", "a"]
    assert unpack_tar(second, tmp_path / "out", "Top") == ["README", "b"]
    assert (tmp_path / "out/Top/a/x").read_bytes() == b"1"
    assert (tmp_path / "out/Top/README").read_bytes() == b"new"
    assert names(tmp_path / "out") == ["Top"]


@pytest.mark.parametrize("name", ["../evil", "/tmp/trivium-evil", "Top/../../evil"])
def test_unsafe_names_are_refused(tmp_path: Path, name: str) -> None:
    archive = make_tar(tmp_path / "x.tgz", {"Top/a/x": b"1", name: b"evil"})
    with pytest.raises(UserError):
        unpack_tar(archive, tmp_path / "out", "Top")
    assert names(tmp_path / "out") == [] and not Path("/tmp/trivium-evil").exists()
    assert names(tmp_path) == ["out", "x.tgz"]


def test_links_out_other_tops_and_cut_archives_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError):
        unpack_tar(make_tar(tmp_path / "l.tgz", {"Top/x": b"1"}, ("Top/l", "../../x")), out, "Top")
    with pytest.raises(UserError, match="not that archive"):
        unpack_tar(make_tar(tmp_path / "o.tgz", {"Else/x": b"1"}), out, "Top")
    whole = make_tar(tmp_path / "c.tgz", {"Top/x": bytes(range(256)) * 999}).read_bytes()
    (tmp_path / "c.tgz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="fetch it again"):
        unpack_tar(tmp_path / "c.tgz", out, "Top")
    assert names(out) == []


def test_the_verb(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = make_tar(tmp_path / "t.tgz", {"Top/part/x": b"1"}).read_bytes()
    server.files["/t.tgz"] = archive
    table = tmp_path / "table.txt"
    sums = [hashlib.md5(body).hexdigest() for body in (archive, BODY)]
    table.write_text(
        f"# comment\nt tar:Top/part http://example.org/t.tgz md5:{sums[0]}\n"
        f"a file http://example.org/a.bin md5:{sums[1]}\nfree file http://example.org/a.bin -\n",
        encoding="utf-8",
    )
    argv = ["--mirror", f"http://example.org={server.url}", str(table), str(tmp_path / "d")]
    assert verb.main([*argv, "t", "a"]) == 0
    assert (tmp_path / "d/Top/part/x").read_bytes() == b"1"
    assert names(tmp_path / "d") == ["Top", "a.bin"]
    asked = len(server.ranges)
    assert verb.main([*argv, "t", "a"]) == 0 and len(server.ranges) == asked
    assert "is there already" in capsys.readouterr().out
    assert verb.main([*argv, "free"]) == 0
    assert "no checksum is known" in capsys.readouterr().out
    with pytest.raises(UserError, match="known are t, a, free"):
        verb.main([*argv, "b"])
    table.write_text("t tar http://x -\n", encoding="utf-8")
    with pytest.raises(UserError, match="table.txt:1"):
        verb.main([*argv, "t"])
