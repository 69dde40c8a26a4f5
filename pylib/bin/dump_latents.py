"""Latents of an fhvae checkpoint beside a copy of a data directory (steps/dump_latents.sh)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, parts, true_false


def main(argv: list[str]) -> int:
    """Make one shard, join shards, or both; see `--help`."""
    parser = argparse.ArgumentParser(prog="dump_latents", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of fhvae")
    parser.add_argument("data", type=Path, help="data directory with the features it reads")
    parser.add_argument("out", type=Path, help="its copy, with the latents; arks in <out>/arks")
    parser.add_argument(
        "--frames", type=true_false, default=True, metavar="true|false",
        help="z1 and z2 of every frame too, not only one vector an utterance",
    )  # fmt: skip
    parser.add_argument("--hop", type=int, default=1, help="frames between their windows")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    add_parts(parser)
    args = parser.parse_args(argv)

    from pylib.corpus.errors import UserError
    from pylib.corpus.progress import Progress
    from pylib.training.latents import LatentExtractor, finish, make_shard, stages

    if os.path.realpath(args.data) == os.path.realpath(args.out):
        raise UserError(f"{args.out}: is the source itself: name another directory")
    index, jobs, merge = parts(args)
    extractor = LatentExtractor(args.checkpoint, args.data, args.device, args.frames, args.hop)
    stems = stages(extractor, args.data, args.out, jobs)
    if index:
        progress = Progress(f"latents of {args.data}, shard {index}/{jobs}")
        make_shard(extractor, stems, index, progress)
    if merge:
        for name in finish(extractor, stems, args.data, args.out):
            text = f"{args.data}/{name} is not understood and left out"
            print(f"dump_latents.sh: {text}", file=sys.stderr)
        if extractor.excluded:
            shown = " ".join(extractor.excluded[:5])
            print(
                f"{args.data}: {len(extractor.excluded)} utterances left out, shorter than a "
                f"segment: {shown}"
            )
        names = ", ".join(extractor.stems)
        print(f"{args.out}: {names} of {len(extractor.utts)} utterances")
    return 0


if __name__ == "__main__":
    run(main)
