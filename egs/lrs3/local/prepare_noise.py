"""Noise of MUSAN and of other speakers, cut, mixed and split (prepare_noise.sh)."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from noise_pieces import PARTS, RATE, Options, Piece, Plan, Stretch, plan_noise

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, parts, positive
from pylib.corpus.atomic import write_json
from pylib.corpus.audio import read_audio, write_audio
from pylib.corpus.datadir import DataDir
from pylib.corpus.derived import shard_slice
from pylib.corpus.errors import UserError
from pylib.corpus.tables import write_table

Samples = npt.NDArray[np.float32]
BABBLE_PEAK = 0.5  # only the ratio to the speech counts: loud enough for 16 bits


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """Options of prepare_noise.sh, which documents them."""
    parser = argparse.ArgumentParser(prog="prepare_noise", description=__doc__)
    parser.add_argument("speech_data", type=Path)
    parser.add_argument("noise_dir", type=Path)
    parser.add_argument("--musan", default="")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--talkers", type=positive, default=30)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--min", type=float, default=3.0)
    parser.add_argument("--max-hours", type=float, default=60.0)
    add_parts(parser)
    return parser.parse_args(argv)


def file_of(piece: Piece, root: Path) -> Path:
    """Where a piece lies: in its own place, or where it was found."""
    if piece.ready:
        return Path(piece.stretches[0].path)
    return root / "audio" / piece.category / piece.part / f"{piece.id}.wav"


def _read(stretch: Stretch) -> Samples:
    return read_audio(stretch.path, RATE, start=stretch.start, stop=stretch.start + stretch.count)


def babble(
    piece: Piece, seconds: float, seed: int, read: Callable[[Stretch], Samples] = _read
) -> Samples:
    """Mean of the voices of a babble, each said over and over from a moment of its own."""
    rng = np.random.default_rng([seed, 4, *piece.id.encode()])
    total = np.zeros(round(seconds * RATE))
    for stretch in piece.stretches:
        voice = read(stretch)
        start = int(rng.integers(len(voice)))
        total += np.take(voice, np.arange(start, start + len(total)), mode="wrap")
    peak = float(np.abs(total).max())
    return (total * (BABBLE_PEAK / peak if peak else 0.0)).astype(np.float32)


def make_shard(plan: Plan, root: Path, options: Options, index: int, jobs: int) -> None:
    """Write the audio of part `index` of `jobs` of all pieces."""
    read = lru_cache(maxsize=128)(_read)  # a recording speaks in many babbles
    todo = [piece for piece in plan.pieces if not piece.ready]
    for piece in shard_slice(todo, index, jobs):
        path = file_of(piece, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        if piece.category == "babble":
            samples = babble(piece, options.seconds, options.seed, read)
        else:
            samples = np.concatenate([_read(stretch) for stretch in piece.stretches])
        write_audio(path, samples, RATE)


def commit(plan: Plan, root: Path, options: Options, summary: dict[str, Any]) -> dict[str, Any]:
    """Write the tables, then noise.json; returns what it says.

    Raises:
        UserError: a piece was not written.
    """
    tables: dict[str, dict[str, str]] = {}
    hours: dict[str, float] = {}
    for piece in plan.pieces:
        path = file_of(piece, root)
        if not path.is_file():
            raise UserError(f"{path}: is missing: a job failed, run the step again")
        key = f"{piece.category}.{piece.part}"
        tables.setdefault(key, {})[piece.id] = str(path)
        hours[key] = hours.get(key, 0.0) + piece.seconds(options.seconds) / 3600
    for old in root.glob("*.scp"):
        if old.stem not in tables:
            old.unlink()
    for key, table in tables.items():
        write_table(root / f"{key}.scp", dict(sorted(table.items())))
    categories = sorted({piece.category for piece in plan.pieces})
    summary = {
        **summary,
        "categories": categories,
        "files": {key: len(table) for key, table in sorted(tables.items())},
        "hours": {key: round(value, 4) for key, value in sorted(hours.items())},
        "left_out": plan.left_out,
        "notices": plan.notices,
    }
    write_json(root / "noise.json", summary)
    return summary


def _print(summary: dict[str, Any]) -> None:
    for name in summary["categories"]:
        keys = [f"{name}.{part}" for part in PARTS]
        cells = [f"{key} {summary['files'][key]} ({summary['hours'][key]:.2f} h)" for key in keys]
        print(", ".join(cells))
    for why, count in summary["left_out"].items():
        print(f"left out, {why}: {count}")
    for notice in summary["notices"]:
        print(f"note: {notice}")


def main(argv: list[str]) -> int:
    """Make one shard, write the tables, or both."""
    arguments = parse_arguments(argv)
    options = Options(
        arguments.seed, arguments.talkers, arguments.seconds, arguments.min, arguments.max_hours
    )
    if not 0 < options.min_seconds <= options.seconds:
        raise UserError(f"--min {options.min_seconds:g}: above 0 and at most --seconds is needed")
    index, jobs, merge = parts(arguments)
    root: Path = arguments.noise_dir
    data = DataDir.load(arguments.speech_data)
    plan = plan_noise(data, Path(arguments.musan) if arguments.musan else None, options)
    if index:
        (root / "noise.json").unlink(missing_ok=True)
        make_shard(plan, root, options, index, jobs)
    if merge:
        about = {
            "seed": options.seed,
            "speech_data": str(arguments.speech_data),
            "musan": arguments.musan or None,
            "talkers": options.talkers,
        }
        _print(commit(plan, root, options, about))
    return 0


if __name__ == "__main__":
    run(main)
