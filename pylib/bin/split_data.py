"""A data directory in parts for parallel jobs (steps/split_data.sh)."""

from __future__ import annotations

import argparse

from pylib.bin.data_args import flag
from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Split a data directory; see `--help`."""
    parser = argparse.ArgumentParser(prog="split_data.sh", description=__doc__)
    parser.add_argument("data", help="data directory")
    parser.add_argument("parts", type=int, help="number of parts")
    flag(parser, "--per-utt", "split within speakers too, into split<N>utt")
    args = parser.parse_args(argv)

    from pylib.corpus.split import split_data

    out, made = split_data(args.data, args.parts, args.per_utt)
    done = "made" if made else "up to date"
    print(f"split_data.sh: {out}: {args.parts} parts, {done}")
    return 0


if __name__ == "__main__":
    run(main)
