"""What the acoustic front end computes. Free of torch, so that joining shards starts at once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pylib.corpus.errors import UserError

# Every kind of features that steps/make_feats.sh makes.
KINDS = ("fbank", "mfcc", "logmel", "logspec", "logspec200", "logfbank")


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
        raise UserError(f"feature kind '{kind}': unknown: use {', '.join(KINDS)}")

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


@dataclass(frozen=True)
class SpectrumConfig:
    """Log-magnitude features that can be turned back into sound: no pre-emphasis, no dither.

    `logmel`: natural logarithm of 80 triangular mels (HTK's scale, peak 1) of the magnitude of a
    1024-point transform. `logspec`: the 201 bins of a 400-point transform; `logspec200`: without
    the first, the direct current. The magnitude is floored before the logarithm, so that digital
    silence is finite. Frames are cut as Kaldi cuts them (`FrontendConfig.num_frames`): frame t
    begins at sample 160 t.
    """

    kind: Literal["logmel", "logspec", "logspec200"]
    rate: int = 16000  # Hz of the audio
    window: int = 400  # samples of a frame, weighted by a periodic Hann window
    shift: int = 160  # samples from frame to frame
    fft: int = 400  # points of the transform; the frame is padded by zeros at its end
    mel_bins: int = 0  # 0 = the bins of the transform
    low_hz: float = 0.0
    high_hz: float = 8000.0
    skip: int = 0  # bins of the transform left out at the low end
    floor: float = 1e-5  # of the magnitude, before the logarithm

    @classmethod
    def preset(cls, kind: str) -> SpectrumConfig:
        """The configuration of one of the three kinds.

        Raises:
            UserError: another name.
        """
        if kind == "logmel":
            return cls(kind="logmel", fft=1024, mel_bins=80)
        if kind == "logspec":
            return cls(kind="logspec")
        if kind == "logspec200":
            return cls(kind="logspec200", skip=1)
        raise UserError(f"feature kind '{kind}': unknown: use {', '.join(KINDS)}")

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.rate / self.shift

    @property
    def bins(self) -> int:
        """Bins of the transform, from 0 Hz to half the rate."""
        return self.fft // 2 + 1

    @property
    def dim(self) -> int:
        """Numbers of a frame."""
        return self.mel_bins or self.bins - self.skip

    def num_frames(self, samples: int) -> int:
        """Frames of an utterance: only whole windows count."""
        return 0 if samples < self.window else (samples - self.window) // self.shift + 1

    def num_samples(self, frames: int) -> int:
        """Samples that `frames` frames span: the shortest utterance that has so many."""
        return self.window + (frames - 1) * self.shift if frames else 0

    def describe(self) -> dict[str, Any]:
        """For the metadata file: everything that decides the numbers."""
        return {"sample_range": "[-1, 1]", "log": "natural", "mel_scale": "htk", **asdict(self)}


@dataclass(frozen=True)
class LogFbankConfig:
    """The audio of audio-visual models (`pylib.features.logfbank`): four frames a video frame.

    Samples are taken on the scale of 16-bit integers, unlike those of the other kinds. Frame t
    begins at sample 160 t and the last frame is filled up by zeros, so that 640 T samples have
    4 T - 1 frames; the 400-sample frames of the other kinds would be 4 T - 2.
    """

    kind: Literal["logfbank"] = "logfbank"
    rate: int = 16000  # Hz of the audio
    window: int = 400  # samples of a frame, not weighted
    shift: int = 160  # samples from frame to frame
    fft: int = 512  # points of the transform; the frame is padded by zeros at its end
    mel_bins: int = 26
    preemphasis: float = 0.97  # of the whole signal, not of each frame

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.rate / self.shift

    @property
    def dim(self) -> int:
        """Numbers of a frame."""
        return self.mel_bins

    def num_frames(self, samples: int) -> int:
        """Frames of an utterance: every sample lies in one."""
        if samples <= self.window:
            return 1 if samples else 0
        return 1 - (self.window - samples) // self.shift

    def describe(self) -> dict[str, Any]:
        """For the metadata file: everything that decides the numbers."""
        return {"sample_range": "int16", "log": "natural", "floor": "eps64", **asdict(self)}


AnyConfig = FrontendConfig | SpectrumConfig | LogFbankConfig


def feature_config(kind: str) -> AnyConfig:
    """The configuration of a kind of features.

    Raises:
        UserError: an unknown kind.
    """
    if kind in ("fbank", "mfcc"):
        return FrontendConfig.preset(kind)
    if kind == "logfbank":
        return LogFbankConfig()
    return SpectrumConfig.preset(kind)
