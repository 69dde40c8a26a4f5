"""Framewise linear phone probe of stored features (steps/probe_phones.sh)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import positive


def main(argv: list[str]) -> int:
    """Probe and write; see `--help`."""
    parser = argparse.ArgumentParser(prog="probe_phones", description=__doc__)
    parser.add_argument("train", type=Path, help="data directory to fit on")
    parser.add_argument("test", type=Path, help="data directory to judge on, other speakers")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--feats", default="z1", help="stems of the features, separated by commas")
    parser.add_argument("--max-frames", type=positive, default=100_000)
    parser.add_argument("--system", default="", help="in the rows (default: the latents')")
    parser.add_argument("--seed", type=int, default=None, help="in the rows (default: likewise)")
    args = parser.parse_args(argv)

    from pylib.corpus.atomic import write_json
    from pylib.scoring.latents import read_origin
    from pylib.scoring.measures import describe_row
    from pylib.units.probe_features import probe_features
    from pylib.units.probe_layers import LayerOptions

    latents = (args.test / "latents.json").is_file()
    origin = read_origin(args.test) if latents else {}
    rows = []
    for stem in args.feats.split(","):
        identity = {
            "system": args.system or origin.get("system", stem),
            "seed": args.seed if args.seed is not None else origin.get("seed"),
            "set": args.test.resolve().name,
        }
        options = LayerOptions(seed=identity["seed"] or 0, max_frames=args.max_frames)
        rows += probe_features(args.train, args.test, stem, identity, os.fspath(args.out), options)
        print(describe_row(rows[-1]), flush=True)
    write_json(
        args.out, {"results": rows, "fitted_on": os.fspath(args.train), "origin": origin or None}
    )
    return 0


if __name__ == "__main__":
    run(main)
