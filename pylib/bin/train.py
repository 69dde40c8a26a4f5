"""Train a system, as configured: MT4SSL and its parents, VATLM, CTC, seq2seq, FHVAE ..."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from pylib.bin.entry import run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("train", type=Path, help="data directory to train on")
    parser.add_argument("dev", type=Path, help="data directory to validate on")
    parser.add_argument("exp", type=Path, help="directory of the run; an unfinished run goes on")
    parser.add_argument(
        "--config", action="append", default=[], metavar="FILE",
        help="TOML file; several, blank-separated or repeated, override the earlier ones",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", dest="overrides",
        help="override one key of the configuration; may be repeated",
    )  # fmt: skip
    parser.add_argument("--init", type=Path, help="checkpoint whose encoder is the start")
    parser.add_argument("--seed", type=int, help="the same as --set run.seed=N")
    parser.add_argument("--system-name", default="", help="name of the system in reports")
    parser.add_argument("--preset", default="", help="name of the preset in reports")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--plan", action="store_true", help="print batch, updates and memory, and do not train"
    )
    return parser


def _files(text: str) -> list[Path]:
    """The files of one --config; a name with a blank counts as one where there is such a file."""
    return [Path(text)] if Path(text).exists() else [Path(word) for word in text.split()]


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    from pylib.training.session import Request, train

    # Several settings in one argument are parted where the next section.key= begins.
    parts = [re.split(r"[,\s]+(?=\w+(?:\.\w+)?=)", text.strip()) for text in args.overrides]
    overrides = [item for part in parts for item in part if item]
    if args.seed is not None:
        overrides.append(f"run.seed={args.seed}")
    return train(
        Request(
            train=args.train,
            dev=args.dev,
            folder=args.exp,
            config=[path for text in args.config for path in _files(text)] or None,
            overrides=tuple(overrides),
            init=args.init,
            system_name=args.system_name,
            preset=args.preset,
            device=args.device,
            plan_only=args.plan,
            argv=tuple(argv),
        )
    )


if __name__ == "__main__":
    run(main)
