"""Clips of talking faces made ready: cut at pauses, sound and video equally long to the sample.

A clip may be a part of its file. Its video stays where it is and is told by frames (25 a second);
its sound is cut out as 16 kHz flac, 640 samples a frame, so that frame t of the video and samples
640 t to 640 t + 639 are the same moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pylib.corpus.audio import Samples
from pylib.corpus.datadir import VIDEO_RATE
from pylib.corpus.errors import UserError
from pylib.corpus.video import VideoInfo, probe, read_audio, read_grey

RATE = 16000
SAMPLES_PER_FRAME = RATE // VIDEO_RATE
WHOLE_SECONDS = 15.0  # a clip whose last word ends before is not cut
_EXACT = 0.5 / SAMPLES_PER_FRAME  # frames: lengths are whole samples
PAUSE = 0.4  # s between two words: the clip is cut there


@dataclass(frozen=True)
class Word:
    """A word of a transcript with its times in seconds."""

    word: str
    start: float
    end: float


@dataclass(frozen=True)
class Piece:
    """A stretch of a clip in seconds (`end` None = to its end) and the words in it."""

    begin: float
    end: float | None
    words: tuple[str, ...]


@dataclass(frozen=True)
class ClipRules:
    """What a clip must be.

    Attributes:
        fps: `resample` takes video of any rate, frames being repeated or left out; `refuse` none
            but VIDEO_RATE.
        max_skew: frames, above the one of rounding, that sound and video may differ in length;
            what differs by more than that one is taken, and told (`Loaded.skewed`).
        min_seconds: a shorter piece is left out.
        max_seconds: a longer piece is left out; 0 = none is.
        check: `probe` (packets and the first frame) or `decode` (all frames).
    """

    fps: str = "resample"
    max_skew: float = 1.0
    min_seconds: float = 0.2
    max_seconds: float = 20.0
    check: str = "probe"

    def __post_init__(self) -> None:
        """Raises UserError on values without a meaning."""
        if self.fps not in ("resample", "refuse"):
            raise UserError(f"--fps {self.fps}: resample or refuse is expected")
        if self.check not in ("probe", "decode"):
            raise UserError(f"--check {self.check}: probe or decode is expected")
        if self.max_skew < 0 or self.min_seconds < 0 or self.max_seconds < 0:
            raise UserError("--max-skew, --min-seconds, --max-seconds: numbers from 0 on")


class Unusable(Exception):
    """A clip or piece is left out.

    Args:
        kind: what losses are counted by, such as `no-audio`.
        what: why, with numbers.
    """

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(what)
        self.kind, self.what = kind, what


@dataclass(frozen=True)
class Loaded:
    """A clip's file.

    Attributes:
        frames: of video, at VIDEO_RATE.
        samples: its sound, float32 (640 * frames,).
        resampled: why its frames are not those of the file; empty where they are.
        skewed: by how much sound and video differed in length, where it was more than a frame.
    """

    frames: int
    samples: Samples
    resampled: str
    skewed: str = ""


def split_at_pauses(
    words: Sequence[Word], whole: float = WHOLE_SECONDS, pause: float = PAUSE
) -> list[Piece]:
    """Pieces of a clip, cut in the middle of every pause; they tile the clip.

    Args:
        words: in order of time.
        whole: s; a clip whose last word ends before this stays whole.
        pause: s; a gap between words that is longer is cut.
    """
    if not words or words[-1].end < whole:
        return [Piece(0.0, None, tuple(w.word for w in words))]
    pieces, first, begin = [], 0, 0.0
    for i in range(1, len(words)):
        gap = words[i].start - words[i - 1].end
        if gap > pause + 1e-6:  # times have two decimals
            middle = words[i - 1].end + gap / 2
            pieces.append(Piece(begin, middle, tuple(w.word for w in words[first:i])))
            first, begin = i, middle
    pieces.append(Piece(begin, None, tuple(w.word for w in words[first:])))
    return pieces


def load_clip(path: str, rules: ClipRules) -> Loaded:
    """Frames and sound of a file, equally long.

    Raises:
        Unusable: damaged, without sound, of another rate (`refuse`), or sound and video differ.
    """
    try:
        info = probe(path)
    except UserError as error:
        raise Unusable("corrupt", str(error)) from error
    other = _other_rate(info)
    if other and rules.fps == "refuse":
        kind = "variable-rate" if info.variable else "frame-rate"
        raise Unusable(kind, f"{path}: {other}, {VIDEO_RATE} a second expected")
    if not info.audio_rate:
        raise Unusable("no-audio", f"{path}: has no sound")
    try:
        samples = read_audio(path, RATE)
        frames = info.frames_at(VIDEO_RATE)
        if rules.check == "decode":
            frames = sum(1 for _ in read_grey(path))
    except UserError as error:
        raise Unusable("corrupt", str(error)) from error
    # A decoder fills the last block of a codec up (by 1.6 frames of AAC); the packets tell its end.
    heard = min(len(samples) / RATE, info.audio_samples / info.audio_rate)
    skew = heard * VIDEO_RATE - frames
    if abs(skew) > rules.max_skew + 1:
        raise Unusable(
            "audio-video",
            f"{path}: {heard:.3f} s of sound, {frames / VIDEO_RATE:.3f} s of video",
        )
    skewed = ""
    if abs(skew) > 1 + _EXACT:
        skewed = f"sound {abs(skew):.2f} frames {'longer' if skew > 0 else 'shorter'} than video"
    return Loaded(frames, fit(samples, frames), other, skewed)


def _other_rate(info: VideoInfo) -> str:
    """What is not regular about a file's frames; empty for VIDEO_RATE."""
    if info.variable:
        return f"variable frame rate, {info.rate:.2f} on average"
    return "" if info.regular(VIDEO_RATE) else f"{info.rate:.2f} frames a second"


def fit(samples: Samples, frames: int) -> Samples:
    """`samples` (N,) cut, or filled up with zeros, to (640 * frames,)."""
    wanted = frames * SAMPLES_PER_FRAME
    if len(samples) >= wanted:
        return samples[:wanted]
    return np.concatenate([samples, np.zeros(wanted - len(samples), dtype=np.float32)])


def frames_of(begin: float, end: float | None, total: int) -> tuple[int, int]:
    """(first, end) frame of a stretch in seconds, within `total` frames; neighbours tile."""
    first = int(begin * VIDEO_RATE + 1e-6)
    last = total if end is None else int(end * VIDEO_RATE + 1e-6)
    return min(first, total), min(last, total)


def check_length(frames: int, rules: ClipRules, limit: bool) -> None:
    """Refuse a piece that is too short, or (with `limit`) too long.

    Raises:
        Unusable: with its duration.
    """
    seconds = frames / VIDEO_RATE
    if frames < 1 or seconds < rules.min_seconds:
        raise Unusable("too-short", f"{seconds:.2f} s, at least {rules.min_seconds:g} s are taken")
    if limit and rules.max_seconds and seconds > rules.max_seconds:
        raise Unusable("too-long", f"{seconds:.2f} s, at most {rules.max_seconds:g} s are taken")
