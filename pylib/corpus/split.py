"""Data directories in parts for parallel jobs: `split_data.sh`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pylib.corpus.atomic import atomic_dir
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents, data_files
from pylib.corpus.tables import invert

_STAMP = ".fingerprint"
_VERSION = b"split 1"


def fingerprint(directory: str | os.PathLike[str]) -> str:
    """SHA-256 over the names and contents of every file of a data directory."""
    digest = hashlib.sha256(_VERSION)
    for name in data_files(directory):
        with open(Path(directory) / name, "rb") as stream:
            inner = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{len(name.encode())} {name} {inner}\n".encode())
    return digest.hexdigest()


def part_bounds(sizes: Sequence[int], parts: int) -> list[int]:
    """Cut a sequence of blocks into contiguous, non-empty parts of nearly equal total size.

    Args:
        sizes: size of each block.
        parts: how many parts, at most as many as blocks.

    Returns:
        parts + 1 indices into `sizes`; part i is sizes[bounds[i]:bounds[i + 1]].
    """
    total, bounds, done, block = sum(sizes), [0], 0, 0
    for part in range(1, parts):
        target = total * part / parts
        # Leave at least one block for this part and for each of those to come.
        latest = len(sizes) - (parts - part)
        start = block
        while block < latest and (block == start or done + sizes[block] - target <= target - done):
            done += sizes[block]
            block += 1
        bounds.append(block)
    return [*bounds, len(sizes)]


def assign(utt2spk: Mapping[str, str], parts: int, per_utt: bool) -> list[list[str]]:
    """Utterances of each part, contiguous in sorted order.

    Raises:
        UserError: more parts than speakers (or utterances with `per_utt`).
    """
    if parts < 1:
        raise UserError(f"{parts} parts asked for: give a number of at least 1")
    utts = sorted(utt2spk)
    if per_utt:
        if parts > len(utts):
            raise UserError(f"{parts} parts of {len(utts)} utterances: ask for fewer parts")
        cuts = [len(utts) * i // parts for i in range(parts + 1)]
        return [utts[cuts[i] : cuts[i + 1]] for i in range(parts)]
    speakers = list(invert(utt2spk).values())
    if parts > len(speakers):
        raise UserError(
            f"{parts} parts of {len(speakers)} speakers: use --per-utt, or ask for fewer parts"
        )
    bounds = part_bounds([len(some) for some in speakers], parts)
    return [
        sorted(utt for some in speakers[bounds[i] : bounds[i + 1]] for utt in some)
        for i in range(parts)
    ]


def split_dir(directory: str | os.PathLike[str], parts: int, per_utt: bool) -> Path:
    """Where the parts of a data directory lie: `<dir>/split<N>`, or `split<N>utt`."""
    return Path(directory) / f"split{parts}{'utt' if per_utt else ''}"


def split_data(
    directory: str | os.PathLike[str], parts: int, per_utt: bool = False
) -> tuple[Path, bool]:
    """Write `<dir>/split<N>/1..N`, unless it is there and made from the same files.

    Args:
        directory: the data directory.
        parts: N.
        per_utt: cut within speakers too, into `split<N>utt`.

    Returns:
        The directory of the parts, and whether it was made now.

    Raises:
        UserError: see `Contents.load` and `assign`.
    """
    out = split_dir(directory, parts, per_utt)
    if not Path(directory).is_dir():
        raise UserError(f"{os.fspath(directory)}: no such data directory: check the name")
    stamp = fingerprint(directory)
    if (out / _STAMP).is_file() and (out / _STAMP).read_text(encoding="utf-8").strip() == stamp:
        return out, False
    contents = Contents.load(directory)
    chosen = assign(contents.utt2spk, parts, per_utt)
    with atomic_dir(out) as temp:
        for number, utts in enumerate(chosen, 1):
            (temp / str(number)).mkdir()
            contents.select(utts).write(temp / str(number))
        (temp / _STAMP).write_text(stamp + "\n", encoding="utf-8")
    return out, True
