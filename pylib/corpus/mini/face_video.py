"""mp4 files: H.264 pictures at 25 frames a second with 16 kHz mono AAC, in sync."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pylib.corpus.mini.channel import RATE
from pylib.corpus.mini.face_visemes import FRAME_RATE

SAMPLES_PER_FRAME = RATE // FRAME_RATE
_BLOCK = 1024  # samples of an AAC frame


def _audio_frames(samples: np.ndarray) -> Iterator[av.AudioFrame]:
    planar = (samples.astype(np.float32) / 32768)[None]
    for start in range(0, planar.shape[1], _BLOCK):
        part = np.ascontiguousarray(planar[:, start : start + _BLOCK])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
        frame.sample_rate = RATE
        frame.time_base = Fraction(1, RATE)
        frame.pts = start
        yield frame


def write_mp4(
    path: Path, pictures: Iterator[np.ndarray], samples: np.ndarray, quality: int
) -> None:
    """Write a clip; the same bytes for the same input.

    Args:
        pictures: planes of YUV 4:2:0 as one (1.5 * H, W) uint8 array a frame.
        samples: int16 (640 * frames,).
        quality: x264's constant rate factor, 0 (lossless) to 51.
    """
    # no bidirectional frames: x264's choice of where they go is not the same in every run
    options = {"preset": "veryfast", "crf": str(quality), "threads": "1", "bf": "0"}
    muxing = {"fflags": "+bitexact", "movflags": "+faststart"}
    with av.open(str(path), "w", format="mp4", container_options=muxing) as container:
        video, sound = None, None
        blocks = _audio_frames(samples)
        for number, picture in enumerate(pictures):
            if video is None:
                video = container.add_stream("libx264", rate=FRAME_RATE, options=options)
                video.height, video.width = 2 * picture.shape[0] // 3, picture.shape[1]
                video.pix_fmt = "yuv420p"
                video.codec_context.thread_count = 1
                sound = container.add_stream("aac", rate=RATE, layout="mono")
                sound.bit_rate = 64000
                for stream in (video, sound):
                    stream.codec_context.flags |= av.codec.context.Flags.bitexact
            frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
            frame.pts = number
            frame.time_base = Fraction(1, FRAME_RATE)
            container.mux(video.encode(frame))
        assert video is not None and sound is not None, f"{path}: no picture"
        for block in blocks:
            container.mux(sound.encode(block))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
