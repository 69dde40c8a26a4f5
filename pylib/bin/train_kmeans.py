"""Fit k-means to the features of a data directory (steps/train_kmeans.sh)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import positive


def main(argv: list[str]) -> int:
    """Fit and save; see `--help`."""
    parser = argparse.ArgumentParser(prog="train_kmeans", description=__doc__)
    parser.add_argument("data", type=Path, help="data directory")
    parser.add_argument("kmeans", type=Path, help="directory of the k-means")
    parser.add_argument("--feats", default="mfcc", help="stem of the features: mfcc, hidden6 ...")
    parser.add_argument("--cmvn", default="none", help="none, utterance or speaker")
    parser.add_argument("--clusters", type=positive, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--starts", type=positive, default=20, help="k-means++ starts")
    parser.add_argument("--batch-frames", type=positive, default=10_000)
    parser.add_argument("--max-epochs", type=positive, default=100)
    parser.add_argument("--patience", type=positive, default=100)
    parser.add_argument("--pool-frames", type=positive, default=100_000)
    parser.add_argument("--fraction", type=float, default=1.0, help="share of utterances used")
    parser.add_argument("--threads", type=positive, default=1)
    args = parser.parse_args(argv)

    from pylib.features.reader import FeatureReader
    from pylib.units.kmeans import FitOptions, fit
    from pylib.units.kmeans_model import save

    options = FitOptions(
        clusters=args.clusters,
        seed=args.seed,
        starts=args.starts,
        batch_frames=args.batch_frames,
        max_epochs=args.max_epochs,
        patience=args.patience,
        pool_frames=args.pool_frames,
        fraction=args.fraction,
        threads=args.threads,
    )
    reader = FeatureReader(args.data, args.feats, args.cmvn)
    result = fit(reader, options, lambda line: print(line, file=sys.stderr, flush=True))
    data = os.fspath(args.data)
    save(args.kmeans, result, options, reader.meta, args.feats, args.cmvn, data)
    print(
        f"k-means of {data}: {args.clusters} clusters, inertia per frame "
        f"{result.inertia_per_frame:.4f} over {result.frames} frames"
    )
    return 0


if __name__ == "__main__":
    run(main)
