"""What is in a data directory, in numbers: `data_info.sh`."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np

from pylib.corpus.datadir import DataDir
from pylib.corpus.split import fingerprint

# Upper edges of the duration histogram (seconds); the last bin is open.
EDGES = (1, 2, 3, 5, 7.5, 10, 12.5, 15, 20, 25, 30, 60)
_BAR = 40


def data_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Numbers that describe a data directory; those that need a missing file are None.

    Returns:
        utterances, speakers, recordings, gender counts, hours, seconds (min, median, mean, max),
        histogram [[low, high or None, count], ...], words, distinct words, characters, words per
        minute, utterances without words, files, fingerprint (SHA-256 over all files).

    Raises:
        UserError: see `DataDir.load`.
    """
    data = DataDir.load(path)
    per_speaker = sorted(len(utts) for utts in data.spk2utt.values())
    out: dict[str, Any] = {
        "path": os.fspath(path),
        "utterances": len(data.utts),
        "speakers": len(per_speaker),
        "recordings": len(data.wav),
        "utterances_per_speaker": {
            "min": per_speaker[0],
            "median": float(np.median(per_speaker)),
            "max": per_speaker[-1],
        },
        "hours": None,
        "seconds": None,
        "histogram": None,
        "fingerprint": fingerprint(path),
    }
    out["gender"] = _genders(data)
    if (data.path / "utt2dur").is_file():
        out.update(_durations(data))
    out.update(_words(data, out["hours"]))
    return out


def _genders(data: DataDir) -> dict[str, int] | None:
    path = data.path / "spk2gender"
    if not path.is_file():
        return None
    from pylib.corpus.tables import read_table

    return dict(Counter(read_table(path, fields=2).values()))


def _durations(data: DataDir) -> dict[str, Any]:
    seconds = np.array(list(data.utt2dur.values()))
    bins = np.bincount(np.searchsorted(EDGES, seconds, side="left"), minlength=len(EDGES) + 1)
    lows, highs = (0, *EDGES), (*EDGES, None)
    return {
        "hours": round(float(seconds.sum()) / 3600, 4),
        "seconds": {
            "min": round(float(seconds.min()), 3),
            "median": round(float(np.median(seconds)), 3),
            "mean": round(float(seconds.mean()), 3),
            "max": round(float(seconds.max()), 3),
        },
        "histogram": [
            [low, high, int(count)] for low, high, count in zip(lows, highs, bins, strict=True)
        ],
    }


def _words(data: DataDir, hours: float | None) -> dict[str, Any]:
    if data.text is None:
        return {"words": None, "distinct_words": None, "characters": None}
    count = characters = empty = 0
    distinct: set[str] = set()
    for text in data.text.values():
        words = text.split()
        count += len(words)
        empty += not words
        characters += len(text)
        distinct.update(words)
    return {
        "words": count,
        "distinct_words": len(distinct),
        "characters": characters,
        "utterances_without_words": empty,
        "words_per_minute": round(count / hours / 60, 1) if hours else None,
    }


def format_info(info: dict[str, Any]) -> str:
    """The numbers of `data_info` as lines to read."""
    lines = [f"data directory        {info['path']}"]
    per = info["utterances_per_speaker"]
    genders = info["gender"]
    of = f" ({', '.join(f'{n} {g}' for g, n in sorted(genders.items()))})" if genders else ""
    lines += [
        f"utterances            {info['utterances']}",
        f"recordings            {info['recordings']}",
        f"speakers              {info['speakers']}{of}",
        f"utterances a speaker  {per['min']} to {per['max']}, median {per['median']:g}",
    ]
    if info["words"] is None:
        lines.append("words                 no transcripts")
    else:
        rate = info.get("words_per_minute")
        lines.append(
            f"words                 {info['words']}, {info['distinct_words']} distinct"
            + (f", {rate:g} a minute" if rate else "")
        )
    if info["hours"] is None:
        lines.append("hours                 not known: run steps/get_utt2dur.sh")
        return "\n".join(lines) + "\n"
    sec = info["seconds"]
    lines += [
        f"hours                 {info['hours']:.3f}",
        f"seconds               {sec['min']:g} to {sec['max']:g}, median {sec['median']:g}, "
        f"mean {sec['mean']:g}",
    ]
    most = max(count for _, _, count in info["histogram"])
    last = max(i for i, row in enumerate(info["histogram"]) if row[2])
    for low, high, count in info["histogram"][: last + 1]:
        span = f"{low:g} to {high:g} s" if high is not None else f"over {low:g} s"
        lines.append(f"  {span:<18} {count:>8}  {'#' * round(_BAR * count / most)}".rstrip())
    return "\n".join(lines) + "\n"
