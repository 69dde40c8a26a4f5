"""Options that several feature, unit and label verbs share."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path


def true_false(text: str) -> bool:
    """Type of an option that shell scripts pass as `true` or `false`."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"'{text}': true or false expected")
    return text == "true"


def positive(text: str) -> int:
    """Type of a whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}': a whole number above 0 expected")
    return value


def add_parts(parser: argparse.ArgumentParser) -> None:
    """`--shard i/n` and `--merge n`; without either, everything is done in this process."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--shard", metavar="i/n", help="make only part i of n")
    group.add_argument("--merge", metavar="n", type=positive, help="join the n parts made before")


def parts(args: argparse.Namespace) -> tuple[int, int, bool]:
    """Part to make (0 = none), number of parts, whether to join them."""
    from pylib.corpus.derived import parse_shard

    if args.shard is not None:
        index, count = parse_shard(args.shard)
        return index, count, False
    if args.merge is not None:
        return 0, args.merge, True
    return 1, 1, True


def add_places(parser: argparse.ArgumentParser, second: str, what: str) -> None:
    """`data <second>`, as often as wanted: torch starts once for all sets of a process."""
    parser.add_argument(
        "places", type=Path, nargs="+", metavar=f"data {second}",
        help=f"data directory and {what}; several pairs share one process",
    )  # fmt: skip


def pairs(parser: argparse.ArgumentParser, places: Sequence[Path]) -> list[tuple[Path, Path]]:
    """The words of `add_places`, two by two."""
    if len(places) % 2:
        parser.error(f"{places[-1]}: data directories and what is made of them come in pairs")
    return list(zip(places[::2], places[1::2], strict=True))


def each(sets: Sequence[tuple[Path, Path]], make: Callable[[Path, Path], None]) -> None:
    """Make every set; what is wrong with several is told at once.

    Raises:
        UserError: the refusals of all sets that failed.
    """
    from pylib.corpus.errors import UserError

    refusals = []
    for data, out in sets:
        try:
            make(data, out)
        except UserError as error:
            refusals.append(str(error))
    if refusals:
        raise UserError("\n".join(refusals))
