"""Seeded ways to damage a file: what disks, networks, editors and people with bad intent do.

`mutate(data, kind, rng)` is a pure function of its arguments: case i of a reader is made again from
(seed, reader, i) alone. Every hostile word that a shell would run makes a file named CANARY.
"""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

CANARY = "PWNED"
# What stands where a number, an id or a path is expected.
NUMBERS = (
    "0", "-1", "-0", "1e400", "-1e400", "NaN", "nan", "inf", "-Infinity", "1e-320", "0x10", "1_000",
    "2147483647", "2147483648", "-2147483649", "9223372036854775808", "18446744073709551616",
    "9" * 400, "9" * 5000, "1" + "0" * 30 + ".5", "1.", ".5", "٣", "²", "１", "+5", "1e5", "00001",
)  # fmt: skip
WORDS = (
    "../../../../etc/passwd", "/etc/passwd", "/dev/zero", "/dev/null", "/proc/self/mem", "..", ".",
    "/", "~", "~root", f"$(touch {CANARY})", f"`touch${{IFS}}{CANARY}`", f";touch {CANARY};",
    f"touch {CANARY} |", f"| touch {CANARY}", f"x.ark:5 && touch {CANARY}", "-rf", "--help", "-",
    "--", "'", '"', '"\'', "\\", "\\n", "%s%n", "{}", "*", "?", "[0:1]", "[1:0]", "[0:99999999]",
    "a b", " ", "\t", "",
    "\u00a0", "\u2028", "\x85", "\x0b", "\x0c", "\x1c", "\u202e", "é", "e\u0301",
    "\ufeff", "\U0001f600", "\x00", "x" * 300, "y" * 5000, "a\nb", "a\rb", "ex", "ex/", "null", "#",
    "<s>",
)  # fmt: skip
BYTES = (
    b"\x00", b"\xff", b"\xfe\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\r\n",
    b"\r", b"\n", b"\n\n", b"\t", b"\x1a", b"\xef\xbb\xbf", b"\x00" * 64, b"\xff" * 64, b"A" * 4096,
)  # fmt: skip
INTS = (0, 1, -1, 2**31 - 1, -(2**31), 2**24, 255, 65536)


def flip_bits(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8, 64)) if out else 0):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def set_byte(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    if out:
        # Half of them near the beginning, where the headers are.
        end = len(out) if rng.random() < 0.5 else min(len(out), 200)
        out[rng.randrange(end)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.choice((0, 1, len(data) - 1, rng.randrange(len(data) + 1)))] if data else data


def insert(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    what = rng.choice((*BYTES, rng.randbytes(rng.randrange(1, 40))))
    return data[:place] + what + data[place:]


def remove_stretch(data: bytes, rng: random.Random) -> bytes:
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + data[min(last, first + rng.choice((1, 4, 100, len(data)))) :]


def repeat_stretch(data: bytes, rng: random.Random) -> bytes:
    first, last = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:last] + data[first:last] + data[last:]


def blank_stretch(data: bytes, rng: random.Random) -> bytes:
    first = rng.randrange(len(data) + 1)
    length = min(rng.choice((2, 8, 64, 4096)), len(data) - first)
    return data[:first] + rng.choice((b"\0", b"\xff")) * length + data[first + length :]


def huge_number(data: bytes, rng: random.Random) -> bytes:
    """A number of 4 or 8 bytes, of either byte order, somewhere; sizes stand near the beginning."""
    end = len(data) if rng.random() < 0.4 else min(len(data), 300)
    number = rng.choice((*INTS, float("nan"), float("inf"), 1e38, -1e308))
    if isinstance(number, float):
        packed = struct.pack("<d" if abs(number) > 1e39 else "<f", number)
    else:
        packed = struct.pack(rng.choice("<>") + "i", number)
    place = rng.randrange(max(1, end - len(packed) + 1))
    return data[:place] + packed + data[place + len(packed) :]


def _lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def line_repeated(data: bytes, rng: random.Random) -> bytes:
    lines = _lines(data) or [b""]
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    return b"".join(lines)


def line_removed(data: bytes, rng: random.Random) -> bytes:
    lines = _lines(data)
    if lines:
        lines.pop(rng.randrange(len(lines)))
    return b"".join(lines)


def lines_reordered(data: bytes, rng: random.Random) -> bytes:
    lines = _lines(data)
    if rng.random() < 0.5:
        rng.shuffle(lines)
    elif lines:
        lines.append(lines.pop(0))
    return b"".join(lines)


def line_joined(data: bytes, rng: random.Random) -> bytes:
    places = [i for i, byte in enumerate(data) if byte == 10]
    place = rng.choice(places) if places else len(data)
    return data[:place] + data[place + 1 :]


def windows_lines(data: bytes, rng: random.Random) -> bytes:
    lines = _lines(data)
    chosen = range(len(lines)) if rng.random() < 0.5 else [rng.randrange(len(lines) or 1)]
    return b"".join(
        line.rstrip(b"\n") + b"\r\n" if i in chosen else line for i, line in enumerate(lines)
    )


def _replace(data: bytes, pattern: bytes, choices: tuple[str, ...], rng: random.Random) -> bytes:
    places = list(re.finditer(pattern, data))
    what = rng.choice(choices).encode("utf-8", "surrogatepass")
    if not places:
        return data + what
    place = rng.choice(places)
    return data[: place.start()] + what + data[place.end() :]


def number_replaced(data: bytes, rng: random.Random) -> bytes:
    return _replace(data, rb"[0-9][0-9.e+-]*", NUMBERS, rng)


def word_replaced(data: bytes, rng: random.Random) -> bytes:
    return _replace(data, rb"[^\s\"=,:{}\[\]]+", WORDS, rng)


def field_replaced(data: bytes, rng: random.Random) -> bytes:
    """Everything after the first blank of a line, or a whole line."""
    return _replace(data, rb"(?m)(?<= ).+$|^.+$", (*WORDS, *NUMBERS), rng)


def _spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values within nested lists and dictionaries."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key in value:
            found += _spots(value[key], (*path, key))
    elif isinstance(value, list):
        for place in range(len(value)):
            found += _spots(value[place], (*path, place))
    return found


def json_changed(data: bytes, rng: random.Random) -> bytes:
    """Valid JSON with a value of another type, lost, or out of all proportion."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return word_replaced(data, rng)
    spots = _spots(value)
    if not spots:
        return rng.choice((b"null", b"[]", b"{}", b"3", b'"x"'))
    *outer, last = rng.choice(spots)
    holder = value
    for key in outer:
        holder = holder[key]
    if rng.random() < 0.3:
        del holder[last]
    else:
        holder[last] = rng.choice(
            (None, True, -1, 0, 1.5, 10**30, "", "x", [], {}, [[]], {"a": None}, float("nan"),
             float("inf"), "\ud800", "../../x", f"$(touch {CANARY})", 2**31, "4", -0.0, "\0")
        )  # fmt: skip
    text = json.dumps(value)
    if rng.random() < 0.05:
        text = text.replace(": ", ": " + "[" * 3000, 1) + "]" * 3000
    return text.encode()


_BYTES = (flip_bits, set_byte, truncate, insert, remove_stretch, repeat_stretch, blank_stretch)
_TEXT = (
    flip_bits, truncate, insert, line_repeated, line_removed, lines_reordered, line_joined,
    windows_lines, number_replaced, number_replaced, word_replaced, word_replaced, field_replaced,
)  # fmt: skip
WAYS: dict[str, tuple[Callable[[bytes, random.Random], bytes], ...]] = {
    "bytes": (*_BYTES, huge_number, huge_number),
    "text": _TEXT,
    "json": (*_TEXT[:3], number_replaced, word_replaced, *[json_changed] * 5),
}


def kind_of(name: str) -> str:
    """How a file is damaged, from its name: `bytes`, `json` or `text`."""
    if name.endswith((".ark", ".flac", ".wav", ".mp4", ".npy", ".pt", ".model", ".gz")):
        return "bytes"
    return "json" if name.endswith(".json") else "text"


def mutate(data: bytes, kind: str, rng: random.Random) -> tuple[str, bytes]:
    """Damaged `data`, never equal to it, and the names of what was done."""
    names: list[str] = []
    out = data
    for _ in range(20):
        for _ in range(rng.choice((1, 1, 1, 1, 2, 3))):
            way = rng.choice(WAYS[kind])
            out = way(out, rng)
            names.append(way.__name__)
        if out != data:
            break
    return "+".join(names), out if out != data else data + b"\0"
