"""Filter banks, MFCC or log-spectra of a data directory (steps/make_feats.sh)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, add_places, each, pairs, parts, true_false

if TYPE_CHECKING:
    from pathlib import Path


def main(argv: list[str]) -> int:
    """Make one shard, join shards, or both; see `--help`."""
    parser = argparse.ArgumentParser(prog="make_feats", description=__doc__)
    add_places(parser, "ark_dir", "directory for its arks")
    parser.add_argument(
        "--kind", default="fbank", help="fbank, mfcc, logmel, logspec, logspec200, logfbank"
    )
    parser.add_argument(
        "--compression", type=int, default=0, help="Kaldi's method for arks: 0 none, 3 two bytes"
    )
    parser.add_argument("--resample", type=true_false, default=False, metavar="true|false")
    parser.add_argument("--mix", type=true_false, default=False, metavar="true|false")
    add_parts(parser)
    args = parser.parse_args(argv)

    from pylib.features.config import feature_config
    from pylib.features.making import FeatureStage, log_made

    index, jobs, merge = parts(args)
    config = feature_config(args.kind)

    def make(data: Path, arks: Path) -> None:
        stage = FeatureStage(data, arks, config, jobs, args.compression, args.resample, args.mix)
        if index:
            stage.make_shard(index)
        if merge:
            print(log_made(args.kind, data, stage.commit(), config.frame_rate))

    each(pairs(parser, args.places), make)
    return 0


if __name__ == "__main__":
    run(main)
