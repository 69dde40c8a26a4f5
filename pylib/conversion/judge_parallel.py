"""How far converted speech is from the target speaker's own reading of the same words.

Mel-cepstral distortion and F0 measures on frames that dynamic time warping put side by side:

- WORLD (harvest and stonemask for F0, cheaptrick for the envelope) at 16 kHz, a frame every 5 ms,
  FFT 1024; mel-cepstrum of order 39, all-pass constant 0.42.
- Frames more than 30 dB below the utterance's strongest are silence and left out of both.
- Warping by the Euclidean distance of coefficients 1 to 39; c0, the level, counts nowhere.
- MCD of a pair of frames: (10 / ln 10) * sqrt(2 * sum over 1..39 of the squared difference), dB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from pylib.conversion.judge_speaker import import_judge
from pylib.corpus.errors import UserError

RATE = 16000
PERIOD_MS = 5.0
ORDER = 39
ALPHA = 0.42
SILENCE_DB = 30.0
MIN_FRAMES = 10  # of speech, for warping; voiced pairs, for a correlation
# What `compare` gives, in this order: sums over the pairs of frames of one utterance, so that a set
# is judged by adding up. `corr_n` is 1 where the correlation exists.
NUMBERS = ("mcd_sum", "pairs", "f0_square_sum", "f0_pairs", "vuv_errors", "corr", "corr_n")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Analysis:
    """Speech frames of an utterance.

    Attributes:
        f0: (T,) Hz, 0 where unvoiced.
        cepstrum: (T, 40) mel-cepstrum, c0 first.
    """

    f0: Floats
    cepstrum: Floats


@cache
def warp_matrix(length: int, order: int = ORDER, alpha: float = ALPHA) -> Floats:
    """Frequency warping of a cepstrum as a matrix (order + 1, length).

    Column k holds the first coefficients of the k-th power of the all-pass
    (alpha + w) / (1 + alpha * w) as a series in w, into which a delay of one sample turns on the
    warped axis. A product of series cut at `order` is exact up to there.
    """
    allpass = np.zeros(order + 1)
    allpass[0] = alpha
    allpass[1:] = (1 - alpha**2) * (-alpha) ** np.arange(order)
    matrix = np.zeros((order + 1, length))
    column = np.zeros(order + 1)
    column[0] = 1.0
    for k in range(length):
        matrix[:, k] = column
        column = np.convolve(column, allpass)[: order + 1]
    return matrix


def mel_cepstrum(power: Floats, order: int = ORDER, alpha: float = ALPHA) -> Floats:
    """Mel-cepstrum of power spectra: log |H(w)| is about sum over m of c_m cos(m w~).

    Args:
        power: (T, N/2 + 1), above 0.
        order: highest coefficient.
        alpha: all-pass constant, 0 for a cepstrum on the linear axis.

    Returns:
        (T, order + 1).
    """
    cepstrum = np.fft.irfft(np.log(power), axis=1)[:, : power.shape[1]]
    # Log power is twice the log magnitude, and both halves of the even cepstrum fold into one.
    cepstrum[:, 0] /= 2
    cepstrum[:, -1] /= 2
    return np.asarray(cepstrum @ warp_matrix(cepstrum.shape[1], order, alpha).T)


def analyse(samples: npt.NDArray[np.float32]) -> Analysis:
    """Speech frames of an utterance.

    Args:
        samples: float32 (N,) at 16 kHz.

    Raises:
        UserError: fewer than 10 frames of speech, or digital silence.
    """
    world = import_judge("pyworld", "pyworld-prebuilt")
    signal = np.ascontiguousarray(samples, dtype=np.float64)
    if len(signal) < RATE // 20 or not np.abs(signal).max() > 0:
        raise UserError(f"{len(signal)} samples of silence: there is nothing to compare")
    f0, times = world.harvest(signal, RATE, frame_period=PERIOD_MS)
    f0 = world.stonemask(signal, f0, times, RATE)
    power = world.cheaptrick(signal, f0, times, RATE, fft_size=1024)
    level = 10 * np.log10(power.sum(axis=1))
    speech = level > level.max() - SILENCE_DB
    if speech.sum() < MIN_FRAMES:
        raise UserError(f"only {int(speech.sum())} frames of speech: there is nothing to compare")
    return Analysis(f0[speech], mel_cepstrum(power[speech]))


def compare(converted: Analysis, natural: Analysis) -> Floats:
    """The numbers of `NUMBERS`, float64 (7,).

    F0 is compared where both frames are voiced: squares of the difference in Hz, and Pearson's
    correlation of log F0 (needs 10 pairs that vary). Frames of which only one is voiced are errors
    of voicing.
    """
    warping = import_judge("librosa.sequence", "librosa")
    first, second = converted.cepstrum[:, 1:], natural.cepstrum[:, 1:]
    _, path = warping.dtw(X=first.T, Y=second.T, metric="euclidean", backtrack=True)
    here, there = path[:, 0], path[:, 1]
    distance = np.sqrt(2 * ((first[here] - second[there]) ** 2).sum(axis=1))
    f0, wanted = converted.f0[here], natural.f0[there]
    both = (f0 > 0) & (wanted > 0)
    corr, corr_n = 0.0, 0
    if both.sum() >= MIN_FRAMES:
        x, y = np.log(f0[both]), np.log(wanted[both])
        if x.std() > 1e-6 and y.std() > 1e-6:
            corr, corr_n = float(np.corrcoef(x, y)[0, 1]), 1
    return np.array(
        [
            10 / np.log(10) * distance.sum(),
            len(path),
            ((f0[both] - wanted[both]) ** 2).sum(),
            both.sum(),
            ((f0 > 0) != (wanted > 0)).sum(),
            corr,
            corr_n,
        ]
    )
