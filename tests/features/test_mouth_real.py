"""Mouths of real talking faces; only where $TRIVIUM_REAL names them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.video import read_grey
from pylib.features.face_dlib import DlibLandmarks
from pylib.features.face_geometry import MeanFace, apply, invert
from pylib.features.landmarks import five_of, follow
from pylib.features.mouth import MouthConfig, crop_matrices, cut_mouth

REAL = os.environ.get("TRIVIUM_REAL", "")
pytestmark = [pytest.mark.real, pytest.mark.skipif(not REAL, reason="TRIVIUM_REAL is not set")]
FACE = MeanFace.load()


@pytest.fixture(scope="module")
def finder() -> DlibLandmarks:
    return DlibLandmarks()


@pytest.fixture(scope="module")
def clips() -> list[list[np.ndarray]]:
    files = sorted(Path(REAL, "LRS3").rglob("*.mp4"))[::60]
    if not files:
        pytest.skip("no LRS3 there")
    return [list(read_grey(path)) for path in files]


def test_every_clip_is_accepted_and_upright(
    clips: list[list[np.ndarray]], finder: DlibLandmarks
) -> None:
    for clip in clips:
        mouth = cut_mouth(clip, finder, FACE, MouthConfig())
        assert mouth.reason == "" and mouth.pictures is not None
        assert mouth.pictures.shape == (len(clip), 96, 96)
        assert mouth.quality.detected > 0.98 and mouth.quality.max_gap <= 2
        assert 25 < mouth.quality.mouth_px < 60 and mouth.quality.shift < 2
        # The lips of a closed mouth are the darkest row between nose and chin.
        rows = mouth.pictures.mean(0)[35:66, 36:60].mean(1)
        assert abs(35 + int(rows.argmin()) - 48) <= 8


def test_every_tenth_frame_gives_the_crop_of_every_frame(
    clips: list[list[np.ndarray]], finder: DlibLandmarks
) -> None:
    middle = np.full((1, 2), 47.5)
    for clip in clips:
        found = [follow(clip, finder, FACE, every) for every in (1, 10)]
        places = [apply(invert(crop_matrices(t, FACE, 13)), middle) for t in found if t is not None]
        assert np.linalg.norm(places[0] - places[1], axis=-1).max() < 2


def test_points_fit_the_mean_face(clips: list[list[np.ndarray]], finder: DlibLandmarks) -> None:
    for clip in clips:
        track = follow(clip, finder, FACE, 10)
        assert track is not None and track.points.shape == (len(clip), 5, 2)
        matrices = crop_matrices(track, FACE, 13)
        moved = apply(matrices, five_of(track.points)) - apply(matrices, track.points)
        assert not moved.any()
        off = apply(matrices, track.points) - (FACE.points - np.array(FACE.mouth) + 47.5)
        assert np.abs(off.mean(0)).max() < 5  # one person is not the mean of all
