"""Similarity transforms, mean shapes, smoothing: against scikit-image and in closed form."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.transform import SimilarityTransform

from pylib.bin import make_mean_face
from pylib.corpus.errors import UserError
from pylib.features.face_geometry import (
    EYES_APART,
    MEAN_FACE,
    NOSE,
    MeanFace,
    apply,
    fill,
    invert,
    mean_face,
    procrustes,
    scale_of,
    similarity,
    smooth,
    synthetic_faces,
)


def moved(points: np.ndarray, scale: float, turn: float, x: float, y: float) -> np.ndarray:
    a = scale * np.exp(1j * turn)
    z = a * (points[..., 0] + 1j * points[..., 1]) + complex(x, y)
    return np.stack([z.real, z.imag], -1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_similarity_is_that_of_scikit_image(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    source = rng.normal(100, 30, (5, 2))
    target = moved(source, rng.uniform(0.3, 3), rng.uniform(-3, 3), *rng.normal(0, 50, 2))
    target = target + noise * rng.normal(size=(5, 2))
    ours = similarity(source, target)
    theirs = SimilarityTransform.from_estimate(source, target)
    np.testing.assert_allclose(ours, theirs.params[:2], atol=1e-8)
    np.testing.assert_allclose(apply(ours, source), theirs(source), atol=1e-8)
    assert scale_of(ours) == pytest.approx(theirs.scale)
    np.testing.assert_allclose(invert(ours), np.linalg.inv(theirs.params)[:2], atol=1e-9)


def test_many_similarities_at_once_are_those_of_each() -> None:
    rng = np.random.default_rng(1)
    source, target = rng.normal(size=(7, 5, 2)), rng.normal(size=(5, 2))
    every = similarity(source, target)
    assert every.shape == (7, 2, 3)
    for one, whole in zip(source, every, strict=True):
        np.testing.assert_allclose(similarity(one, target), whole)


def test_points_that_fall_together_give_no_nan() -> None:
    assert np.isfinite(similarity(np.ones((5, 2)), FACE := MeanFace.load().points)).all()
    assert np.isfinite(FACE).all()


@given(st.integers(0, 1000))
def test_procrustes_finds_the_shape_behind_its_copies(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = MeanFace.load().points
    copies = np.stack(
        [
            moved(shape, rng.uniform(0.2, 4), rng.uniform(-0.5, 0.5), *rng.normal(0, 99, 2))
            for _ in range(6)
        ]
    )
    mean = procrustes(copies)
    np.testing.assert_allclose(apply(similarity(mean, shape), mean), shape, atol=1e-9)


def test_the_mean_face_is_placed_as_described_and_is_the_one_in_the_repository(
    tmp_path: Path,
) -> None:
    face = mean_face(*synthetic_faces())
    np.testing.assert_allclose(face.points[4], NOSE, atol=1e-3)
    assert face.points[0, 1] == pytest.approx(face.points[2, 1], abs=1e-3)
    assert face.points[0, 0] - face.points[2, 0] == pytest.approx(EYES_APART, abs=2e-3)
    assert face.points[3, 0] < NOSE[0] < face.points[1, 0] < face.points[0, 0]
    assert face.mouth[0] == pytest.approx(NOSE[0], abs=1)
    assert 15 < face.mouth[1] - NOSE[1] < 25
    tracked = MeanFace.load()
    np.testing.assert_allclose(face.points, tracked.points, atol=2e-3)
    np.testing.assert_allclose(face.mouth, tracked.mouth, atol=2e-3)
    assert make_mean_face.main([str(tmp_path / "face.json")]) == 0
    assert json.loads((tmp_path / "face.json").read_text("utf-8"))["faces"] == 2000
    assert MeanFace.load(tmp_path / "face.json").digest == tracked.digest


def test_a_mean_face_of_known_points(tmp_path: Path) -> None:
    shapes, mouths = synthetic_faces(40, seed=2)
    tracks = np.zeros((40, 8, 2))
    tracks[:, :5], tracks[:, 7] = shapes, mouths
    (tmp_path / "marks" / "s1").mkdir(parents=True)
    np.save(tmp_path / "marks" / "s1" / "c.npy", np.repeat(tracks, 5, axis=0))
    main = make_mean_face.main
    assert main(["--landmarks", str(tmp_path / "marks"), str(tmp_path / "face.json")]) == 0
    found, wanted = MeanFace.load(tmp_path / "face.json"), mean_face(shapes, mouths)
    np.testing.assert_allclose(found.points, wanted.points, atol=1e-6)
    assert found.digest == wanted.digest != MeanFace.load().digest
    with pytest.raises(UserError, match="no .npy files"):
        main(["--landmarks", str(tmp_path / "none"), str(tmp_path / "face.json")])


@pytest.mark.parametrize(
    "text", ["", "{}", '{"points": [[1, 2]], "mouth": [1, 2]}', '{"points": 3, "mouth": [1]}', "[]"]
)
def test_a_file_that_is_no_mean_face_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "face.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"face\.json"):
        MeanFace.load(tmp_path / "face.json")
    with pytest.raises(UserError, match="no such file"):
        MeanFace.load(tmp_path / "other.json")
    assert MEAN_FACE.is_file()


@pytest.mark.parametrize("length", [1, 2, 3, 40])
def test_smoothing_keeps_steady_motion_and_calms_noise(length: int) -> None:
    line = np.arange(length)[:, None, None] * np.array([[1.5, -0.5]]) + 3
    np.testing.assert_allclose(smooth(line, 13), line, atol=1e-9)
    noise = np.random.default_rng(0).normal(size=(length, 5, 2))
    assert smooth(noise, 1) is noise
    if length == 40:
        assert smooth(noise, 13)[8:-8].std() < 0.45 * noise.std()


def test_missed_frames_are_interpolated_and_the_ends_copied() -> None:
    track = np.full((7, 1, 2), np.nan)
    known = np.array([False, True, False, False, True, True, False])
    track[known] = np.array([[[1.0, 10]], [[4.0, 40]], [[5.0, 0]]])
    want = np.array([[1, 10], [1, 10], [2, 20], [3, 30], [4, 40], [5, 0], [5, 0]], dtype=float)
    np.testing.assert_allclose(fill(track, known)[:, 0], want)
