"""Mean and standard deviation of each feature over a training set: `<data>/<stem>_cmvn.json`.

Made from the training set alone (`steps/compute_cmvn.sh`), put into the model's buffers by its
training, and undone before synthesis. The file says of which features it is; those of others are
refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.atomic import sha256_file, write_json
from pylib.corpus.errors import UserError
from pylib.corpus.jsonfile import read_object
from pylib.features.normalise import MeanVariance
from pylib.features.reader import FeatureReader

Vector = npt.NDArray[np.float64]

# Smallest standard deviation: a bin that does not vary must not be blown up.
STD_FLOOR = 1e-3
# What may differ between two files of the same features: how the numbers are stored, and how the
# audio was read.
_STORAGE = frozenset(("compression", "resample", "mix", "frame_shift"))


def cmvn_path(data: str | os.PathLike[str], stem: str) -> Path:
    """Where the statistics of a stem lie."""
    return Path(data) / f"{stem}_cmvn.json"


def identity(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What says which features those of `<data>/<stem>.json` are: kind, dim, rate, config.

    Without a `config` in it (layers of a model), the rest of the description stands for it.
    """
    plain = {key: value for key, value in meta.items() if key not in _STORAGE}
    out = {key: plain.pop(key, None) for key in ("kind", "dim", "rate")}
    return {**out, "config": plain.get("config", plain)}


def compute_cmvn(data: str | os.PathLike[str], stem: str) -> dict[str, Any]:
    """Statistics over all frames of a data directory, written beside them.

    Args:
        data: data directory with `<stem>.scp`.
        stem: `logmel`, `logspec`, `hidden6` ...

    Returns:
        What was written: kind, dim, rate, config, mean (D,), std (D,) floored at 1e-3, frames,
        utterances, sha256 of the scp.

    Raises:
        UserError: missing or unreadable features, NaN in them.
    """
    reader = FeatureReader(data, stem)
    stats = MeanVariance.of((reader.read(utt) for utt in reader.utts), reader.dim)
    content = {
        **identity(reader.meta),
        "mean": stats.mean.tolist(),
        "std": np.maximum(stats.deviation(), STD_FLOOR).tolist(),
        "frames": stats.count,
        "utterances": len(reader.utts),
        "sha256": sha256_file(Path(data) / f"{stem}.scp"),
    }
    write_json(cmvn_path(data, stem), content)
    return content


def load_cmvn(path: str | os.PathLike[str], meta: Mapping[str, Any]) -> tuple[Vector, Vector]:
    """Mean and standard deviation for the features that `meta` describes.

    Args:
        path: `<data>/<stem>_cmvn.json`.
        meta: `<stem>.json` of the features to be normalised (`pylib.corpus.derived.read_meta`).

    Returns:
        Mean float64 (D,) and standard deviation float64 (D,), at least 1e-3.

    Raises:
        UserError: missing, broken, or of other features than `meta` says.
    """
    content = _read(Path(path))
    wanted = identity(meta)
    differ = [key for key, value in wanted.items() if content.get(key) != value]
    if differ:
        key = differ[0]
        raise UserError(
            f"{os.fspath(path)}: {key} = {_brief(content.get(key))}, the features have "
            f"{_brief(wanted[key])}: it is of other features, make it with steps/compute_cmvn.sh "
            "from the training set of these"
        )
    try:
        mean, std = (np.asarray(content[key], dtype=np.float64) for key in ("mean", "std"))
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{os.fspath(path)}: without numbers for mean and std: {_AGAIN}") from None
    if mean.shape != (wanted["dim"],) or std.shape != mean.shape:
        raise UserError(
            f"{os.fspath(path)}: mean {mean.shape}, std {std.shape}, dim {wanted['dim']}: {_AGAIN}"
        )
    if not np.isfinite(mean).all() or not np.isfinite(std).all() or (std < STD_FLOOR).any():
        raise UserError(f"{os.fspath(path)}: NaN, or a std below {STD_FLOOR}: {_AGAIN}")
    return mean, std


_AGAIN = "make it again with steps/compute_cmvn.sh"


def _read(path: Path) -> dict[str, Any]:
    return read_object(path, _AGAIN, "make it with steps/compute_cmvn.sh from the training set")


def _brief(value: Any) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 200 else text[:197] + "..."
