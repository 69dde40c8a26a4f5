"""Conversion pairs of a data directory (steps/make_pairs.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Write the pairs; see `--help`."""
    parser = argparse.ArgumentParser(prog="make_pairs", description=__doc__)
    parser.add_argument("data", type=Path, help="data directory")
    parser.add_argument("out", type=Path, help="pairs file")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--sources", type=int, default=10, help="speakers to convert from")
    parser.add_argument("--targets", type=int, default=10, help="speakers to convert to")
    parser.add_argument("--utterances", type=int, default=4, help="of each pair of speakers")
    parser.add_argument("--references", type=int, default=10, help="utterances of the target")
    parser.add_argument("--spk-list", type=Path, help="take only these speakers")
    parser.add_argument("--train", type=Path, help="data that must share no speaker with the pairs")
    args = parser.parse_args(argv)

    from pylib.corpus.datadir import DataDir
    from pylib.corpus.errors import UserError
    from pylib.corpus.pairs import PairOptions, make_pairs, write_pairs
    from pylib.corpus.tables import names_some, read_list, read_table, table_path

    data = DataDir.load(args.data)
    utt2spk = data.utt2spk
    if args.spk_list is not None:
        wanted = set(read_list(args.spk_list))
        missing = wanted - set(utt2spk.values())
        if missing:
            raise UserError(
                f"{args.spk_list}: speakers {names_some(missing)} are not in {args.data}: "
                "correct the list"
            )
        utt2spk = {utt: spk for utt, spk in utt2spk.items() if spk in wanted}
    if args.train is not None:
        trained = set(read_table(table_path(args.train, "utt2spk"), 2).values())
        shared = trained & set(utt2spk.values())
        if shared:
            raise UserError(
                f"{args.data}: speakers {names_some(shared)} are also in {args.train}: conversions "
                "are between speakers that training has not seen, prepare the data again"
            )
    genders = args.data / "spk2gender"
    gender = read_table(genders, 2) if genders.is_file() else None
    options = PairOptions(args.sources, args.targets, args.utterances, args.references, args.seed)
    made = make_pairs(utt2spk, gender, data.text, options)
    write_pairs(args.out, made.pairs)
    print(
        f"{args.out}: {len(made.pairs)} conversions to {len({p.target for p in made.pairs})} "
        f"speakers; left out: {len(made.lone_speakers)} speakers with one utterance"
    )
    for notice in made.notices:
        print(f"NOTICE: {notice}")
    return 0


if __name__ == "__main__":
    run(main)
