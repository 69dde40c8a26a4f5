"""Small trees of LRS3, LRS2, VoxCeleb2 and TED-LIUM for the tests of the preparation."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile

from tests.corpus.videos import chirp, write_mp4

LOCAL = Path(__file__).parents[2] / "egs" / "lrs3" / "local"
WORDS = ("ALPHA", "BRAVO", "CHARLIE", "DELTA", "ECHO", "FOXTROT", "GOLF", "HOTEL")


def module(name: str) -> ModuleType:
    """A module of egs/lrs3/local, imported as its scripts import it."""
    if str(LOCAL) not in sys.path:
        sys.path.insert(0, str(LOCAL))
    return importlib.import_module(name)


def prepare(corpus: Path, data: Path, *options: str, jobs: int = 1) -> dict[str, Any]:
    """What prepare_data.sh does; returns sets.json."""
    main = module("prepare_lrs3").main
    rest = ["--nj", str(jobs), *options, str(corpus), str(data)]
    assert main(["scan", *rest]) == 0
    for index in range(1, jobs + 1):
        assert main(["cut", "--shard", f"{index}/{jobs}", *rest]) == 0
    assert main(["write", *rest]) == 0
    summary: dict[str, Any] = json.loads((data / "sets.json").read_text("utf-8"))
    return summary


def excluded(data: Path) -> dict[str, str]:
    """Id -> reason of excluded.txt."""
    lines = (data / "excluded.txt").read_text("utf-8").splitlines()
    return {line.split()[0]: line.split()[1] for line in lines}


def transcript(words: list[tuple[str, float, float]], table: bool = True) -> str:
    """A text file of LRS3; without the table one of LRS2's main set."""
    head = f"Text:  {' '.join(word for word, _, _ in words)}\nConf:  4\n"
    if not table:
        return head
    rows = "".join(f"{word} {start:.2f} {end:.2f} 9.5\n" for word, start, end in words)
    return f"{head}\nWORD START END ASDSCORE\n{rows}"


class FaceTree:
    """Clips of two seconds, unless told otherwise; every clip has a sentence of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made = 0

    def sentence(self) -> list[str]:
        """Three words that no other clip says in this order."""
        self.made += 1
        digits = (self.made // 64 % 8, self.made // 8 % 8, self.made % 8)
        return [WORDS[digit] for digit in digits]

    def clip(self, name: str, frames: int = 50, sound: float | None = None, **more: Any) -> Path:
        """<root>/<name>.mp4 and .txt; `sound` s (None: as long as the video, 0: none)."""
        seconds = frames / 25 if sound is None else sound
        table = more.pop("table", True)
        words = more.pop("words", None) or [
            (word, 0.2 + 0.5 * n, 0.6 + 0.5 * n) for n, word in enumerate(self.sentence())
        ]
        path = self.root / f"{name}.mp4"
        write_mp4(path, more.pop("times", frames), chirp(seconds) if seconds else None, **more)
        path.with_suffix(".txt").write_text(transcript(words, table), "utf-8")
        return path

    def small(self) -> None:
        """LRS3: 10 clips of trainval, one of pretrain (whole), two of test."""
        for number in range(10):
            self.clip(f"trainval/spk{number % 2}/5000{number}")
        self.clip("pretrain/spk0/00001")
        self.clip("test/spk8/00001")
        self.clip("test/spk9/00002")


def talk(root: Path, name: str, lines: list[str], seconds: float = 8.0, rate: int = 16000) -> None:
    """<root>/{stm,sph}/<name> of TED-LIUM; lines `<start> <end> <rest>`."""
    for kind in ("stm", "sph"):
        (root / kind).mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name)).normal(0, 0.05, int(seconds * rate))
    soundfile.write(root / "sph" / f"{name}.sph", noise, rate, "PCM_16", format="NIST")
    rows = [f"{name} 1 {name} {line}\n" for line in lines]
    (root / "stm" / f"{name}.stm").write_text("".join(rows), "utf-8")
