"""Phones of a data directory at 100 Hz (steps/align_phones.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, parts, positive


def main(argv: list[str]) -> int:
    """Train, make one shard, join shards, or compare; see `--help`."""
    parser = argparse.ArgumentParser(prog="align_phones", description=__doc__)
    parser.add_argument("data", type=Path, help="data directory with text and mfcc")
    parser.add_argument("ark_dir", type=Path, help="where arks go")
    parser.add_argument("--hmm-dir", type=Path, required=True, help="the trained models")
    parser.add_argument("--lexicon", type=Path, help="default: CMUdict")
    parser.add_argument("--oov", choices=("drop", "g2p"), default="g2p")
    parser.add_argument("--ctm", type=Path, help="take the phones from this ctm instead")
    parser.add_argument("--iterations", type=positive, default=12)
    parser.add_argument("--gaussians", type=positive, default=4)
    parser.add_argument("--train-minutes", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", action="store_true", help="train, and nothing else")
    parser.add_argument("--compare", type=Path, help="judge the phones made by this ctm")
    add_parts(parser)
    args = parser.parse_args(argv)
    if args.compare is not None:
        return _compare(args)

    from pylib.features.reader import FeatureReader
    from pylib.units.align_ctm import CtmStage
    from pylib.units.align_stage import AlignOptions, AlignStage, frames_of

    index, jobs, merge = parts(args)
    stage: AlignStage | CtmStage
    if args.ctm is not None:
        stage = CtmStage(args.data, frames_of(args.data), args.ark_dir, args.ctm, jobs)
    else:
        options = AlignOptions(
            args.lexicon, args.oov, args.iterations, args.gaussians, args.train_minutes, args.seed
        )
        features = FeatureReader(args.data, "mfcc", "speaker")
        stage = AlignStage(args.data, features, args.ark_dir, args.hmm_dir, options, jobs)
        if args.train:
            print(stage.train())
            return 0
    if index:
        stage.make_shard(index)
    if merge:
        print(stage.commit())
    return 0


def _compare(args: argparse.Namespace) -> int:
    from pylib.units.align_ctm import compare
    from pylib.units.phone_runs import RunReader
    from pylib.units.phones import read_phones

    reader = RunReader(args.data)
    result = compare({utt: reader.read(utt) for utt in reader.utts}, read_phones(args.compare))
    print(" ".join(f"{name} {value:.4f}" for name, value in result.items()))
    return 0


if __name__ == "__main__":
    run(main)
