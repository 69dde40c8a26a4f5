"""The parts of a rendered face that move by themselves: jaw, lips, teeth, tongue and eyes.

They are drawn into the texture, frame by frame, before the head is turned.
"""

from __future__ import annotations

import cv2
import numpy as np

from pylib.corpus.mini.face_shape import ORIGIN, TEXTURE, FaceShape

#: What a mouth does; each 0 to 1, but `wide` -1 (narrow) to 1 (spread).
GESTURES = ("jaw", "gap", "wide", "round", "press", "tuck", "teeth", "tongue")
JAW_DROP = 17.0  # pixels of the texture at jaw = 1
_GAP = 25.0  # between the lips at gap = 1
_STEPS = np.linspace(-1, 1, 13)
_ARCH = np.sqrt(np.clip(1 - np.abs(_STEPS) ** 2.2, 0, None))  # 1 in the middle, 0 at the corners
_BOW = _ARCH * (1 - 0.22 * np.exp(-((_STEPS / 0.16) ** 2)))  # cupid's bow
_SHIFT = 4


def _fill(picture: np.ndarray, points: np.ndarray, colour: tuple[float, ...]) -> None:
    fixed = np.round((points - 0.5) * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(picture, [fixed], colour, cv2.LINE_AA, _SHIFT)


def _band(x: np.ndarray, top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Polygon between two curves over the same x."""
    return np.concatenate([np.stack([x, top], 1), np.stack([x, bottom], 1)[::-1]])


class Jaw:
    """Moves the skin below the mouth down, in place."""

    def __init__(self, shape: FaceShape, head: np.ndarray) -> None:
        self._top = int(shape.mouth_y - 14 + ORIGIN[1])
        self._source = head[self._top :].copy()
        rows, columns = self._source.shape[:2]
        y = np.arange(rows, dtype=np.float32)[:, None] + self._top - ORIGIN[1]
        x = np.arange(columns, dtype=np.float32)[None] - ORIGIN[0]
        along = np.clip((y - shape.mouth_y + 6) / 26, 0, 1)
        along = along * along * (3 - 2 * along)
        across = np.clip((1.05 * shape.width - np.abs(x)) / (0.55 * shape.width), 0, 1)
        self._field = (along * across * across * (3 - 2 * across)).astype(np.float32)
        self._x, self._y = np.meshgrid(
            np.arange(columns, dtype=np.float32), np.arange(rows, dtype=np.float32)
        )

    def open(self, texture: np.ndarray, jaw: float) -> None:
        """Write the lower face, its jaw opened by `jaw` (0 to 1), into `texture`."""
        rows = self._y - np.float32(JAW_DROP * jaw) * self._field
        cv2.remap(
            self._source,
            self._x,
            rows,
            cv2.INTER_LINEAR,
            texture[self._top :],
            cv2.BORDER_REPLICATE,
        )


class Mouth:
    """Draws lips and what is between them."""

    def __init__(self, shape: FaceShape) -> None:
        self._shape = shape
        left = int(ORIGIN[0] - shape.mouth_half - 14)
        top = int(shape.mouth_y + ORIGIN[1] - 18)
        self._box = (slice(top, min(TEXTURE, top + 62)), slice(left, int(2 * ORIGIN[0]) - left))
        self._origin = ORIGIN - np.array([left, top])
        light = 0.80 + 0.25 * -shape.light[1]
        lips = np.array(shape.lips)
        self._upper = tuple(lips * 0.82 * light)
        self._lower = tuple(lips * 1.02 * light)
        self._gloss = tuple(np.clip(lips * 1.16 * light + 10, 0, 255))
        self._line = tuple(lips * 0.40)
        tooth = 225 * light
        self._tooth = (tooth, tooth * 0.97, tooth * 0.90)
        self._low_tooth = (tooth * 0.78, tooth * 0.75, tooth * 0.68)
        self._tongue = (178 * light, 92 * light, 92 * light)
        self._dark = (46.0, 16.0, 18.0)

    def sizes(self, gesture: np.ndarray) -> tuple[float, float, float, float, float]:
        """(half width, inner half width, y of the inner edges above and below, y of corners)."""
        shape = self._shape
        jaw, gap, wide, round_, press, tuck = (float(v) for v in gesture[:6])
        half = shape.mouth_half * (1 + 0.17 * wide - 0.40 * round_)
        inner = half * (0.90 - 0.22 * round_)
        opening = max(0.0, _GAP * gap * (1 - press))
        lift = 0.16 * opening + 1.5 * tuck
        middle = shape.mouth_y + 0.15 * JAW_DROP * jaw
        return half, inner, middle - lift, middle + opening - lift, middle + 0.25 * opening

    def draw(self, texture: np.ndarray, gesture: np.ndarray) -> None:
        """Draw the mouth for a gesture (8,) into the texture (S, S, 4), in place."""
        shape = self._shape
        jaw, gap, wide, round_, press, tuck, teeth, tongue = (float(v) for v in gesture)
        half, inner, top, bottom, corner = self.sizes(gesture)
        thin = 1 - 0.45 * press - 0.12 * max(wide, 0) + 0.45 * round_
        upper, lower = shape.lip_upper * thin, shape.lip_lower * thin * (1 - 0.55 * tuck)
        patch = texture[self._box][:, :, :3]
        lips = np.ascontiguousarray(patch)
        ox, oy = self._origin
        x, xi = ox + half * _STEPS, ox + inner * _STEPS
        mid = oy + corner + (top - corner) * _ARCH
        low = oy + corner + (bottom - corner) * _ARCH
        _fill(lips, _band(x, mid - upper * _BOW, np.maximum(mid, low)), self._upper)
        _fill(lips, _band(x, np.minimum(mid, low), low + lower * _ARCH), self._lower)
        shine = _band(
            ox + 0.5 * half * _STEPS, low + 0.35 * lower * _ARCH, low + 0.7 * lower * _ARCH
        )
        _fill(lips, shine, self._gloss)
        if bottom - top > 1.0:
            self._inside(lips, xi, oy + top, oy + bottom, oy + corner, (jaw, teeth, tongue))
        else:
            line = _band(xi, mid - 0.5, low + 0.7)
            _fill(lips, line, self._line)
        patch[:] = lips

    def _inside(
        self,
        lips: np.ndarray,
        x: np.ndarray,
        top: float,
        bottom: float,
        corner: float,
        inner: tuple[float, float, float],
    ) -> None:
        """Paint cavity, teeth and tongue, clipped to the opening."""
        jaw, teeth, tongue = inner
        above = corner + (top - corner) * _ARCH
        below = corner + (bottom - corner) * _ARCH
        cavity = np.empty_like(lips)
        cavity[:] = self._dark
        middle, half = (x[0] + x[-1]) / 2, (x[-1] - x[0]) / 2
        size = bottom - top
        low = max(1.6 * (teeth - 0.55), 0.5 * (jaw - 0.3))  # both rows meet in s, open in a
        if low > 0:
            edge = bottom - 6.0 * min(1.0, low)
            _fill(cavity, _band(x, np.full_like(x, edge), below + 2), self._low_tooth)
        rise = bottom - (0.25 + 0.60 * tongue) * size
        blob = ((middle * 16, rise * 16), (half * 0.62 * 16, (2.0 + 0.55 * size) * 16))
        if tongue > 0.02 or size > 6:
            centre = (round(blob[0][0] - 8), round((rise + 2.0 + 0.55 * size) * 16 - 8))
            axes = (round(blob[1][0]), round(blob[1][1]))
            cv2.ellipse(cavity, centre, axes, 0, 0, 360, self._tongue, -1, cv2.LINE_AA, _SHIFT)
        if teeth > 0.02:
            show = 1.0 + min(6.0, 0.25 * size + 3.5) * teeth
            _fill(cavity, _band(x, above - 2, np.full_like(x, top + show)), self._tooth)
        mask = np.zeros(lips.shape[:2], np.uint8)
        _fill(mask, _band(x, above, below), (255.0,))
        weight = mask.astype(np.float32) / 255
        lips[:] = cv2.blendLinear(cavity, lips, weight, 1 - weight)


class Eyes:
    """Draws both eyes."""

    def __init__(self, shape: FaceShape) -> None:
        self._shape = shape
        light = 0.80 + 0.25 * -shape.light[1]
        self._white = tuple(np.array([226.0, 222.0, 216.0]) * light)
        self._lid = tuple(np.array(shape.skin) * 0.70 * light)
        self._lash = tuple(np.array(shape.hair) * 0.35)
        self._iris = tuple(np.array(shape.iris) * light)

    def draw(self, texture: np.ndarray, lid: float, gaze: tuple[float, float]) -> None:
        """Draw both eyes with lids closed by `lid` (0 to 1), looking to `gaze`, in place."""
        shape = self._shape
        wide, tall = int(shape.eye_half + 4), 13
        for side in (-1, 1):
            left = int(ORIGIN[0] + side * shape.eye_x) - wide
            top = int(ORIGIN[1] + shape.eye_y) - tall
            box = texture[top : top + 2 * tall, left : left + 2 * wide]
            centre = ORIGIN + (side * shape.eye_x, shape.eye_y) - (left, top)
            eye = np.ascontiguousarray(box[:, :, :3])
            self._one(eye, centre, lid, gaze)
            box[:, :, :3] = eye

    def _one(
        self, eye: np.ndarray, centre: np.ndarray, lid: float, gaze: tuple[float, float]
    ) -> None:
        shape = self._shape
        x, y = float(centre[0]), float(centre[1])
        across = x + shape.eye_half * _STEPS
        full = y - shape.eye_open * _ARCH
        below = y + 0.62 * shape.eye_open * _ARCH
        above = full + lid * (below - full)
        _fill(eye, _band(across, full - 1.5 * _ARCH, below), self._lid)
        if lid < 0.9:
            ball = np.empty_like(eye)
            ball[:] = self._white
            at = (round((x + gaze[0]) * 16 - 8), round((y - 0.8 + gaze[1]) * 16 - 8))
            size = shape.eye_open * 1.02
            for radius, colour in ((size, self._iris), (0.45 * size, (14.0, 12.0, 12.0))):
                cv2.circle(ball, at, round(radius * 16), colour, -1, cv2.LINE_AA, _SHIFT)
            spot = (at[0] + round(26 + 20 * shape.light[0]), at[1] - 28)
            cv2.circle(ball, spot, 18, (245.0, 245.0, 245.0), -1, cv2.LINE_AA, _SHIFT)
            mask = np.zeros(eye.shape[:2], np.uint8)
            _fill(mask, _band(across, above, below), (255.0,))
            weight = mask.astype(np.float32) / 255
            eye[:] = cv2.blendLinear(ball, eye, weight, 1 - weight)
        _fill(eye, _band(across, above - 1.3 * _ARCH - 0.3, above + 0.5 * _ARCH), self._lash)
