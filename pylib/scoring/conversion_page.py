"""What conversions sound and look like: a few of them beside their source and their target."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table
from pylib.scoring.embed import audio_uri, png_uri

RATE = 16000
SHOWN = 4  # source and target pairs
MAX_SECONDS = 12.0  # a longer recording would make the page heavy
WINDOW, HOP = 512, 160
RANGE_DB = 70.0


@dataclass(frozen=True)
class ConvertedSet:
    """What steps/convert.sh wrote.

    Attributes:
        data: converted utterances; their speaker is the target.
        label: system, method, vocoder and seed.
        natural: data directory that it was converted from, '' where convert.json does not say.
        pairs: (source utterance, target speaker) -> converted utterance.
        references: converted utterance -> first utterance that the target's voice was taken from.
    """

    data: DataDir
    label: str
    natural: str
    pairs: dict[tuple[str, str], str]
    references: dict[str, str]


def read_converted(directory: str | os.PathLike[str]) -> ConvertedSet:
    """Open a directory of conversions.

    Raises:
        UserError: not one, or tables that disagree.
    """
    root = Path(directory)
    path = root / "convert.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        method = str(about["method"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: does not say how it was converted ({error!r}): give a directory that "
            "steps/convert.sh made"
        ) from None
    data = DataDir.load(root)
    source = read_table(root / "source", fields=2)
    references = read_table(root / "target_refs") if (root / "target_refs").is_file() else {}
    missing = [utt for utt in data.utts if utt not in source]
    if missing:
        raise UserError(f"{root}/source: '{missing[0]}' ({len(missing)} in all) not there")
    name = str(about.get("system") or method)
    parts = [name, *([method] if name != method else []), str(about.get("vocoder") or "")]
    if about.get("seed") is not None and name != method:
        parts.append(f"seed {about['seed']}")
    return ConvertedSet(
        data,
        ", ".join(part for part in parts if part),
        str(about.get("data") or ""),
        {(source[utt], data.utt2spk[utt]): utt for utt in data.utts},
        {utt: value.replace(",", " ").split()[0] for utt, value in references.items() if value},
    )


def spectrogram(samples: npt.NDArray[np.float32]) -> bytes:
    """PNG of the log-magnitude spectrogram of a signal (N,) at 16 kHz, 0 to 8 kHz upwards."""
    from matplotlib.image import imsave

    padded = np.pad(samples, (0, max(0, WINDOW - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), axis=1)) ** 2
    pooled = power[:, :-1].reshape(len(power), -1, 2).max(axis=2)
    level = 10.0 * np.log10(np.maximum(pooled, 1e-10))
    top = level.max()
    buffer = io.BytesIO()
    image = np.clip(level.T, top - RANGE_DB, top)
    imsave(buffer, image, cmap="magma", origin="lower", vmin=top - RANGE_DB, vmax=top, format="png")
    return buffer.getvalue()


def _item(data: DataDir, utt: str, label: str) -> dict[str, Any]:
    samples = np.asarray(data.read_utt(utt, RATE), dtype=np.float32)
    return {
        "label": label,
        "utt": utt,
        "audio": audio_uri(samples, RATE),
        "image": png_uri(spectrogram(samples)),
    }


def _chosen(sets: Sequence[ConvertedSet]) -> list[tuple[str, str]]:
    """Evenly spread pairs that every set has (that the first has, where no pair is common)."""
    common = set.intersection(*(set(each.pairs) for each in sets)) or set(sets[0].pairs)
    duration = sets[0].data.utt2dur
    short = sorted(
        pair for pair in common if duration.get(sets[0].pairs.get(pair, ""), 0.0) <= MAX_SECONDS
    )
    return [short[i * len(short) // SHOWN] for i in range(SHOWN)] if len(short) > SHOWN else short


def conversion_blocks(
    directories: Sequence[str | os.PathLike[str]], natural: str | os.PathLike[str] | None = None
) -> list[dict[str, Any]]:
    """Blocks of the page: `source`, `target` and `items` (label, utt, audio, image).

    Args:
        directories: of steps/convert.sh.
        natural: data directory with the sources and the targets' recordings; by default the one
            that convert.json names.

    Raises:
        UserError: a directory that is not of conversions.
    """
    sets = [read_converted(directory) for directory in directories]
    if not sets:
        return []
    place = natural or next((each.natural for each in sets if each.natural), None)
    spoken = DataDir.load(place) if place and Path(place).is_dir() else None
    blocks = []
    for source, target in _chosen(sets):
        having = [each for each in sets if (source, target) in each.pairs]
        voices = (each.references.get(each.pairs[source, target], "") for each in having)
        voice = next((utt for utt in voices if utt), "")
        items = []
        if spoken is not None and source in spoken.utt2spk:
            items.append(_item(spoken, source, f"source, {spoken.utt2spk[source]}"))
        if spoken is not None and voice in spoken.utt2spk:
            items.append(_item(spoken, voice, f"target, {spoken.utt2spk[voice]}"))
        items += [_item(each.data, each.pairs[source, target], each.label) for each in having]
        blocks.append({"source": source, "target": target, "items": items})
    return blocks
