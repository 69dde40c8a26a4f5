"""What the judges make of natural speech: the threshold of acceptance (steps/judge_natural.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Measure and write; see `--help`."""
    parser = argparse.ArgumentParser(prog="judge_natural", description=__doc__)
    parser.add_argument("natural", type=Path, help="data directory that was heard")
    parser.add_argument("trials", type=Path, help="list of steps/make_trials.sh")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--quality", choices=("true", "false"), default="true")
    args = parser.parse_args(argv)

    from pylib.bin.judging import natural_eers, natural_trials, quality, without_speech
    from pylib.conversion.judge_files import META
    from pylib.conversion.judge_speaker import MIN_SPEECH
    from pylib.corpus.atomic import sha256_file, write_json
    from pylib.corpus.datadir import DataDir
    from pylib.scoring.conversion import result_row
    from pylib.scoring.measures import describe_row

    natural = DataDir.load(args.natural)
    trials = natural_trials(natural, args.trials)
    name = natural.path.resolve().name
    file = str(args.out)
    identity = {"system": "resemblyzer", "seed": None, "set": name}
    rows = [
        result_row(identity, measure, "natural", estimate, file)
        for measure, estimate in natural_eers(trials).items()
    ]
    if args.quality == "true":
        identity = {"system": "natural", "seed": None, "set": name}
        rows += [
            result_row(identity, measure, "natural", estimate, file)
            for measure, estimate in quality(natural).items()
        ]
    details = {
        "judges": META,
        "trials": {"file": str(args.trials), "sha256": sha256_file(args.trials)},
        "targets": int(trials.target.sum()),
        "nontargets": int((~trials.target).sum()),
        "hardly_any_speech": without_speech(natural, MIN_SPEECH),
    }
    write_json(args.out, {"results": rows, "threshold": trials.eer.threshold, "details": details})
    for row in rows:
        print(describe_row(row))
    print(f"threshold of the speaker encoder: cosine {trials.eer.threshold:.4f}")
    return 0


if __name__ == "__main__":
    run(main)
