"""Recordings made alike: one rate, no rumble, no silence around, one level; perhaps cut in chunks.

The level and the low frequencies of a recording belong to its day, not to its speaker; whoever
measures speakers must not measure those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import signal

from pylib.corpus.audio import Samples, resample_audio
from pylib.corpus.errors import UserError

#: A recording whose largest sample is below this (half a step of 14 bits) is digital silence.
SILENT_PEAK = 2.0**-15
PEAK_LIMIT = 0.98  # of full scale: a louder peak takes the gain down
_FRAME, _HOP = 0.025, 0.010  # s, of the level that trimming looks at


@dataclass(frozen=True)
class CleanConfig:
    """What is done to each recording, in this order; 0 switches a treatment off.

    Attributes:
        rate: Hz of the result.
        highpass: Hz, corner (-6 dB) of a high-pass without phase shift.
        trim_db: ends below the loudest frame by more than this are cut off, dB.
        keep: s left on either side of what remains.
        level: dB of full scale, RMS of the result (below 0; 0 leaves the level as it is).
        min_seconds: shorter results are left out.
        chunk: s; longer results are cut into chunks of this length.
    """

    rate: int = 16000
    highpass: float = 50.0
    trim_db: float = 35.0
    keep: float = 0.1
    level: float = -27.0
    min_seconds: float = 0.5
    chunk: float = 0.0

    def __post_init__(self) -> None:
        """Raises UserError on values that no audio can have."""
        rules = (
            (4000 <= self.rate <= 192000, f"--rate {self.rate}: 4000 to 192000 Hz"),
            (
                0 <= self.highpass < self.rate / 2,
                f"--highpass {self.highpass:g}: 0 to half the rate",
            ),
            (0 <= self.trim_db <= 120, f"--trim-db {self.trim_db:g}: 0 to 120 dB"),
            (0 <= self.keep <= 10, f"--keep {self.keep:g}: 0 to 10 s"),
            (-60 <= self.level <= 0, f"--level {self.level:g}: -60 to 0 dB of full scale"),
            (self.min_seconds >= 0, f"--min {self.min_seconds:g}: not below 0 s"),
            (
                self.chunk == 0 or self.chunk >= max(self.min_seconds, 0.1),
                f"--chunk {self.chunk:g}: 0, or at least --min and 0.1 s",
            ),
        )
        for kept, rule in rules:
            if not kept:
                raise UserError(f"clean_audio: {rule}: choose another value")


@dataclass(frozen=True)
class Cleaned:
    """What became of a recording: `pieces` of it, or why it is left out.

    Attributes:
        pieces: (first sample at the new rate, float32 (N,) samples) of each; empty when left out.
        kind: `silence` or `too-short` when left out, else empty.
        what: why, with numbers.
        limited: pieces that a peak kept below the level asked for.
    """

    pieces: tuple[tuple[int, Samples], ...] = ()
    kind: str = ""
    what: str = ""
    limited: int = 0


def high_pass(samples: Samples, rate: int, corner: float) -> Samples:
    """Butterworth high-pass of order 2, run forwards and backwards; float32 (N,)."""
    # twice -3 dB at the corner of one direction
    sections = signal.butter(2, corner, "highpass", fs=rate, output="sos")
    pad = min(len(samples) - 1, int(rate / max(corner, 1)))
    return np.asarray(signal.sosfiltfilt(sections, samples, padlen=pad), dtype=np.float32)


def speech_span(samples: Samples, rate: int, trim_db: float, keep: float) -> tuple[int, int]:
    """First sample and the sample after the last one that trimming leaves.

    Frames of 25 ms every 10 ms count as speech when their power is less than `trim_db` below that
    of the loudest; `keep` s are left before the first and after the last one.
    """
    frame, hop = int(_FRAME * rate), int(_HOP * rate)
    if len(samples) <= frame:
        return 0, len(samples)
    total = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    starts = np.arange(0, len(samples) - frame + 1, hop)
    power = total[starts + frame] - total[starts]
    loud = np.flatnonzero(power > power.max() * 10 ** (-trim_db / 10))
    margin = round(keep * rate)
    first = max(0, int(starts[loud[0]]) - margin)
    last = min(len(samples), int(starts[loud[-1]]) + frame + margin)
    return first, last


def set_level(samples: Samples, level: float) -> tuple[Samples, bool]:
    """Scale to an RMS of `level` dB of full scale; whether a peak forced a lower one."""
    power = float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))
    peak = float(np.max(np.abs(samples)))
    gain = 10 ** (level / 20) / max(power, 1e-12)
    limited = gain * peak > PEAK_LIMIT
    if limited:
        gain = PEAK_LIMIT / peak
    return (samples * np.float32(gain)).astype(np.float32), limited


def chunks(size: int, config: CleanConfig) -> list[tuple[int, int]]:
    """(first, after last) samples of the pieces of `size` samples.

    Chunks follow each other without overlap; a rest of at least half a chunk (and of min_seconds)
    is a chunk too, a shorter one is lost, unless it is all there is.
    """
    step = round(config.chunk * config.rate)
    if step == 0 or size <= step:
        return [(0, size)]
    least = max(step // 2, round(config.min_seconds * config.rate))
    spans = [(start, min(start + step, size)) for start in range(0, size, step)]
    return [(start, stop) for start, stop in spans if stop - start >= least]


def clean(samples: Samples, rate: int, config: CleanConfig) -> Cleaned:
    """Apply `config` to one recording.

    Args:
        samples: float32 (N,) in [-1, 1].
        rate: Hz of `samples`.
    """
    peak = float(np.max(np.abs(samples))) if len(samples) else 0.0
    if peak < SILENT_PEAK:
        return Cleaned(kind="silence", what=f"digital silence of {len(samples) / rate:.2f} s")
    samples = resample_audio(samples, rate, config.rate)
    if len(samples) < max(2, round(config.min_seconds * config.rate)):
        seconds = len(samples) / config.rate
        return Cleaned(kind="too-short", what=f"{seconds:.2f} s, {config.min_seconds:g} needed")
    if config.highpass:
        samples = high_pass(samples, config.rate, config.highpass)
    if float(np.max(np.abs(samples))) < SILENT_PEAK:
        return Cleaned(kind="silence", what=f"nothing above {config.highpass:g} Hz")
    first, last = 0, len(samples)
    if config.trim_db:
        first, last = speech_span(samples, config.rate, config.trim_db, config.keep)
    if last - first < round(config.min_seconds * config.rate):
        seconds = (last - first) / config.rate
        what = f"{seconds:.2f} s after trimming, {config.min_seconds:g} needed"
        return Cleaned(kind="too-short", what=what)
    pieces, limited = [], 0
    for start, stop in chunks(last - first, config):
        piece = samples[first + start : first + stop]
        if float(np.max(np.abs(piece))) < SILENT_PEAK:
            continue
        if config.level:
            piece, low = set_level(piece, config.level)
            limited += low
        pieces.append((first + start, piece))
    return Cleaned(tuple(pieces), limited=limited)
