"""Pictures of latents: vectors of utterances by speaker, frames by phone."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import ArkReader, read_scp
from pylib.scoring.embed import png_uri
from pylib.scoring.latents import SUFFIXES, read_latents, read_origin
from pylib.units.labels import frame_times
from pylib.units.phones import phone_ids, read_phones

Matrix = npt.NDArray[np.float64]
SPEAKERS = 12  # shown, and utterances of each: more colours cannot be told apart
UTTERANCES = 20
PHONES = 12  # the most frequent
FRAMES = 500
SEED = 0
NAMES = {"svector": "sequence latent", "z1mean": "content latent"}
FRAME_NAMES = {"z1": "frames of the content latent", "z2": "frames of the sequence latent"}


def principal_components(matrix: Matrix) -> Matrix:
    """(N, 2) coordinates on the two directions of greatest variance; zeros where there is none."""
    centred = matrix - matrix.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    plane = np.zeros((len(matrix), 2))
    kept = min(2, len(size))
    plane[:, :kept] = left[:, :kept] * size[:kept]
    return plane


def neighbour_embedding(matrix: Matrix) -> Matrix:
    """(N, 2) t-SNE coordinates, the same each time; PCA where there are too few points."""
    if len(matrix) < 8:
        return principal_components(matrix)
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(matrix) - 1) / 3)
    start = principal_components(matrix)
    scale = start[:, 0].std()
    start = start / scale * 1e-4 if scale > 0 else start
    model = TSNE(perplexity=perplexity, init=start, learning_rate="auto", random_state=SEED)
    plane: Matrix = model.fit_transform(matrix)
    return plane


def _even(items: Sequence[Any], count: int) -> list[Any]:
    """Up to `count` items, evenly spread."""
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def speaker_points(directory: str | os.PathLike[str], name: str) -> tuple[Matrix, list[str]]:
    """Vectors of some utterances of some speakers, and the speakers."""
    latents = read_latents(directory, name)
    shown = _even(sorted(set(latents.speakers)), SPEAKERS)
    rows = []
    for speaker in shown:
        own = [i for i, other in enumerate(latents.speakers) if other == speaker]
        rows += _even(own, UTTERANCES)
    return latents.matrix[rows], [latents.speakers[i] for i in rows]


def phone_points(directory: str | os.PathLike[str], stem: str) -> tuple[Matrix, list[str]] | None:
    """Frames of z1 (their means) or z2 with their phones; None without them or phone times."""
    root = Path(directory)
    if not ((root / f"{stem}.scp").is_file() and (root / "phones.ctm").is_file()):
        return None
    times = read_phones(root / "phones.ctm")
    ids = phone_ids(times)
    names = sorted(ids)
    table = {utt: rx for utt, rx in read_scp(root / f"{stem}.scp").items() if utt in times}
    frames, phones = [], []
    with ArkReader() as reader:
        for utt in _even(list(table), 60):
            matrix = np.asarray(reader.read(table[utt], utt), dtype=np.float64)
            of_frame = times[utt].at(frame_times(len(matrix), 100.0, "start"), ids)
            known = of_frame >= 0
            half = matrix.shape[1] // 2 if stem == "z1" else None  # the rest are log-variances
            frames.append(matrix[known][:, :half])
            phones += [names[i] for i in of_frame[known]]
    if not phones:
        return None
    counts = {name: phones.count(name) for name in set(phones)}
    frequent = sorted(counts, key=lambda name: (-counts[name], name))[:PHONES]
    rows = _even([i for i, phone in enumerate(phones) if phone in frequent], FRAMES)
    return np.concatenate(frames)[rows], [phones[i] for i in rows]


def scatter(axes: Any, plane: Matrix, labels: Sequence[str], title: str) -> None:
    """Draw points (N, 2) on axes of matplotlib, a colour for each label."""
    import matplotlib

    names = sorted(set(labels))
    colours = matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20"]
    of_point = np.asarray(labels)
    for index, name in enumerate(names):
        part = plane[of_point == name]
        axes.scatter(part[:, 0], part[:, 1], s=6, color=colours(index % 20), label=name)
    axes.set_title(title, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])


def latent_picture(directory: str | os.PathLike[str]) -> dict[str, str]:
    """One figure of a directory of latents: PCA above t-SNE, a column for each latent.

    Returns:
        `title` and `image` (address of a PNG within the page).

    Raises:
        UserError: not a directory of latents.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    origin = read_origin(directory)
    columns = [(f"{NAMES[n]}, by speaker", *speaker_points(directory, n)) for n in SUFFIXES]
    for stem, name in FRAME_NAMES.items():
        frames = phone_points(directory, stem)
        if frames is not None:
            columns.append((f"{name}, by phone", *frames))
    figure = Figure(figsize=(3.6 * len(columns), 6.6), layout="constrained", dpi=80)
    FigureCanvasAgg(figure)
    for number, (title, matrix, labels) in enumerate(columns):
        for row, (name, draw) in enumerate(
            (("PCA", principal_components), ("t-SNE", neighbour_embedding))
        ):
            axes = figure.add_subplot(2, len(columns), row * len(columns) + number + 1)
            scatter(axes, draw(matrix), labels, f"{title} ({name})")
            if row == 0:
                axes.legend(fontsize=5, markerscale=1.2, loc="best", framealpha=0.5)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    seed = origin.get("seed")
    title = f"{origin['system']}, seed {seed}" if seed is not None else str(origin["system"])
    return {
        "title": f"{title}: {Path(directory).resolve().name}",
        "image": png_uri(buffer.getvalue()),
    }
