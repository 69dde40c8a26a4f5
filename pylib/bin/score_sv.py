"""Speaker verification with the latents of utterances (steps/score_sv.sh)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import positive


def main(argv: list[str]) -> int:
    """Score and write; see `--help`."""
    parser = argparse.ArgumentParser(prog="score_sv", description=__doc__)
    parser.add_argument("train", type=Path, help="latents to fit on, of other speakers")
    parser.add_argument("test", type=Path, help="latents of the utterances of the trials")
    parser.add_argument("trials", type=Path, help="list of steps/make_trials.sh")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--latent", default="svector", help="svector or z1mean")
    parser.add_argument("--lda-dim", type=positive, default=24)
    parser.add_argument("--draws", type=positive, default=1000)
    args = parser.parse_args(argv)

    from pylib.corpus.atomic import write_json
    from pylib.corpus.trials import read_trials
    from pylib.scoring.latents import read_latents
    from pylib.scoring.measures import describe_row
    from pylib.scoring.verification import SvOptions, verify

    result = verify(
        read_latents(args.train, args.latent),
        read_latents(args.test, args.latent),
        read_trials(args.trials),
        args.latent,
        args.trials,
        os.fspath(args.out),
        SvOptions(args.lda_dim, args.draws),
    )
    write_json(args.out, result)
    for row in result["results"]:
        print(describe_row(row))
    dropped = result["details"]["dropped_trials"]
    if dropped:
        print(f"{dropped} trials left out: an utterance is shorter than a segment")
    return 0


if __name__ == "__main__":
    run(main)
