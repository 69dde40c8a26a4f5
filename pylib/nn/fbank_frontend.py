"""Stacked log-mel filter banks in place of the waveform convolutions: several times cheaper."""

from __future__ import annotations

from torch import Tensor, nn

from pylib.nn.norms import padding_mask, send, time_statistics


class FbankFrontend(nn.Module):
    """(B, F, bins) log-mel filter banks at 100 Hz -> (B, F // stack, stack * bins).

    Every utterance is normalised here to zero mean and unit variance per bin, over its own
    frames: what is stored beside the data stays un-normalised, and padding never counts. It has
    no parameters; the encoder's projection is its linear layer.

    Args:
        bins: filter banks of a frame.
        stack: frames joined into one; 4 gives 25 Hz, 2 gives 50 Hz.
    """

    def __init__(self, bins: int = 80, stack: int = 4) -> None:
        super().__init__()
        self.bins = bins
        self.stack = stack
        self.dim = bins * stack
        self.frame_rate = 100.0 / stack

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Stacked frames of rows of `lengths` filter-bank frames (B,); a rest is dropped."""
        return lengths // self.stack

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Features (B, T, stack * bins) of filter banks (B, F, bins), `lengths` (B,) valid."""
        rows, frames, bins = inputs.shape
        if bins != self.bins:
            raise ValueError(f"filter banks have {bins} bins, model.fbank_dim is {self.bins}")
        padding = padding_mask(lengths, frames)
        padding = None if padding is None else send(padding, inputs.device)
        mean, inverse = time_statistics(inputs, padding, lengths)
        x = (inputs - mean) * inverse
        if padding is not None:
            x = x.masked_fill(padding.unsqueeze(2), 0.0)
        usable = frames // self.stack * self.stack
        return x[:, :usable].reshape(rows, usable // self.stack, self.dim)
