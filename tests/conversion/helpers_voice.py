"""Artificial voices: pitch pulses through formants, one vowel after the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import lfilter

from pylib.corpus.audio import write_audio
from pylib.corpus.datadir import write_datadir
from pylib.features.config import SpectrumConfig
from pylib.features.making import FeatureStage

RATE = 16000
VOWELS = (
    (800, 1150, 2900),
    (350, 2000, 2800),
    (270, 2140, 2950),
    (450, 800, 2830),
    (325, 700, 2700),
)
# Speaker -> pitch in Hz, length of formants relative to those above.
SPEAKERS = {"a": (105.0, 1.0), "b": (190.0, 1.18), "c": (140.0, 1.08), "d": (220.0, 0.92)}


def voice(words: int, f0: float, scale: float, seconds: float = 1.2, take: int = 0) -> np.ndarray:
    """Samples float32 (N,): `words` chooses the vowels, `take` the noise."""
    order = np.random.default_rng(words)
    rng = np.random.default_rng([words, take])
    count = int(seconds * RATE)
    turn = 1 + 0.12 * np.sin(2 * np.pi * np.arange(count) / RATE * 1.7 + order.uniform(0, 6))
    phase = np.cumsum(f0 * turn / RATE)
    pulses = np.diff(np.floor(phase), prepend=0.0) + 0.01 * rng.standard_normal(count)
    out = np.zeros(count)
    length = int(0.15 * RATE)
    for start in range(0, count, length):
        part = pulses[start : start + length]
        for formant in VOWELS[order.integers(len(VOWELS))]:
            radius, angle = np.exp(-np.pi * 90 / RATE), 2 * np.pi * formant * scale / RATE
            part = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], part)
        out[start : start + length] = part / (np.abs(part).max() + 1e-9)
    return (0.3 * out + 0.001 * rng.standard_normal(count)).astype(np.float32)


def voice_dir(root: Path, utterances: int = 3, kind: str = "logmel", text: bool = True) -> Path:
    """A data directory of four speakers with features; utterance n of each says the same."""
    wav, utt2spk, words = {}, {}, {}
    for number, (spk, (f0, scale)) in enumerate(SPEAKERS.items()):
        for i in range(utterances):
            utt = f"{spk}-{i}"
            path = root / "voices" / f"{utt}.flac"
            write_audio(path, voice(i, f0, scale, 1.0 + 0.1 * i, number), RATE)
            wav[utt], utt2spk[utt], words[utt] = str(path), spk, f"TEXT {i}"
    data = root / "data" / "voices"
    write_datadir(data, wav=wav, utt2spk=utt2spk, text=words if text else None,
                  spk2gender={"a": "m", "b": "f", "c": "m", "d": "f"})  # fmt: skip
    stage = FeatureStage(data, root / "arks", SpectrumConfig.preset(kind))
    stage.make_shard(1)
    stage.commit()
    return data
