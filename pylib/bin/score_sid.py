"""Closed-set speaker identification with the latents of utterances (steps/score_sid.sh)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Fit, judge and write; see `--help`."""
    parser = argparse.ArgumentParser(prog="score_sid", description=__doc__)
    parser.add_argument("train", type=Path, help="latents to fit on")
    parser.add_argument("test", type=Path, help="latents of other utterances of these speakers")
    parser.add_argument("out", type=Path, help="JSON file to write")
    args = parser.parse_args(argv)

    from pylib.corpus.atomic import write_json
    from pylib.scoring.identification import identify
    from pylib.scoring.latents import SUFFIXES, read_latents
    from pylib.scoring.measures import describe_row

    rows, details = [], {}
    for name in SUFFIXES:
        train, test = read_latents(args.train, name), read_latents(args.test, name)
        rows += identify(train, test, name, os.fspath(args.out))
        speakers = len(set(train.speakers))
        details = {
            "fitted_on": os.fspath(args.train),
            "speakers": speakers,
            "chance": 100.0 / speakers,
            "without_vector": len(test.without),
            "origin": test.origin,
        }
    write_json(args.out, {"results": rows, "details": details})
    for row in rows:
        print(describe_row(row))
    print(f"chance {details['chance']:.2f} %: {details['speakers']} speakers")
    return 0


if __name__ == "__main__":
    run(main)
