"""Speed and steadiness of the mouth region, from mp4 to the ark, in one process.

    . ./path.sh && python tests/bench/bench_mouth.py [--clips 40] [--every 1 5 10 25]

Clips: $TRIVIUM_REAL/LRS3 (without it, a built-in talking-face corpus is made, half a minute). Times
are CPU seconds of this process, decoding, detection, points, warps and writing included. Target: at
least 4x real time at the default, every 10th frame; the middle of the crop nowhere more than 2
pixels of the video away from that of searching every frame.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from pylib.corpus.ark import ArkWriter
from pylib.corpus.video import read_grey
from pylib.features.face_dlib import DlibLandmarks
from pylib.features.face_geometry import MeanFace, apply, invert
from pylib.features.landmarks import follow
from pylib.features.mouth import MouthConfig, crop_matrices, cut_mouth
from pylib.features.mouth_store import COMPRESSION, to_matrix

SPEED, APART = 4.0, 2.0
MIDDLE = np.full((1, 2), 47.5)


def find_clips(folder: Path, count: int) -> tuple[str, list[Path]]:
    """Name of the source, and clips spread over it."""
    real = os.environ.get("TRIVIUM_REAL")
    root, name = (Path(real, "LRS3"), "real") if real else (folder / "lrs3", "built-in")
    if not real:
        from pylib.bin.make_mini_corpus import main as make_mini_corpus

        make_mini_corpus(["--layout", "lrs3", "--size", "smoke", str(folder)])
    paths = sorted(root.rglob("*.mp4"))
    return name, paths[:: max(1, len(paths) // count)][:count]


def speed(paths: list[Path], finder: DlibLandmarks, face: MeanFace, every: int) -> float:
    """Seconds of video a CPU second, all of the work of a shard."""
    frames = 0
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        with ArkWriter(f"{folder}/m.ark", f"{folder}/m.scp", COMPRESSION) as writer:
            for number, path in enumerate(paths):
                mouth = cut_mouth(read_grey(path), finder, face, MouthConfig(every))
                if mouth.pictures is not None:
                    frames += len(mouth.pictures)
                    writer.write(f"c{number:04d}", to_matrix(mouth.pictures))
        return frames / 25 / (time.process_time() - start)


def middles(paths: list[Path], finder: DlibLandmarks, face: MeanFace, every: int) -> np.ndarray:
    """Middle of the crop in pixels of the video, all frames of all clips: (N, 2)."""
    out = []
    for path in paths:
        track = follow(list(read_grey(path)), finder, face, every)
        if track is not None:
            out.append(apply(invert(crop_matrices(track, face, 13)), MIDDLE)[:, 0])
    return np.concatenate(out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--every", type=int, nargs="+", default=[1, 5, 10, 25])
    args = parser.parse_args()
    finder, face = DlibLandmarks(), MeanFace.load()
    with tempfile.TemporaryDirectory() as folder:
        source, paths = find_clips(Path(folder), args.clips)
        print(f"{len(paths)} clips, {source}; one core")
        reference = middles(paths[:10], finder, face, 1)
        good = True
        for every in args.every:
            rate = speed(paths, finder, face, every)
            apart = np.linalg.norm(middles(paths[:10], finder, face, every) - reference, axis=1)
            held = rate >= SPEED and apart.max() <= APART
            good &= held or every != 10
            verdict = "" if every != 10 else f"  [{'ok' if held else 'MISSED'}]"
            print(
                f"every {every:3d}: {rate:6.1f}x real time; middle {apart.mean():.3f} px from that "
                f"of searching every frame, at most {apart.max():.2f}{verdict}"
            )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
