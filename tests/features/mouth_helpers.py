"""Clips whose faces are known: bright blocks on dark ground, found by a back end of their own."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soundfile

from pylib.corpus.datadir import write_datadir
from pylib.features.face_geometry import MeanFace
from pylib.features.landmarks import Box

FACE = MeanFace.load()
#: Where a detector's box lies on the canvas, see pylib/features/landmarks.py.
CENTRE, SIDE = np.array([128.0, 125.5]), 134.0

Spec = tuple[float, float, float]  # x and y of the middle, side


def draw(faces: list[Spec], shape: tuple[int, int] = (224, 224)) -> npt.NDArray[np.uint8]:
    """Each face a bright square whose mouth is marked by a dark blob."""
    picture = np.full(shape, 30, dtype=np.uint8)
    for x, y, side in faces:
        top, left = round(y - side / 2), round(x - side / 2)
        cut = (slice(max(0, top), top + round(side)), slice(max(0, left), left + round(side)))
        picture[cut] = 200
        mx, my = mouth_of((x, y, side))
        rows, cols = np.mgrid[: shape[0], : shape[1]]
        blob = np.exp(-((cols + 0.5 - mx) ** 2 + (rows + 0.5 - my) ** 2) / (2 * (side / 30) ** 2))
        picture = np.where(picture > 100, picture - 60 * blob, picture).astype(np.uint8)
    return picture


def points_of(face: Spec) -> npt.NDArray[np.float64]:
    """The five points of a drawn face."""
    x, y, side = face
    return (FACE.points - CENTRE) * (side / SIDE) + (x, y)


def mouth_of(face: Spec) -> tuple[float, float]:
    """Centre of the mouth of a drawn face."""
    x, y, side = face
    mx, my = (np.array(FACE.mouth) - CENTRE) * (side / SIDE) + (x, y)
    return float(mx), float(my)


class BlockLandmarks:
    """Finds bright blocks; its boxes are as coarse as a real detector's.

    Attributes:
        searches: how often `detect` was called.
    """

    name, count = "blocks", 5

    def __init__(self, coarse: int = 8) -> None:
        self.coarse, self.searches = coarse, 0

    def _blocks(self, picture: npt.NDArray[np.uint8]) -> list[Spec]:
        import cv2

        bright = (picture > 100).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        out = []
        for left, top, width, height, area in stats[1:count]:
            if area > 400:
                out.append((left + width / 2, top + height / 2, float(max(width, height))))
        return out

    def detect(self, picture: npt.NDArray[np.uint8]) -> list[Box]:
        """Boxes rounded to steps of `coarse` pixels."""
        self.searches += 1

        def step(value: float) -> float:
            return self.coarse * round(value / self.coarse)

        return [
            Box(step(x - s / 2), step(y - s / 2), step(x + s / 2), step(y + s / 2))
            for x, y, s in self._blocks(picture)
        ]

    def points(self, picture: npt.NDArray[np.uint8], box: Box) -> npt.NDArray[np.float64]:
        """Points of the block nearest to the box; of the box itself where there is none near."""
        middle = ((box.left + box.right) / 2, (box.top + box.bottom) / 2)
        side = box.right - box.left
        near = [
            (abs(x - middle[0]) + abs(y - middle[1]), (x, y, s))
            for x, y, s in self._blocks(picture)
            if abs(x - middle[0]) + abs(y - middle[1]) < side / 2
        ]
        face = min(near)[1] if near else (middle[0] + side, middle[1], side / 3)
        return points_of(face) - 0.5


def write_clip(path: Path, pictures: list[npt.NDArray[np.uint8]], rate: int = 25) -> Path:
    """An mp4 of grey pictures, as good as lossless, without sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "8", "threads": "1"})
        stream.height, stream.width = pictures[0].shape
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            rgb = np.repeat(picture[:, :, None], 3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


def video_dir(root: Path, clips: dict[str, list[npt.NDArray[np.uint8]]]) -> Path:
    """A data directory with video; utterance `a-1` is of speaker `a`."""
    wav, video = {}, {}
    for utt, pictures in clips.items():
        video[utt] = str(write_clip(root / "mp4" / f"{utt}.mp4", pictures))
        wav[utt] = str(root / "mp4" / f"{utt}.flac")
        soundfile.write(wav[utt], np.zeros(640 * len(pictures)), 16000, subtype="PCM_16")
    write_datadir(
        root / "data",
        wav=wav,
        utt2spk={utt: utt.split("-")[0] for utt in clips},
        text=dict.fromkeys(clips, "HELLO"),
        utt2num_samples={utt: 640 * len(p) for utt, p in clips.items()},
        utt2dur={utt: len(p) / 25 for utt, p in clips.items()},
        extra={"video.scp": video, "utt2num_video": {utt: len(p) for utt, p in clips.items()}},
    )
    return root / "data"
