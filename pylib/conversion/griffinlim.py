"""Waveforms from log-mel or log-spectrum features alone: the phases are found by Griffin-Lim.

The features hold magnitudes of frames of 400 samples. Their transform is longer than the frame, so
its bins are samples of one smooth curve, and every second of them says the same: the search runs
on the shortest transform that holds a frame.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torchaudio
from torch import Tensor

from pylib.features.config import SpectrumConfig
from pylib.features.spectrum import mel_banks

Matrix = npt.NDArray[np.float32]
Samples = npt.NDArray[np.float32]

# Multiplicative steps from mels to bins; the error of the mels falls below 0.01 nepers by then.
_MEL_STEPS = 30
_TINY = 1e-8
# Frames repeated at either end, so that every sample lies under whole windows.
_EDGE = 2


class MelInverse:
    """Magnitudes of the bins of the transform that fit mel magnitudes, none below zero.

    Least squares under non-negativity by Lee and Seung's multiplicative steps (2001), from a start
    that gives each bin the mean of its mels: bins that the mels do not tell apart stay alike, where
    the pseudo-inverse gives them opposite signs and loses half of them to the clamp at zero.
    """

    def __init__(self, config: SpectrumConfig) -> None:
        banks = mel_banks(config)  # (bins, mels)
        self._banks = banks
        self._gram = banks.T @ banks  # (mels, mels)
        # Every bin the weighted mean of its mels, a mel being the sum of its bins.
        share = banks / banks.sum(1, keepdim=True).clamp_min(_TINY)
        self._start = share / banks.sum(0, keepdim=True)

    def __call__(self, mels: Tensor) -> Tensor:
        """float32 (F, mels) -> (F, bins)."""
        bins = mels @ self._start.T + _TINY
        wanted = mels @ self._banks.T
        for _ in range(_MEL_STEPS):
            bins *= wanted / (bins @ self._banks @ self._banks.T + _TINY)
        return bins


class GriffinLim:
    """Samples of one matrix of features after the other.

    Args:
        config: of the features.
        iterations: of the search for the phases.
        momentum: of the fast form (Perraudin, Balazs and Sondergaard 2013); 0 is the original.
    """

    def __init__(
        self, config: SpectrumConfig, iterations: int = 60, momentum: float = 0.99
    ) -> None:
        self.config = config
        self.iterations, self.momentum = iterations, momentum
        self._invert: Callable[[Tensor], Tensor] | None = None
        if config.mel_bins:
            self._invert = MelInverse(config)
        shortest = 1 << (config.window - 1).bit_length()
        self._step = max(config.fft // shortest, 1)
        self._fft = config.fft // self._step
        self._window = torch.hann_window(config.window, periodic=True)

    def magnitudes(self, features: Matrix) -> Tensor:
        """Magnitudes float32 (F, fft/2 + 1) of the search's transform from features (F, D)."""
        config = self.config
        size = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)).exp()
        if self._invert is not None:
            size = self._invert(size)
        elif config.skip:
            size = torch.cat([torch.zeros(len(size), config.skip), size], dim=1)
        return size[:, :: self._step]

    def __call__(self, features: Matrix, seed: int = 0) -> Samples:
        """Samples of features, with the frames where the front end would cut them.

        Args:
            features: float (F, D), F >= 1, natural logarithms of magnitudes.
            seed: of the random phases that the search starts from.

        Returns:
            float32 (N,), N = `config.num_samples(F)`.
        """
        config = self.config
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            size = self.magnitudes(features).T  # (bins, F)
            size = torch.nn.functional.pad(size[None], (_EDGE, _EDGE), mode="replicate")
            wave = torchaudio.functional.griffinlim(
                size,
                window=self._window,
                n_fft=self._fft,
                hop_length=config.shift,
                win_length=config.window,
                power=1.0,
                n_iter=self.iterations,
                momentum=self.momentum,
                length=None,
                rand_init=True,
            )[0]
            # Frame 0 of the search is centred on its sample 0; ours begins at sample 0.
            first = _EDGE * config.shift - config.window // 2
            samples: Samples = wave[first : first + config.num_samples(len(features))].numpy()
        return samples.copy()
