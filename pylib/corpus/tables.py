"""Kaldi's tables: one `<key> <value>` a line, UTF-8, keys unique and sorted by bytes.

A Python string sort is a byte sort here: UTF-8 keeps the order of code points.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from operator import le
from pathlib import Path
from typing import TypeVar

from pylib.corpus.atomic import write_text
from pylib.corpus.errors import Defect, UserError, raise_defects

Number = TypeVar("Number", int, float)
MARK = "\ufeff"  # byte-order mark: invisible, and removed by readers where it comes first
LARGEST = 1 << 60  # counts and seconds are below: they go into 64-bit integers
# What Kaldi's programs read. Python's int and float also take 1_000, digits of other scripts,
# surrounding blanks, nan and inf.
_INTEGER = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


@dataclass
class Table:
    """A table as it lies on disk, with what is wrong with it.

    Attributes:
        path: where it was read.
        keys: one per physical line (empty for a blank line); line number = index + 1.
        values: the rest of each line, without surrounding blanks.
        rows: key -> value, the first line of a key counts.
        defects: in order of rule, then line.
    """

    path: str
    keys: list[str]
    values: list[str]
    rows: dict[str, str]
    defects: list[Defect]

    def line(self, key: str) -> int:
        """Line number of the first line of `key`; slow, for messages only."""
        return self.keys.index(key) + 1


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file: check the path") from error
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a directory: a table file was expected") from error


def read_utf8(path: str | os.PathLike[str]) -> str:
    """Text of a file, line ends as they are.

    Raises:
        UserError: missing, a directory, or bytes that are not UTF-8, with the line.
    """
    name = os.fspath(path)
    data = _read_bytes(name)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{name}:{line}: byte 0x{data[error.start]:02x} is not UTF-8: make the file again, or "
            "convert it, for example with iconv"
        ) from error


def read_lines(path: str | os.PathLike[str]) -> list[str]:
    """Lines of a text file, ended by newlines alone; UserError as `read_utf8`."""
    text = read_utf8(path)
    return text.removesuffix("\n").split("\n") if text else []


def _decode(path: str, data: bytes, defects: list[Defect]) -> str:
    """Text of `data`; invalid bytes and carriage returns become defects, then are replaced."""
    if b"\r" in data:
        bad = [i for i, line in enumerate(data.split(b"\n"), 1) if b"\r" in line]
        more = f" (and {len(bad) - 1} more lines)" if len(bad) > 1 else ""
        fix = f"remove it, for example: sed -i 's/\\r$//' {path}"
        defects.append(Defect(path, bad[0], "carriage-return", f"Windows line ending{more}", fix))
        data = data.replace(b"\r", b"")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        for number, line in enumerate(data.split(b"\n"), 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                what = f"byte 0x{line[error.start]:02x} at column {error.start + 1} is not UTF-8"
                fix = "convert the file to UTF-8, for example with iconv"
                defects.append(Defect(path, number, "utf8", what, fix))
        return data.decode("utf-8", errors="replace")


def _without_marks(path: str, text: str, defects: list[Defect]) -> str:
    """Text without byte-order marks before keys; a defect for each.

    Not only on the first line: files joined end to end have them anywhere, and what is sorted or
    split later would bring such a key to the first line of another file.
    """
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if line.startswith(MARK):
            what = "U+FEFF before the first key" if number == 1 else "U+FEFF before the key"
            fix = f"remove it: sed -i '{number}s/^\\xef\\xbb\\xbf//' {path}"
            defects.append(Defect(path, number, "byte-order-mark", what, fix))
            lines[number - 1] = line.removeprefix(MARK)
    return "\n".join(lines)


def _check_order(table: Table) -> None:
    """Append a defect for every duplicate key and for the first key out of order."""
    if len(table.rows) == len(table.keys) and all(map(le, table.keys, islice(table.keys, 1, None))):
        return
    keys = [key for key in table.keys if key]
    if len(table.rows) < len(keys):
        first: dict[str, int] = {}
        for number, key in enumerate(table.keys, 1):
            if key and key in first:
                what = f"key '{key}' is also on line {first[key]}"
                table.defects.append(
                    Defect(table.path, number, "duplicate-key", what, "keep one of the two lines")
                )
            elif key:
                first[key] = number
    previous, previous_line = "", 0
    for number, key in enumerate(table.keys, 1):
        if not key:
            continue
        if key < previous:
            what = f"'{key}' comes after '{previous}' (line {previous_line}), not sorted by bytes"
            fix = f"sort it: LC_ALL=C sort -k1,1 -o {table.path} {table.path}"
            table.defects.append(Defect(table.path, number, "unsorted", what, fix))
            return
        previous, previous_line = key, number


def scan_table(
    path: str | os.PathLike[str], fields: int | None = None, *, allow_empty: bool = True
) -> Table:
    """Read a table and collect everything that is wrong with it.

    Args:
        path: the file.
        fields: exact number of blank-separated fields of a line, key included; None = any.
        allow_empty: whether a key may stand without a value (only with `fields` None).

    Raises:
        UserError: the file is missing.
    """
    name = os.fspath(path)
    defects: list[Defect] = []
    text = _decode(name, _read_bytes(name), defects)
    if MARK in text:
        text = _without_marks(name, text, defects)
    if "\t" in text:
        text = text.replace("\t", " ")
    if text and not text.endswith("\n"):
        last = text.count("\n") + 1
        what = "the last line has no newline (is the file cut short?)"
        defects.append(Defect(name, last, "final-newline", what, "make the file again"))
        text += "\n"
    lines = text.split("\n")
    lines.pop()
    del text  # a large table is held once, not three times
    keys: list[str] = []
    values: list[str] = []
    for line in lines:
        key, _, value = line.partition(" ")
        keys.append(key)
        values.append(value.strip(" "))
    del lines
    rows = dict(zip(keys, values, strict=True))
    if len(rows) < len(keys):  # the first line of a key counts
        rows = dict(zip(reversed(keys), reversed(values), strict=True))
        rows = dict(reversed(rows.items()))
    rows.pop("", None)
    table = Table(name, keys, values, rows, defects)
    _check_lines(table, fields, allow_empty)
    _check_order(table)
    return table


def _check_lines(table: Table, fields: int | None, allow_empty: bool) -> None:
    defects, name = table.defects, table.path
    if not all(table.keys):
        for number, (key, value) in enumerate(zip(table.keys, table.values, strict=True), 1):
            if not key:
                what = "line starts with a blank" if value else "blank line"
                defects.append(Defect(name, number, "no-key", what, "start each line with a key"))
    if fields is not None:
        for number, (key, value) in enumerate(zip(table.keys, table.values, strict=True), 1):
            found = 1 + len(value.split())
            if key and found != fields:
                what = f"{found} fields, {fields} expected ('{f'{key} {value}'[:60]}')"
                defects.append(Defect(name, number, "fields", what, "correct this line"))
    elif not allow_empty and not all(table.values):
        for number, (key, value) in enumerate(zip(table.keys, table.values, strict=True), 1):
            if key and not value:
                what = f"'{key}' has no value"
                defects.append(Defect(name, number, "no-value", what, "correct this line"))


def read_table(path: str | os.PathLike[str], fields: int | None = None) -> dict[str, str]:
    """Read a table whose keys are unique and sorted by bytes.

    Args:
        path: the file; UTF-8, no carriage returns, a newline at its end.
        fields: exact number of blank-separated fields of every line, key included; None = any.

    Returns:
        key -> rest of the line, without surrounding blanks, in file order.

    Raises:
        UserError: the file is missing, or any rule is broken; each line `file:line: rule: ...`.
    """
    table = scan_table(path, fields)
    raise_defects(table.defects)
    return table.rows


def parse_number(text: str, kind: Callable[[str], Number]) -> Number:
    """A number as Kaldi's programs write it, below LARGEST.

    Args:
        text: ASCII digits, with a sign, a point and an exponent at most.
        kind: `int` or `float`.

    Raises:
        ValueError: anything else, NaN and infinities too.
    """
    pattern = _INTEGER if kind is int else _DECIMAL
    if not pattern.fullmatch(text):
        raise ValueError(f"not {'an integer' if kind is int else 'a number'}: {text!r}")
    number = kind(text)
    if not abs(number) < LARGEST:
        raise ValueError(f"too large: {text!r}")
    return number


def read_numbers(path: str | os.PathLike[str], kind: Callable[[str], Number]) -> dict[str, Number]:
    """Read a `<key> <number>` table.

    Args:
        path: the file.
        kind: `int` or `float`.

    Raises:
        UserError: as `read_table`; or a value that `parse_number` refuses.
    """
    table = read_table(path, fields=2)
    out: dict[str, Number] = {}
    for number, (key, value) in enumerate(table.items(), 1):
        try:
            out[key] = parse_number(value, kind)
        except ValueError as error:
            name = getattr(kind, "__name__", "number")
            raise UserError(
                f"{os.fspath(path)}:{number}: '{value}' of '{key}' is not a finite {name}: "
                "correct or make the file again"
            ) from error
    return out


def format_table(mapping: Mapping[str, object], name: str = "table") -> str:
    """Text of a table, keys sorted by bytes.

    Raises:
        UserError: a key that is empty, has white space or begins with a byte-order mark, or a
            value with a line break; these would not survive reading.
    """
    lines = []
    for key in sorted(mapping):
        value = str(mapping[key])
        if not key or key.split() != [key]:
            raise UserError(f"{name}: key {key!r} is empty or has white space: rename it")
        if key.startswith(MARK):
            raise UserError(f"{name}: key {key!r} begins with a byte-order mark: rename it")
        if "\n" in value or "\r" in value:
            raise UserError(f"{name}: value {value!r} of '{key}' has a line break: remove it")
        lines.append(f"{key} {value}\n" if value else f"{key}\n")
    return "".join(lines)


def write_table(path: str | os.PathLike[str], mapping: Mapping[str, object]) -> None:
    """Write `<key> <value>` lines sorted by bytes, atomically.

    Raises:
        UserError: see `format_table`.
    """
    write_text(path, format_table(mapping, os.fspath(path)))


def invert(utt2spk: Mapping[str, str]) -> dict[str, list[str]]:
    """spk2utt of an utt2spk: speaker -> its utterances, both sorted by bytes."""
    spk2utt: dict[str, list[str]] = {}
    for utt in sorted(utt2spk):
        spk2utt.setdefault(utt2spk[utt], []).append(utt)
    return dict(sorted(spk2utt.items()))


def read_list(path: str | os.PathLike[str]) -> list[str]:
    """First fields of the lines of a list (utterances or speakers), in file order, any order.

    Raises:
        UserError: missing file, blank line, duplicate entry, bytes that are not UTF-8.
    """
    table = scan_table(path)
    raise_defects([defect for defect in table.defects if defect.rule != "unsorted"])
    return table.keys


def names_some(items: Iterable[str], limit: int = 6) -> str:
    """First few of `items` for a message: `'a', 'b', ... (12 in all)`."""
    listed = sorted(items)
    shown = ", ".join(f"'{item}'" for item in listed[:limit])
    return shown if len(listed) <= limit else f"{shown}, ... ({len(listed)} in all)"


def table_path(directory: str | os.PathLike[str], name: str) -> Path:
    """`directory/name` where that file exists.

    Raises:
        UserError: it does not.
    """
    path = Path(directory) / name
    if not path.is_file():
        raise UserError(f"{path}: no such file: make it, or check the data directory's name")
    return path
