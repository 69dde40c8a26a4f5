"""Recordings of a data directory made alike (steps/clean_audio.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, parts


def main(argv: list[str]) -> int:
    """Clean one shard, join shards, or both; see `--help`."""
    parser = argparse.ArgumentParser(prog="clean_audio", description=__doc__)
    parser.add_argument("data", type=Path, help="data directory")
    parser.add_argument("out", type=Path, help="data directory to make")
    parser.add_argument("audio_dir", type=Path, help="directory for its audio")
    parser.add_argument("--rate", type=int, default=16000, help="Hz")
    parser.add_argument("--highpass", type=float, default=50.0, help="Hz, 0 = none")
    parser.add_argument("--trim-db", type=float, default=35.0, help="below the loudest, 0 = none")
    parser.add_argument("--keep", type=float, default=0.1, help="s of silence kept at the ends")
    parser.add_argument("--level", type=float, default=-27.0, help="dB of full scale, 0 = as it is")
    parser.add_argument("--min", type=float, default=0.5, help="s, shorter ones are left out")
    parser.add_argument("--chunk", type=float, default=0.0, help="s, 0 = do not cut")
    add_parts(parser)
    args = parser.parse_args(argv)

    from pylib.corpus.clean import CleanConfig
    from pylib.corpus.clean_dir import CleanStage

    index, jobs, merge = parts(args)
    config = CleanConfig(
        args.rate, args.highpass, args.trim_db, args.keep, args.level, args.min, args.chunk
    )
    stage = CleanStage(args.data, args.out, args.audio_dir, config, jobs)
    if index:
        stage.make_shard(index)
    if merge:
        made = stage.commit()
        counts = ", ".join(f"{count} {kind}" for kind, count in made["excluded"].items())
        print(
            f"{args.out}: {made['utterances']} utterances, {made['seconds'] / 3600:.2f} h; left "
            f"out: {counts or 'none'}; kept below the level by a peak: {made['limited_by_peak']}"
        )
    return 0


if __name__ == "__main__":
    run(main)
