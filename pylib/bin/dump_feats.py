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
    parser.add_argument("--name", help="stem of the scp (default: hidden<layer>)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    add_parts(parser)
    args = parser.parse_args(argv)

    from pylib.corpus.derived import Derived, input_bytes
    from pylib.corpus.progress import Progress
    from pylib.features.making import log_made
    from pylib.training.extract import LayerExtractor

    index, jobs, merge = parts(args)
    extractor = LayerExtractor(args.checkpoint, args.data, args.device)
    stem = args.name or f"hidden{args.layer}"
    tables = ["wav.scp", "segments", "utt2spk"]
    if extractor.encoder.config.frontend == "fbank":
        tables.append("feats.scp")
    inputs = input_bytes(args.data / name for name in tables)
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
