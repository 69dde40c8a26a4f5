"""Settings of audio-visual training: what is read (av_data), which kinds are mixed (mixture)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pylib.nn.modal_batch import KINDS
from pylib.training.settings import DataConfig, neutral, not_negative, positive

# Kinds of data in the order in which they take turns, and the key of the directory of each; the
# first is the training set of the command line.
ORDER = ("videoaudio", "audiotext", "onlytext", "onlyaudio")
assert set(ORDER) == set(KINDS)


@dataclass(frozen=True)
class AVDataConfig:
    """What is read, how it is disturbed while training, and how batches are formed."""

    # Upper bound of rows x longest member of one micro-batch, in seconds: of each kind of data
    # (`max_tokens` / 25).
    batch_seconds: float = 60.0
    # Training leaves shorter and longer utterances out and counts them (5 and 500 frames).
    # Validation and decoding take all.
    min_seconds: float = 0.2
    max_seconds: float = 20.0
    # Lengths closer than this count as equal when batches are formed, so that each epoch puts
    # other utterances together.
    tie_seconds: float = 0.1
    # Directory of egs/lrs3/local/prepare_noise.sh; "" = no noise. What it holds counts as data.
    noise: str = neutral("")
    noise_prob: float = 0.25  # share of the utterances with audio that get noise (`noise_prob`)
    noise_snr: tuple[float, ...] = (0.0,)  # dB, or the ends of a range (`noise_snr`)
    flip: float = 0.5  # chance that all pictures of an utterance are mirrored
    crop: Literal["random", "centre"] = "random"  # 88 x 88 of 96 x 96, once an utterance
    # Subword model (steps/train_subwords.sh), for seq2seq only; it goes into the checkpoint.
    subwords: str = neutral("")
    cache_gb: float = neutral(1.0)  # memory for what was read; the rest is read again
    prefetch: int = neutral(4)  # batches prepared ahead of the loop
    threads: int = neutral(2)  # threads that read utterances not in the cache

    def __post_init__(self) -> None:
        positive(self, "prefetch", "threads")
        not_negative(self, "cache_gb")
        for name in ("noise_prob", "flip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share (0..1), got {getattr(self, name):g}")
        if len(self.noise_snr) not in (1, 2) or self.noise_snr[0] > self.noise_snr[-1]:
            raise ValueError(f"noise_snr: one number or [low, high], got {list(self.noise_snr)}")
        self.lengths()

    def lengths(self) -> DataConfig:
        """The part of it that plans batches."""
        return DataConfig(
            min_seconds=self.min_seconds,
            max_seconds=self.max_seconds,
            batch_seconds=self.batch_seconds,
            tie_seconds=self.tie_seconds,
        )


@dataclass(frozen=True)
class MixtureConfig:
    """Kinds of data that are mixed: an update has as many micro-batches of each as of the others.

    In an epoch kind i gives int(dist_i x utterances of all kinds) utterances: whole copies of its
    set and a random rest. The kind with the fewest batches ends the epoch.
    """

    audiotext: str = neutral("")  # data directory with logfbank, phones and labels; "" = absent
    onlytext: str = neutral("")  # of steps/make_text_units.sh; "" = absent
    onlyaudio: str = neutral("")  # with logfbank and labels; "" = absent
    # Shares in the order videoaudio, audiotext, onlytext, onlyaudio; 0 = absent. They need not
    # sum to 1 (`sampling` of VATLM's task; these are base_lrs3's).
    dist: tuple[float, float, float, float] = (0.08, 0.1, 0.15, 0.15)

    def __post_init__(self) -> None:
        if min(self.dist) < 0 or not self.dist[0] > 0:
            raise ValueError(
                f"dist: the first share above 0, the others 0 or more, got {list(self.dist)}"
            )

    def sets(self) -> list[tuple[str, str, float]]:
        """(kind, directory, share) of the kinds beside videoaudio that are there, in order."""
        named = [
            (kind, getattr(self, kind, ""), share)
            for kind, share in zip(ORDER, self.dist, strict=True)
        ]
        return [item for item in named if item[1] and item[2] > 0]
