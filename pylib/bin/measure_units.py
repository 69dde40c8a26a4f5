"""PNMI, purity, length and use of the units of a data directory (steps/measure_units.sh)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Measure and write; see `--help`."""
    parser = argparse.ArgumentParser(prog="measure_units", description=__doc__)
    parser.add_argument("data", type=Path, help="data directory with labels")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--system", default="", help="name in the rows (default: the features)")
    parser.add_argument("--seed", type=int, default=0, help="seed in the rows")
    args = parser.parse_args(argv)

    from pylib.corpus.atomic import write_json
    from pylib.corpus.derived import read_meta
    from pylib.units.measure import measure_labels

    meta = read_meta(args.data, "labels")
    system = args.system or f"kmeans-{meta.get('source', {}).get('stem', 'unknown')}"
    identity = {"system": system, "seed": args.seed, "set": args.data.name}
    result = measure_labels(args.data, identity, os.fspath(args.out))
    write_json(args.out, result)
    for item in result["results"]:
        print(f"{item['set']} {item['measure']} {item['value']:.4f}", end="")
        print(f" [{item['low']:.4f}, {item['high']:.4f}]" if item["low"] < item["high"] else "")
    return 0


if __name__ == "__main__":
    run(main)
