"""What stored features (latents, filter banks) say about phones to a linear classifier."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some
from pylib.features.reader import FeatureReader
from pylib.units.labels import ALIGNMENTS
from pylib.units.measure import row
from pylib.units.phones import phone_ids
from pylib.units.probe_layers import LayerOptions, PhoneFrames, probe_accuracy

Matrix = npt.NDArray[np.float32]


class StoredFeatures:
    """`<data>/<stem>.scp` as the one layer of a model (`pylib.units.probe_layers.Layers`)."""

    def __init__(self, data: str | os.PathLike[str], stem: str) -> None:
        self._reader = FeatureReader(data, stem)
        self.rate, self.utts = self._reader.rate, self._reader.utts
        self.dim, self.meta = self._reader.dim, self._reader.meta

    def read_layers(self, utt: str, layers: Sequence[int]) -> list[Matrix]:
        """Features (T, D) of an utterance; there is one layer, 0."""
        return [self._reader.read(utt) for _ in layers]


def check_comparable(one: StoredFeatures, other: StoredFeatures, where: Path, to: Path) -> None:
    """UserError unless features to fit and features to judge are of one kind."""
    for what, first, second in (
        ("kind", one.meta.get("kind"), other.meta.get("kind")),
        ("numbers a frame", one.dim, other.dim),
        ("frames a second", one.rate, other.rate),
        ("checkpoint", one.meta.get("checkpoint_sha256"), other.meta.get("checkpoint_sha256")),
    ):
        if first != second:
            raise UserError(
                f"{to}: {what} {second!r}, but {first!r} in {where}: make both with one model or "
                "one configuration"
            )


def probe_features(
    train: str | os.PathLike[str],
    test: str | os.PathLike[str],
    stem: str,
    identity: Mapping[str, Any],
    file: str,
    options: LayerOptions | None = None,
) -> list[dict[str, Any]]:
    """Row `phone_accuracy` (a fraction), `decode` = the stem.

    The probe is fitted on `train`, judged on `test`, whose speakers must be others; both need
    phones.ctm.

    Args:
        train: data directory with the features to fit on.
        test: data directory to judge on.
        stem: `z1`, `z2`, `logmel` ...
        identity: `system`, `seed` and `set` of the row.
        file: where the row will be written.
        options: `max_frames` of each set and the `seed` of their choice.

    Raises:
        UserError: missing features or phone times, features of two kinds, shared speakers.
    """
    options = options or LayerOptions()
    one, other = StoredFeatures(train, stem), StoredFeatures(test, stem)
    check_comparable(one, other, Path(train) / f"{stem}.json", Path(test) / f"{stem}.json")
    align = one.meta.get("align")
    align = align if align in ALIGNMENTS else "start"
    fit = PhoneFrames(train, one, align, options)
    judge = PhoneFrames(test, other, align, options)
    shared = set(fit.utt2spk.values()) & set(judge.utt2spk.values())
    if shared:
        raise UserError(
            f"{os.fspath(test)}: {names_some(shared)} also in {os.fspath(train)}: judge on "
            "speakers that were not fitted on"
        )
    ids = phone_ids(fit.times, judge.times)
    for frames in (fit, judge):
        frames.choose(ids)
    (features,), phones, _ = fit.read([0], f"{stem}, fit")
    (judged,), truth, owners = judge.read([0], f"{stem}, judge")
    accuracy = probe_accuracy(features, phones, judged, truth, owners, judge, len(ids))
    return [row(identity, "phone_accuracy", stem, accuracy, len(truth), file)]
