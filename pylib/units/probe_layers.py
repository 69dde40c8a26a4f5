"""What each layer of a model knows about phones: linear probe and PNMI of a small k-means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.corpus.progress import Progress
from pylib.corpus.tables import read_table, table_path
from pylib.units.assign import Assigner
from pylib.units.kmeans import FitOptions, fit
from pylib.units.labels import frame_times
from pylib.units.measure import row, speaker_tables
from pylib.units.phones import phone_ids, read_phones
from pylib.units.probe import LinearProbe, ProbeOptions, accuracy_interval
from pylib.units.quality import with_intervals

Matrix = npt.NDArray[np.float32]


class Layers(Protocol):
    """What is probed: `pylib.training.extract.LayerExtractor`."""

    rate: float
    utts: list[str]

    def read_layers(self, utt: str, layers: Sequence[int]) -> list[Matrix]:
        """Features (T, D) of each of `layers` of an utterance."""


@dataclass(frozen=True)
class LayerOptions:
    """How layers are probed.

    Attributes:
        clusters: K of the small k-means.
        seed: of the choice of utterances and of the k-means.
        max_frames: frames with a phone that are used of each set.
        memory_gb: features held at once; more layers than fit are read in several passes.
    """

    clusters: int = 100
    seed: int = 0
    max_frames: int = 100_000
    memory_gb: float = 1.0


class PhoneFrames:
    """Randomly chosen utterances of a data directory, with the phone of each of their frames."""

    def __init__(self, data: str | Path, model: Layers, align: Any, options: LayerOptions) -> None:
        path = Path(data) / "phones.ctm"
        self.model, self.where = model, path
        self.times = read_phones(path)
        self.utt2spk = read_table(table_path(data, "utt2spk"), fields=2)
        self._align, self._options = align, options

    def choose(self, ids: dict[str, int]) -> None:
        """Draw utterances until their frames with a phone reach `max_frames`."""
        order = np.random.default_rng([self._options.seed, 4]).permutation(len(self.model.utts))
        self.phones: dict[str, npt.NDArray[np.int64]] = {}
        found = 0
        for index in order:
            utt = self.model.utts[index]
            if utt not in self.times:
                raise UserError(f"{self.where}: no phones of '{utt}': prepare the data again")
            # The number of frames is known once the model has run; the times reach far enough.
            count = int(np.ceil(self.times[utt].ends[-1] * self.model.rate)) + 1
            grid = frame_times(count, self.model.rate, self._align)
            self.phones[utt] = self.times[utt].at(grid, ids)
            found += int((self.phones[utt] >= 0).sum())
            if found >= self._options.max_frames:
                break
        if not found:
            raise UserError(f"{self.where}: no frame lies in a phone: are the times in seconds?")
        self.utts = sorted(self.phones)
        self.frames = found

    def read(self, layers: Sequence[int], what: str) -> tuple[list[Matrix], Any, Any]:
        """Features (F, D) of each layer, phones (F,) and utterance index (F,) of the frames."""
        progress = Progress(what)
        parts: list[list[Matrix]] = [[] for _ in layers]
        phones, owners = [], []
        for number, utt in enumerate(self.utts):
            matrices = self.model.read_layers(utt, layers)
            count = min(len(matrices[0]), len(self.phones[utt]))
            ids = self.phones[utt][:count]
            known = ids >= 0
            for part, matrix in zip(parts, matrices, strict=True):
                part.append(matrix[:count][known])
            phones.append(ids[known])
            owners.append(np.full(int(known.sum()), number))
            progress(number + 1, len(self.utts))
        joined = []
        while parts:
            joined.append(np.concatenate(parts.pop(0)))
        return joined, np.concatenate(phones), np.concatenate(owners)


class _Array:
    """Frames in memory as a source for k-means."""

    utts = ["all"]

    def __init__(self, frames: Matrix) -> None:
        self._frames, self.dim = frames, frames.shape[1]

    def read(self, utt: str) -> Matrix:
        return self._frames

    def num_frames(self, utt: str) -> int:
        return len(self._frames)


def probe_layers(
    train: PhoneFrames,
    test: PhoneFrames,
    layers: Sequence[int],
    dim: int,
    options: LayerOptions,
    identity: Mapping[str, Any],
    file: str,
) -> list[dict[str, Any]]:
    """Rows `phone_accuracy` and `pnmi`, `decode` = `layer<l>`, for each layer.

    The probe and the k-means are fitted on `train`, judged on `test`, whose speakers must be
    others.

    Args:
        train: frames to fit on.
        test: frames to judge on.
        layers: which.
        dim: D.
        options: see `LayerOptions`.
        identity: `system`, `seed` and `set` of the rows.
        file: where the rows will be written.

    Raises:
        UserError: speakers in both sets; missing phone times.
    """
    shared = set(train.utt2spk.values()) & set(test.utt2spk.values())
    if shared:
        raise UserError(
            f"{test.where.parent}: speaker '{min(shared)}' ({len(shared)} in all) is also in "
            f"{train.where.parent}: judge on speakers that were not trained on"
        )
    ids = phone_ids(train.times, test.times)
    train.choose(ids)
    test.choose(ids)
    per_layer = (train.frames + test.frames) * dim * 4
    group = max(1, int(options.memory_gb * 1e9 / per_layer))
    rows: list[dict[str, Any]] = []
    for start in range(0, len(layers), group):
        some = layers[start : start + group]
        fitted, phones, _ = train.read(some, f"layers {some[0]}-{some[-1]}, fit")
        judged, truth, owners = test.read(some, f"layers {some[0]}-{some[-1]}, judge")
        for layer in some:
            one, other = fitted.pop(0), judged.pop(0)
            accuracy = probe_accuracy(one, phones, other, truth, owners, test, len(ids))
            quality = _cluster(one, other, truth, owners, test, len(ids), options)
            name, count = f"layer{layer}", len(truth)
            rows.append(row(identity, "phone_accuracy", name, accuracy, count, file))
            rows.append(row(identity, "pnmi", name, quality, count, file))
    return rows


def probe_accuracy(
    features: Matrix,
    phones: npt.NDArray[np.int64],
    other: Matrix,
    truth: npt.NDArray[np.int64],
    owners: npt.NDArray[np.int64],
    test: PhoneFrames,
    classes: int,
) -> tuple[float, float, float]:
    """Accuracy of a linear phone probe with its 95 % interval over speakers.

    Args:
        features: (F, D) to fit on.
        phones: (F,) of them.
        other: (G, D) to judge on.
        truth: (G,) phones of them.
        owners: (G,) index in `test.utts` of the utterance of each.
        test: where they are from.
        classes: number of phones.
    """
    probe = LinearProbe(features, phones, classes)
    probe.fit(ProbeOptions())
    right = (probe.predict(other) == truth).astype(np.int64)
    speakers = sorted({test.utt2spk[utt] for utt in test.utts})
    index = np.array([speakers.index(test.utt2spk[utt]) for utt in test.utts])[owners]
    total = np.bincount(index, minlength=len(speakers))
    correct = np.bincount(index, weights=right, minlength=len(speakers)).astype(np.int64)
    return accuracy_interval(correct[total > 0], total[total > 0])


def _cluster(
    features: Matrix,
    other: Matrix,
    truth: npt.NDArray[np.int64],
    owners: npt.NDArray[np.int64],
    test: PhoneFrames,
    classes: int,
    options: LayerOptions,
) -> tuple[float, float, float]:
    chosen = FitOptions(
        clusters=options.clusters,
        seed=options.seed,
        starts=3,
        patience=20,
        pool_frames=max(20_000, 2 * options.clusters),
    )
    units = Assigner(fit(_Array(features), chosen).centroids)(other)
    by_utt = {utt: units[owners == i] for i, utt in enumerate(test.utts)}
    phones = {utt: truth[owners == i] for i, utt in enumerate(test.utts)}
    tables = speaker_tables(phones, by_utt, test.utt2spk, classes, options.clusters)
    return with_intervals(tables)["pnmi"]
