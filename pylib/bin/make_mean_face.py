"""The mean face of the mouth region (pylib/features/mean_face.json), computed by our own code.

Without --landmarks it is made of faces of typical adult proportions, which is how the one in the
repository was made; with it, of the points that a built-in talking-face corpus knows of its heads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Compute and write the mean face; see `--help`."""
    parser = argparse.ArgumentParser(prog="make_mean_face", description=__doc__)
    parser.add_argument("out", type=Path, help="json to write")
    parser.add_argument(
        "--landmarks", type=Path, help="<corpus>/landmarks of a built-in corpus: <spk>/<clip>.npy"
    )
    args = parser.parse_args(argv)

    import numpy as np

    from pylib.corpus.atomic import write_json
    from pylib.corpus.errors import UserError
    from pylib.features.face_geometry import mean_face, synthetic_faces

    if args.landmarks is None:
        shapes, mouths = synthetic_faces()
        source = "synthetic faces of typical adult proportions"
    else:
        files = sorted(args.landmarks.rglob("*.npy"))
        if not files:
            raise UserError(f"{args.landmarks}: no .npy files: give <corpus>/landmarks")
        tracks = [np.load(path, allow_pickle=False)[::5].astype(np.float64) for path in files]
        bad = [path for path, t in zip(files, tracks, strict=True) if t.shape[1:] != (8, 2)]
        if bad:
            raise UserError(f"{bad[0]}: (T, 8, 2) points are expected: make the corpus again")
        every = np.concatenate(tracks)
        shapes, mouths = every[:, :5], every[:, 7]
        source = f"{len(files)} clips of a built-in corpus"
    face = mean_face(shapes, mouths)
    write_json(
        args.out,
        {"points": face.points.tolist(), "mouth": list(face.mouth), "faces": len(shapes),
         "source": source, "made_by": "python -m pylib.bin.make_mean_face"},
    )  # fmt: skip
    print(f"{args.out}: mean of {len(shapes)} faces, mouth at {face.mouth}")
    return 0


if __name__ == "__main__":
    run(main)
