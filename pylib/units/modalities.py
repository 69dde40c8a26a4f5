"""What each layer of an audio-visual model makes of each modality.

Phones: PNMI of a small k-means of the layer's frames, fitted to each modality by itself. One space:
whether a second of sound finds the same second of lips among others, by the cosine of the mean
frames. And the frames of one layer, for a picture in which modalities that share a space overlap.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.corpus.progress import Progress
from pylib.corpus.tables import names_some, read_table, table_path
from pylib.units.assign import Assigner
from pylib.units.kmeans import FitOptions, fit
from pylib.units.measure import row, speaker_tables
from pylib.units.phone_runs import phone_times
from pylib.units.phones import phone_ids
from pylib.units.probe import accuracy_interval
from pylib.units.probe_layers import _Array
from pylib.units.quality import with_intervals

Matrix = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

# Short name (that of a decoding) -> streams that the model is shown.
MODALITIES: dict[str, tuple[str, ...]] = {
    "av": ("audio", "video"),
    "a": ("audio",),
    "v": ("video",),
    "p": ("phone",),
}
SILENCE = frozenset(("SIL", "SPN", "<SIL>", "sil", "spn", "sp"))


class ModalLayers(Protocol):
    """What is analysed: `pylib.training.av_extract.AVLayerExtractor`."""

    rate: float
    utts: list[str]

    def read_layers(
        self, utt: str, layers: Sequence[int], modalities: Collection[str] | None = None
    ) -> list[Matrix]:
        """Features (T, D) of each of `layers` when `modalities` alone are shown."""


@dataclass(frozen=True)
class ModalOptions:
    """How modalities are analysed.

    Attributes:
        clusters: K of the small k-means; fewer where there are less than 50 frames for each.
        seed: of the choice of utterances and candidates, and of the k-means.
        max_frames: frames used, at most.
        memory_gb: features held at once; more layers than fit are read in several passes.
        seconds: length of the segments that look for each other.
        candidates: segments, the right one included, among which one is looked for.
        shown_phones: most frequent phones in the picture, silence excepted.
        shown_frames: of each phone and modality.
    """

    clusters: int = 100
    seed: int = 0
    max_frames: int = 20_000
    memory_gb: float = 1.0
    seconds: float = 1.0
    candidates: int = 100
    shown_phones: int = 8
    shown_frames: int = 30


@dataclass
class Analysis:
    """Rows of a report, and points (N, D) of the picture with what they are.

    Attributes:
        rows: `pnmi`, decode `layer6/v`; `retrieval`, decode `layer6/a->v`.
        layer: of the points: the one whose PNMI, summed over the modalities, is greatest.
        points: float32 (N, D).
        modalities: of each point.
        phones: of each point.
        details: counts that say what the rows mean.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    layer: int = 0
    points: Matrix = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    modalities: list[str] = field(default_factory=list)
    phones: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def available(streams: Collection[str]) -> list[str]:
    """Modalities of the streams that the model knows and the data have, as in `MODALITIES`."""
    return [name for name, needed in MODALITIES.items() if set(streams) >= set(needed)]


def retrieval(
    queries: npt.NDArray[Any], answers: npt.NDArray[Any], groups: Sequence[npt.NDArray[Any]]
) -> npt.NDArray[np.bool_]:
    """Whether each query finds its own answer first among those of its group, by the cosine.

    Both sides are centred first: the modalities may lie in two places of one space.

    Args:
        queries: float (N, D).
        answers: float (N, D), answer i belongs to query i.
        groups: indices; every query is in at most one.

    Returns:
        bool (N,); queries in no group are False.
    """
    one, other = (_unit(np.asarray(x, dtype=np.float64)) for x in (queries, answers))
    found = np.zeros(len(one), dtype=bool)
    for group in groups:
        scores = one[group] @ other[group].T
        # A tie is no find: identical answers tell nothing.
        right = np.diagonal(scores)
        others = scores - np.diag(np.full(len(group), np.inf))
        found[group] = right > others.max(axis=1, initial=-np.inf)
    return found


def _unit(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred = x - x.mean(axis=0)
    length = np.sqrt(np.square(centred).sum(axis=1, keepdims=True))
    return centred / np.maximum(length, 1e-12)


def candidate_groups(count: int, size: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Random groups of `size` of `count` segments; one of all where there are fewer."""
    order = np.random.default_rng([seed, 5]).permutation(count)
    if count <= size:
        return [order]
    return [order[start : start + size] for start in range(0, count - size + 1, size)]


@dataclass
class _Frames:
    """Chosen utterances, the phone of each of their frames, and where the times are from."""

    utts: list[str]
    phones: dict[str, Ints]
    names: list[str]
    utt2spk: dict[str, str]
    source: str

    @property
    def known(self) -> int:
        return sum(int((ids >= 0).sum()) for ids in self.phones.values())


def choose_frames(data: str | Path, model: ModalLayers, options: ModalOptions) -> _Frames:
    """Draw utterances up to `max_frames` frames with a phone.

    A frame of the model covers 1 / rate seconds; the phone in its middle counts.

    Raises:
        UserError: no phone times, or of other utterances.
    """
    times, source = phone_times(data)
    path = Path(data) / ("phones.ctm" if source == "known" else "phones.scp")
    missing = set(model.utts) - times.keys()
    if missing:
        raise UserError(f"{path}: no phones of {names_some(missing)}: prepare the data again")
    ids = phone_ids(times)
    phones: dict[str, Ints] = {}
    found = 0
    for index in np.random.default_rng([options.seed, 4]).permutation(len(model.utts)):
        utt = model.utts[index]
        count = int(np.ceil(times[utt].ends[-1] * model.rate)) + 1
        phones[utt] = times[utt].at((np.arange(count, dtype=np.float64) + 0.5) / model.rate, ids)
        found += int((phones[utt] >= 0).sum())
        if found >= options.max_frames:
            break
    if not found:
        raise UserError(f"{path}: no frame lies in a phone: are the times in seconds?")
    utt2spk = read_table(table_path(data, "utt2spk"), fields=2)
    return _Frames(sorted(phones), phones, list(ids), utt2spk, source)


# Features by (modality, layer): one matrix for each utterance.
Features = dict[tuple[str, int], list[Matrix]]


def read_features(
    model: ModalLayers, frames: _Frames, modalities: Sequence[str], layers: Sequence[int], what: str
) -> Features:
    """All frames of the chosen utterances in each modality and layer."""
    progress = Progress(what)
    out: Features = {(name, layer): [] for name in modalities for layer in layers}
    for number, utt in enumerate(frames.utts, 1):
        for name in modalities:
            matrices = model.read_layers(utt, layers, MODALITIES[name])
            for layer, matrix in zip(layers, matrices, strict=True):
                out[name, layer].append(matrix)
        progress(number, len(frames.utts))
    return out


def analyse(
    model: ModalLayers,
    data: str | Path,
    layers: Sequence[int],
    modalities: Sequence[str],
    dim: int,
    options: ModalOptions,
    identity: Mapping[str, Any],
    file: str,
) -> Analysis:
    """Rows and picture of a model; see the module.

    Args:
        model: reads layers of the utterances of `data`.
        data: data directory with phones.ctm, or else with phones that were aligned.
        layers: which.
        modalities: of `available`.
        dim: D.
        options: see `ModalOptions`.
        identity: `system`, `seed` and `set` of the rows.
        file: where the rows will be written.

    Raises:
        UserError: missing phone times; no modality.
    """
    if not modalities or not layers:
        raise UserError(f"{data}: no modality or no layer to analyse: give --layers, or other data")
    frames = choose_frames(data, model, options)
    per_layer = (frames.known + len(frames.utts)) * dim * 4 * len(modalities)
    group = max(1, int(options.memory_gb * 1e9 / per_layer))
    clusters = max(2, min(options.clusters, frames.known // 50))
    out = Analysis()
    best = -1.0
    for start in range(0, len(layers), group):
        some = layers[start : start + group]
        features = read_features(model, frames, modalities, some, f"layers {some[0]}-{some[-1]}")
        for layer in some:
            own = {name: features[name, layer] for name in modalities}
            values = [_pnmi(own[name], frames, clusters, options.seed) for name in modalities]
            for name, value in zip(modalities, values, strict=True):
                label = f"layer{layer}/{name}"
                out.rows.append(row(identity, "pnmi", label, value, frames.known, file))
            found = _retrieval_rows(own, frames, model.rate, options, layer, identity, file)
            out.rows += found
            total = sum(value[0] for value in values)
            if total > best:
                best, out.layer = total, layer
                _keep_points(out, own, frames, options)
    out.details = {
        "clusters": clusters,
        "frames": frames.known,
        "utterances": len(frames.utts),
        "segment_seconds": options.seconds,
        "candidates": min([options.candidates, *(r["n"] for r in found)]),
        "phone_times": frames.source,
    }
    return out


def _known(matrices: Sequence[Matrix], frames: _Frames) -> tuple[list[Matrix], dict[str, Ints]]:
    """Frames with a phone, and the phones, of each utterance."""
    kept, phones = [], {}
    for utt, matrix in zip(frames.utts, matrices, strict=True):
        count = min(len(matrix), len(frames.phones[utt]))
        ids = frames.phones[utt][:count]
        kept.append(matrix[:count][ids >= 0])
        phones[utt] = ids[ids >= 0]
    return kept, phones


def _pnmi(
    matrices: Sequence[Matrix], frames: _Frames, clusters: int, seed: int
) -> tuple[float, float, float]:
    kept, phones = _known(matrices, frames)
    joined = np.concatenate(kept)
    options = FitOptions(
        clusters=clusters, seed=seed, starts=3, patience=20, pool_frames=max(20_000, 2 * clusters)
    )
    units = Assigner(fit(_Array(joined), options).centroids)(joined)
    borders = np.cumsum([len(matrix) for matrix in kept])[:-1]
    by_utt = dict(zip(frames.utts, np.split(units, borders), strict=True))
    tables = speaker_tables(phones, by_utt, frames.utt2spk, len(frames.names), clusters)
    return with_intervals(tables)["pnmi"]


def segment_means(matrix: Matrix, size: int, count: int) -> Matrix:
    """Means (count, D) of the first `count` stretches of `size` frames."""
    return matrix[: size * count].reshape(count, size, matrix.shape[1]).mean(axis=1)


def _retrieval_rows(
    own: Mapping[str, Sequence[Matrix]],
    frames: _Frames,
    rate: float,
    options: ModalOptions,
    layer: int,
    identity: Mapping[str, Any],
    file: str,
) -> list[dict[str, Any]]:
    """Rows of every ordered pair of modalities that share no stream."""
    size = max(1, round(options.seconds * rate))
    counts = [len(matrix) // size for matrix in next(iter(own.values()))]
    if sum(counts) < 2:
        return []
    means = {
        name: np.concatenate(
            [segment_means(m, size, n) for m, n in zip(matrices, counts, strict=True)]
        )
        for name, matrices in own.items()
    }
    speakers = sorted({frames.utt2spk[utt] for utt in frames.utts})
    owner = np.repeat([speakers.index(frames.utt2spk[utt]) for utt in frames.utts], counts)
    groups = candidate_groups(len(owner), options.candidates, options.seed)
    asked = np.sort(np.concatenate(groups))
    total = np.bincount(owner[asked], minlength=len(speakers))
    rows = []
    for one in own:
        for other in own:
            if set(MODALITIES[one]) & set(MODALITIES[other]):
                continue
            found = retrieval(means[one], means[other], groups)
            right = np.bincount(owner, weights=found, minlength=len(speakers)).astype(np.int64)
            value = accuracy_interval(right[total > 0], total[total > 0])
            label = f"layer{layer}/{one}->{other}"
            rows.append(row(identity, "retrieval", label, value, len(asked), file))
    return rows


def _keep_points(
    out: Analysis, own: Mapping[str, Sequence[Matrix]], frames: _Frames, options: ModalOptions
) -> None:
    """The same frames of the most frequent phones in every modality."""
    joined = {name: np.concatenate(_known(matrices, frames)[0]) for name, matrices in own.items()}
    _, phones = _known(next(iter(own.values())), frames)
    ids = np.concatenate([phones[utt] for utt in frames.utts])
    counts = np.bincount(ids, minlength=len(frames.names))
    order = [i for i in np.argsort(-counts, kind="stable") if frames.names[i] not in SILENCE]
    chosen: list[int] = []
    for phone in order[: options.shown_phones]:
        places = np.flatnonzero(ids == phone)
        step = max(1, len(places) // options.shown_frames)
        chosen += places[::step][: options.shown_frames].tolist()
    out.points = np.concatenate([matrix[chosen] for matrix in joined.values()])
    out.modalities = [name for name in joined for _ in chosen]
    out.phones = [frames.names[ids[i]] for i in chosen] * len(joined)
