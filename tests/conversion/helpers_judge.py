"""Natural and converted data directories for the tests of the judges."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.atomic import write_json
from pylib.corpus.audio import read_audio, write_audio
from pylib.corpus.datadir import DataDir, write_datadir
from pylib.corpus.tables import write_table

# DNSMOS doubles what is shorter than 9.01 s, and then takes a window of it at every second: of 4 s
# it would listen to seven, of this to one.
SAMPLES = 73_000

Change = Callable[[np.ndarray], np.ndarray]


def real_speech(speakers: int, utts: int) -> dict[str, np.ndarray]:
    """Ends of recordings of LibriSpeech test-other: `<speaker>-<n>` -> float32 at 16 kHz.

    Skips the test where $TRIVIUM_REAL is not set.
    """
    root = os.environ.get("TRIVIUM_REAL")
    if not root:
        pytest.skip("TRIVIUM_REAL is not set")
    out = {}
    for folder in sorted((Path(root) / "LibriSpeech/test-other").iterdir()):
        files = sorted(folder.glob("*/*.flac"))
        read = (audio for audio in map(read_audio, files) if len(audio) >= SAMPLES)
        spoken = [audio[-SAMPLES:] for audio, _ in zip(read, range(utts), strict=False)]
        if len(spoken) < utts:
            continue
        out.update({f"{folder.name}-{i}": audio for i, audio in enumerate(spoken)})
        speakers -= 1
        if speakers == 0:
            return out
    pytest.skip("too few speakers in TRIVIUM_REAL")


def natural_dir(root: Path, audio: Mapping[str, np.ndarray], text: bool = False) -> Path:
    """A data directory `<root>/unseen`; with text, utterance n of every speaker says `TEXT n`."""
    wav = {}
    for utt, samples in audio.items():
        wav[utt] = str(root / "natural" / f"{utt}.wav")
        (root / "natural").mkdir(parents=True, exist_ok=True)
        write_audio(wav[utt], samples, 16000)
    write_datadir(
        root / "unseen",
        wav=wav,
        utt2spk={utt: utt.rpartition("-")[0] for utt in audio},
        text={utt: f"TEXT {utt.rpartition('-')[2]}" for utt in audio} if text else None,
    )
    return root / "unseen"


def converted_dir(
    root: Path, name: str, natural: Path, made_of: Mapping[str, tuple[str, str, str]],
    change: Change = lambda x: x, method: str = "shift", system: str | None = "fhvae",
) -> Path:  # fmt: skip
    """A data directory as steps/convert.sh writes it.

    Args:
        made_of: converted utterance -> (source utterance, reference, utterance whose audio it is).
        change: done to that audio.
    """
    data = DataDir.load(natural)
    out = root / name
    wav = {}
    for utt, (_, _, heard) in made_of.items():
        wav[utt] = str(root / f"{name}-wav" / f"{utt}.wav")
        (root / f"{name}-wav").mkdir(parents=True, exist_ok=True)
        write_audio(wav[utt], change(data.read_utt(heard)), 16000)
    text = data.text
    write_datadir(
        out,
        wav=wav,
        utt2spk={utt: data.utt2spk[reference] for utt, (_, reference, _) in made_of.items()},
        text={utt: text[source] for utt, (source, _, _) in made_of.items()} if text else None,
    )
    write_table(out / "source", {utt: source for utt, (source, _, _) in made_of.items()})
    write_table(out / "target_refs", {utt: ref for utt, (_, ref, _) in made_of.items()})
    info = {"method": method, "vocoder": "world", "checkpoint": None, "system": system, "seed": 1}
    write_json(out / "convert.json", info)
    return out


def all_pairs(natural: Path, heard: str) -> dict[str, tuple[str, str, str]]:
    """One conversion for each ordered pair of speakers, of the utterances that end in -0.

    heard: whose audio the result is: `source`, or `target` (its utterance -1).
    """
    data = DataDir.load(natural)
    speakers = sorted(data.spk2utt)
    return {
        f"{b}-{a}": (f"{a}-0", f"{b}-1", f"{a}-0" if heard == "source" else f"{b}-1")
        for a in speakers
        for b in speakers
        if a != b
    }


def write_all_trials(natural: Path, out: Path) -> Path:
    """All pairs of the natural utterances as trials."""
    utt2spk = DataDir.load(natural).utt2spk
    utts = sorted(utt2spk)
    lines = [
        f"{a} {b} {'target' if utt2spk[a] == utt2spk[b] else 'nontarget'} unknown\n"
        for i, a in enumerate(utts)
        for b in utts[i + 1 :]
    ]
    random.Random(0).shuffle(lines)
    out.write_text("".join(lines), encoding="utf-8")
    return out
