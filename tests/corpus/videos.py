"""Small mp4s of every kind, made by the tests."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 16000
_TICKS = 90000  # a second: times of frames are exact enough for 29.97 and for milliseconds


def marked(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture that tells its number (below 60) by its grey level, its top left corner white."""
    picture = np.full((height, width, 3), 20 + 3 * (number % 60), dtype=np.uint8)
    picture[: height // 4, : width // 4] = 255
    return picture


def number_of(picture: np.ndarray) -> int:
    """The number of a marked picture, grey and upright or not."""
    return round((float(np.median(picture)) - 20) / 3)


def chirp(seconds: float, rate: int = RATE) -> np.ndarray:
    """Sound whose place in time is known from its pitch; float32 (N,)."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.3 * np.sin(2 * np.pi * (200 + 150 * t) * t)).astype(np.float32)


def write_mp4(
    path: Path,
    times: Sequence[float] | int = 50,
    sound: np.ndarray | None = None,
    *,
    fps: Fraction = Fraction(25),
    size: tuple[int, int] = (64, 48),
    rate: int = RATE,
    aspect: Fraction | None = None,
    picture: Callable[[int, int, int], np.ndarray] = marked,
    channels: int = 1,
    faststart: bool = False,
    sound_from: float = 0.0,
    encoder: dict[str, str] | None = None,
) -> Path:
    """A file with pictures at `times` (s), or so many at `fps`, and AAC sound if any is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    moments = [n / fps for n in range(times)] if isinstance(times, int) else times
    settings = {"crf": "8", "threads": "1", **(encoder or {})}
    options = {"movflags": "faststart"} if faststart else {}
    with av.open(str(path), "w", format="mp4", options=options) as out:
        stream = out.add_stream("libx264", rate=fps, options=settings)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        track = None
        if sound is not None:
            layout = "mono" if channels == 1 else "stereo"
            track = out.add_stream("aac", rate=rate, layout=layout)
        for number, moment in enumerate(moments):
            frame = av.VideoFrame.from_ndarray(picture(number, width, height), format="rgb24")
            frame.pts, frame.time_base = round(moment * _TICKS), Fraction(1, _TICKS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
        if track is not None and sound is not None:
            _write_sound(out, track, sound, rate, channels, round(sound_from * rate))
    return path


def _write_sound(out, track, sound: np.ndarray, rate: int, channels: int, start: int) -> None:
    data = np.ascontiguousarray(np.stack([sound] * channels))
    layout = "mono" if channels == 1 else "stereo"
    for first in range(0, data.shape[1], 1024):
        block = np.ascontiguousarray(data[:, first : first + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, start + first, Fraction(1, rate)
        out.mux(track.encode(frame))
    out.mux(track.encode())


def rotate_by_metadata(path: Path) -> None:
    """Tell players to turn the first track a quarter clockwise (matrix of its header box)."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    one = 1 << 16
    matrix = (0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    data[place : place + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(bytes(data))
