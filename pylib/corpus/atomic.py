"""Files and directories that appear under their final name only when they are complete.

Everything is written beside its final name (same file system), flushed to the disk and renamed.
A process that is killed leaves at most a hidden `.<name>.tmp-<host>-<pid>-<n>`, which the next
writer of the same name removes once that process is gone.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import itertools
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pylib.corpus.errors import UserError

_COUNTER = itertools.count()
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h


def _host() -> str:
    return socket.gethostname().replace("-", "_").replace("/", "_") or "localhost"


def _temp_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp-{_host()}-{os.getpid()}-{next(_COUNTER)}")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove what dead writers of `path` on this host left behind."""
    prefix = f".{path.name}.tmp-{_host()}-"
    with os.scandir(path.parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    for name in names:
        pid = name[len(prefix) :].split("-")[0]
        if pid.isdigit() and not _alive(int(pid)):
            _remove(path.parent / name)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems refuse fsync on directories; data loss errors are kept.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from error
    finally:
        os.close(descriptor)


def _name_file(error: BaseException, path: Path) -> None:
    """Give an operating-system error that names no file (a failed write) the one being made."""
    if isinstance(error, OSError) and error.filename is None:
        error.filename = str(path)


@contextmanager
def atomic_path(path: str | os.PathLike[str], flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the directory of `path`; rename it to `path` on success.

    The parent directory is made when missing. On an exception (a full disk, an interrupt) the
    temporary file is removed and what was under `path` before stays as it was. Without `flush` it
    is for the caller to put many files on the disk at once, by `sync_files`.

    Raises:
        UserError: `path` is a directory, or the body wrote nothing.
    """
    final = Path(path)
    if final.is_dir():
        raise UserError(f"{final}: is a directory: give the name of a file, or remove it")
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(final)
    temp = _temp_name(final)
    try:
        yield temp
        if not temp.exists():
            raise UserError(f"{final}: nothing was written: the step that makes it has failed")
        if flush:
            _fsync(temp)
        os.replace(temp, final)
    except BaseException as error:
        _remove(temp)
        _name_file(error, final)
        raise
    if flush:
        _fsync(final.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step (Linux renameat2); False where the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    code = renameat2(
        _AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE
    )
    return bool(code == 0)


@contextmanager
def atomic_dir(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a new temporary directory beside `path`; it becomes `path` on success.

    A directory that was there before is replaced as a whole, in one step where the file system
    can (Linux), and is untouched if the body fails.

    Raises:
        UserError: `path` exists and is not a directory.
    """
    final = Path(path)
    if final.exists() and not final.is_dir():
        raise UserError(f"{final}: is a file, a directory was to be made: remove it")
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(final)
    temp = _temp_name(final)
    temp.mkdir()
    try:
        yield temp
        for folder, _, names in os.walk(temp):
            for name in names:
                _fsync(Path(folder) / name)
            _fsync(Path(folder))
        _replace_dir(temp, final)
    except BaseException as error:
        _remove(temp)
        _name_file(error, final)
        raise
    _fsync(final.parent)


def _replace_dir(temp: Path, final: Path) -> None:
    if not final.exists():
        os.rename(temp, final)
        return
    if _exchange(temp, final):
        _remove(temp)
        return
    old = _temp_name(final)
    os.rename(final, old)
    try:
        os.rename(temp, final)
    except OSError:
        os.rename(old, final)
        raise
    _remove(old)


def sync_files(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Flush many files and their directories to the disk: cheaper at the end than one by one."""
    files = [Path(path) for path in paths]
    for place in (*files, *dict.fromkeys(path.parent for path in files)):
        _fsync(place)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path`, atomically."""
    with atomic_path(path) as temp:
        temp.write_bytes(text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], obj: Any) -> None:
    """Write `obj` as indented UTF-8 JSON with sorted keys to `path`, atomically.

    Raises:
        ValueError: NaN or infinity in `obj` (they are not JSON).
    """
    text = json.dumps(obj, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hexadecimal SHA-256 of the bytes of `path`.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{os.fspath(path)}: cannot be read ({error.strerror}): check the path"
        ) from error


def require_free_space(directory: str | os.PathLike[str], need: int) -> None:
    """Refuse to start when the file system of `directory` has less than `need` bytes free.

    Args:
        directory: where output will go; need not exist yet.
        need: bytes.

    Raises:
        UserError: with both numbers.
    """
    place = Path(directory).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < need:
        raise UserError(
            f"{os.fspath(directory)}: {free / 1e9:.2f} GB free, {need / 1e9:.2f} GB needed: "
            "free some space or choose another directory"
        )
