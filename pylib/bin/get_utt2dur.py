"""Durations of utterances from the headers of their audio (steps/get_utt2dur.sh)."""

from __future__ import annotations

import argparse

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Write utt2dur, utt2num_samples and reco2dur; see `--help`."""
    parser = argparse.ArgumentParser(prog="get_utt2dur.sh", description=__doc__)
    parser.add_argument("data", help="data directory")
    parser.add_argument("--nj", type=int, default=4, help="number of processes")
    args = parser.parse_args(argv)

    from pylib.corpus.durations import write_durations

    hours = write_durations(args.data, args.nj)
    print(f"get_utt2dur.sh: computed {args.data}/utt2dur, {hours:.3f} hours")
    return 0


if __name__ == "__main__":
    run(main)
