"""Noises for mixing, laid out as MUSAN: synthesised music and noise (speech comes from voices)."""

from __future__ import annotations

import numpy as np
from scipy import signal

from pylib.corpus.mini import channel

RATE = channel.RATE
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10))


def _tone(rng: np.random.Generator, hertz: float, size: int, partials: np.ndarray) -> np.ndarray:
    """A plucked or bowed note (size,) of the given strengths of partials."""
    time = np.arange(size) / RATE
    note = np.zeros(size)
    for number, strength in enumerate(partials, 1):
        if hertz * number < 0.45 * RATE:
            note += strength * np.sin(2 * np.pi * hertz * number * time + rng.uniform(0, 6.28))
    attack = np.clip(time / 0.02, 0, 1)
    return note * attack * np.exp(-time * rng.uniform(0.5, 5.0))


def music(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Chords, a melody and a beat in one key and tempo; float64 (N,), peak about 0.5."""
    size = round(seconds * RATE)
    out = np.zeros(size + 2 * RATE)
    root, scale = 110 * 2 ** (rng.integers(12) / 12), _SCALES[rng.integers(len(_SCALES))]
    beat = 60 / rng.uniform(70, 150)
    colours = rng.uniform(0.1, 1, (2, 8)) / np.arange(1, 9)

    def pitch(degree: int) -> float:
        octave, step = divmod(degree, len(scale))
        return float(root * 2 ** (octave + scale[step] / 12))

    drums = rng.random() < 0.6
    for number in range(int(seconds / beat) + 1):
        start, long = int(number * beat * RATE), int(min(2.0, 4 * beat) * RATE)
        if number % 4 == 0:
            degree = int(rng.integers(len(scale)))
            for third in (0, 2, 4):
                out[start : start + long] += 0.4 * _tone(
                    rng, pitch(degree + third), long, colours[0]
                )
        if rng.random() < 0.7:
            long = int(min(2.0, 1.5 * beat) * RATE)
            degree = len(scale) + int(rng.integers(2 * len(scale)))
            out[start : start + long] += 0.6 * _tone(rng, pitch(degree), long, colours[1])
        if drums:
            long = int(0.15 * RATE)
            hit = rng.standard_normal(long) * np.exp(-np.arange(long) / (0.02 * RATE))
            out[start : start + long] += 0.5 * hit
    return 0.5 * out[:size] / max(float(np.max(np.abs(out))), 1e-9)


def noise(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Wind, engines, knocks or clatter; float64 (N,), peak about 0.5."""
    size = round(seconds * RATE)
    kind = int(rng.integers(4))
    time = np.arange(size) / RATE
    out = channel.coloured_noise(rng, size, rng.uniform(0, 2))
    if kind == 0:  # wind: slow swells
        swell = 1 + 0.8 * np.sin(2 * np.pi * rng.uniform(0.1, 0.6) * time + rng.uniform(0, 6.28))
        out = out * swell
    elif kind == 1:  # engine: hum with partials and a rattle
        hertz = rng.uniform(40, 180) * (1 + 0.05 * np.sin(2 * np.pi * rng.uniform(0.1, 1) * time))
        phase = 2 * np.pi * np.cumsum(hertz) / RATE
        hum = sum(rng.uniform(0.2, 1) / k * np.sin(k * phase) for k in range(1, 12))
        out = hum + 0.5 * out
    else:  # knocks or clatter: decaying bursts through a resonance
        bursts = np.zeros(size)
        count = int(seconds * rng.uniform(1.5, 8)) + 1
        bursts[rng.integers(0, size, count)] = rng.uniform(0.3, 1, count)
        low = rng.uniform(150, 3000)
        band = signal.butter(2, [low, min(2.2 * low, 7500)], "bandpass", fs=RATE, output="sos")
        long = int(RATE * rng.uniform(0.05, 0.4))
        decay = rng.standard_normal(long) * np.exp(-5 * np.arange(long) / long)
        struck = signal.sosfilt(band, signal.oaconvolve(bursts, decay)[:size])
        out = struck / max(float(np.max(np.abs(struck))), 1e-9) + 0.03 * out
    return 0.5 * out / max(float(np.max(np.abs(out))), 1e-9)
