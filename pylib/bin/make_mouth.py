"""Mouth regions of talking faces (steps/make_mouth.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, parts, positive


def main(argv: list[str]) -> int:
    """Make one shard, join shards, or both; see `--help`."""
    parser = argparse.ArgumentParser(prog="make_mouth", description=__doc__)
    parser.add_argument("data", type=Path, help="data directory with video.scp")
    parser.add_argument("out", type=Path, help="data directory to make")
    parser.add_argument("ark_dir", type=Path, help="directory for the arks")
    parser.add_argument("--every", type=positive, default=10, help="frames between two searches")
    parser.add_argument("--landmarks", type=int, choices=(5, 68), default=5, help="points")
    parser.add_argument("--model-68", default="", help="your 68-point shape predictor")
    parser.add_argument("--mean-face", default="", help="json of another mean face")
    parser.add_argument("--window", type=positive, default=13, help="frames of smoothing")
    parser.add_argument("--min-detected", type=float, default=0.5, help="share of frames")
    parser.add_argument("--max-gap", type=int, default=25, help="frames without a face in a row")
    parser.add_argument("--min-mouth", type=float, default=12.0, help="pixels of the video")
    parser.add_argument("--second-face", type=float, default=0.7, help="part of the first one")
    add_parts(parser)
    args = parser.parse_args(argv)

    from pylib.features.face_dlib import DlibLandmarks
    from pylib.features.face_geometry import MeanFace
    from pylib.features.mouth import MouthConfig
    from pylib.features.mouth_stage import EXCLUDED, MouthStage

    index, jobs, merge = parts(args)
    config = MouthConfig(
        args.every, args.window, args.min_detected, args.max_gap, args.min_mouth, args.second_face
    )
    model = args.model_68 if args.landmarks == 68 else ""
    stage = MouthStage(
        args.data, args.out, args.ark_dir, config, lambda: DlibLandmarks(model, args.landmarks),
        MeanFace.load(args.mean_face), jobs,
    )  # fmt: skip
    if index:
        stage.make_shard(index)
    if merge:
        made = stage.commit()
        counts = ", ".join(f"{count} {reason}" for reason, count in made["excluded"].items())
        listed = f", see {args.out / EXCLUDED}" if counts else ""
        print(f"{args.out}: {made['accepted']} clips; left out: {counts or 'none'}{listed}")
    return 0


if __name__ == "__main__":
    run(main)
