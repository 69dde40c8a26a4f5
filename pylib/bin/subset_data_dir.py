"""A part of a data directory (steps/subset_data_dir.sh)."""

from __future__ import annotations

import argparse
import sys

from pylib.bin.data_args import flag
from pylib.bin.entry import run

_MODES = ("speakers", "per-spk", "shortest", "first", "last")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="subset_data_dir.sh", description=__doc__)
    parser.add_argument("source", help="data directory")
    parser.add_argument("rest", nargs="+", help="<num-utt> <dest>, with a list <dest> alone")
    flag(parser, "--speakers", "whole speakers, shuffled, until there are <num-utt> utterances")
    flag(parser, "--per-spk", "<num-utt> utterances of each speaker, evenly spaced")
    flag(parser, "--shortest", "the shortest")
    flag(parser, "--first", "the first")
    flag(parser, "--last", "the last")
    parser.add_argument("--spk-list", default="", help="keep the speakers of this list")
    parser.add_argument("--utt-list", default="", help="keep the utterances of this list")
    parser.add_argument("--seed", default="", help="shuffle utterances with this seed")
    return parser


def main(argv: list[str]) -> int:
    """Write one subset; see `--help`."""
    parser = _parser()
    args = parser.parse_args(argv)

    from pylib.corpus.errors import UserError
    from pylib.corpus.layout import Contents
    from pylib.corpus.subset import choose, of_list, of_speakers, write_subset
    from pylib.corpus.tables import read_list

    modes = [mode for mode in _MODES if getattr(args, mode.replace("-", "_"))]
    lists = [name for name in ("spk_list", "utt_list") if getattr(args, name)]
    if len(modes) + len(lists) > 1:
        parser.error("only one of the selections can be asked for")
    if len(args.rest) != (1 if lists else 2):
        parser.error("expected <source> <dest> with a list, else <source> <num-utt> <dest>")
    try:
        count = 0 if lists else int(args.rest[0])
        seed = int(args.seed) if args.seed else 0
    except ValueError as error:
        parser.error(f"a whole number was expected ({error})")
    contents = Contents.load(args.source)
    if args.spk_list:
        utts = of_speakers(contents, read_list(args.spk_list), args.spk_list)
    elif args.utt_list:
        utts = of_list(contents, read_list(args.utt_list), args.utt_list)
    else:
        mode = modes[0] if modes else ("random" if args.seed else "even")
        if args.seed and mode not in ("random", "speakers"):
            raise UserError(f"--seed {args.seed}: has no meaning with --{mode}: leave one out")
        utts = choose(contents, count, mode, seed)
    for name in contents.unknown:
        text = f"{args.source}/{name} is not understood and left out"
        print(f"subset_data_dir.sh: {text}", file=sys.stderr)
    kept = write_subset(contents, utts, args.rest[-1])
    print(f"subset_data_dir.sh: reducing #utt from {len(contents.utt2spk)} to {kept}")
    return 0


if __name__ == "__main__":
    run(main)
