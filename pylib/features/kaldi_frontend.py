"""Kaldi's filter banks and MFCC: the one place that knows torchaudio's Kaldi-compliant front end.

`torchaudio.compliance.kaldi` makes its window, mel banks and DCT anew for every utterance and
allocates some ten matrices of the utterance's size. `KaldiFrontend` makes the tables once, with the
library's own functions, and runs the library's operations in its order over blocks of frames in
buffers that stay in the cache: the same numbers (tests/features; about one value in 10 million
differs, by one unit in the last place) at twice its speed (tests/bench/bench_features.py).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torchaudio
import torchaudio.compliance.kaldi as kaldi
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.features.config import FrontendConfig

Features = npt.NDArray[np.float32]

# Constants of Kaldi that the library does not let one choose for these two kinds of features.
_PREEMPHASIS = 0.97
_POVEY_POWER = 0.85
_LOW_HZ = 20.0
# Frames of one block: 256 x 512 floats are 0.5 MB, which fits the second-level cache.
_BLOCK = 256
_WIDE = 64  # frames whose spectrum is held in float64 at once: 0.3 MB


class KaldiFrontend:
    """Features of one utterance after the other, on one CPU thread.

    Not safe for two threads at once: the buffers are shared from call to call.
    """

    def __init__(self, config: FrontendConfig) -> None:
        self.config = config
        width = config.window
        padded = 1 << (width - 1).bit_length()
        banks, _ = kaldi.get_mel_banks(
            config.mel_bins, padded, float(config.rate), _LOW_HZ, 0.0, 100.0, -500.0, 1.0
        )
        # (bins, padded/2 + 1): the library's banks stop short of the Nyquist bin.
        self._banks = torch.nn.functional.pad(banks, (0, 1))
        self._window = torch.hann_window(width, periodic=False).pow(_POVEY_POWER)
        self._floor = torch.tensor(torch.finfo(torch.float32).eps)
        self._dct, self._lift = _cepstral_tables(config)
        self._frames = torch.empty(_BLOCK, width)
        self._mean = torch.empty(_BLOCK, 1)
        self._padded = torch.zeros(_BLOCK, padded)
        bins = padded // 2 + 1
        self._spectrum = torch.empty(_BLOCK, bins, dtype=torch.complex64)
        self._wide = np.empty((_WIDE, bins), dtype=np.complex128)
        self._length = np.empty((_WIDE, bins))
        self._power = torch.empty(_BLOCK, bins)

    def __call__(self, samples: npt.NDArray[np.float32]) -> Features:
        """Features of an utterance.

        Args:
            samples: float32 (N,) in [-1, 1] at `config.rate` Hz.

        Returns:
            float32 (F, D), F = `config.num_frames(N)`, D = `config.dim`.

        Raises:
            UserError: fewer samples than one frame.
        """
        count = self.config.num_frames(len(samples))
        if count == 0:
            raise UserError(
                f"{len(samples)} samples are less than one frame of {self.config.window}: leave "
                "the utterance out (steps/subset_data_dir.sh), it cannot be trained on or scored"
            )
        with torch.inference_mode():
            mel = self._mel(torch.from_numpy(np.ascontiguousarray(samples)), count)
            mel = torch.maximum(mel, self._floor, out=mel).log_()
            if self._dct is not None and self._lift is not None:
                mel = mel.matmul(self._dct).mul_(self._lift)
            out: Features = _with_deltas(mel, self.config.delta_order).numpy()
        return out

    def _mel(self, samples: Tensor, count: int) -> Tensor:
        """Mel energies (F, bins) of an utterance."""
        width, shift = self.config.window, self.config.shift
        views = samples.as_strided((count, width), (shift, 1))
        mel = torch.empty(count, self.config.mel_bins)
        # Blocks of equal size: products with very few rows are rounded in another way.
        blocks = -(-count // _BLOCK)
        for index in range(blocks):
            part = slice(count * index // blocks, count * (index + 1) // blocks)
            self._windowed(views[part])
            power = self._power[: part.stop - part.start]
            torch.fft.rfft(self._padded[: len(power)], out=self._spectrum[: len(power)])
            self._square(power.numpy())
            torch.mm(power, self._banks.T, out=mel[part])
        return mel

    def _windowed(self, view: Tensor) -> None:
        """Centred, pre-emphasised, windowed frames of `view` (n, width) into the padded buffer."""
        n, width = view.shape
        mean, frames = self._mean[:n], self._frames[:n]
        torch.mean(view, 1, keepdim=True, out=mean)
        torch.sub(view, mean, out=frames)
        # x[t] - 0.97 x[t-1], the first sample being its own predecessor.
        part = self._padded[:n, :width]
        torch.mul(frames[:, :-1], _PREEMPHASIS, out=part[:, 1:])
        torch.mul(frames[:, :1], _PREEMPHASIS, out=part[:, :1])
        torch.sub(frames, part, out=part).mul_(self._window)

    def _square(self, power: npt.NDArray[np.float32]) -> None:
        """Power (n, bins) of the first n rows of the spectrum.

        The library rounds the length |z| to float32 before it squares. torch.abs takes a third of
        the front end's time for that; the length in float64, rounded, is the same number (4 of 2e8
        random values differed, in the last place) and NumPy finds it three times faster.
        """
        spectrum = self._spectrum.numpy()
        for start in range(0, len(power), _WIDE):
            out = power[start : start + _WIDE]
            wide, length = self._wide[: len(out)], self._length[: len(out)]
            np.copyto(wide, spectrum[start : start + len(out)])
            np.abs(wide, out=length)
            np.copyto(out, length, casting="same_kind")
            np.square(out, out=out)


def _cepstral_tables(config: FrontendConfig) -> tuple[Tensor | None, Tensor | None]:
    """DCT (mels, cepstra) and lifter (1, cepstra), as Kaldi scales them; None for filter banks."""
    if not config.cepstra:
        return None, None
    if config.cepstra > config.mel_bins:
        raise ValueError(f"{config.cepstra} cepstra of {config.mel_bins} mel bins")
    dct = torchaudio.functional.create_dct(config.mel_bins, config.mel_bins, "ortho")
    dct[:, 0] = math.sqrt(1 / float(config.mel_bins))
    index = torch.arange(config.cepstra)
    lifter = config.lifter
    scale = 1.0 + 0.5 * lifter * torch.sin(math.pi * index / lifter) if lifter else index * 0 + 1.0
    return dct[:, : config.cepstra], scale.unsqueeze(0)


def _with_deltas(features: Tensor, order: int) -> Tensor:
    """(F, C) -> (F, C x (1 + order)): deltas, and deltas of deltas, appended."""
    if order == 0:
        return features
    parts = [features.T.contiguous()]
    for _ in range(order):
        parts.append(torchaudio.functional.compute_deltas(parts[-1]))
    return torch.cat(parts).T.contiguous()
