"""The log of a job: Kaldi's header and footer, written and read; why a job failed."""

from __future__ import annotations

import os
import re
import time
from typing import IO, NamedTuple

FOOTER = re.compile(
    r"# Ended \(code (\d+)(?:; signal (\d+))?\) at (.*), elapsed time (\d+) seconds"
)
ACCOUNTING = re.compile(r"# Accounting: time=\d+ threads=\d+")
TAIL = 64 << 10  # bytes looked at from the end


class End(NamedTuple):
    """What a footer says: code of exit, and the seconds that the job took."""

    code: int
    seconds: int


def header(command: str) -> str:
    """Header of a log, for the command with its JOB replaced."""
    shown = "\n".join(f"# {line}" for line in command.split("\n"))
    return f"{shown}\n# Started at {time.strftime('%a %b %d %H:%M:%S %Z %Y')}\n#\n"


def footer(code: int, seconds: float, threads: int) -> str:
    """Footer of a log; a code above 128 also names the signal."""
    signal = f"; signal {code - 128}" if 128 < code < 128 + 65 else ""
    now = time.strftime("%a %b %d %H:%M:%S %Z %Y")
    return (
        f"# Accounting: time={seconds:.0f} threads={threads}\n"
        f"# Ended (code {code}{signal}) at {now}, elapsed time {seconds:.0f} seconds\n"
    )


def append_footer(stream: IO[bytes], code: int, seconds: float, threads: int) -> None:
    """End the log open in ``stream`` (readable, at any place), on a line of its own."""
    size = stream.seek(0, os.SEEK_END)
    if size:
        stream.seek(size - 1)
        last = stream.read(1)
        stream.seek(0, os.SEEK_END)
        if last != b"\n":
            stream.write(b"\n")
    stream.write(footer(code, seconds, threads).encode())
    stream.flush()
    os.fsync(stream.fileno())


def tail(path: str, count: int) -> list[str]:
    """The last ``count`` lines; none when there is no file."""
    try:
        with open(path, "rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL))
            text = stream.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-count:]


def end(path: str) -> End | None:
    """What the footer of a log says; None when the log has none.

    Only the last two lines count, and they must be the footer whole: a job that prints such a line
    changes nothing.
    """
    lines = tail(path, 2)
    if len(lines) < 2 or not ACCOUNTING.fullmatch(lines[0]):
        return None
    match = FOOTER.fullmatch(lines[1])
    return End(int(match[1]), int(match[4])) if match else None


def body(lines: list[str]) -> list[str]:
    """``lines`` without a footer, and without a header where they begin with one."""
    for index, line in enumerate(lines):
        if line.startswith("# Started at ") and all(one.startswith("# ") for one in lines[:index]):
            lines = lines[index + 2 :]
            break
    return [line for line in lines if not (ACCOUNTING.fullmatch(line) or FOOTER.fullmatch(line))]


def is_of(path: str, command: str) -> bool:
    """Whether the log at ``path`` was written by this very command."""
    expected = "\n".join(f"# {line}" for line in command.split("\n")) + "\n"
    try:
        with open(path, "rb") as stream:
            return stream.read(len(expected.encode())) == expected.encode()
    except FileNotFoundError:
        return False


HINTS: tuple[tuple[str, str], ...] = (
    (
        r"CUDA out of memory|CUDA error: out of memory|torch\.(cuda\.)?OutOfMemoryError",
        "the GPU's memory was too small: smaller batches, or fewer jobs on one GPU",
    ),
    (r"No space left on device|Disk quota exceeded", "the disk is full: see `df -h`, then re-run"),
    (
        r"MemoryError|Cannot allocate memory|bad_alloc|\bOOM\b|oom-kill",
        "memory ran out: fewer jobs at once (--max-jobs-run), or say what one needs (--mem 2G)",
    ),
    (
        r"No module named '?([\w.]+)",
        "a Python module is missing: is TRIVIUM_PYTHON the environment of this repository?",
    ),
    (r"command not found|No such file or directory: '[^'/]+'$", "a program is missing: see PATH"),
    (r"Permission denied", "a file may not be read, written or run: see its permissions"),
    (r"Address already in use|EADDRINUSE", "another run holds the port: wait for it, or stop it"),
)
CODES = {
    137: "the job was killed, mostly for memory: fewer jobs at once (--max-jobs-run), or --mem",
    139: "the program crashed (segmentation fault), most often a broken native library",
    124: "the job ran into its --time limit",
    126: "the command is not executable",
    127: "the command was not found: see PATH, and the spelling in the log's first line",
    130: "the job was interrupted",
}


def hint(code: int, lines: list[str]) -> str | None:
    """The likely cause of a failure, from the last lines of its log and its code; or None."""
    if code in CODES:
        return CODES[code]
    text = "\n".join(lines)
    return next((words for pattern, words in HINTS if re.search(pattern, text, re.M)), None)
