"""K-means fed in pieces: finds what is there, as well as scikit-learn, however it is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.features.reader import FeatureReader
from pylib.units.assign import Assigner
from pylib.units.kmeans import FitOptions, fit
from tests.features.helpers import feature_dir

SMALL = {"batch_frames": 200, "pool_frames": 2000, "starts": 3}


class Arrays:
    """A source in memory that counts what is read at once."""

    def __init__(self, matrices: dict[str, np.ndarray]) -> None:
        self.matrices = matrices
        self.utts = sorted(matrices)
        self.dim = next(iter(matrices.values())).shape[1]

    def read(self, utt: str) -> np.ndarray:
        return self.matrices[utt]

    def num_frames(self, utt: str) -> int:
        return len(self.matrices[utt])


def blobs(clusters: int, dim: int, frames: int, spread: float, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, dim)) * 10
    which = rng.integers(clusters, size=frames)
    points = centres[which] + rng.standard_normal((frames, dim)) * spread
    return centres, which, points.astype(np.float32)


def cut(points: np.ndarray, count: int, seed: int = 1) -> dict[str, np.ndarray]:
    """Split rows into `count` utterances of uneven length."""
    rng = np.random.default_rng(seed)
    borders = np.sort(rng.choice(np.arange(1, len(points)), size=count - 1, replace=False))
    parts = np.split(points, borders)
    return {f"s{i % 4}-{i:03d}": part for i, part in enumerate(parts)}


def test_recovers_gaussians() -> None:
    """Separate Gaussians are found."""
    centres, which, points = blobs(8, 5, 4000, 0.5)
    result = fit(Arrays(cut(points, 30)), FitOptions(clusters=8, **SMALL))
    distance = np.linalg.norm(result.centroids[:, None] - centres[None], axis=2)
    assert sorted(distance.argmin(axis=1)) == list(range(8))
    assert distance.min(axis=1).max() < 0.1
    ids = Assigner(result.centroids)(points)
    assert all(len(set(ids[which == k])) == 1 for k in range(8))
    assert result.inertia_per_frame == pytest.approx(5 * 0.25, rel=0.05)
    assert result.counts.sum() == result.frames == 4000
    assert sorted(result.counts) == sorted(np.bincount(which))


@pytest.mark.parametrize("clusters,dim", [(20, 39), (50, 8)])
def test_as_good_as_scikit_learn(clusters: int, dim: int) -> None:
    """Overlapping clusters: inertia within 1 % of MiniBatchKMeans.fit with the paper's options."""
    from sklearn.cluster import MiniBatchKMeans

    _, _, points = blobs(clusters * 2, dim, 20_000, 6.0)
    options = FitOptions(clusters=clusters, batch_frames=1000, pool_frames=8000, starts=5)
    ours = fit(Arrays(cut(points, 60)), options)
    peer = MiniBatchKMeans(
        clusters, n_init=20, batch_size=1000, max_iter=100, tol=0.0, max_no_improvement=100,
        reassignment_ratio=0, random_state=0,
    ).fit(points)  # fmt: skip
    assert ours.inertia_per_frame < 1.01 * -peer.score(points) / len(points)


def test_a_function_of_seed_and_data_only(tmp_path: Path) -> None:
    """The same centroids whatever the arks: one ark, or the same matrices read elsewhere."""
    _, _, points = blobs(10, 6, 3000, 3.0)
    matrices = cut(points, 20)
    options = FitOptions(clusters=10, seed=3, **SMALL)
    first = fit(Arrays(matrices), options)
    again = fit(FeatureReader(feature_dir(tmp_path, matrices), "mfcc"), options)
    np.testing.assert_array_equal(first.centroids, again.centroids)
    assert first.inertia_per_frame == again.inertia_per_frame
    other = fit(Arrays(matrices), FitOptions(clusters=10, seed=4, **SMALL))
    assert not np.array_equal(first.centroids, other.centroids)


def test_fraction_uses_some_utterances() -> None:
    _, _, points = blobs(4, 3, 2000, 1.0)
    source = Arrays(cut(points, 40))
    result = fit(source, FitOptions(clusters=4, fraction=0.25, **SMALL))
    assert result.utterances == 10
    assert result.frames < 2000


def test_fewer_frames_than_pool_and_batch() -> None:
    _, _, points = blobs(3, 2, 90, 0.1)
    result = fit(Arrays({"a-1": points}), FitOptions(clusters=3))
    assert result.inertia_per_frame < 0.1


def test_refusals() -> None:
    source = Arrays({"a-1": np.zeros((5, 2), dtype=np.float32)})
    with pytest.raises(UserError, match="5 frames.*100 clusters"):
        fit(source, FitOptions())
    for bad in ({"clusters": 0}, {"pool_frames": 9}, {"fraction": 0.0}):
        with pytest.raises(UserError, match=next(iter(bad))):
            FitOptions(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("clusters,dim,shift", [(1, 3, 0.0), (100, 39, 50.0), (500, 64, -1000.0)])
def test_assignment_is_brute_force(clusters: int, dim: int, shift: float) -> None:
    """Equal to float64 distances, except where two centroids are equally near in float32."""
    rng = np.random.default_rng(0)
    centroids = (rng.standard_normal((clusters, dim)) * 5 + shift).astype(np.float32)
    frames = (rng.standard_normal((2500, dim)) * 5 + shift).astype(np.float32)
    ids = Assigner(centroids)(frames)
    exact = np.stack([((frames.astype(np.float64) - c) ** 2).sum(axis=1) for c in centroids], 1)
    assert ids.dtype == np.int32 and ids.shape == (2500,)
    chosen = exact[np.arange(2500), ids]
    assert (chosen - exact.min(axis=1)).max() <= 1e-4 * exact.min(axis=1).max()
    assert (ids == exact.argmin(axis=1)).mean() > 0.999
    assert Assigner(centroids).inertia(frames, ids) == pytest.approx(chosen.sum(), rel=1e-9)


def test_assignment_does_not_depend_on_blocks() -> None:
    rng = np.random.default_rng(1)
    centroids = rng.standard_normal((100, 39)).astype(np.float32)
    frames = rng.standard_normal((3000, 39)).astype(np.float32)
    assigner = Assigner(centroids)
    whole = assigner(frames)
    np.testing.assert_array_equal(
        np.concatenate([assigner(p) for p in np.split(frames, 30)]), whole
    )
    assert assigner(frames[:0]).shape == (0,)
    with pytest.raises(ValueError, match="39"):
        assigner(frames[:, :38])
