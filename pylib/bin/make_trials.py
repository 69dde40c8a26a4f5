"""Speaker verification trials of a data directory (steps/make_trials.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import positive


def main(argv: list[str]) -> int:
    """Write the trials; see `--help`."""
    parser = argparse.ArgumentParser(prog="make_trials", description=__doc__)
    parser.add_argument("data", type=Path, help="data directory")
    parser.add_argument("out", type=Path, help="trials file")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--per-speaker", type=positive, default=20, help="utterances, at most")
    parser.add_argument("--train", type=Path, help="data that must share no speaker with <data>")
    args = parser.parse_args(argv)

    from pylib.corpus.datadir import DataDir
    from pylib.corpus.disjoint import check_disjoint
    from pylib.corpus.errors import raise_defects
    from pylib.corpus.tables import read_table
    from pylib.corpus.trials import make_trials, write_trials

    if args.train is not None:
        raise_defects(check_disjoint([args.train, args.data], "speakers"))
    data = DataDir.load(args.data)
    genders = args.data / "spk2gender"
    gender = read_table(genders, 2) if genders.is_file() else None
    made = make_trials(data.utt2spk, gender, data.text, args.per_speaker, args.seed)
    write_trials(args.out, made.trials)
    targets = sum(trial.target for trial in made.trials)
    print(
        f"{args.out}: {targets} target and {len(made.trials) - targets} nontarget trials; left "
        f"out: {len(made.lone_speakers)} speakers with one utterance, {made.same_text} utterances "
        f"of a text that is there already, {made.same_recording} trials within one recording"
    )
    return 0


if __name__ == "__main__":
    run(main)
