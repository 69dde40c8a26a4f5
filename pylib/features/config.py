"""What the acoustic front end computes. Free of torch, so that joining shards starts at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pylib.corpus.errors import UserError


@dataclass(frozen=True)
class FrontendConfig:
    """What is computed; recorded beside the features.

    Samples are taken in [-1, 1] (not Kaldi's 16-bit range), without dither, so that features are a
    function of the audio alone. In log-mel the scale is a constant, log(2^30) below Kaldi's.
    """

    kind: Literal["fbank", "mfcc"]
    rate: int = 16000  # Hz of the audio
    frame_length_ms: float = 25.0
    frame_shift_ms: float = 10.0
    mel_bins: int = 80  # `num_mel_bins`
    cepstra: int = 0  # `num_ceps`, with C0 instead of the energy; 0 = filter banks
    lifter: float = 0.0  # `cepstral_lifter`
    delta_order: int = 0  # 2 appends deltas and their deltas (window 5, edges replicated)

    @classmethod
    def preset(cls, kind: str) -> FrontendConfig:
        """`fbank`: 80-d log-mel. `mfcc`: 13 cepstra of 23 mels with deltas, 39-d.

        Raises:
            UserError: another name.
        """
        if kind == "fbank":
            return cls(kind="fbank")
        if kind == "mfcc":
            return cls(kind="mfcc", mel_bins=23, cepstra=13, lifter=22.0, delta_order=2)
        raise UserError(f"feature kind '{kind}': unknown: use fbank or mfcc")

    @property
    def window(self) -> int:
        """Samples of a frame."""
        return int(self.rate * self.frame_length_ms * 0.001)

    @property
    def shift(self) -> int:
        """Samples from frame to frame."""
        return int(self.rate * self.frame_shift_ms * 0.001)

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.rate / self.shift

    @property
    def dim(self) -> int:
        """Numbers of a frame."""
        return (self.cepstra or self.mel_bins) * (1 + self.delta_order)

    def num_frames(self, samples: int) -> int:
        """Frames of an utterance: only whole windows count (Kaldi's snip-edges)."""
        return 0 if samples < self.window else (samples - self.window) // self.shift + 1

    def describe(self) -> dict[str, Any]:
        """For the metadata file: everything that decides the numbers."""
        return {"sample_range": "[-1, 1]", "dither": 0.0, **asdict(self)}
