"""Mean and standard deviation of features over a training set (steps/compute_cmvn.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Write `<data>/<stem>_cmvn.json`; see `--help`."""
    parser = argparse.ArgumentParser(prog="compute_cmvn", description=__doc__)
    parser.add_argument("data", type=Path, help="data directory of the training set")
    parser.add_argument("--feats", default="logmel", help="name of the features (stem of the scp)")
    args = parser.parse_args(argv)

    from pylib.features.cmvn import cmvn_path, compute_cmvn

    content = compute_cmvn(args.data, args.feats)
    print(
        f"{cmvn_path(args.data, args.feats)}: {content['dim']} numbers, {content['frames']} frames "
        f"of {content['utterances']} utterances"
    )
    return 0


if __name__ == "__main__":
    run(main)
