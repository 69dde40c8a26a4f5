"""The parts of a rendered head that do not move by themselves, painted once per speaker.

Everything is drawn at `FINE` times the texture's size and brought down by area averaging.
"""

from __future__ import annotations

import cv2
import numpy as np

from pylib.corpus.mini.face_shape import ORIGIN, TEXTURE, FaceShape, depth

FINE = 2
_SIDE = TEXTURE * FINE


def outline(shape: FaceShape) -> np.ndarray:
    """Contour of the head without hair as a closed polygon, (N, 2), clockwise from the top."""
    jaw_y = (shape.mouth_y + shape.chin) / 2
    right = np.array(
        [
            [0.0, shape.skull + 12],
            [0.55 * shape.width, shape.skull + 22],
            [0.90 * shape.width, shape.skull + 55],
            [1.0 * shape.width, -25.0],
            [0.97 * shape.width, shape.nose_y - 12],
            [0.88 * shape.width, shape.mouth_y - 10],
            [shape.jaw * shape.width, jaw_y],
            [0.42 * shape.width, shape.chin - 5],
            [0.0, shape.chin],
        ]
    )
    left = right[-2:0:-1] * np.array([-1.0, 1.0])
    return _smooth(np.concatenate([right, left]))


def _smooth(points: np.ndarray, steps: int = 8) -> np.ndarray:
    """Closed Catmull-Rom curve through (N, 2) points, (N * steps, 2)."""
    before, after, next_ = (np.roll(points, shift, 0) for shift in (1, -1, -2))
    place = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    curve = 0.5 * (
        2 * points
        + (after - before) * place
        + (2 * before - 5 * points + 4 * after - next_) * place**2
        + (3 * points - before - 3 * after + next_) * place**3
    )
    return curve.transpose(1, 0, 2).reshape(-1, 2)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """x and y of the fine pixels' centres, (S, S) each."""
    steps = (np.arange(_SIDE) + 0.5) / FINE
    x, y = np.meshgrid(steps - ORIGIN[0], steps - ORIGIN[1])
    return x.astype(np.float32), y.astype(np.float32)


def _mask(polygon: np.ndarray, blur: float = 0.0) -> np.ndarray:
    """Cover of a polygon (N, 2) on the fine grid, (S, S) float32 in [0, 1]."""
    plane = np.zeros((_SIDE, _SIDE), np.uint8)
    points = np.round(((polygon + ORIGIN) * FINE - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(plane, [points], (255.0,), cv2.LINE_AA, 4)
    soft = plane.astype(np.float32) / 255
    return cv2.GaussianBlur(soft, (0, 0), blur * FINE) if blur > 0 else soft


def _ellipse(x: float, y: float, wide: float, tall: float, turn: float = 0.0) -> np.ndarray:
    """Polygon (32, 2) of an ellipse with half axes `wide` and `tall`, turned by `turn` rad."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    flat = np.stack([wide * np.cos(angle), tall * np.sin(angle)], 1)
    turned = flat @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return turned + np.array([x, y])


def _bump(
    x: np.ndarray, y: np.ndarray, at: tuple[float, float], size: tuple[float, float]
) -> np.ndarray:
    return np.exp(-(((x - at[0]) / size[0]) ** 2) - ((y - at[1]) / size[1]) ** 2)


def _relief(shape: FaceShape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height of the skin with its features, for the shading only; (S, S)."""
    height = depth(shape, x, y)
    ridge_tall = (shape.nose_y - shape.eye_y) / 1.6
    bridge = (shape.nose_y + shape.eye_y) / 2
    height = height + 7 * _bump(x, y, (0, bridge), (6.5, ridge_tall))
    height += 9 * _bump(x, y, (0, shape.nose_y - 7), (9, 8))
    for side in (-1, 1):
        height -= 9 * _bump(x, y, (side * shape.eye_x, shape.eye_y), (18, 10))
        height += 4 * _bump(x, y, (side * shape.eye_x * 0.95, shape.brow_y), (20, 6))
        height += 5 * _bump(x, y, (side * shape.eye_x * 1.15, shape.nose_y - 8), (17, 15))
        height += 4 * _bump(x, y, (side * shape.nose_half * 0.8, shape.nose_y - 4), (4.5, 5))
        height -= 1.5 * _bump(x, y, (side * (shape.mouth_half + 4), shape.mouth_y - 9), (5, 12))
    height += 4 * _bump(x, y, (0, shape.mouth_y), (shape.mouth_half, 16))
    height -= 3 * _bump(x, y, (0, shape.mouth_y + 17), (20, 5))
    height += 5 * _bump(x, y, (0, shape.chin - 14), (16, 10))
    return height


def _shade(shape: FaceShape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Brightness of the skin under the speaker's light, about 1 where it is full; (S, S)."""
    height = cv2.GaussianBlur(_relief(shape, x, y).astype(np.float32), (0, 0), 1.5 * FINE)
    down, right = np.gradient(height, 1 / FINE)
    normal = np.stack([-right, -down, np.ones_like(height)])
    normal /= np.linalg.norm(normal, axis=0)
    lit = np.clip(np.tensordot(np.array(shape.light, np.float32), normal, 1), 0, 1)
    rim = np.clip(2.4 * _mask(outline(shape), 5) - 1.1, 0, 1)  # the skin turns away there
    return (shape.ambient + (1.12 - shape.ambient) * lit) * (0.72 + 0.28 * rim)


def _paint(picture: np.ndarray, cover: np.ndarray, colour: np.ndarray) -> None:
    """Lay `colour` (3,) or (S, S, 3) over the picture, in place."""
    picture += cover[:, :, None] * (colour - picture)


def _features(picture: np.ndarray, shape: FaceShape, rng: np.random.Generator) -> None:
    """Eye sockets, brows, nostrils, lines and stubble, in place."""
    skin = np.array(shape.skin, np.float32)
    hair = np.array(shape.hair, np.float32)
    for side in (-1, 1):
        socket = _ellipse(side * shape.eye_x, shape.eye_y - 2, shape.eye_half + 5, 10)
        _paint(picture, 0.30 * _mask(socket, 3), skin * 0.45)
        start, middle, end = (side * (shape.eye_x + dx) for dx in (-17.0, 4.0, 19.0))
        thick, tilt, y = shape.brow_thick, shape.brow_tilt, shape.brow_y
        brow = np.array(
            [
                [start, y + tilt - thick],
                [middle, y - tilt - thick],
                [end, y + 4],
                [middle, y - tilt + thick * 0.6],
                [start, y + tilt + thick],
            ]
        )
        _paint(picture, 0.85 * _mask(brow, 0.9), hair * 0.8)
        wing = _ellipse(side * shape.nose_half * 0.9, shape.nose_y - 4, 2.2, 5, side * 0.3)
        _paint(picture, 0.35 * _mask(wing, 1.2), skin * 0.5)
        hole = _ellipse(side * shape.nose_half * 0.45, shape.nose_y - 1.5, 3.4, 1.9, -side * 0.3)
        _paint(picture, 0.85 * _mask(hole, 0.7), skin * 0.22)
        fold = np.array(
            [
                [side * (shape.nose_half + 2), shape.nose_y - 6],
                [side * (shape.mouth_half + 5), shape.mouth_y - 6],
                [side * (shape.mouth_half + 4), shape.mouth_y - 5],
                [side * (shape.nose_half + 1), shape.nose_y - 5],
            ]
        )
        _paint(picture, 0.35 * _mask(fold, 1.3), skin * 0.55)
    under = _ellipse(0, shape.nose_y + 3, shape.nose_half * 0.9, 3.0)
    _paint(picture, 0.35 * _mask(under, 1.6), skin * 0.45)
    if shape.beard > 0:
        chin = _ellipse(0, shape.chin - 16, shape.width * 0.8, 34)
        grain = 0.75 + 0.25 * rng.standard_normal((_SIDE, _SIDE)).astype(np.float32)
        _paint(picture, 0.45 * shape.beard * _mask(chin, 5) * grain, hair * 0.9)


def _hair(picture: np.ndarray, shape: FaceShape, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Paint the hair; returns its cover, (S, S)."""
    top, wide = shape.skull, shape.width
    side = -40 + 95 * shape.hair_side
    contour = np.array(
        [
            [0, top - 4],
            [0.62 * wide, top + 8],
            [1.06 * wide, top + 50],
            [1.10 * wide, -25],
            [1.07 * wide, side],
            [0.95 * wide, side - 2],
            [0.93 * wide, -40],
            [0.70 * wide, shape.hair_line + 6],
            [0.25 * wide, shape.hair_line - 3],
        ]
    )
    mirrored = contour[:0:-1] * np.array([-1.0, 1.0])
    cover = _mask(_smooth(np.concatenate([contour, mirrored])), 0.8)
    strands = 0.85 + 0.15 * np.sin(x * 0.9 + 2.5 * np.sin(y * 0.06)) * np.sin(x * 0.37 + 1)
    gloss = 1 + 0.5 * _bump(x, y, (shape.light[0] * 60, top + 30), (40, 14))
    colour = np.array(shape.hair, np.float32) * (strands * gloss)[:, :, None]
    _paint(picture, cover, colour)
    return cover


def paint_head(shape: FaceShape, rng: np.random.Generator) -> np.ndarray:
    """The head without eyes and mouth: (TEXTURE, TEXTURE, 4) uint8, r, g, b and cover."""
    x, y = _grid()
    skin = np.array(shape.skin, np.float32)
    grain = rng.standard_normal((_SIDE, _SIDE)).astype(np.float32)
    mottle = cv2.GaussianBlur(grain, (0, 0), 5) * 6 + grain * 0.012
    picture = np.repeat(skin[None, None] * (1 + 0.02 * mottle[:, :, None]), 1, 0)
    for side in (-1, 1):
        cheek = _bump(x, y, (side * shape.eye_x * 1.2, shape.nose_y - 2), (17, 14))
        picture += (0.10 * cheek)[:, :, None] * (skin * np.array([1.1, 0.7, 0.7]) - picture)
    _features(picture, shape, rng)
    picture *= _shade(shape, x, y)[:, :, None]
    cover = _mask(outline(shape), 0.4)
    for side in (-1, 1):
        ear = _ellipse(side * (shape.width + 1), shape.eye_y + 16, 6.5, 18, side * 0.12)
        ear_cover = _mask(ear, 0.5) * (1 - cover)
        _paint(picture, ear_cover, skin * (0.72 + 0.25 * side * shape.light[0]))
        _paint(
            picture,
            0.5 * ear_cover * _mask(_ellipse(side * shape.width, shape.eye_y + 15, 3, 11), 1),
            skin * 0.4,
        )
        cover = np.maximum(cover, ear_cover)
    cover = np.maximum(cover, _hair(picture, shape, x, y))
    full = np.concatenate([np.clip(picture, 0, 255), 255 * cover[:, :, None]], 2)
    small = cv2.resize(full, (TEXTURE, TEXTURE), interpolation=cv2.INTER_AREA)
    return np.round(small).astype(np.uint8)
