"""How every verb ends: a readable message and a meaningful exit status, no bare traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from pylib.corpus.errors import UserError

_HINTS = {
    errno.ENOSPC: "free some space (nothing was left half-written) and run again",
    errno.EDQUOT: "your quota is used up: free some space and run again",
    errno.EFBIG: "the file size limit (ulimit -f) was reached: raise it and run again",
    errno.EACCES: "check the permissions of the file and its directory",
    errno.EROFS: "the file system is read-only: choose another directory",
    errno.ENOENT: "check the path",
    errno.EMFILE: "too many open files: raise ulimit -n or use fewer jobs",
}


def _verb() -> str:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).rsplit(".", 1)[-1]
    return Path(sys.argv[0]).stem


def _terminated(_signum: int, _frame: FrameType | None) -> None:
    # An exception, so that the atomic writers remove their temporary files.
    raise SystemExit(128 + signal.SIGTERM)


def run(main: Callable[[list[str]], int | None]) -> NoReturn:
    """Call `main(sys.argv[1:])` and exit.

    Exit status: what `main` returns (None = 0); 1 for a `UserError` or an operating-system error
    such as a full disk, each as `verb: error: where: what: how to fix` on stderr; 2 for a usage
    error (argparse); 130 after an interrupt, 143 after SIGTERM; 1 with a traceback for a fault of
    ours.
    """
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except UserError as error:
        code = _fail(str(error))
    except KeyboardInterrupt:
        print(f"{_verb()}: interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        # The reader of our output (head, less) has gone; silence the flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 141
    except OSError as error:
        if error.errno is None:
            raise
        where = error.filename if error.filename is not None else "(no file name)"
        hint = _HINTS.get(error.errno, "check the path and the file system")
        code = _fail(f"{where}: {os.strerror(error.errno)}: {hint}")
    except MemoryError:
        code = _fail("out of memory: use fewer jobs or a smaller batch")
    except Exception:
        traceback.print_exc()
        code = _fail("internal error (traceback above): this is a fault of Trivium, please report")
    sys.exit(code)


def _fail(message: str) -> int:
    print(f"{_verb()}: error: {message}", file=sys.stderr)
    return 1
