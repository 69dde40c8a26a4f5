"""Latents of an fhvae checkpoint beside a copy of a data directory (steps/dump_latents.sh)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, add_places, each, pairs, parts, true_false


def main(argv: list[str]) -> int:
    """Make one shard, join shards, or both; see `--help`."""
    parser = argparse.ArgumentParser(prog="dump_latents", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of fhvae")
    add_places(parser, "out", "its copy, with the latents; arks in <out>/arks")
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

    index, jobs, merge = parts(args)

    def make(data: Path, out: Path) -> None:
        if os.path.realpath(data) == os.path.realpath(out):
            raise UserError(f"{out}: is the source itself: name another directory")
        extractor = LatentExtractor(args.checkpoint, data, args.device, args.frames, args.hop)
        stems = stages(extractor, data, out, jobs)
        if index:
            progress = Progress(f"latents of {data}, shard {index}/{jobs}")
            make_shard(extractor, stems, index, progress)
        if merge:
            for name in finish(extractor, stems, data, out):
                text = f"{data}/{name} is not understood and left out"
                print(f"dump_latents.sh: {text}", file=sys.stderr)
            if extractor.excluded:
                shown = " ".join(extractor.excluded[:5])
                print(
                    f"{data}: {len(extractor.excluded)} utterances left out, shorter than a "
                    f"segment: {shown}"
                )
            names = ", ".join(extractor.stems)
            print(f"{out}: {names} of {len(extractor.utts)} utterances")

    each(pairs(parser, args.places), make)
    return 0


if __name__ == "__main__":
    run(main)
