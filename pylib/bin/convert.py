"""Convert utterances to other voices (steps/convert.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, parts, true_false


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="convert", description=__doc__)
    parser.add_argument("data", type=Path, help="data directory of sources and references")
    parser.add_argument("pairs", type=Path, help="pairs list (steps/make_pairs.sh)")
    parser.add_argument("out", type=Path, help="data directory to make")
    parser.add_argument("--method", default="shift")
    parser.add_argument("--vocoder", default="griffinlim")
    parser.add_argument("--checkpoint", default="", help="of an fhvae model")
    parser.add_argument("--feats", default="logmel", help="features of methods without a model")
    parser.add_argument("--system", default="", help="name in tables")
    parser.add_argument("--iterations", type=int, default=60, help="of Griffin-Lim")
    parser.add_argument("--seed", type=int, default=0, help="of Griffin-Lim's first phases")
    parser.add_argument("--dump", type=true_false, default=False, metavar="true|false")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--examples", type=int, default=6, help="on the listening page")
    add_parts(parser)
    return parser


def main(argv: list[str]) -> int:
    """Convert one shard, join shards, or both; see `--help`."""
    args = _parser().parse_args(argv)

    from pylib.conversion.stage import ConversionStage

    index, jobs, merge = parts(args)
    stage = ConversionStage(
        data=args.data,
        pairs=args.pairs,
        out=args.out,
        method=args.method,
        vocoder=args.vocoder,
        checkpoint=args.checkpoint,
        feats=args.feats,
        system=args.system,
        iterations=args.iterations,
        seed=args.seed,
        dump=args.dump,
        device=args.device,
        examples=args.examples,
        jobs=jobs,
    )
    if index:
        stage.make_shard(index)
    if merge:
        print(f"{args.out}: {stage.commit()} conversions, {args.method}, {args.vocoder}")
    return 0


if __name__ == "__main__":
    run(main)
