"""Small files of the ledger: written whole; and what to do where one cannot be written."""

from __future__ import annotations

import errno
import os
import re
import socket

ADVICE = {
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "your quota is used up: make room",
    errno.EFBIG: "the limit of a file's size is reached: raise `ulimit -f`",
    errno.EROFS: "the file system is read-only: mount it for writing, or use another directory",
    errno.EACCES: "see the rights of the file and its directory",
    errno.EPERM: "see the rights of the file and its directory",
    errno.ENOENT: "it was removed while it was in use",
}


def advice(error: OSError) -> str:
    """``file: what: what to do`` of an error of the operating system, in one line."""
    what = os.strerror(error.errno) if error.errno else str(error)
    how = ADVICE.get(error.errno or 0, "see the file and its file system")
    return f"{error.filename or '(no file name)'}: {what}: {how}, then run the same command again"


def write_whole(path: str, text: str) -> None:
    """Replace a file atomically, through ``<path>.<host>.<pid>.tmp``.

    What writers of this host that were killed left behind is removed.

    Raises:
        OSError: the disk is full or may not be written; the old file is as it was.
    """
    prefix = f"{os.path.basename(path)}.{_host()}."
    folder = os.path.dirname(path) or "."
    for name in os.listdir(folder):
        pid = re.fullmatch(r"(\d+)\.tmp", name.removeprefix(prefix))
        if pid and not os.path.exists(f"/proc/{pid[1]}"):
            _remove(os.path.join(folder, name))
    temporary = f"{path}.{_host()}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = path
        _remove(temporary)
        raise


def _host() -> str:
    return socket.gethostname().replace("/", "_") or "localhost"


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # another run removed it
