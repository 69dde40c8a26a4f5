"""Features of one layer of a checkpoint (steps/dump_feats.sh)."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, add_places, pairs, parts


def main(argv: list[str]) -> int:
    """Make one shard, join shards, or both; see `--help`."""
    parser = argparse.ArgumentParser(prog="dump_feats", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    add_places(parser, "ark_dir", "directory for its arks")
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
    extractor = None
    for data, ark_dir in pairs(parser, args.places):
        if extractor is None:
            extractor = open_extractor(args.checkpoint, data, args.device, args.modality)
        else:
            extractor = extractor.over(data)
        stem = args.name or extractor.stem(args.layer)
        inputs = input_bytes(data / name for name in extractor.tables)
        derived = Derived(data, stem, ark_dir, extractor.meta(args.layer), tuple(inputs), jobs)
        if index:
            derived.require_space(index, extractor.utts)
            progress = Progress(f"{stem} of {data}, shard {index}/{jobs}")
            read = partial(extractor.read, layer=args.layer)
            derived.write_shard(index, extractor.utts, read, progress=progress)
        if merge:
            frames = sum(derived.commit(extractor.utts).values())
            print(log_made(stem, data, frames, extractor.rate))
    return 0


if __name__ == "__main__":
    run(main)
