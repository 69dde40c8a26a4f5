"""What lies between a mouth and a file: vocal-tract warp, equaliser, room, noise, level."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from scipy import fft, signal

RATE = 16000  # Hz, of the corpus
_FFT = 1024  # of the equaliser's design


def warp_fraction(rate: int, warp: float) -> tuple[Fraction, float]:
    """Resampling ratio that multiplies all frequencies by about `warp`.

    Args:
        rate: Hz of the source.
        warp: above 1 for a shorter vocal tract.

    Returns:
        (ratio, factor): resampling from `rate` by `ratio` and calling the result 16 kHz
        multiplies frequencies and divides times by exactly `factor`.
    """
    ratio = (Fraction(RATE, rate) / Fraction(warp)).limit_denominator(320)
    return ratio, float(Fraction(RATE, rate) / ratio)


def resample(samples: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Band-limited resampling of (N,) by `ratio`; (ceil(N * ratio),) float64."""
    return signal.resample_poly(samples.astype(np.float64), ratio.numerator, ratio.denominator)


def equaliser(rng: np.random.Generator, strength: float) -> np.ndarray:
    """Minimum-phase impulse response (512,) of a random microphone.

    Tilt and three broad bumps of at most `strength` dB each; a high-pass below 60 Hz.
    """
    frequency = np.fft.rfftfreq(_FFT, 1 / RATE)
    octaves = np.log2(np.maximum(frequency, 30.0) / 1000)
    decibels = strength * rng.uniform(-1, 1) * np.clip(octaves / 5, -1, 1)
    for _ in range(3):
        centre, width = rng.uniform(-3, 3), rng.uniform(0.3, 1.2)
        bump = np.exp(-0.5 * ((octaves - centre) / width) ** 2)
        decibels = decibels + strength * rng.uniform(-1, 1) * bump
    decibels = decibels - 24 * np.clip((60 - frequency) / 60, 0, 1)
    # homomorphic design: the causal part of the cepstrum of the log magnitude
    cepstrum = np.fft.irfft(decibels * np.log(10) / 20, _FFT)
    fold = np.zeros(_FFT)
    fold[0] = fold[_FFT // 2] = 1
    fold[1 : _FFT // 2] = 2
    return np.fft.irfft(np.exp(np.fft.rfft(cepstrum * fold)), _FFT)[: _FFT // 2]


def room(rng: np.random.Generator, reverberation: float) -> np.ndarray:
    """Impulse response of a small room: direct sound at 0, a decaying noise tail after 4 ms.

    Args:
        reverberation: s until the tail has fallen by 60 dB; 0 gives a bare impulse.
    """
    if reverberation <= 0:
        return np.ones(1)
    size = max(1, int(reverberation * RATE))
    time = np.arange(size) / RATE
    tail = rng.standard_normal(size) * np.exp(-np.log(1000) * time / reverberation)
    tail[: int(0.004 * RATE)] = 0
    direct_to_tail = 10 ** (rng.uniform(4, 12) / 20)
    tail /= max(float(np.sqrt(np.sum(tail**2))), 1e-9) * direct_to_tail
    tail[0] = 1
    return tail


def coloured_noise(rng: np.random.Generator, size: int, colour: float) -> np.ndarray:
    """Noise (size,) of unit RMS whose power falls as 1 / f^colour above 50 Hz."""
    padded = fft.next_fast_len(size, real=True)
    spectrum = np.fft.rfft(rng.standard_normal(padded))
    frequency = np.maximum(np.fft.rfftfreq(padded, 1 / RATE), 50.0)
    noise = np.fft.irfft(spectrum * frequency ** (-colour / 2), padded)[:size]
    return noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12)


def record(
    samples: np.ndarray,
    response: np.ndarray,
    noise: np.ndarray,
    snr: float,
    level: float,
) -> np.ndarray:
    """Put speech (N,) through `response`, add `noise` (N,) and scale; int16 (N,).

    Args:
        snr: dB, of the RMS where there is speech to that of the noise.
        level: dB below full scale of the speech's RMS; lowered where peaks would clip.
    """
    speech = signal.oaconvolve(samples, response)[: len(samples)]
    loud = np.abs(speech) > 0.02 * float(np.max(np.abs(speech)))
    power = float(np.sqrt(np.mean(speech[loud] ** 2)))
    mixed = speech + noise * power * 10 ** (-snr / 20)
    gain = min(10 ** (-level / 20) / power, 0.97 / float(np.max(np.abs(mixed))))
    return np.round(mixed * gain * 32767).astype(np.int16)
