"""Features of one layer of a checkpoint (steps/dump_feats.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, parts


def main(argv: list[str]) -> int:
    """Make one shard, join shards, or both; see `--help`."""
    parser = argparse.ArgumentParser(prog="dump_feats", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="data directory")
    parser.add_argument("ark_dir", type=Path, help="directory for the arks")
    parser.add_argument("--layer", type=int, default=6, help="0 = input of block 1; l = block l")
    parser.add_argument("--name", help="stem of the scp (default: hidden<layer>, hidden<layer>_a)")
    parser.add_argument(
        "--modality", default="auto", choices=("auto", "av", "a", "v", "p"),
        help="streams of an audio-visual model; auto = audio and video that the data has",
    )  # fmt: skip
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    add_parts(parser)
    args = parser.parse_args(argv)

    from pylib.corpus.derived import Derived, input_bytes
    from pylib.corpus.progress import Progress
    from pylib.features.making import log_made
    from pylib.training.av_extract import open_extractor

    index, jobs, merge = parts(args)
    extractor = open_extractor(args.checkpoint, args.data, args.device, args.modality)
    stem = args.name or extractor.stem(args.layer)
    inputs = input_bytes(args.data / name for name in extractor.tables)
    meta = extractor.meta(args.layer)
    derived = Derived(args.data, stem, args.ark_dir, meta, tuple(inputs), jobs)
    if index:
        progress = Progress(f"{stem} of {args.data}, shard {index}/{jobs}")
        derived.write_shard(
            index, extractor.utts, lambda utt: extractor.read(utt, args.layer), progress=progress
        )
    if merge:
        frames = sum(derived.commit(extractor.utts).values())
        print(log_made(stem, args.data, frames, extractor.rate))
    return 0


if __name__ == "__main__":
    run(main)
