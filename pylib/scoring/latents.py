"""Vectors of utterances (`steps/dump_latents.sh`) with their speakers and their origin."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import ArkReader, read_scp
from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some, read_table, table_path
from pylib.scoring.collect import read_json

# What is measured of an utterance, with the ending of its measures' names: the sequence latent
# should know the speaker and the content latent should not, so their directions differ.
SUFFIXES = {"svector": "", "z1mean": "_content"}


@dataclass(frozen=True)
class Latents:
    """One vector for each utterance of a data directory.

    Attributes:
        where: the scp.
        origin: `latents.json`: system, seed, checkpoint ...
        utts: utterances, sorted.
        speakers: of each utterance.
        matrix: float64 (N, D).
        without: utterances that have no vector, being shorter than a segment.
    """

    where: Path
    origin: dict[str, Any]
    utts: list[str]
    speakers: list[str]
    matrix: npt.NDArray[np.float64]
    without: frozenset[str]

    @property
    def set(self) -> str:
        return self.where.parent.resolve().name


def read_origin(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """`latents.json` of a directory of latents, checked for system and seed.

    Raises:
        UserError: missing, broken, or without them.
    """
    path = Path(directory) / "latents.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file: write the latents with steps/dump_latents.sh")
    origin = read_json(path)
    if not isinstance(origin, dict) or not isinstance(origin.get("system"), str):
        raise UserError(f"{path}: does not name its system: run steps/dump_latents.sh again")
    if not isinstance(origin.get("seed"), int | None):
        raise UserError(f"{path}: seed {origin['seed']!r}: a whole number expected: dump again")
    excluded = origin.get("excluded", [])
    if not isinstance(excluded, list) or not all(isinstance(utt, str) for utt in excluded):
        raise UserError(f"{path}: excluded is no list of utterances: dump again")
    return origin


def read_latents(directory: str | os.PathLike[str], name: str) -> Latents:
    """The vectors `<directory>/<name>.scp`.

    Raises:
        UserError: missing or broken files, vectors of several sizes, of utterances that utt2spk
            does not know, NaN or infinite, or none at all.
    """
    if name not in SUFFIXES:
        raise UserError(f"--latent {name}: unknown: use {', '.join(SUFFIXES)}")
    root = Path(directory)
    origin, scp = read_origin(root), root / f"{name}.scp"
    table = read_scp(scp)
    utt2spk = read_table(table_path(root, "utt2spk"), fields=2)
    unknown = table.keys() - utt2spk.keys()
    if unknown:
        raise UserError(f"{scp}: {names_some(unknown)} not in utt2spk: dump the latents again")
    if not table:
        raise UserError(f"{scp}: is empty: is every utterance shorter than a segment?")
    rows: list[npt.NDArray[np.float64]] = []
    with ArkReader() as reader:
        for utt, rx in table.items():
            row = np.asarray(reader.read(rx, utt), dtype=np.float64).ravel()
            if rows and len(row) != len(rows[0]):
                raise UserError(
                    f"{scp}: '{utt}' has {len(row)} numbers, the others {len(rows[0])}: dump again"
                )
            rows.append(row)
    matrix = np.stack(rows)
    bad = {list(table)[row] for row in np.argwhere(~np.isfinite(matrix))[:, 0]}
    if bad:
        raise UserError(f"{scp}: NaN or infinite numbers in {names_some(bad)}: look at the model")
    return Latents(
        scp,
        origin,
        list(table),
        [utt2spk[utt] for utt in table],
        matrix,
        frozenset({*origin.get("excluded", ()), *utt2spk} - table.keys()),
    )


def check_same_model(one: Latents, other: Latents) -> None:
    """UserError unless both were written by one checkpoint, so that they can be compared."""
    for key in ("system", "seed", "checkpoint_sha256"):
        if one.origin.get(key) != other.origin.get(key):
            raise UserError(
                f"{other.where}: {key} {other.origin.get(key)!r}, but {one.origin.get(key)!r} in "
                f"{one.where.parent}: write both with one checkpoint"
            )
    if one.matrix.shape[1] != other.matrix.shape[1]:
        raise UserError(
            f"{other.where}: {other.matrix.shape[1]} numbers a vector, {one.matrix.shape[1]} in "
            f"{one.where}: write both with one checkpoint"
        )
