"""WORLD (Morise, Yokomori and Ozawa 2016): pitch, spectral envelope and aperiodicity of a voice.

Converted speech keeps the source's timing and noise; its pitch is moved and its envelope changed
by what the model changed in the features. Only that difference is taken from the model, so what
it blurs in every voice alike does not reach the ear. `pyworld` is the authors' library.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pylib.features.config import SpectrumConfig

Samples = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

PERIOD = 5.0  # ms from frame to frame of the analysis
FLOOR_HZ, CEIL_HZ = 60.0, 500.0  # of the pitch looked for
_LOWEST_HZ, _HIGHEST_HZ = 45.0, 700.0  # of the pitch made
_SPREAD = (0.5, 2.0)  # how much the range of a pitch may be narrowed or widened
_MOST = 5.0  # nepers that the envelope may be changed by
_FEW = 20  # voiced frames; fewer say nothing of a voice


@dataclass(frozen=True)
class Analysis:
    """A voice every 5 ms: f0 (K,) in Hz, 0 unvoiced; power envelope and aperiodicity (K, bins)."""

    f0: Wide
    envelope: Wide
    aperiodicity: Wide
    rate: int
    samples: int


@dataclass(frozen=True)
class Pitch:
    """Mean and standard deviation of log F0 over voiced frames, and how many there were."""

    mean: float
    std: float
    frames: int


def analyse(samples: Samples, rate: int) -> Analysis:
    """Take samples (N,) apart: Harvest, CheapTrick, D4C."""
    import pyworld

    wave = np.ascontiguousarray(samples, dtype=np.float64)
    f0, times = pyworld.harvest(wave, rate, f0_floor=FLOOR_HZ, f0_ceil=CEIL_HZ, frame_period=PERIOD)
    envelope = pyworld.cheaptrick(wave, f0, times, rate)
    aperiodicity = pyworld.d4c(wave, f0, times, rate)
    return Analysis(f0, envelope, aperiodicity, rate, len(wave))


def synthesise(analysis: Analysis) -> Samples:
    """Samples float32 (N,) of an analysis, as many as it was made from."""
    import pyworld

    wave = pyworld.synthesize(
        analysis.f0, analysis.envelope, analysis.aperiodicity, analysis.rate, PERIOD
    )
    wave = np.pad(wave, (0, max(analysis.samples - len(wave), 0)))[: analysis.samples]
    return wave.astype(np.float32)


def log_f0(samples: Samples, rate: int) -> Wide:
    """Log F0 of the voiced frames, by DIO and StoneMask: 30 times faster than Harvest."""
    import pyworld

    wave = np.ascontiguousarray(samples, dtype=np.float64)
    rough, times = pyworld.dio(wave, rate, f0_floor=FLOOR_HZ, f0_ceil=CEIL_HZ, frame_period=PERIOD)
    f0 = pyworld.stonemask(wave, rough, times, rate)
    out: Wide = np.log(f0[f0 > 0])
    return out


def pitch_of(recordings: Iterable[Wide]) -> Pitch:
    """Pitch statistics of some recordings' `log_f0`."""
    voiced = np.concatenate([np.zeros(0), *recordings])
    if not len(voiced):
        return Pitch(0.0, 0.0, 0)
    return Pitch(float(voiced.mean()), float(voiced.std()), len(voiced))


def move_pitch(analysis: Analysis, source: Pitch, target: Pitch) -> Analysis:
    """The source's log F0 with the target's mean and standard deviation.

    Where either voice has too little voiced speech to tell, the pitch is left as it is.
    """
    if min(source.frames, target.frames) < _FEW or source.std <= 0:
        return analysis
    spread = float(np.clip(target.std / source.std, *_SPREAD))
    voiced = analysis.f0 > 0
    f0 = analysis.f0.copy()
    moved = np.exp((np.log(f0[voiced]) - source.mean) * spread + target.mean)
    f0[voiced] = np.clip(moved, _LOWEST_HZ, _HIGHEST_HZ)
    return replace(analysis, f0=f0)


def change_envelope(analysis: Analysis, difference: Matrix, config: SpectrumConfig) -> Analysis:
    """The envelope changed by a difference of log magnitudes.

    Args:
        analysis: of the utterance whose features were changed.
        difference: (F, D) nepers, changed features less those that they are compared with.
        config: of the features.

    Returns:
        The analysis with its power envelope times exp(2 difference). Of the difference only what
        is smooth along frequency counts (the first quarter of its cosine transform): finer lines
        are harmonics of either voice's pitch, which WORLD makes itself.
    """
    smooth = _smooth(np.clip(difference.astype(np.float64), -_MOST, _MOST))
    centres = (np.arange(len(smooth)) * config.shift + config.window / 2) / config.rate
    times = np.arange(len(analysis.f0)) * PERIOD / 1000
    place = np.interp(times, centres, np.arange(len(smooth)))
    low = np.minimum(place.astype(int), max(len(smooth) - 2, 0))
    part = (place - low)[:, None]
    in_time = smooth[low] * (1 - part) + smooth[np.minimum(low + 1, len(smooth) - 1)] * part
    bins = analysis.envelope.shape[1]
    change = in_time @ _onto_bins(config, np.linspace(0, analysis.rate / 2, bins))
    return replace(analysis, envelope=analysis.envelope * np.exp(2 * change))


def _smooth(difference: Wide) -> Wide:
    """(F, D) without the upper three quarters of its cosine transform along D."""
    from scipy.fft import dct, idct

    kept = dct(difference, axis=1, norm="ortho")
    kept[:, max(difference.shape[1] // 4, 1) :] = 0
    out: Wide = idct(kept, axis=1, norm="ortho")
    return out


def centre_hz(config: SpectrumConfig) -> Wide:
    """Frequency (D,) of each feature."""
    if not config.mel_bins:
        return (np.arange(config.dim) + config.skip) * config.rate / config.fft
    low, high = _mel(np.array([config.low_hz, config.high_hz]))
    mels = np.linspace(low, high, config.mel_bins + 2)[1:-1]
    return 700.0 * (10 ** (mels / 2595.0) - 1)


def _mel(hz: Wide) -> Wide:
    out: Wide = 2595.0 * np.log10(1 + hz / 700.0)
    return out


def _onto_bins(config: SpectrumConfig, hz: Wide) -> Wide:
    """Weights (D, bins) of linear interpolation between features, held at the ends."""
    centres = centre_hz(config)
    if config.mel_bins:  # straight lines over mels, as the triangles are
        centres, hz = _mel(centres), _mel(hz)
    return np.array([np.interp(hz, centres, row) for row in np.eye(len(centres))])
