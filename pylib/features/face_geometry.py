"""Five points of a face: their mean shape, similarity transforms between shapes, smoothing in time.

The points, in the order of dlib's 5-point model: outer and inner corner of the eye on the right
of the picture, outer and inner corner of the one on the left, base of the nose. (In the common
68-point scheme, counted from 0: 45, 42, 36, 39, 33.) A face is upright on a canvas of 256 x 256
pixels when its points fit those of the mean face, whose nose base is at (128, 137) and whose outer
eye corners are 74 pixels apart on a horizontal line; its mouth is then about 45 pixels wide.

The mean face (`mean_face.json`) is our own: faces are drawn from typical proportions of adult heads
and poses, seen from the front, and averaged by generalised Procrustes analysis (`make_mean_face`).
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError

Points = npt.NDArray[np.float64]

FIVE_OF_68 = (45, 42, 36, 39, 33)
MOUTH_OF_68 = slice(48, 68)
MEAN_FACE = Path(__file__).with_name("mean_face.json")
CANVAS = 256
NOSE = (128.0, 137.0)
EYES_APART = 74.0
MOUTH_WIDTH = 45.0  # pixels of the canvas, of a mean face

# Of adult heads, mm and their spread over people; x right, y down, z to the camera, all relative
# to the middle between the inner corners of the eyes.
_HALF_OUTER, _HALF_INNER = (43.5, 2.0), (18.3, 1.2)
_OUTER_DEPTH = (-9.0, 2.0)
_NOSE_DOWN, _NOSE_DEPTH = (50.0, 3.0), (13.0, 2.5)
_MOUTH_DOWN, _MOUTH_DEPTH = (74.0, 4.0), (9.0, 2.5)
_TURNS = (10.0, 8.0, 6.0)  # spread of yaw, pitch, roll, degrees
_SYNTHETIC_FACES = 2000


@dataclass(frozen=True)
class MeanFace:
    """Mean positions on the canvas.

    Attributes:
        points: (5, 2), x and y.
        mouth: (x, y), centre of the mouth.
        digest: of both, for names of what was made with them.
    """

    points: Points
    mouth: tuple[float, float]

    @property
    def digest(self) -> str:
        whole = json.dumps([self.points.round(4).tolist(), list(self.mouth)])
        return hashlib.sha256(whole.encode()).hexdigest()[:12]

    @classmethod
    def load(cls, path: str | os.PathLike[str] = "") -> MeanFace:
        """Read a mean face; ours when `path` is empty.

        Raises:
            UserError: no such file, or not one that `make_mean_face` writes.
        """
        name = Path(path) if os.fspath(path) else MEAN_FACE
        try:
            found = json.loads(name.read_text(encoding="utf-8"))
            points = np.array(found["points"], dtype=np.float64)
            mouth = (float(found["mouth"][0]), float(found["mouth"][1]))
        except FileNotFoundError as error:
            raise UserError(f"{name}: no such file: give a mean face, or none for ours") from error
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(
                f'{name}: not a mean face ({error}): {{"points": five [x, y], "mouth": [x, y]}} is '
                "expected, see python -m pylib.bin.make_mean_face"
            ) from error
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise UserError(f"{name}: points of shape {points.shape}, (5, 2) expected: make it new")
        return cls(points, mouth)


def similarity(source: Points, target: Points) -> npt.NDArray[np.float64]:
    """Similarity transforms (turn, scale, shift) that bring points nearest to others.

    Least squares in closed form: with points as complex numbers z -> a z + b, the best a is the
    correlation of the centred points over the power of the source.

    Args:
        source: (..., P, 2).
        target: (..., P, 2), broadcast against `source`.

    Returns:
        (..., 2, 3): [[re a, -im a, re b], [im a, re a, im b]].
    """
    z = source[..., 0] + 1j * source[..., 1]
    w = target[..., 0] + 1j * target[..., 1]
    z_mean, w_mean = z.mean(-1, keepdims=True), w.mean(-1, keepdims=True)
    z0, w0 = z - z_mean, w - w_mean
    power = (np.abs(z0) ** 2).sum(-1)
    a = (np.conj(z0) * w0).sum(-1) / np.maximum(power, 1e-12)
    b = w_mean[..., 0] - a * z_mean[..., 0]
    rows = [[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def apply(matrix: npt.NDArray[np.float64], points: Points) -> Points:
    """Points (..., P, 2) under transforms (..., 2, 3)."""
    return points @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def invert(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The opposite of similarity transforms (..., 2, 3)."""
    a = matrix[..., 0, 0] + 1j * matrix[..., 1, 0]
    b = matrix[..., 0, 2] + 1j * matrix[..., 1, 2]
    back = 1 / a
    shift = -b * back
    rows = [[back.real, -back.imag, shift.real], [back.imag, back.real, shift.imag]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def scale_of(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scale of similarity transforms (..., 2, 3)."""
    return np.hypot(matrix[..., 0, 0], matrix[..., 1, 0])


def procrustes(shapes: Points, rounds: int = 20) -> Points:
    """Mean shape of shapes (N, P, 2) after turning, scaling and shifting each onto it: (P, 2).

    Generalised Procrustes analysis: fit all to the mean, average, until it stays; the mean is kept
    centred and of unit size.
    """
    mean = shapes[0] - shapes[0].mean(0)
    mean = mean / np.linalg.norm(mean)
    for _ in range(rounds):
        new = apply(similarity(shapes, mean), shapes).mean(0)
        new = new - new.mean(0)
        new = new / np.linalg.norm(new)
        if np.abs(new - mean).max() < 1e-12:
            break
        mean = new
    return mean


def mean_face(shapes: Points, mouths: Points) -> MeanFace:
    """The mean of faces with five points (N, 5, 2) and centres of the mouth (N, 2)."""
    mean = procrustes(shapes)
    mouth = apply(similarity(shapes, mean), mouths[:, None])[:, 0].mean(0)
    whole = np.concatenate([mean, mouth[None]])
    eyes = mean[0] - mean[2]  # from the left of the picture to the right
    turn = complex(*eyes)
    z = (whole[:, 0] + 1j * whole[:, 1]) * (EYES_APART / turn)
    z = z - z[4] + complex(*NOSE)
    placed = np.stack([z.real, z.imag], -1).round(3)
    return MeanFace(placed[:5], (float(placed[5, 0]), float(placed[5, 1])))


def synthetic_faces(count: int = _SYNTHETIC_FACES, seed: int = 1) -> tuple[Points, Points]:
    """Faces of random people in random poses, seen from afar: points (N, 5, 2), mouths (N, 2)."""
    rng = np.random.default_rng(seed)

    def draw(mean_and_spread: tuple[float, float]) -> npt.NDArray[np.float64]:
        return rng.normal(*mean_and_spread, size=count)

    outer, inner, back = draw(_HALF_OUTER), draw(_HALF_INNER), draw(_OUTER_DEPTH)
    zero = np.zeros(count)
    rows = [
        (outer, zero, back), (inner, zero, zero), (-outer, zero, back), (-inner, zero, zero),
        (zero, draw(_NOSE_DOWN), draw(_NOSE_DEPTH)), (zero, draw(_MOUTH_DOWN), draw(_MOUTH_DEPTH)),
    ]  # fmt: skip
    solid = np.stack([np.stack(row, -1) for row in rows], 1)  # (N, 6, 3)
    yaw, pitch, roll = (np.radians(rng.normal(0, spread, count)) for spread in _TURNS)
    for angle, (i, j) in ((yaw, (0, 2)), (pitch, (1, 2)), (roll, (0, 1))):
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        first, second = solid[..., i].copy(), solid[..., j].copy()
        solid[..., i], solid[..., j] = cos * first - sin * second, sin * first + cos * second
    return solid[:, :5, :2], solid[:, 5, :2]


def smooth(track: Points, window: int) -> Points:
    """Points in time (T, ...) averaged over `window` frames around each (a Hann window).

    The ends go on as they came (mirrored through the end point), so that steady motion stays as it
    is everywhere.
    """
    half = window // 2
    if half < 1 or len(track) < 2:
        return track
    weights = np.hanning(2 * half + 3)[1:-1]
    weights /= weights.sum()
    pad = [(half, half)] + [(0, 0)] * (track.ndim - 1)
    longer = np.pad(track, pad, mode="reflect", reflect_type="odd")
    out = np.zeros_like(track, dtype=np.float64)
    for place, weight in enumerate(weights):
        out += weight * longer[place : place + len(track)]
    return out


def fill(track: Points, known: npt.NDArray[np.bool_]) -> Points:
    """Frames (T, ...) that are not `known` (T,) interpolated; before the first and after the last
    known one copied from it. At least one is known."""
    places = np.flatnonzero(known)
    flat = track.reshape(len(track), -1).copy()
    for column in range(flat.shape[1]):
        flat[:, column] = np.interp(np.arange(len(flat)), places, flat[places, column])
    return flat.reshape(track.shape)
