"""Kaldi arks and scps: written together and atomically, read with checks.

Reading never runs a command and never unpickles: kaldiio, which decodes the compressed matrices,
would do both when an scp or an ark asks for it, so only headers that are understood here reach
it. Format: Kaldi's `key SP \\0B<type>...`; the offset of an scp line points at the `\\0B`; ranges
`[r0:r1,c0:c1]` are inclusive.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from pylib.corpus.arkformat import (
    COMPRESSION_METHODS,
    HEADER_BYTES,
    INT_ITEM,
    Array,
    Header,
    Location,
    check_ranges,
    cut,
    decode_packed,
    encode,
    parse_header,
    parse_rx,
    who,
)
from pylib.corpus.atomic import atomic_path
from pylib.corpus.errors import UserError
from pylib.corpus.tables import format_table, read_table


class ArkReader:
    """Reads items by rxfilename, keeping files open: the fast path for many reads.

    Items that lie one after the other in an ark are read without reopening or seeking back. Not
    safe to share between threads or across a fork: make one for each.
    """

    def __init__(self, max_open: int = 32) -> None:
        self._files: OrderedDict[str, tuple[BufferedReader, int]] = OrderedDict()
        self._max_open = max_open

    def __enter__(self) -> ArkReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all files."""
        while self._files:
            self._files.popitem()[1][0].close()

    def _open(self, path: str, key: str) -> tuple[BufferedReader, int]:
        entry = self._files.get(path)
        if entry is not None:
            self._files.move_to_end(path)
            return entry
        try:
            stream = open(path, "rb")  # noqa: SIM115 - kept open, closed by close()
        except (OSError, ValueError) as error:  # ValueError: a NUL within the name
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"{who(key)}: {path}: cannot be opened ({reason}): make the ark again, or "
                "run from the directory that its relative path starts in"
            ) from error
        entry = (stream, os.fstat(stream.fileno()).st_size)
        self._files[path] = entry
        if len(self._files) > self._max_open:
            self._files.popitem(last=False)[1][0].close()
        return entry

    def header(self, rx: str, key: str = "") -> Header:
        """Kind, shape and extent of an item, checked against the size of the file.

        Raises:
            UserError: unreadable file, an offset where no item stands, a truncated item.
        """
        location = parse_rx(rx, key)
        stream, size = self._open(location.path, key)
        return _header(stream, size, location, key)

    def read(self, rx: str, key: str = "") -> Array:
        """The item at `rx`, with its range applied.

        Returns:
            float32 or float64 (rows, cols) or (length,), or int32 (length,). Writable, own memory.

        Raises:
            UserError: with key, file and offset: see `header`, and a range outside the item.
        """
        location = parse_rx(rx, key)
        stream, size = self._open(location.path, key)
        header = _header(stream, size, location, key)
        if location.rows or location.cols:
            check_ranges(header, location, _where(location, key))
        if header.kind in ("CM", "CM2", "CM3"):
            stream.seek(location.offset)
            return cut(decode_packed(_exactly(stream, header.size, location, key)), location)
        stream.seek(location.offset + header.start)
        if header.kind == "int32":
            count = header.shape[0]
            items = np.frombuffer(_exactly(stream, 5 * count, location, key), dtype=INT_ITEM)
            if count and not (items["size"] == 4).all():
                where = _where(location, key)
                raise UserError(f"{where}: corrupt int32 vector: make the ark again")
            return cut(items["value"].astype(np.int32), location)
        dtype = np.dtype("<f4" if header.kind[0] == "F" else "<f8")
        array = np.empty(header.shape, dtype=dtype)
        filled = stream.readinto(array.reshape(-1).view(np.uint8).data)
        if filled != array.nbytes:
            raise UserError(f"{_where(location, key)}: the file got shorter while it was read")
        return cut(array, location)

    def raw(self, rx: str, key: str = "") -> tuple[Header, bytes]:
        """Header of an item and its bytes as they are stored, header included, not decoded.

        Raises:
            UserError: see `header`; or `rx` has a range.
        """
        location = parse_rx(rx, key)
        if location.rows or location.cols:
            raise UserError(f"{_where(location, key)}: a range of this item is not read: remove it")
        stream, size = self._open(location.path, key)
        header = _header(stream, size, location, key)
        stream.seek(location.offset)
        return header, _exactly(stream, header.size, location, key)


def _where(location: Location, key: str) -> str:
    return f"{who(key)}: {location.path}:{location.offset}"


def _header(stream: BufferedReader, file_size: int, location: Location, key: str) -> Header:
    if location.offset >= file_size:
        raise UserError(
            f"{_where(location, key)}: the file has only {file_size} bytes: it is truncated or "
            "not the one that the scp was written for, make the ark again"
        )
    stream.seek(location.offset)
    data = stream.read(HEADER_BYTES)
    header = parse_header(data)
    if header is None:
        raise UserError(
            f"{_where(location, key)}: no ark item stands at this offset (found {data[:8]!r}): "
            "the scp belongs to another ark or the ark is damaged, make both again"
        )
    left = file_size - location.offset
    if header.size > left:
        raise UserError(
            f"{_where(location, key)}: truncated, the item needs {header.size} bytes and the file "
            f"has {left} from there: make the ark again"
        )
    return header


def _exactly(stream: BufferedReader, count: int, location: Location, key: str) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise UserError(f"{_where(location, key)}: the file got shorter while it was read")
    return data


def read_scp(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read an scp: key -> rxfilename.

    Raises:
        UserError: rules of a table (sorted, unique, UTF-8 ...), an entry without a file, a pipe.
    """
    table = read_table(path)
    for number, (key, rx) in enumerate(table.items(), 1):
        if not rx or rx[-1] == "|" or rx[0] in "|-":
            try:
                parse_rx(rx, key)
            except UserError as error:
                raise UserError(f"{os.fspath(path)}:{number}: {error}") from error
    return table


def read_mat(rx: str, key: str = "") -> npt.NDArray[np.float32]:
    """Float matrix or vector at `rx` as float32, (rows, cols) or (length,).

    Raises:
        UserError: as `ArkReader.read`; or the item holds integers.
    """
    with ArkReader() as reader:
        return as_float(reader.read(rx, key), rx, key)


def read_ints(rx: str, key: str = "") -> npt.NDArray[np.int32]:
    """Integer vector at `rx`, int32 (length,).

    Raises:
        UserError: as `ArkReader.read`; or the item holds no integers.
    """
    with ArkReader() as reader:
        return as_ints(reader.read(rx, key), rx, key)


def as_float(array: Array, rx: str, key: str = "") -> npt.NDArray[np.float32]:
    """`array` as float32; UserError where it holds integers."""
    if array.dtype.kind != "f":
        raise UserError(f"{who(key)}: {rx}: holds integers, floats were expected: check the scp")
    return array.astype(np.float32, copy=False)


def as_ints(array: Array, rx: str, key: str = "") -> npt.NDArray[np.int32]:
    """`array` as int32; UserError where it holds floats."""
    if array.dtype.kind != "i":
        raise UserError(f"{who(key)}: {rx}: holds floats, integers were expected: check the scp")
    return array.astype(np.int32, copy=False)


def iter_scp(path: str | os.PathLike[str]) -> Iterator[tuple[str, Array]]:
    """Yield (key, array) of every entry of an scp in its order, files kept open.

    Raises:
        UserError: as `read_scp` and `ArkReader.read`; every entry is read or the loop fails.
    """
    with ArkReader() as reader:
        for key, rx in read_scp(path).items():
            yield key, reader.read(rx, key)


class ArkWriter:
    """Writes an ark and its scp, both under temporary names until the writer is closed.

    On success the ark is renamed first and the scp last; before that the number of items, the
    size of the ark and its last item are checked. On an exception nothing of either remains.

    Args:
        ark_path: the ark; written to the scp relative to the current directory when inside it.
        scp_path: the scp, keys sorted by bytes.
        compression: Kaldi's method code for matrices; 0 = none (exact), 3 = two bytes a value.
        count: number of items that must be written, None = not known.
    """

    def __init__(
        self,
        ark_path: str | os.PathLike[str],
        scp_path: str | os.PathLike[str],
        compression: int = 0,
        count: int | None = None,
    ) -> None:
        if compression not in COMPRESSION_METHODS:
            raise UserError(f"compression {compression}: unknown: use one of {COMPRESSION_METHODS}")
        self.ark_path, self.scp_path = Path(ark_path), Path(scp_path)
        self.compression, self.count = compression, count
        self._entries: dict[str, int] = {}

    def __enter__(self) -> ArkWriter:
        self._ark_name = portable_path(self.ark_path)
        self._atomic = atomic_path(self.ark_path)
        self._temp = self._atomic.__enter__()
        self._stream = open(self._temp, "wb")
        self._offset = 0
        self._last: tuple[str, Array] | None = None
        return self

    def write(self, key: str, array: Array) -> None:
        """Append one item.

        Args:
            key: without white space, new to this ark.
            array: float32 or float64 (rows, cols) or (length,), stored as float32; or int32
                (length,).

        Raises:
            UserError: a bad or repeated key; NaN or infinite values.
            ValueError: another shape or type (a fault of the calling program).
        """
        if not key or key.split() != [key]:
            raise UserError(f"{self.ark_path}: key {key!r} is empty or has white space: rename it")
        if key in self._entries:
            raise UserError(f"{self.ark_path}: key '{key}' written twice: utterances are unique")
        data = encode(array, self.compression, f"{self.ark_path}: '{key}'")
        prefix = key.encode("utf-8") + b" "
        self._stream.write(prefix)
        self._stream.write(data)
        self._entries[key] = self._offset + len(prefix)
        self._offset += len(prefix) + len(data)
        self._last = (key, array)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            with suppress(OSError):  # the first failure is the one to report
                self._stream.close()
            self._atomic.__exit__(kind, error, trace)
            return
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._verify()
            self._commit()
        except BaseException as failure:
            with suppress(OSError):
                self._stream.close()
            self._atomic.__exit__(type(failure), failure, failure.__traceback__)
            raise

    def _commit(self) -> None:
        scp = {key: f"{self._ark_name}:{offset}" for key, offset in self._entries.items()}
        with atomic_path(self.scp_path) as temp:
            temp.write_bytes(format_table(scp, str(self.scp_path)).encode("utf-8"))
            # From here to the last rename there is no scp: the old one must not point into the
            # new ark, should the process be killed between the two.
            self.scp_path.unlink(missing_ok=True)
            self._atomic.__exit__(None, None, None)

    def _verify(self) -> None:
        if self.count is not None and len(self._entries) != self.count:
            raise UserError(
                f"{self.ark_path}: {len(self._entries)} items made of {self.count} asked for: "
                "see the messages above, then run again"
            )
        size = self._temp.stat().st_size
        if size != self._offset:
            raise UserError(f"{self.ark_path}: {size} bytes on disk of {self._offset} written")
        if self._last is None:
            return
        key, array = self._last
        with ArkReader() as reader:
            back = reader.read(f"{self._temp}:{self._entries[key]}", key)
        if back.shape != array.shape:
            raise UserError(f"{self.ark_path}: the last item '{key}' does not read back: disk?")


def portable_path(path: str | os.PathLike[str]) -> str:
    """`path` relative to the current directory when inside it, else absolute.

    Raises:
        UserError: the name could not be told apart in an scp (blanks at its ends, pipes, ranges).
    """
    absolute = Path(os.path.abspath(path))
    here = Path.cwd()
    name = str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
    if name != name.strip() or name.endswith(("|", "]")) or name[0] in "|-" or "\n" in name:
        raise UserError(f"{name!r}: not usable in an scp file: choose a plain name")
    return name


def concat_scps(paths: Iterable[str | os.PathLike[str]], out: str | os.PathLike[str]) -> int:
    """Join the scps of parallel jobs into one, sorted, atomically.

    Args:
        paths: scps with disjoint keys.
        out: the joined scp.

    Returns:
        Number of entries.

    Raises:
        UserError: a missing scp, or a key in two of them, with both names.
    """
    merged: dict[str, str] = {}
    origin: dict[str, str] = {}
    for path in paths:
        part: Mapping[str, str] = read_scp(path)
        twice = part.keys() & merged.keys()
        if twice:
            key = min(twice)
            raise UserError(f"{os.fspath(path)}: key '{key}' is also in {origin[key]}: remove one")
        merged.update(part)
        origin.update(dict.fromkeys(part, os.fspath(path)))
    with atomic_path(out) as temp:
        temp.write_bytes(format_table(merged, os.fspath(out)).encode("utf-8"))
    return len(merged)
