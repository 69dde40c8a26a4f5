"""Log-mel and log-spectrum of the magnitude, at least as much for synthesis as for recognition.

Frames begin at multiples of the shift and only whole windows count (no padding), so that the
features of an utterance have the frames of its filter banks, and frame t can be put back where it
came from. Windowed frames are transformed in blocks that stay in the cache.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torchaudio
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.features.config import SpectrumConfig

Matrix = npt.NDArray[np.float32]

_BLOCK = 256  # frames: 256 x 1024 floats are 1 MB


def mel_banks(config: SpectrumConfig) -> Tensor:
    """Triangular weights float32 (bins, mels), peak 1, from `low_hz` to `high_hz`, HTK's scale."""
    return torchaudio.functional.melscale_fbanks(
        config.bins,
        config.low_hz,
        config.high_hz,
        config.mel_bins,
        config.rate,
        norm=None,
        mel_scale="htk",
    )


class SpectrumFrontend:
    """Features of one utterance after the other, on one CPU thread."""

    def __init__(self, config: SpectrumConfig) -> None:
        self.config = config
        self._window = torch.hann_window(config.window, periodic=True)
        self._banks = mel_banks(config) if config.mel_bins else None

    def __call__(self, samples: npt.NDArray[np.float32]) -> Matrix:
        """Features of an utterance.

        Args:
            samples: float32 (N,) in [-1, 1] at `config.rate` Hz.

        Returns:
            float32 (F, D), F = `config.num_frames(N)`, D = `config.dim`; natural logarithms, never
            below log(`config.floor`).

        Raises:
            UserError: fewer samples than one frame.
        """
        config = self.config
        count = config.num_frames(len(samples))
        if count == 0:
            raise UserError(
                f"{len(samples)} samples are less than one frame of {config.window}: leave "
                "the utterance out (steps/subset_data_dir.sh), it cannot be trained on or scored"
            )
        wave = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        out = torch.empty(count, config.dim)
        with torch.inference_mode():
            frames = wave.as_strided((count, config.window), (config.shift, 1))
            # Blocks of equal size: products with very few rows are rounded in another way.
            blocks = -(-count // _BLOCK)
            for index in range(blocks):
                part = slice(count * index // blocks, count * (index + 1) // blocks)
                size = torch.fft.rfft(frames[part] * self._window, n=config.fft).abs()
                if self._banks is not None:
                    torch.mm(size, self._banks, out=out[part])
                else:
                    out[part] = size[:, config.skip :]
            out.clamp_(min=config.floor).log_()
        features: Matrix = out.numpy()
        return features
