"""Label every frame of a data directory with its k-means unit (steps/dump_labels.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, each, parts


def main(argv: list[str]) -> int:
    """Make one shard, join shards, or both; see `--help`."""
    parser = argparse.ArgumentParser(prog="dump_labels", description=__doc__)
    parser.add_argument("data", type=Path, nargs="+", help="data directory with the features")
    parser.add_argument("kmeans", type=Path, help="directory of the k-means")
    parser.add_argument("--rate", type=float, default=50.0, help="Hz of the labels")
    parser.add_argument(
        "--align", choices=("start", "centre"), help="default: as the features or the rate say"
    )
    parser.add_argument("--ark-dir", type=Path, help="of one set (default: <kmeans>/labels/<set>)")
    add_parts(parser)
    args = parser.parse_args(argv)
    if args.ark_dir and len(args.data) > 1:
        parser.error("--ark-dir: of one set; the arks of several lie in <kmeans>/labels/<set>")

    from pylib.features.reader import FeatureReader
    from pylib.units.kmeans_model import load
    from pylib.units.labelling import LabelStage, default_align

    index, jobs, merge = parts(args)
    kmeans = load(args.kmeans)

    def label(data: Path, arks: Path) -> None:
        features = FeatureReader(data, kmeans.stem, kmeans.cmvn)
        align = args.align or default_align(args.rate, features.meta)
        stage = LabelStage(data, kmeans, arks, args.rate, align, jobs)
        if index:
            stage.make_shard(index, features)
        if merge:
            print(stage.commit(features.utts))

    each([(data, args.ark_dir or args.kmeans / "labels" / data.name) for data in args.data], label)
    return 0


if __name__ == "__main__":
    run(main)
