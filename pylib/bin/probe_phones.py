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
    parser.add_argument(
        "places", type=Path, nargs="+", metavar="train test out",
        help="data directory to fit on, one of other speakers to judge on, JSON file to write; "
        "several probes share one process",
    )  # fmt: skip
    parser.add_argument("--feats", default="z1", help="stems of the features, separated by commas")
    parser.add_argument("--max-frames", type=positive, default=100_000)
    parser.add_argument("--system", default="", help="in the rows (default: the latents')")
    parser.add_argument("--seed", type=int, default=None, help="in the rows (default: likewise)")
    args = parser.parse_args(argv)
    if len(args.places) % 3:
        parser.error(f"{args.places[-1]}: train, test and out come by threes")

    from pylib.corpus.atomic import write_json
    from pylib.scoring.latents import read_origin
    from pylib.scoring.measures import describe_row
    from pylib.units.probe_features import probe_features
    from pylib.units.probe_layers import LayerOptions

    places = args.places
    for train, test, out in zip(places[::3], places[1::3], places[2::3], strict=True):
        latents = (test / "latents.json").is_file()
        origin = read_origin(test) if latents else {}
        rows = []
        for stem in args.feats.split(","):
            identity = {
                "system": args.system or origin.get("system", stem),
                "seed": args.seed if args.seed is not None else origin.get("seed"),
                "set": test.resolve().name,
            }
            options = LayerOptions(seed=identity["seed"] or 0, max_frames=args.max_frames)
            rows += probe_features(train, test, stem, identity, os.fspath(out), options)
            print(describe_row(rows[-1]), flush=True)
        write_json(out, {"results": rows, "fitted_on": os.fspath(train), "origin": origin or None})
    return 0


if __name__ == "__main__":
    run(main)
