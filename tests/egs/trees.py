"""Small trees in LibriSpeech's layout, and the preparation run on them in this process."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile

LOCAL = Path(__file__).parents[2] / "egs" / "librispeech" / "local"
WORDS = ("THE", "OLD", "MAN'S", "BOAT", "WENT", "HOME", "AGAIN")


def module(name: str) -> ModuleType:
    """A module of egs/librispeech/local, imported as its scripts import it."""
    if str(LOCAL) not in sys.path:
        sys.path.insert(0, str(LOCAL))
    return importlib.import_module(name)


def prepare(corpus: Path, data: Path, *options: str) -> dict[str, Any]:
    assert module("prepare_data").main([*options, str(corpus), str(data)]) == 0
    summary: dict[str, Any] = json.loads((data / "sets.json").read_text(encoding="utf-8"))
    return summary


def write_flac(path: Path, seconds: float, rate: int = 16000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (int(seconds * rate), channels) if channels > 1 else int(seconds * rate)
    noise = np.random.default_rng(1).normal(0, 0.05, shape)
    soundfile.write(path, noise, rate, subtype="PCM_16")


class Tree:
    """A small tree in LibriSpeech's layout."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: list[str] = []

    def add(
        self, subset: str, reader: int, sex: str, utts: int = 2, text: bool = True, sec: float = 0.1
    ) -> Path:
        """A reader with one chapter; returns the chapter's directory."""
        chapter = self.root / subset / str(reader) / str(1000 + reader)
        lines = []
        for number in range(utts):
            utt = f"{reader}-{1000 + reader}-{number:04d}"
            write_flac(chapter / f"{utt}.flac", sec)
            words = [WORDS[(reader + number * 3 + i) % len(WORDS)] for i in range(3 + number % 3)]
            lines.append(f"{utt} {' '.join(words)} {'A' * (reader % 50 + 1)}\n")
        if text:
            name = f"{reader}-{1000 + reader}.trans.txt"
            (chapter / name).write_text("".join(lines), encoding="utf-8")
        self.rows.append(f"{reader:<4} | {sex} | {subset:<16} | 25.00 | |X|Some Name")
        self.speakers()
        return chapter

    def speakers(self) -> None:
        head = ";ID  |SEX| SUBSET           |MINUTES| NAME\n"
        (self.root / "SPEAKERS.TXT").write_text(head + "\n".join(self.rows) + "\n", "utf-8")
