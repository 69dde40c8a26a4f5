"""Options that several feature, unit and label verbs share."""

from __future__ import annotations

import argparse


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
