"""A rendered head: texture, moving parts, turned and moved in front of a background.

A frame costs about 2 ms: what does not move is painted once per speaker, jaw, mouth and eyes are
drawn into a copy, and one remapping turns, scales and moves the whole by its depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pylib.corpus.mini.face_mouth import Eyes, Jaw, Mouth
from pylib.corpus.mini.face_shape import ORIGIN, FaceShape, depth, rest_points
from pylib.corpus.mini.face_texture import paint_head

SIDE = 224  # of a frame
_STEP = 4  # of the coarse map
_PIVOT = 20.0  # depth that stays where it is when the head turns
_NO_MAP = np.empty(0, np.float32)  # both coordinates are in the first
_ROUNDS = 3  # of the fixed point that inverts the projection


@dataclass(frozen=True)
class Pose:
    """Where a head is: angles in rad, `scale` in picture pixels a texture pixel, place in pixels.

    Positive yaw turns to the right of the picture, positive pitch down.
    """

    yaw: float
    pitch: float
    roll: float
    scale: float
    x: float
    y: float

    def matrix(self) -> np.ndarray:
        """(2, 3): texture x, y and depth to picture x, y, without the place."""
        cy, sy = np.cos(self.yaw), np.sin(self.yaw)
        cp, sp = np.cos(self.pitch), np.sin(self.pitch)
        cr, sr = np.cos(self.roll), np.sin(self.roll)
        pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return self.scale * (roll @ yaw @ pitch)[:2]


class Head:
    """One speaker's head, ready to be rendered."""

    def __init__(self, shape: FaceShape, rng: np.random.Generator) -> None:
        self.shape = shape
        self._texture = paint_head(shape, rng)
        self._jaw = Jaw(shape, self._texture)
        self._mouth = Mouth(shape)
        self._eyes = Eyes(shape)
        count = SIDE // _STEP + 2  # one coarse point around the picture on each side
        steps = (np.arange(count) - 0.5) * _STEP - 0.5
        x, y = np.meshgrid(steps, steps)
        self._coarse = np.stack([x.ravel(), y.ravel()])

    def _maps(self, pose: Pose) -> np.ndarray:
        """Texture positions of all pixels of the picture, (SIDE, SIDE, 2) float32."""
        matrix = pose.matrix()
        inverse = np.linalg.inv(matrix[:, :2])
        flat = inverse @ (self._coarse - np.array([[pose.x], [pose.y]]))
        slide = inverse @ matrix[:, 2:]
        place = flat
        for _ in range(_ROUNDS):
            place = flat - slide * (depth(self.shape, place[0], place[1]) - _PIVOT)
        count = SIDE // _STEP + 2
        coarse = (place + ORIGIN[:, None] - 0.5).T.reshape(count, count, 2).astype(np.float32)
        fine = cv2.resize(coarse, (count * _STEP, count * _STEP), interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(fine[_STEP : _STEP + SIDE, _STEP : _STEP + SIDE])

    def render(
        self,
        pose: Pose,
        gesture: np.ndarray,
        eyes: tuple[float, float, float],
        background: np.ndarray,
    ) -> np.ndarray:
        """One frame.

        Args:
            gesture: (8,), see `face_mouth.GESTURES`.
            eyes: how far the lids are closed (0 to 1), where the eyes look (x, y in pixels).
            background: (SIDE, SIDE, 3) uint8.

        Returns:
            (SIDE, SIDE, 3) uint8, red first.
        """
        texture = self._texture.copy()
        self._jaw.open(texture, float(gesture[0]))
        self._mouth.draw(texture, gesture)
        self._eyes.draw(texture, eyes[0], (eyes[1], eyes[2]))
        maps = self._maps(pose)
        turned = np.empty((SIDE, SIDE, 4), np.uint8)
        cv2.remap(texture, maps, _NO_MAP, cv2.INTER_LINEAR, turned, cv2.BORDER_CONSTANT, (0.0,) * 4)
        cover = turned[:, :, 3].astype(np.float32) * np.float32(1 / 255)
        colours = cv2.cvtColor(turned, cv2.COLOR_BGRA2BGR)  # drops the cover, keeps the order
        return cv2.blendLinear(colours, background, cover, 1 - cover)

    def points(self, pose: Pose, gesture: np.ndarray) -> np.ndarray:
        """The true `face_shape.POINTS` in the picture, (8, 2) float32."""
        points = rest_points(self.shape)
        half, _, top, bottom, corner = self._mouth.sizes(gesture)
        points[5:] = [[-half, corner], [half, corner], [0, (top + bottom) / 2]]
        high = depth(self.shape, points[:, 0], points[:, 1]) - _PIVOT
        placed = np.concatenate([points, high[:, None]], 1) @ pose.matrix().T
        return (placed + np.array([pose.x, pose.y])).astype(np.float32)


def paint_background(shape: FaceShape, rng: np.random.Generator, pose: Pose) -> np.ndarray:
    """A blurred room with the speaker's neck and shoulders, (SIDE, SIDE, 3) uint8."""
    coarse = rng.uniform(40, 190, 3) + rng.normal(0, 22, (5, 5, 1)) + rng.normal(0, 6, (5, 5, 3))
    room = cv2.resize(coarse.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(room, 0, 255).astype(np.uint8)
    size, x, y = pose.scale, pose.x, pose.y
    chin = y + size * shape.chin
    cloth, skin = (np.array(c) * (0.65 + 0.25 * shape.ambient) for c in (shape.cloth, shape.skin))
    neck, wide = size * 0.62 * shape.width, size * 1.95 * shape.width
    body = np.array(
        [
            [x - wide, SIDE + 60],
            [x - 0.93 * wide, chin + size * 52],
            [x - neck, chin + size * 22],
            [x + neck, chin + size * 22],
            [x + 0.93 * wide, chin + size * 52],
            [x + wide, SIDE + 60],
        ]
    )
    column = np.array(
        [
            [x - neck, y],
            [x + neck, y],
            [x + neck, chin + size * 24],
            [x, chin + size * 46],
            [x - neck, chin + size * 24],
        ]
    )
    for polygon, colour in ((body, cloth), (column, skin * 0.82)):
        fixed = np.round(polygon * 16).astype(np.int32)
        cv2.fillPoly(picture, [fixed], tuple(colour), cv2.LINE_AA, 4)
    shadow = np.zeros((SIDE, SIDE), np.float32)
    at = (round(x), round(chin - 2))
    cv2.ellipse(shadow, at, (round(neck * 1.1), round(size * 16)), 0, 0, 360, (0.45,), -1)
    light = 1 - cv2.GaussianBlur(shadow, (0, 0), 3)[:, :, None]
    return cv2.GaussianBlur((picture * light).astype(np.uint8), (0, 0), 0.9)
