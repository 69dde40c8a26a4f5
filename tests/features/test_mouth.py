"""Mouth regions of faces whose place is known: centred, upright, followed, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.transform import AffineTransform, warp

from pylib.corpus.errors import UserError
from pylib.features.face_dlib import DlibLandmarks
from pylib.features.face_geometry import apply, similarity
from pylib.features.landmarks import Box, Track, follow
from pylib.features.mouth import (
    REASONS,
    Mouth,
    MouthConfig,
    crop_matrices,
    cut_mouth,
    cut_out,
    load_pictures,
    longest_gap,
)
from tests.features.mouth_helpers import FACE, BlockLandmarks, Spec, draw, points_of


def walk(length: int, speed: float = 1.0, side: float = 100) -> list[Spec]:
    """A face that wanders about and comes nearer."""
    time = np.arange(length)
    x = 112 + 12 * np.sin(speed * time / 9) + 0.1 * time
    y = 105 + 8 * np.cos(speed * time / 7)
    s = side + 5 * np.sin(speed * time / 15)
    return [tuple(map(float, row)) for row in np.stack([x, y, s], -1)]  # type: ignore[misc]


def run(clip: list[np.ndarray], **options: float) -> Mouth:
    return cut_mouth(clip, BlockLandmarks(), FACE, MouthConfig(**options))  # type: ignore[arg-type]


def centre_of(picture: np.ndarray) -> np.ndarray:
    """Where the dark blob of the mouth is."""
    weight = np.clip(190.0 - picture[20:76, 20:76], 0, None)
    rows, cols = np.mgrid[20:76, 20:76]
    return np.array([(weight * cols).sum(), (weight * rows).sum()]) / weight.sum()


@pytest.mark.parametrize("length", [1, 2, 9, 60])
def test_the_mouth_is_in_the_middle_of_every_picture(length: int) -> None:
    mouth = run([draw([face]) for face in walk(length)])
    assert mouth.reason == "" and mouth.pictures is not None
    assert mouth.pictures.shape == (length, 96, 96) and mouth.pictures.dtype == np.uint8
    off = np.array([centre_of(picture) for picture in mouth.pictures]) - 47.5
    assert np.abs(off).max() < 1.6  # the drawing rounds to pixels
    assert np.abs(off.mean(0)).max() < 0.7 or length < 60
    assert mouth.quality.detected == 1.0
    assert mouth.quality.mouth_px == pytest.approx(45 * 100 / 134, rel=0.06)


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_searching_each_tenth_frame_gives_the_crop_of_each(speed: float) -> None:
    clip = [draw([face]) for face in walk(80, speed)]
    few, all_ = BlockLandmarks(), BlockLandmarks()
    tracks = [follow(clip, finder, FACE, every) for finder, every in ((few, 10), (all_, 1))]
    assert few.searches <= 20 and all_.searches == 80
    for track in tracks:
        assert track is not None
    matrices = [crop_matrices(t, FACE, 13) for t in tracks]  # type: ignore[arg-type]
    assert np.abs(matrices[0][..., 2] - matrices[1][..., 2]).max() < 2


def test_the_warp_is_that_of_scikit_image() -> None:
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.uniform(0, 255, (28, 28)), np.ones((8, 8)))
    smooth = sum(np.roll(smooth, (i, j), (0, 1)) for i in range(-3, 4) for j in range(-3, 4)) / 49
    picture = smooth.astype(np.uint8)
    turned = points_of((112, 110, 120)) - (112, 110)
    turn = np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    points = turned @ turn.T + (112, 110)
    track = Track(points[None], np.array([True]), [0], 0.0, 1)
    matrix = crop_matrices(track, FACE, 1)
    ours = cut_out([picture], matrix)[0].astype(float)
    whole = np.concatenate([matrix[0], [[0, 0, 1]]])
    theirs = warp(
        picture.astype(float), AffineTransform(whole).inverse, output_shape=(96, 96), order=1,
        mode="edge", preserve_range=True,
    )  # fmt: skip
    assert np.abs(ours - theirs).max() <= 2
    np.testing.assert_allclose(matrix[0][:, :2], similarity(points, FACE.points)[:, :2])


def test_beyond_the_border_of_the_picture_its_edge_goes_on() -> None:
    clip = [draw([(112, 179, 90)]) for _ in range(12)]  # mouth and chin reach the lower border
    mouth = run(clip)
    assert mouth.pictures is not None
    last = mouth.pictures[0, -10:]
    assert (last == last[0]).all()  # rows repeat, nothing is squashed
    assert np.abs(centre_of(mouth.pictures[0]) - 47.5).max() < 1.5


def test_a_clip_without_a_face_is_refused() -> None:
    mouth = run([draw([])] * 30)
    assert mouth.pictures is None and mouth.reason == "no_face"
    assert mouth.quality.detected == 0 and mouth.quality.max_gap == 30


def test_missed_frames_are_found_out_interpolated_and_counted() -> None:
    faces = walk(60)
    gap = range(23, 31)
    clip = [draw([] if i in gap else [face]) for i, face in enumerate(faces)]
    whole = run([draw([face]) for face in faces])
    mouth = run(clip)
    assert mouth.reason == "" and mouth.pictures is not None and whole.pictures is not None
    assert mouth.quality.detected == pytest.approx(52 / 60)
    assert mouth.quality.max_gap == 8
    assert np.abs(mouth.pictures[:15].astype(int) - whole.pictures[:15]).mean() < 1
    refused = run(clip, max_gap=7)
    assert (refused.pictures, refused.reason) == (None, "long_gap")
    assert "8 frames" in refused.what
    tail = run([draw([face] if i < 20 else []) for i, face in enumerate(faces)], max_gap=99)
    assert tail.reason == "few_frames" and "33%" in tail.what
    head = run([draw([face] if i >= 12 else []) for i, face in enumerate(faces)])
    assert head.quality.max_gap == 12 and head.pictures is not None
    assert centre_of(head.pictures[14]) == pytest.approx(47.5, abs=1.6)


def test_two_faces() -> None:
    """The larger one is taken; one beside it of nearly its size and presence is a refusal."""
    left: list[Spec] = [(70.0 + i / 20, 100, 100) for i in range(60)]

    def clip(side: float, frames: int) -> list[np.ndarray]:
        return [
            draw([face, (230, 100, side)] if i < frames else [face], (200, 300))
            for i, face in enumerate(left)
        ]

    alone = run([draw([face], (200, 300)) for face in left])
    small = run(clip(50, 60))
    assert small.reason == "" and 0.3 < small.quality.second < 0.7
    np.testing.assert_array_equal(small.pictures, alone.pictures)
    large = run(clip(95, 60))
    assert (large.pictures, large.reason) == (None, "two_faces")
    assert run(clip(95, 60), second=1.1).pictures is not None
    short = run(clip(95, 15))
    assert short.reason == "" and short.quality.second < 0.4


def test_a_change_of_scene_is_found_to_the_frame() -> None:
    faces: list[Spec] = [(60, 100, 80)] * 33 + [(170, 90, 80)] * 30
    clip = [draw([face], (200, 230)) for face in faces]
    track = follow(clip, BlockLandmarks(), FACE, 10)
    assert track is not None and track.starts == [0, 33] and track.found.all()
    mouth = run(clip)
    assert mouth.pictures is not None
    off = np.array([centre_of(picture) for picture in mouth.pictures]) - 47.5
    assert np.abs(off).max() < 1.6  # nothing is averaged across the change


def test_a_face_that_moves_fast_is_followed() -> None:
    faces: list[Spec] = [(50.0 + 5 * i, 100, 80) for i in range(30)]
    mouth = run([draw([face], (200, 280)) for face in faces])
    assert mouth.pictures is not None and mouth.quality.detected == 1.0
    off = np.array([centre_of(picture) for picture in mouth.pictures]) - 47.5
    assert np.abs(off).max() < 1.6
    assert mouth.quality.shift == pytest.approx(5 * 134 / 80, rel=0.15)


def test_large_pictures_are_made_smaller_and_small_mouths_refused() -> None:
    face: Spec = (900, 500, 400)
    mouth = run([draw([face], (1080, 1920))] * 3)
    assert mouth.pictures is not None
    assert mouth.quality.mouth_px == pytest.approx(45 * 400 / 134, rel=0.05)
    assert np.abs(centre_of(mouth.pictures[1]) - 47.5).max() < 1.5
    near = run([draw([(320, 240, 400)], (480, 640))] * 3)  # shrunk again before the cut
    assert near.pictures is not None and np.abs(centre_of(near.pictures[1]) - 47.5).max() < 1.5
    tiny = run([draw([(100, 100, 30)])] * 3)
    assert (tiny.pictures, tiny.reason) == (None, "small_mouth")
    assert set(REASONS) >= {tiny.reason, "unreadable", "two_faces"}


def test_pictures_that_cannot_be_a_clip() -> None:
    with pytest.raises(UserError, match="no picture"):
        load_pictures([])
    with pytest.raises(UserError, match="size"):
        load_pictures([draw([]), draw([], (100, 100))])
    assert longest_gap(np.array([0, 1, 0, 0, 0, 1, 0], dtype=bool)) == 3
    assert longest_gap(np.array([True])) == 0


@pytest.mark.parametrize(
    "option", [{"every": 0}, {"window": 0}, {"min_detected": 1.5}, {"max_gap": -1}, {"second": 0}]
)
def test_options_out_of_range(option: dict[str, float]) -> None:
    name = next(iter(option)).replace("_", "-")
    with pytest.raises(UserError, match=f"--{name}"):
        MouthConfig(**option)  # type: ignore[arg-type]


def test_boxes() -> None:
    a, b = Box(0, 0, 10, 10), Box(5, 0, 15, 10)
    assert a.overlap(b) == pytest.approx(1 / 3) and a.overlap(a) == 1
    assert a.overlap(Box(20, 20, 30, 30)) == 0
    assert a.between(b, 0.5) == Box(2.5, 0, 12.5, 10)


class SixtyEight(BlockLandmarks):
    """68 points: the five, and 20 of a mouth that lies elsewhere than the mean face's."""

    count = 68

    def points(self, picture: np.ndarray, box: Box) -> np.ndarray:
        five = super().points(picture, box)
        out = np.zeros((68, 2))
        out[[45, 42, 36, 39, 33]] = five
        scale = (five[0, 0] - five[2, 0]) / 74
        around = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        out[48:] = five[4] + scale * np.stack(
            [6 + 20 * np.cos(around), 30 + 8 * np.sin(around)], -1
        )
        return out


def test_with_68_points_the_middle_is_that_of_the_mouths_own() -> None:
    clip = [draw([face]) for face in walk(30)]
    five = follow(clip, BlockLandmarks(), FACE, 10)
    many = follow(clip, SixtyEight(), FACE, 10)
    assert five is not None and many is not None
    gap = crop_matrices(five, FACE, 13)[..., 2] - crop_matrices(many, FACE, 13)[..., 2]
    want = np.array([6, 30]) - (np.array(FACE.mouth) - FACE.points[4])
    np.testing.assert_allclose(gap, np.tile(want, (30, 1)), atol=0.2)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_rendered_talking_head_with_dlib(seed: int) -> None:
    """Against the points that the renderer knows: aligned, and the mouth where it belongs."""
    import cv2

    from pylib.corpus.mini.face import Head, paint_background
    from pylib.corpus.mini.face_motion import Strengths, eyes, poses
    from pylib.corpus.mini.face_shape import draw_face

    rng = np.random.default_rng(seed)
    shape = draw_face(rng, "FM"[seed % 2])
    head = Head(shape, rng)
    path = poses(rng, 40, 0.8, Strengths(turn=10, drift=4, shift=5, zoom=0.06))
    looks, rest = list(eyes(rng, 40)), np.zeros(8, dtype=np.float32)
    ground = paint_background(shape, rng, path[0])
    clip = [
        cv2.cvtColor(head.render(pose, rest, look, ground), cv2.COLOR_RGB2GRAY)
        for pose, look in zip(path, looks, strict=True)
    ]
    truth = np.stack([head.points(pose, rest) for pose in path]).astype(float)
    finder = DlibLandmarks()
    track = follow(clip, finder, FACE, 10)
    assert track is not None and track.found.all() and track.starts == [0]
    matrices = crop_matrices(track, FACE, 13)
    five = apply(matrices, truth[:, :5]) - (FACE.points - np.array(FACE.mouth) + 47.5)
    assert np.abs(five.mean((0, 1))).max() < 2.5
    mouth = apply(matrices, truth[:, 7:8])[:, 0] - 47.5
    assert np.abs(mouth).max() < 9 and mouth.std(0).max() < 1.5
    result = cut_mouth(clip, finder, FACE, MouthConfig())
    assert result.pictures is not None
    assert result.quality.mouth_px == pytest.approx(45 * 66 / 74, rel=0.2)


def test_a_face_that_sways_fast_stays_in_the_middle() -> None:
    faces: list[Spec] = [(120 + 25 * np.sin(i / 3.2), 105.0, 90.0) for i in range(60)]
    mouth = run([draw([face], (224, 240)) for face in faces])
    assert mouth.pictures is not None
    off = np.array([centre_of(picture) for picture in mouth.pictures]) - 47.5
    assert np.abs(off).max() < 3.5  # turn and scale alone would need 12
