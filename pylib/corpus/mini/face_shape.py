"""What makes one rendered head differ from another: its geometry, colours and light.

Coordinates are pixels of the texture: x to the right, y down, (0, 0) between the eyes' line and
the nose, about 0.93 pixels a millimetre; z towards the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Side of the texture and the place of (0, 0) in it, as (x, y).
TEXTURE = 256
ORIGIN = np.array([128.0, 138.0])
#: Names of the true points, in order: dlib's five (the right eye of the person is at the left of
#: the picture), then the mouth's.
POINTS = (
    "left_eye_outer",
    "left_eye_inner",
    "right_eye_outer",
    "right_eye_inner",
    "nose_base",
    "mouth_right",
    "mouth_left",
    "mouth_centre",
)

# (red, green, blue) of skin from pale to dark, of hair and of irises
_SKIN = ((236, 200, 178), (226, 184, 158), (205, 160, 130), (176, 128, 98), (140, 98, 74))
_HAIR = ((36, 28, 24), (66, 44, 30), (104, 70, 42), (158, 122, 74), (120, 112, 106), (88, 40, 26))
_IRIS = ((74, 52, 36), (66, 92, 60), (70, 100, 134), (50, 42, 38))


@dataclass(frozen=True)
class FaceShape:
    """One speaker's head; lengths in pixels of the texture, colours (r, g, b) 0 to 255."""

    width: float  # half the head's, at the cheekbones
    jaw: float  # half width half-way from mouth to chin, as a share of `width`
    chin: float  # y
    skull: float  # y of the top
    eye_y: float
    eye_x: float  # centre of an eye
    eye_half: float  # half width of an eye
    eye_open: float  # half height of an open eye
    brow_y: float
    brow_thick: float
    brow_tilt: float
    nose_y: float  # base of the nose
    nose_half: float
    mouth_y: float
    mouth_half: float
    lip_upper: float  # thickness at rest
    lip_lower: float
    hair_line: float  # y
    hair_side: float  # how far hair comes down at the sides, 0 to 1
    beard: float  # stubble, 0 to 1
    skin: tuple[float, float, float]
    lips: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    cloth: tuple[float, float, float]
    light: tuple[float, float, float]  # direction, length 1
    ambient: float


def _colour(rng: np.random.Generator, palette: tuple, spread: float) -> tuple[float, float, float]:
    """Between two neighbours of the palette, each channel changed by up to `spread`."""
    place = rng.uniform(0, len(palette) - 1)
    low = int(place)
    share = place - low
    base = (
        np.array(palette[low]) * (1 - share)
        + np.array(palette[min(low + 1, len(palette) - 1)]) * share
    )
    red, green, blue = np.clip(base + rng.uniform(-spread, spread, 3), 0, 255)
    return float(red), float(green), float(blue)


def draw_face(rng: np.random.Generator, sex: str) -> FaceShape:
    """A head drawn at random; `sex` is F or M and decides hair, brows, stubble and jaw a little."""
    female = sex == "F"
    skin = _colour(rng, _SKIN, 6)
    redder = np.array([0.86, 0.60, 0.60]) * (1.0 if female else 1.04)
    lips = (
        np.array(skin) * redder
        + rng.uniform(-8, 8, 3)
        + (14 if female else 0) * np.array([1, 0, 0])
    )
    light = np.array([rng.uniform(-0.55, 0.55), rng.uniform(-0.75, -0.35), 1.0])
    light /= np.linalg.norm(light)
    nose_y = 31 + rng.uniform(-3, 3)
    mouth_y = nose_y + 25 + rng.uniform(-2, 2.5)
    return FaceShape(
        width=66 + rng.uniform(-4, 4) - (2 if female else 0),
        jaw=rng.uniform(0.70, 0.82) - (0.03 if female else 0.0),
        chin=mouth_y + 41 + rng.uniform(-4, 4),
        skull=-118 + rng.uniform(-6, 6),
        eye_y=-15 + rng.uniform(-1.5, 1.5),
        eye_x=31 + rng.uniform(-1.5, 1.5),
        eye_half=14 + rng.uniform(-1.2, 1.2),
        eye_open=5.6 + rng.uniform(-0.9, 1.1),
        brow_y=-35 + rng.uniform(-2.5, 2.5),
        brow_thick=(2.6 if female else 3.8) + rng.uniform(-0.6, 0.8),
        brow_tilt=rng.uniform(-0.5, 2.5),
        nose_y=nose_y,
        nose_half=12 + rng.uniform(-1.5, 2.5),
        mouth_y=mouth_y,
        mouth_half=26 + rng.uniform(-2.5, 2.5),
        lip_upper=5.5 + rng.uniform(-1.2, 1.5),
        lip_lower=7.0 + rng.uniform(-1.2, 1.8),
        hair_line=-72 + rng.uniform(-8, 8),
        hair_side=rng.uniform(0.5, 1.0) if female else rng.uniform(0.1, 0.45),
        beard=0.0 if female else max(0.0, rng.uniform(-0.5, 0.8)),
        skin=skin,
        lips=tuple(float(v) for v in np.clip(lips, 20, 255)),  # type: ignore[arg-type]
        hair=_colour(rng, _HAIR, 8),
        iris=_colour(rng, _IRIS, 8),
        cloth=tuple(float(v) for v in rng.uniform(30, 190, 3)),  # type: ignore[arg-type]
        light=(float(light[0]), float(light[1]), float(light[2])),
        ambient=rng.uniform(0.42, 0.55),
    )


def rest_points(shape: FaceShape) -> np.ndarray:
    """The eight `POINTS` of the head at rest, (8, 2)."""
    outer, inner = shape.eye_x + 0.92 * shape.eye_half, shape.eye_x - 0.92 * shape.eye_half
    return np.array(
        [
            [outer, shape.eye_y],
            [inner, shape.eye_y],
            [-outer, shape.eye_y],
            [-inner, shape.eye_y],
            [0.0, shape.nose_y + 2.0],
            [-shape.mouth_half, shape.mouth_y],
            [shape.mouth_half, shape.mouth_y],
            [0.0, shape.mouth_y],
        ]
    )


def depth(shape: FaceShape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the head's smooth surface, used for parallax; any shape, 0 at its outline."""
    middle = (shape.skull + shape.chin) / 2
    tall = (shape.chin - shape.skull) / 2 * 1.12
    round_ = 1 - (x / (1.12 * shape.width)) ** 2 - ((y - middle) / tall) ** 2
    dome = 62 * np.sqrt(np.clip(round_, 0.02, None))
    nose = 16 * np.exp(-((x / 9.0) ** 2) - ((y - shape.nose_y + 8) / 16.0) ** 2)
    return dome + nose
