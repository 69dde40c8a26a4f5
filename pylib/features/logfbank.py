"""Log filter banks of 26 bands, the audio of audio-visual models; NumPy only, in float64.

The definition, which is what python_speech_features computes with a 512-point transform: samples
on the scale of 16-bit integers, pre-emphasis of the whole signal, rectangular frames of 400 samples
every 160, the last one filled up by zeros, power spectrum / 512, triangular filters whose corners
are rounded down to bins, natural logarithm, zeros replaced by the float64 epsilon. A picture of
video is 640 samples: N = 640 T samples give 4 T - 1 frames, and `stack4` makes T vectors of 4
frames each out of them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.features.config import LogFbankConfig

Matrix = npt.NDArray[np.float32]
Wide = npt.NDArray[np.float64]

STACKED = 4  # frames of audio of a frame of video
_SCALE = 32768.0
_BLOCK = 512  # frames: 512 x 257 complex numbers are 2 MB


def mel_banks(config: LogFbankConfig) -> Wide:
    """Triangular weights float64 (bins, bands), peak 1, corners at whole bins, 0 Hz to Nyquist."""
    top = 2595.0 * np.log10(1.0 + config.rate / 2 / 700.0)
    hertz = 700.0 * (10.0 ** (np.linspace(0.0, top, config.mel_bins + 2) / 2595.0) - 1.0)
    corners = np.floor((config.fft + 1) * hertz / config.rate).astype(int)
    banks = np.zeros((config.fft // 2 + 1, config.mel_bins))
    for band in range(config.mel_bins):
        low, peak, high = corners[band : band + 3]
        banks[low:peak, band] = (np.arange(low, peak) - low) / (peak - low)
        banks[peak:high, band] = (high - np.arange(peak, high)) / (high - peak)
    return banks


@cache
def _banks(config: LogFbankConfig) -> Wide:
    return mel_banks(config)


def logfbank(samples: npt.NDArray[np.float32], config: LogFbankConfig | None = None) -> Matrix:
    """Log filter banks of an utterance.

    Args:
        samples: float (N,) in [-1, 1] at 16 kHz.
        config: the constants; the default is what every model of ours was trained on.

    Returns:
        float32 (F, 26), F = 1 + ceil((N - 400) / 160), and 1 for shorter utterances.

    Raises:
        UserError: no samples at all.
    """
    config = config or LogFbankConfig()
    count = config.num_frames(len(samples))
    if count == 0:
        raise UserError("no samples: leave the utterance out (steps/subset_data_dir.sh)")
    wide = np.zeros((count - 1) * config.shift + config.window)
    part = wide[: len(samples)]
    np.multiply(samples, _SCALE, out=part)
    part[1:] -= config.preemphasis * part[:-1]
    frames = np.lib.stride_tricks.as_strided(
        wide, (count, config.window), (config.shift * wide.itemsize, wide.itemsize)
    )
    out = np.empty((count, config.mel_bins), dtype=np.float32)
    banks = _banks(config) / config.fft
    for start in range(0, count, _BLOCK):
        spectrum = np.fft.rfft(frames[start : start + _BLOCK], config.fft, axis=1)
        energy = (np.square(spectrum.real) + np.square(spectrum.imag)) @ banks
        energy[energy == 0.0] = np.finfo(np.float64).eps
        out[start : start + _BLOCK] = np.log(energy)
    return out


def stack4(feats: Matrix, frames: int) -> Matrix:
    """Four frames of 100 Hz side by side for each of `frames` frames of 25 Hz.

    Args:
        feats: float32 (F, D).
        frames: T; what lies beyond 4 T is cut, what lacks is zeros (zeros of the logarithm, not
            silence).

    Returns:
        float32 (T, 4 D), [t0, t1, t2, t3] in a row.
    """
    if frames < 0:
        raise ValueError(f"{frames} frames")
    out = np.zeros((frames * STACKED, feats.shape[1]), dtype=np.float32)
    kept = min(len(out), len(feats))
    out[:kept] = feats[:kept]
    return out.reshape(frames, STACKED * feats.shape[1])


class LogFbankFrontend:
    """`logfbank` as the other front ends are called."""

    def __init__(self, config: LogFbankConfig) -> None:
        self.config = config

    def __call__(self, samples: npt.NDArray[np.float32]) -> Matrix:
        """Features float32 (F, 26) of samples float32 (N,)."""
        return logfbank(samples, self.config)
