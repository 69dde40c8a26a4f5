"""Several data directories in one (steps/combine_data.sh)."""

from __future__ import annotations

import argparse
import sys

from pylib.bin.data_args import flag
from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Combine data directories; see `--help`."""
    parser = argparse.ArgumentParser(prog="combine_data.sh", description=__doc__)
    parser.add_argument("destination", help="the combined data directory")
    parser.add_argument("sources", nargs="+", help="data directories, untouched")
    parser.add_argument("--extra-files", default="", help="more files keyed by utterance")
    flag(parser, "--skip-fix", "do not require that speakers sort as utterances")
    args = parser.parse_args(argv)

    from pylib.corpus.combine import combine, load_sources, write_contents

    parts = load_sources(args.sources, args.destination, args.extra_files.split())
    whole, notes = combine(parts, sort_check=not args.skip_fix)
    for note in notes:
        print(f"combine_data.sh [info]: {note}", file=sys.stderr)
    write_contents(whole, args.destination)
    total, number = len(whole.utt2spk), len(parts)
    print(f"combine_data.sh: combined {number} directories: {total} utterances")
    return 0


if __name__ == "__main__":
    run(main)
