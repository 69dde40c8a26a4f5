"""Fetch files of open corpora: resumed, verified, unpacked safely. Standard library only.

A download grows in `<target>.part` beside its final name, with `<target>.part.json` telling which
version of which URL it is a part of; a later run goes on from there (HTTP range). The final name
appears when size and checksum are right.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import stat
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylib.corpus.atomic import require_free_space, write_json
from pylib.corpus.errors import UserError

_BLOCK = 1 << 20
_DROPPED = (
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    urllib.error.URLError,
)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Checksum:
    """Expected digest: `algorithm` is md5 or sha256, `value` lower-case hexadecimal."""

    algorithm: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Checksum | None:
        """`md5:...` or `sha256:...`; `-` for a file without a known checksum gives None.

        Raises:
            UserError: anything else.
        """
        if text == "-":
            return None
        algorithm, _, value = text.partition(":")
        length = {"md5": 32, "sha256": 64}.get(algorithm)
        if length != len(value) or not set(value) <= set("0123456789abcdef"):
            raise UserError(f"checksum '{text}': not md5:<hex>, sha256:<hex> or -: correct it")
        return cls(algorithm, value)

    def of(self, path: Path) -> str:
        """Digest of a file by this algorithm."""
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, self.algorithm).hexdigest()


@dataclass
class _Part:
    """The unfinished file and what it is a part of."""

    url: str
    path: Path
    note: Path

    @classmethod
    def of(cls, url: str, target: Path) -> _Part:
        return cls(
            url,
            target.with_name(target.name + ".part"),
            target.with_name(target.name + ".part.json"),
        )

    def resume_point(self) -> tuple[int, str]:
        """(bytes that are there, validator of the version they belong to); (0, "") to start."""
        if not self.path.is_file() or not self.note.is_file():
            return 0, ""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError):
            return 0, ""
        if note.get("url") != self.url or not note.get("validator"):
            return 0, ""
        return self.path.stat().st_size, str(note["validator"])

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def _validator(headers: http.client.HTTPMessage) -> str:
    """Strong ETag or modification time, which tell whether a part is of the same version."""
    etag = headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return headers.get("Last-Modified", "")


def _total(response: Any, start: int) -> int:
    """Size of the whole file by the response's headers, -1 if the server does not tell."""
    content_range = response.headers.get("Content-Range", "")
    size = content_range.rpartition("/")[2]
    if response.status == 206 and size.isdigit():
        return int(size)
    length = response.headers.get("Content-Length", "")
    return start + int(length) if length.isdigit() else -1


def _open(url: str, start: int, validator: str, timeout: float) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": "trivium-download"})
    if start:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", validator)
    return urllib.request.urlopen(request, timeout=timeout)


def _receive(part: _Part, timeout: float, progress: Progress) -> None:
    """One connection: go on where the part ends, up to the end of the file.

    Raises:
        one of _DROPPED when the connection breaks; UserError on an answer that will not change.
    """
    start, validator = part.resume_point()
    try:
        response = _open(part.url, start, validator, timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing left: the part is whole, or of another version
            size = error.headers.get("Content-Range", "").rpartition("/")[2]
            if size == str(start):
                return
            part.remove()
            raise ConnectionError("the server's file has changed") from error
        if error.code >= 500 or error.code in (408, 429):
            raise ConnectionError(f"HTTP {error.code}") from error
        raise UserError(f"{part.url}: HTTP {error.code} {error.reason}: check the URL") from error
    with response:
        if response.status != 206:
            start = 0  # the server sends it from the beginning
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            part.remove()
            raise ConnectionError("the server sent another range than the one asked for")
        total = _total(response, start)
        require_free_space(part.path.parent, max(0, total - start))
        write_json(part.note, {"url": part.url, "validator": _validator(response.headers)})
        done = start
        with open(part.path, "r+b" if start else "wb") as stream:
            stream.seek(start)
            while block := response.read(_BLOCK):
                stream.write(block)
                done += len(block)
                progress(done, total)
            stream.truncate()
        if total >= 0 and done != total:
            raise ConnectionError(f"connection closed after {done} of {total} bytes")


def fetch(
    url: str,
    target: Path,
    checksum: Checksum | None,
    *,
    retries: int = 5,
    wait: float = 2.0,
    timeout: float = 60.0,
    progress: Progress = lambda done, total: None,
) -> bool:
    """Download `url` to `target` unless it is there with the right checksum.

    Args:
        checksum: None accepts any content of the size that the server tells.
        retries: broken connections in a row, without a byte gained, before giving up.
        wait: s before the first retry, doubled for each further one.
        timeout: s without data.

    Returns:
        False when the file was there already.

    Raises:
        UserError: not http(s), an HTTP error, a connection that keeps breaking (the part is kept),
            no space, or a wrong checksum (the part is removed).
    """
    if not url.startswith(("https://", "http://")):
        raise UserError(f"{url}: only http and https are fetched: correct the URL")
    if target.is_file():
        if checksum is None or checksum.of(target) == checksum.value:
            return False
        raise UserError(
            f"{target}: is there but its {checksum.algorithm} is not {checksum.value}: "
            "remove it to have it fetched again"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = _Part.of(url, target)
    failures = 0
    while True:
        before = part.resume_point()[0]
        try:
            _receive(part, timeout, progress)
            break
        except _DROPPED as error:
            gained = part.resume_point()[0] > before
            failures = 1 if gained else failures + 1
            if failures > retries:
                raise UserError(
                    f"{url}: connection broken {failures} times ({error}): run again later, "
                    f"{part.resume_point()[0]} bytes are kept"
                ) from error
            time.sleep(wait * 2 ** (failures - 1))
    _finish(part, target, checksum)
    return True


def _finish(part: _Part, target: Path, checksum: Checksum | None) -> None:
    """Check the whole file and give it its name."""
    if checksum is not None:
        found = checksum.of(part.path)
        if found != checksum.value:
            part.remove()
            raise UserError(
                f"{part.url}: {checksum.algorithm} is {found}, {checksum.value} expected: removed "
                "it; run again, and if it stays wrong the file on the server has changed"
            )
    with open(part.path, "rb") as stream:
        os.fsync(stream.fileno())
    os.replace(part.path, target)
    part.note.unlink(missing_ok=True)


def unpack_tar(archive: Path, directory: Path, top: str) -> list[str]:
    """Unpack a tar archive and add what is below its directory `top` to `directory`/`top`.

    Nothing is written outside: absolute names, `..`, links that lead out and devices are refused
    (tarfile's `data` filter). Everything is unpacked beside first; each directory below `top`
    appears with one rename. A directory that is there already is replaced.

    Args:
        archive: tar, maybe compressed.
        directory: where `top` goes.
        top: the archive's only top directory, such as `LibriSpeech`.

    Returns:
        Names now below `directory`/`top` that came from the archive.

    Raises:
        UserError: broken or unsafe archive, another top directory, no space.
    """
    if not hasattr(tarfile, "data_filter"):
        raise UserError("this Python's tarfile cannot unpack safely: use Python >= 3.11.4")
    # Audio does not compress further: what comes out is hardly larger than the archive.
    require_free_space(directory, int(1.1 * archive.stat().st_size))
    directory.mkdir(parents=True, exist_ok=True)
    temp = directory / f".{archive.name}.unpacked"
    shutil.rmtree(temp, ignore_errors=True)
    try:
        with tarfile.open(archive, "r:*") as tar:
            tar.extractall(temp, filter="data")
        source = temp / top
        others = sorted(entry.name for entry in temp.iterdir() if entry.name != top)
        if others or not source.is_dir():
            raise UserError(f"{archive}: {others or 'nothing'} beside '{top}': not that archive")
        return _merge(source, directory / top)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(f"{archive}: cannot be unpacked ({error}): fetch it again") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def unpack_zip(archive: Path, directory: Path) -> None:
    """Unpack a zip archive as `directory`, which appears when all of it is there.

    A single top directory of the archive with the name of `directory` is left out. Names that lead
    out of it (absolute, `..`) and links are refused; every member's CRC is checked.

    Raises:
        UserError: `directory` is there already, a broken or unsafe archive, no space.
    """
    if directory.exists():
        raise UserError(f"{directory}: is there already: remove it to have it unpacked again")
    temp = directory.with_name(f".{directory.name}.unpacked")
    shutil.rmtree(temp, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as packed:
            members = packed.infolist()
            require_free_space(directory.parent, sum(member.file_size for member in members))
            for member in members:
                parts = member.filename.split("/")
                link = stat.S_ISLNK(member.external_attr >> 16)
                if link or not parts[0] or ".." in parts or "\\" in member.filename:
                    raise UserError(f"{archive}: unsafe member {member.filename!r}: not unpacked")
            packed.extractall(temp)
        inner = temp / directory.name
        only = inner.is_dir() and [entry.name for entry in temp.iterdir()] == [inner.name]
        os.replace(inner if only else temp, directory)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise UserError(f"{archive}: cannot be unpacked ({error}): fetch it again") from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _merge(source: Path, target: Path) -> list[str]:
    target.mkdir(exist_ok=True)
    names = []
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            shutil.rmtree(place)
        os.replace(entry, place)
        names.append(entry.name)
    return names
