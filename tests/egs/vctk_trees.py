"""Small trees in VCTK's layouts, and the preparation run on them in this process."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile

from pylib.bin import clean_audio

LOCAL = Path(__file__).parents[2] / "egs" / "vctk" / "local"
LISTED = LOCAL.parent / "conf" / "unseen_speakers.txt"


def module(name: str) -> ModuleType:
    """A module of egs/vctk/local, imported as its scripts import it."""
    if str(LOCAL) not in sys.path:
        sys.path.insert(0, str(LOCAL))
    return importlib.import_module(name)


def prepare(corpus: Path, data: Path, *options: str) -> dict[str, Any]:
    """What prepare_data.sh does; returns sets.json."""
    main = module("prepare_vctk").main
    assert main(["scan", *options, str(corpus), str(data)]) == 0
    places = [str(data / "local" / "raw"), str(data / "local" / "clean"), str(data / "audio")]
    assert clean_audio.main(["--min", "0.2", *places]) == 0
    assert main(["split", *options, str(corpus), str(data)]) == 0
    summary: dict[str, Any] = json.loads((data / "sets.json").read_text("utf-8"))
    return summary


class VctkTree:
    """A tree of one edition: 3 common texts and as many own ones as asked for."""

    def __init__(self, root: Path, edition: str = "0.92", rate: int = 48000) -> None:
        self.root, self.edition, self.rate = root, edition, rate
        self.audio = root / ("wav48_silence_trimmed" if edition == "0.92" else "wav48")
        self.rows = ["ID  AGE  GENDER  ACCENTS  REGION COMMENTS"]

    def path(self, utt: str, mic: str = "mic1") -> Path:
        name = f"{utt}_{mic}.flac" if self.edition == "0.92" else f"{utt}.wav"
        return self.audio / utt.partition("_")[0] / name

    def text(self, utt: str) -> Path:
        return self.root / "txt" / utt.partition("_")[0] / f"{utt}.txt"

    def say(self, utt: str, words: str | None, mics: tuple[str, ...] = ("mic1",)) -> None:
        """One utterance of 0.4 s; its transcript unless `words` is None."""
        for mic in mics:
            path = self.path(utt, mic)
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(len(utt)).normal(0, 0.05, int(0.4 * self.rate))
            soundfile.write(path, noise, self.rate, subtype="PCM_16")
        if words is not None:
            self.text(utt).parent.mkdir(parents=True, exist_ok=True)
            self.text(utt).write_text(f"{words}\n", "utf-8")

    def speaker(self, spk: str, sex: str, own: int = 6, text: bool = True, more: str = "") -> None:
        """A speaker: common texts 001 to 003, own ones from 025 on."""
        mics = ("mic1",) if "mic2" in more else ("mic1", "mic2")
        mics = mics if self.edition == "0.92" else ("mic1",)
        common = ("Please call Stella.", "Ask her to bring these things.", "Six spoons!")
        for number, words in enumerate(common, 1):
            self.say(f"{spk}_{number:03d}", words if text else None, mics)
        for number in range(25, 25 + own):
            words = (
                f"It's {spk.translate(str.maketrans('0123456789', 'abcdefghij'))} the"
                + " x" * (number - 24)
            )
            self.say(f"{spk}_{number:03d}", words if text else None, mics)
        name = spk if self.edition == "0.92" else spk.removeprefix("p")
        self.rows.append(f"{name}  23  {sex}    English    Southern  England {more}".rstrip())
        (self.root / "speaker-info.txt").write_text("\n".join(self.rows) + "\n", "utf-8")
