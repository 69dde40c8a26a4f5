"""A fitted k-means on disk: `centroids.npy` and `kmeans.json`, no pickle.

The json says which features the centroids belong to; features of another kind, dimension, rate,
layer, checkpoint or normalisation are refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.atomic import atomic_path, sha256_file, write_json
from pylib.corpus.errors import UserError
from pylib.corpus.jsonfile import read_object
from pylib.units.kmeans import FitOptions, FitResult
from pylib.units.quality import perplexity

# What must agree between the features of the fit and those to be labelled; what else the metadata
# holds (paths, compression) does not change what the numbers mean.
_IDENTITY = ("kind", "dim", "rate", "config", "layer", "checkpoint_sha256", "input_normalised")


@dataclass(frozen=True)
class KMeansModel:
    """Centroids with the description of their features.

    Attributes:
        path: directory it was read from.
        centroids: float32 (K, D).
        features: metadata of the features it was fitted to.
        stem: name of these features beside a data directory (`mfcc`, `hidden6` ...).
        cmvn: normalisation applied to them.
        sha256: of `centroids.npy`.
    """

    path: Path
    centroids: npt.NDArray[np.float32]
    features: Mapping[str, Any]
    stem: str
    cmvn: str
    sha256: str

    def require(self, features: Mapping[str, Any], where: str) -> None:
        """Refuse features other than those of the fit.

        Args:
            features: their metadata.
            where: their name, for the message.

        Raises:
            UserError: naming both.
        """
        for name in _IDENTITY:
            ours, theirs = self.features.get(name), features.get(name)
            if ours != theirs:
                raise UserError(
                    f"{where}: {name} is {theirs!r}, but the k-means {self.path} was fitted to "
                    f"features ({self.features.get('kind')}, {self.features.get('dim')}-d) with "
                    f"{name} {ours!r}: make those features, or fit a k-means to these "
                    f"({features.get('kind')}, {features.get('dim')}-d)"
                )

    def meta(self) -> dict[str, Any]:
        """For the description of labels: which k-means, of which features."""
        return {
            "kmeans": os.fspath(self.path),
            "sha256": self.sha256,
            "clusters": len(self.centroids),
            "source": {"stem": self.stem, "cmvn": self.cmvn, **self.features},
        }


def save(
    path: str | os.PathLike[str],
    result: FitResult,
    options: FitOptions,
    features: Mapping[str, Any],
    stem: str,
    cmvn: str,
    data: str,
) -> None:
    """Write a fitted k-means into directory `path`; the json, which makes it valid, comes last.

    Args:
        path: directory, made when missing.
        result: of `pylib.units.kmeans.fit`.
        options: of the fit.
        features: metadata of the features.
        stem: their name.
        cmvn: their normalisation.
        data: the data directory, for the record.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kmeans.json").unlink(missing_ok=True)
    with atomic_path(folder / "centroids.npy") as temp, open(temp, "wb") as stream:
        np.save(stream, result.centroids, allow_pickle=False)
    write_json(
        folder / "kmeans.json",
        {
            "clusters": options.clusters,
            "dim": int(result.centroids.shape[1]),
            "features": dict(features),
            "stem": stem,
            "cmvn": cmvn,
            "data": data,
            "sha256": sha256_file(folder / "centroids.npy"),
            "inertia_per_frame": result.inertia_per_frame,
            "frames": result.frames,
            "utterances": result.utterances,
            "updates": result.updates,
            "empty_clusters": int((result.counts == 0).sum()),
            "perplexity": perplexity(result.counts),
            "fit": asdict(options),
        },
    )


def load(path: str | os.PathLike[str]) -> KMeansModel:
    """Read a k-means.

    Raises:
        UserError: missing, unfinished or damaged.
    """
    folder = Path(path)
    name = folder / "kmeans.json"
    info = read_object(name, "fit it again", "fit one with steps/train_kmeans.sh")
    try:
        sha256, features = info["sha256"], info["features"]
        stem, cmvn = info["stem"], info["cmvn"]
        shape = (info["clusters"], info["dim"])
        if not (isinstance(features, dict) and isinstance(stem, str) and isinstance(cmvn, str)):
            raise TypeError("features, stem, cmvn")
    except (KeyError, TypeError) as error:
        raise UserError(f"{name}: damaged ({error!r}): fit it again") from error
    if sha256_file(folder / "centroids.npy") != sha256:
        raise UserError(
            f"{folder / 'centroids.npy'}: is not the one that {name} describes: fit it again"
        )
    centroids = np.load(folder / "centroids.npy", allow_pickle=False)
    if centroids.shape != shape or centroids.dtype != np.float32:
        raise UserError(
            f"{folder / 'centroids.npy'}: {centroids.dtype} {centroids.shape}, float32 {shape} "
            "expected: fit it again"
        )
    return KMeansModel(folder, centroids, features, stem, cmvn, sha256)
