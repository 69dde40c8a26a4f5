"""Video files in, upright pictures and sound out; read with PyAV (FFmpeg in the process).

Pictures are given on a grid of `fps` a second that begins with the first frame of the file: picture
k is the one on show at (k + 1/2) / fps seconds. A file of that constant rate gives its own frames,
another rate or a variable one is resampled by this rule. Sound is placed by the same clock: sample
0 belongs to the beginning of the first frame. Rotation told by the file is undone, pixels are made
square. Nothing here imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from pylib.corpus.audio import Samples, resample_audio
from pylib.corpus.errors import UserError

Picture = npt.NDArray[np.uint8]

FPS = 25
#: Distances of frames may differ by this part of a frame (clocks of 1 ms, rounding) in a file of
#: constant rate.
JITTER = Fraction(1, 20)
# Formats whose first plane is the luminance, a byte a pixel.
_PLANAR = ("yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p", "nv12", "nv21")
# Seconds that one frame may be on show, its picture being repeated, and between the first picture
# and the first sound, filled with zeros. More is a damaged time, which would fill memory or a disk.
_LONGEST_GAP = 600
_REORDERED = 16  # frames of reordering that H.264 allows
_FULL_RANGE = 2  # color_range of FFmpeg: 1 = 16 to 235, 2 = 0 to 255
# Luminance 16 to 235 stretched to 0 to 255.
_STRETCH = np.clip(np.rint((np.arange(256) - 16.0) * 255.0 / 219.0), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class VideoInfo:
    """What a file holds, found by reading its packets, nothing being decoded.

    Attributes:
        frames: frames in the file.
        rate: frames a second, on average.
        variable: whether the distances of frames differ by more than rounding.
        width, height: of the pictures as they are given: upright, with square pixels.
        rotation: degrees, counter-clockwise, that turn the stored picture upright.
        audio_rate: Hz of the sound; 0 without any.
        audio_samples: samples at that rate from the first frame on.
        seconds: from the first frame to the end of the last one.
    """

    frames: int
    rate: float
    variable: bool
    width: int
    height: int
    rotation: int
    audio_rate: int
    audio_samples: int
    seconds: Fraction

    def frames_at(self, fps: int = FPS) -> int:
        """Pictures that `read_grey` gives at `fps` a second."""
        return max(0, -((1 - 2 * self.seconds * fps) // 2))

    def regular(self, fps: int = FPS) -> bool:
        """Whether the file's own frames are those of `fps` a second."""
        return not self.variable and abs(self.rate - fps) < 1e-3 * fps


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """An open container; what FFmpeg has to say of a broken one becomes a UserError."""
    name = os.fspath(path)
    try:
        size = os.stat(name).st_size
    except (FileNotFoundError, ValueError) as error:  # ValueError: a NUL within the name
        raise UserError(f"{name}: no such video file: check the list or the corpus") from error
    if size == 0:
        raise UserError(f"{name}: the file is empty (0 bytes): copy it again from the corpus")
    try:
        with av.open(name) as container:
            yield container
    except (av.error.FFmpegError, IsADirectoryError, UnicodeDecodeError) as error:
        # UnicodeDecodeError: names and remarks in its header are damaged.
        what = str(getattr(error, "strerror", None) or error)
        raise UserError(
            f"{name}: not readable as video ({what}): copy it again, or leave it out"
        ) from error


def _video_stream(container: Any, name: str) -> Any:
    if not container.streams.video:
        raise UserError(f"{name}: holds no video stream: leave it out")
    stream = container.streams.video[0]
    _require_codec(stream, name)
    stream.codec_context.thread_count = 1  # jobs are parallel, a decoder need not be
    return stream


def _require_codec(stream: Any, name: str) -> None:
    if stream.codec_context is None:
        raise UserError(f"{name}: its codec is unknown: copy it again, or leave it out")


def _origin(container: Any) -> Fraction:
    """Time of the first frame (s), in the file's clock; of the first sound without video."""
    for stream in (*container.streams.video[:1], *container.streams.audio[:1]):
        if stream.start_time is not None:
            return Fraction(stream.start_time) * stream.time_base
    return Fraction(0)


def _quarter_turns(rotation: int) -> int:
    """Quarter turns, counter-clockwise, of a rotation in degrees."""
    return round(rotation / 90) % 4


def _square_width(width: int, aspect: Any) -> int:
    """Width with square pixels."""
    return width if not aspect or aspect == 1 else max(1, round(width * float(aspect)))


def _read_packets(
    container: Any, stream: Any, sound: Any, name: str
) -> tuple[list[Fraction], Fraction, Fraction | None]:
    """Times of the frames (s, sorted), end of the last one, end of the sound (None = none)."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(FPS)
    times: list[Fraction] = []
    end, heard = Fraction(0), None
    hidden = 0  # by an edit list
    for packet in container.demux([stream] if sound is None else [stream, sound]):
        if packet.size == 0:
            continue
        if packet.is_corrupt:
            raise UserError(f"{name}: has a corrupt packet: copy it again, or leave it out")
        if packet.is_discard:
            hidden += packet.stream is stream
            continue
        moment = packet.pts if packet.pts is not None else packet.dts
        length = (packet.duration or 0) * packet.time_base
        if packet.stream is not stream:
            last = (moment or 0) * packet.time_base + length
            heard = last if heard is None else max(heard, last)
            continue
        start = len(times) / rate if moment is None else moment * packet.time_base
        times.append(start)
        end = max(end, start + (length or 1 / rate))
    if not times:
        raise UserError(f"{name}: holds no frame: copy it again, or leave it out")
    if len(times) + hidden < stream.frames:
        raise UserError(
            f"{name}: truncated, {len(times) + hidden} frames of the {stream.frames} that its "
            "header promises: copy it again, or leave it out"
        )
    times.sort()
    for start, until in zip(times, [*times[1:], end], strict=True):
        _refuse_still(name, start - times[0], until - start)
    return times, end, heard


def _refuse_still(name: str, start: Fraction, length: Fraction) -> None:
    if length > _LONGEST_GAP:
        raise UserError(
            f"{name}: its frame at {float(start):.3f} s is on show for {float(length):g} s: the "
            "times are damaged, copy it again, or leave it out"
        )


def probe(path: str | os.PathLike[str]) -> VideoInfo:
    """Frames, rates and sizes of a file; only its first frame is decoded.

    Raises:
        UserError: missing, empty or unreadable file, no video stream, no frame, fewer frames than
            the header promises, or one that is on show for minutes.
    """
    name = os.fspath(path)
    with _opened(name) as container:
        stream = _video_stream(container, name)
        sound = container.streams.audio[0] if container.streams.audio else None
        if sound is not None:
            _require_codec(sound, name)
        times, end, heard = _read_packets(container, stream, sound, name)
        origin = _origin(container)
        first = _first_frame(container, stream, name)
        width = _square_width(first.width, stream.sample_aspect_ratio)
        height, turns = first.height, _quarter_turns(first.rotation)
        audio_rate = 0 if sound is None or heard is None else int(sound.rate)
    samples = 0 if heard is None else max(0, round((heard - origin) * audio_rate))
    seconds = end - origin
    return VideoInfo(
        frames=len(times),
        rate=float(len(times) / seconds) if seconds > 0 else 0.0,
        variable=_is_variable(times),
        width=height if turns % 2 else width,
        height=width if turns % 2 else height,
        rotation=90 * turns,
        audio_rate=audio_rate if samples else 0,
        audio_samples=samples,
        seconds=seconds,
    )


def _first_frame(container: Any, stream: Any, name: str) -> Any:
    container.seek(0)
    for frame in container.decode(stream):
        return frame
    raise UserError(f"{name}: no frame can be decoded: copy it again, or leave it out")


def _is_variable(times: list[Fraction]) -> bool:
    if len(times) < 3:
        return False
    steps = [late - early for early, late in zip(times, times[1:], strict=False)]
    mean = (times[-1] - times[0]) / len(steps)
    # Clocks of milliseconds round each time.
    return max(abs(step - mean) for step in steps) > max(mean * JITTER, Fraction(12, 10000))


def _frames(
    path: str | os.PathLike[str], first: int, count: int | None, fps: int
) -> Iterator[tuple[Any, int, int]]:
    """(frame, pictures of the grid that it is, width with square pixels), from `first` on."""
    name = os.fspath(path)
    given = 0
    with _opened(name) as container:
        stream = _video_stream(container, name)
        origin = _origin(container)
        rate = stream.average_rate or stream.guessed_rate or Fraction(fps)
        if first:
            # To a key frame before; pictures up to `first` are decoded and passed over. Files are
            # sought by decoding times, which are up to _REORDERED frames before those of showing.
            target = max(Fraction(0), Fraction(first, fps) - _REORDERED / rate) + origin
            container.seek(int(target / stream.time_base), stream=stream, backward=True)
        held, ahead = None, first  # ahead: number of the next picture of the grid
        since = end = Fraction(0)
        for number, frame in enumerate(container.decode(stream)):
            start = number / rate if frame.pts is None else frame.pts * frame.time_base - origin
            last = _pictures_before(start, fps)
            if held is not None and last > ahead:
                _refuse_still(name, since, start - since)
                step = last - ahead if count is None else min(last - ahead, count - given)
                _refuse_corrupt(held, name, ahead)
                yield held, step, _square_width(held.width, stream.sample_aspect_ratio)
                given, ahead = given + step, last
                if given == count:
                    return
            held, since = frame, start
            end = start + (frame.duration * frame.time_base if frame.duration else 1 / rate)
        step = _pictures_before(end, fps) - ahead
        if held is not None and step > 0:
            _refuse_still(name, since, end - since)
            step = step if count is None else min(step, count - given)
            _refuse_corrupt(held, name, ahead)
            yield held, step, _square_width(held.width, stream.sample_aspect_ratio)
            given += step
    if given == 0 or (count is not None and given < count):
        wanted = "pictures" if count is None else f"{count} pictures"
        raise UserError(
            f"{name}: {wanted} from {first} on were asked for, {given} could be read: correct "
            "video_segments, or copy the file again"
        )


def _refuse_corrupt(frame: Any, name: str, number: int) -> None:
    """Frames that are passed over on the way to the first one may be incomplete, others not."""
    if frame.is_corrupt:
        raise UserError(f"{name}: picture {number} is corrupt: copy it again, or leave it out")


def _pictures_before(moment: Fraction, fps: int) -> int:
    """Number of pictures of the grid whose middle lies before `moment` s."""
    return int(max(0, -((1 - 2 * moment * fps) // 2)))


def _plane(frame: Any, width: int) -> Picture:
    """Luminance (H, width) of a frame, 0 to 255."""
    if width != frame.width:
        frame = frame.reformat(width=width, height=frame.height)
    if frame.format.name not in _PLANAR:
        return _luminance(frame.to_ndarray(format="rgb24"))
    plane = frame.planes[0]
    rows = np.frombuffer(plane, dtype=np.uint8).reshape(-1, plane.line_size)
    picture = rows[: frame.height, : frame.width]
    full = frame.format.name.startswith("yuvj") or int(frame.color_range) == _FULL_RANGE
    return picture.copy() if full else _STRETCH[picture]


def _luminance(rgb: Picture) -> Picture:
    """Grey (H, W) of a picture (H, W, 3), weights of ITU-R BT.601."""
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    return np.asarray(np.rint(rgb.astype(np.float32) @ weights), dtype=np.uint8)


def _upright(picture: Picture, rotation: int) -> Picture:
    turns = _quarter_turns(rotation)
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def read_grey(
    path: str | os.PathLike[str], first: int = 0, count: int | None = None, fps: int = FPS
) -> Iterator[Picture]:
    """Grey pictures of a file, upright.

    Args:
        path: the file.
        first: number of the first picture, on the grid of `fps`.
        count: how many; None = to the end.
        fps: pictures a second.

    Yields:
        uint8 (H, W), 0 = black, 255 = white; do not write into them: a picture that stands longer
        than 1/fps s is given again.

    Raises:
        UserError: missing or corrupt file, fewer pictures than asked for, or a frame that is on
            show for minutes.
    """
    for frame, copies, width in _frames(path, first, count, fps):
        picture = _upright(_plane(frame, width), frame.rotation)
        for _ in range(copies):
            yield picture


def read_rgb(
    path: str | os.PathLike[str], first: int = 0, count: int | None = None, fps: int = FPS
) -> Iterator[Picture]:
    """Colour pictures of a file, uint8 (H, W, 3); all else as `read_grey`."""
    for frame, copies, width in _frames(path, first, count, fps):
        picture = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
        picture = _upright(picture, frame.rotation)
        for _ in range(copies):
            yield picture


def read_audio(path: str | os.PathLike[str], rate: int = 16000) -> Samples:
    """Sound of a file from its first frame on, all channels averaged.

    Args:
        path: the file.
        rate: Hz wanted; another rate is resampled.

    Returns:
        float32 (N,) in [-1, 1]; where the sound begins after the first frame it begins with zeros,
        what lies before the first frame is cut off.

    Raises:
        UserError: missing or corrupt file, no sound.
    """
    name = os.fspath(path)
    blocks: list[Samples] = []
    with _opened(name) as container:
        if not container.streams.audio:
            raise UserError(f"{name}: has no sound: leave it out")
        stream = container.streams.audio[0]
        _require_codec(stream, name)
        origin, file_rate = _origin(container), int(stream.rate)
        convert = av.AudioResampler(format="fltp")
        place = None
        for frame in container.decode(stream):
            if place is None:
                start = Fraction(0) if frame.pts is None else frame.pts * frame.time_base - origin
                place = round(start * file_rate)
                if abs(start) > _LONGEST_GAP:
                    raise UserError(
                        f"{name}: its sound begins {float(start):g} s from its pictures: the times "
                        "are damaged, copy it again, or leave it out"
                    )
            for part in convert.resample(frame):
                blocks.append(part.to_ndarray().mean(axis=0, dtype=np.float32))
    if place is None or not blocks:
        raise UserError(f"{name}: no sound can be decoded: copy it again, or leave it out")
    samples = np.concatenate(blocks)
    if place > 0:
        samples = np.concatenate([np.zeros(place, dtype=np.float32), samples])
    elif place < 0:
        samples = samples[-place:]
    return resample_audio(np.ascontiguousarray(samples), file_rate, rate)
