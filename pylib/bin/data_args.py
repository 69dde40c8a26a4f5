"""Options that several data directory verbs share."""

from __future__ import annotations

import argparse


def flag(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """A switch that may stand alone (Kaldi's way) or before `true` or `false`."""
    parser.add_argument(
        name,
        nargs="?",
        const=True,
        default=False,
        type=_true_false,
        metavar="true|false",
        help=text,
    )


def _true_false(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"'{text}': true or false expected")
    return text == "true"
