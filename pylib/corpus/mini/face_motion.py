"""How a rendered head moves while it speaks: slow drift, nods, blinks, glances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pylib.corpus.mini.face import SIDE, Pose
from pylib.corpus.mini.face_visemes import FRAME_RATE

_BLINK = np.array([0.35, 0.85, 1.0, 0.75, 0.35, 0.1])  # lids over six frames


@dataclass(frozen=True)
class Strengths:
    """How much heads differ and move; 0 holds them still and straight."""

    turn: float  # degrees of yaw of a clip, at most; pitch and roll half of it
    drift: float  # degrees within a clip
    shift: float  # pixels of translation
    zoom: float  # relative change of size


def _wander(rng: np.random.Generator, frames: int) -> np.ndarray:
    """A slow curve (frames,) within about [-1, 1]."""
    time = np.arange(frames) / FRAME_RATE
    curve = np.zeros(frames)
    for hertz, share in ((0.13, 0.5), (0.31, 0.3), (0.73, 0.2)):
        speed = 2 * np.pi * hertz * rng.uniform(0.7, 1.4)
        curve += share * np.sin(speed * time + rng.uniform(0, 2 * np.pi))
    return curve


def poses(rng: np.random.Generator, frames: int, scale: float, strengths: Strengths) -> list[Pose]:
    """Poses of a clip's frames; the head stays inside the picture."""
    turn, drift = np.deg2rad(strengths.turn), np.deg2rad(strengths.drift)
    base = rng.uniform(-1, 1, 3) * turn * np.array([1.0, 0.5, 0.5])
    yaw = base[0] + drift * _wander(rng, frames)
    pitch = base[1] + 0.7 * drift * _wander(rng, frames)
    roll = base[2] + 0.5 * drift * _wander(rng, frames)
    size = scale * (1 + strengths.zoom * (rng.uniform(-1, 1) + 0.4 * _wander(rng, frames)))
    x0, y0 = SIDE / 2 + strengths.shift * rng.uniform(-1, 1, 2)
    x = x0 + 0.6 * strengths.shift * _wander(rng, frames)
    y = y0 - 2 + 0.6 * strengths.shift * _wander(rng, frames)
    rows = np.stack([yaw, pitch, roll, size, x, y], 1)
    return [Pose(*(float(value) for value in row)) for row in rows]


def eyes(rng: np.random.Generator, frames: int) -> Iterator[tuple[float, float, float]]:
    """(lids closed, gaze x, gaze y) of a clip's frames: blinks every 2 to 5 s, rare glances."""
    lids = np.full(frames, rng.uniform(0.0, 0.12))
    start = rng.uniform(0.3, 4.0)
    while start * FRAME_RATE < frames:
        first = int(start * FRAME_RATE)
        part = _BLINK[: frames - first]
        lids[first : first + len(part)] = np.maximum(lids[first : first + len(part)], part)
        start += rng.uniform(2.0, 5.0)
    gaze = np.zeros((frames, 2))
    start = 0.0
    while start * FRAME_RATE < frames:
        gaze[int(start * FRAME_RATE) :] = rng.normal(0, 0.8, 2) * np.array([1.5, 0.6])
        start += rng.uniform(0.8, 3.0)
    gaze = np.clip(gaze, -4, 4)
    for lid, (x, y) in zip(lids, gaze, strict=True):
        yield float(lid), float(x), float(y)
