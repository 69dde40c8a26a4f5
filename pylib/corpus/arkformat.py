"""The bytes of Kaldi's ark items and the grammar of rxfilenames, without any file handling."""

from __future__ import annotations

import io
import re
import struct
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError

Array = npt.NDArray[Any]

COMPRESSION_METHODS = (0, 1, 2, 3, 4, 5, 6, 7)
# Bytes of the biggest header: "\0B" + "CM2 " + 4 floats or ints.
HEADER_BYTES = 24
# Tag: kind, dimensions, bytes a number.
_PLAIN = {
    b"FM ": ("FM", 2, 4),
    b"DM ": ("DM", 2, 8),
    b"FV ": ("FV", 1, 4),
    b"DV ": ("DV", 1, 8),
}
_PACKED = {"CM": 1, "CM2": 2, "CM3": 1}  # kind: bytes a number
_ONE_SIZE = struct.Struct("<bi")  # each size of a plain item is preceded by its width, 4
_TWO_SIZES = struct.Struct("<bibi")
_PACKED_SIZES = struct.Struct("<ii")
_RANGE = re.compile(r"\[([0-9:,\- ]*)\]$")
INT_ITEM = np.dtype([("size", "u1"), ("value", "<i4")])


class Location(NamedTuple):
    """A parsed rxfilename: file, offset, and inclusive row and column ranges (None = all)."""

    path: str
    offset: int
    rows: tuple[int, int] | None = None
    cols: tuple[int, int] | None = None


class Header(NamedTuple):
    """What stands at an offset of an ark.

    Attributes:
        kind: `FM`, `DM`, `FV`, `DV`, `CM`, `CM2`, `CM3` or `int32`.
        shape: (rows, cols) of a matrix, (length,) of a vector.
        start: bytes from the item's offset to its numbers.
        size: bytes of the whole item, header included.
    """

    kind: str
    shape: tuple[int, ...]
    start: int
    size: int


@lru_cache(maxsize=4096)
def _parse_range(text: str) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    parts = text.split(",")
    if len(parts) > 2:
        raise ValueError(text)
    out: list[tuple[int, int] | None] = []
    for part in parts:
        part = part.strip()
        if part in ("", ":"):
            out.append(None)
            continue
        first, last = part.split(":")
        low, high = int(first), int(last)
        if not 0 <= low <= high:
            raise ValueError(text)
        out.append((low, high))
    return out[0], out[1] if len(out) == 2 else None


def parse_rx(rx: str, key: str = "") -> Location:
    """Split `file:offset[range]`.

    Raises:
        UserError: a shell pipe, standard input, an empty name, or a range that is not
            `[first:last]` or `[first:last,first:last]` with 0 <= first <= last.
    """
    path, colon, offset = rx.rpartition(":")
    if colon and path and path[0] not in "|- " and offset.isdecimal() and len(offset) < 20:
        return Location(path, int(offset))
    name = rx.strip()
    if not name or name.endswith("|") or name.startswith("|") or name == "-":
        raise UserError(
            f"{who(key)}: '{rx[:80]}' is not a file: pipes and standard input are not read, "
            "write an ark file and list that"
        )
    rows = cols = None
    if name.endswith("]"):
        match = _RANGE.search(name)
        try:
            if match is None:
                raise ValueError(name)
            rows, cols = _parse_range(match.group(1))
        except ValueError as error:
            raise UserError(
                f"{who(key)}: bad range in '{rx[:80]}': write [first:last] or "
                "[first:last,first:last], both inclusive and counted from 0"
            ) from error
        name = name[: match.start()]
    path, colon, offset = name.rpartition(":")
    if colon and offset.isdecimal() and path and len(offset) < 20:
        return Location(path, int(offset), rows, cols)
    return Location(name, 0, rows, cols)


def who(key: str) -> str:
    """How messages name the item of `key`."""
    return f"key '{key}'" if key else "ark entry"


def parse_header(data: bytes) -> Header | None:
    """Header of an item from its first bytes, None where there is none (text arks included)."""
    if data[:2] != b"\0B":
        return None
    try:
        return _parse_body(data)
    except struct.error:  # the file ends within the header
        return None


def _parse_body(data: bytes) -> Header | None:
    tag = data[2:5]
    if tag in _PLAIN:
        kind, dims, width = _PLAIN[tag]
        if dims == 2:
            first, rows, second, cols = _TWO_SIZES.unpack_from(data, 5)
            if first != 4 or second != 4 or rows < 0 or cols < 0:
                return None
            return Header(kind, (rows, cols), 15, 15 + rows * cols * width)
        first, rows = _ONE_SIZE.unpack_from(data, 5)
        if first != 4 or rows < 0:
            return None
        return Header(kind, (rows,), 10, 10 + rows * width)
    if data[2:3] == b"\4":
        count = _ONE_SIZE.unpack_from(data, 2)[1]
        return None if count < 0 else Header("int32", (count,), 7, 7 + 5 * count)
    kind = data[2:6].partition(b" ")[0].decode("latin-1")
    if kind not in _PACKED:
        return None
    rows, cols = _PACKED_SIZES.unpack_from(data, 2 + len(kind) + 1 + 8)
    if rows < 0 or cols < 0:
        return None
    start = 2 + len(kind) + 1 + 16
    size = start + rows * cols * _PACKED[kind] + (8 * cols if kind == "CM" else 0)
    return Header(kind, (rows, cols), start, size)


def check_ranges(header: Header, location: Location, where: str) -> None:
    """Refuse a range that reaches outside the item (kaldiio clips it).

    Raises:
        UserError: with `where`, the range and the item's size.
    """
    for name, span, axis in (("rows", location.rows, 0), ("columns", location.cols, 1)):
        if span is None:
            continue
        if axis >= len(header.shape):
            raise UserError(f"{where}: a range of columns of a vector: remove it")
        if span[1] >= header.shape[axis]:
            raise UserError(
                f"{where}: {name} {span[0]}:{span[1]} asked for, the item has "
                f"{header.shape[axis]}: correct the range (it is not clipped)"
            )


def cut(array: Array, location: Location) -> Array:
    """`array` limited to the inclusive ranges of `location`; own memory."""
    if location.rows is not None:
        array = array[location.rows[0] : location.rows[1] + 1]
    if location.cols is not None:
        array = array[:, location.cols[0] : location.cols[1] + 1]
    if location.rows is not None or location.cols is not None:
        array = array.copy()
    return array


def decode_packed(data: bytes) -> Array:
    """A compressed matrix (CM, CM2, CM3) as float32, from the bytes of the whole item."""
    from kaldiio.matio import read_matrix_or_vector

    return np.array(read_matrix_or_vector(io.BytesIO(data)), dtype=np.float32)


def encode(array: Array, compression: int, where: str) -> bytes:
    """Bytes of an item from its `\\0B` on.

    Args:
        array: float (rows, cols) or (length,), stored as float32; or int32 (length,).
        compression: Kaldi's method code for matrices, 0 = none.
        where: for messages.

    Raises:
        UserError: NaN or infinite values.
        ValueError: another shape or type.
    """
    if array.dtype == np.int32:
        if array.ndim != 1:
            raise ValueError(f"{where}: int32 array of {array.ndim} dimensions, 1 expected")
        items = np.empty(len(array), dtype=INT_ITEM)
        items["size"], items["value"] = 4, array
        return b"\0B\4" + struct.pack("<i", len(array)) + items.tobytes()
    if array.dtype not in (np.float32, np.float64) or array.ndim not in (1, 2):
        raise ValueError(f"{where}: {array.dtype} array of shape {array.shape} cannot be stored")
    values = np.ascontiguousarray(array, dtype="<f4")
    if not np.isfinite(values).all():
        raise UserError(f"{where}: NaN or infinite values: look for the cause upstream")
    if compression and values.ndim == 2 and values.size:
        from kaldiio.matio import write_array

        stream = io.BytesIO()
        write_array(stream, values, compression_method=compression)
        return stream.getvalue()
    tag = b"FM " if values.ndim == 2 else b"FV "
    shape = b"".join(b"\4" + struct.pack("<i", n) for n in values.shape)
    return b"\0B" + tag + shape + values.tobytes()
