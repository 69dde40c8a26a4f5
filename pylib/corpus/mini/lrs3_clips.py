"""One speaker's talking-face clips: speech, rendered head, transcript, word times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pylib.corpus.mini import channel
from pylib.corpus.mini.face import SIDE, Head, paint_background
from pylib.corpus.mini.face_motion import Strengths, eyes, poses
from pylib.corpus.mini.face_shape import draw_face
from pylib.corpus.mini.face_video import SAMPLES_PER_FRAME, write_mp4
from pylib.corpus.mini.face_visemes import gestures
from pylib.corpus.mini.lrs3_config import Lrs3MiniConfig
from pylib.corpus.mini.lrs3_plan import SEEN, name_of
from pylib.corpus.mini.plan import ReadingList
from pylib.corpus.mini.reader import Said, phone_lines, say_words, start_voice

FIRST_TRAINVAL = 50001  # as LRS3 numbers them
_LONG = 16.0  # s that a long clip of pretrain exceeds
_GRAINS = 16  # pictures of camera noise, used in turn


@dataclass
class Share:
    """What one speaker gave to one set."""

    utterances: int = 0
    seconds: float = 0.0
    phones: list[str] = field(default_factory=list)  # CTM lines


@dataclass
class FaceReading:
    """What a speaker has read: `index` as the speaker's, shares by the name of their set."""

    index: int
    shares: dict[str, Share] = field(default_factory=dict)

    def share(self, name: str) -> Share:
        """The share of a set, made when it is new."""
        return self.shares.setdefault(name, Share())


def record_clip(
    samples: np.ndarray, config: Lrs3MiniConfig, rng: np.random.Generator
) -> np.ndarray:
    """Speech through a microphone, a room and a noise of its own; int16 (N,)."""
    response = np.convolve(
        channel.equaliser(rng, config.eq_db),
        channel.room(rng, config.room * rng.uniform(0.3, 1)),
    )
    noise = channel.coloured_noise(rng, len(samples), rng.uniform(0, 1.5))
    snr = rng.uniform(config.snr_low, config.snr_high)
    level = 26 + config.level_spread * rng.uniform(-1, 1)
    return channel.record(samples, response, noise, snr, level)


def join(parts: list[Said], block: int = 1) -> Said:
    """Sentences one after the other; silence is added up to a multiple of `block` samples."""
    samples = np.concatenate([part.samples for part in parts])
    samples = np.pad(samples, (0, -len(samples) % block))
    phones: list[tuple[str, float, float]] = []
    words: list[tuple[str, float, float]] = []
    offset = 0.0
    for part in parts:
        for name, start, end in part.phones:
            if phones and name == phones[-1][0] and start == 0.0:  # the silences meet
                phones[-1] = (name, phones[-1][1], offset + end)
            else:
                phones.append((name, offset + start, offset + end))
        words += [(word, offset + start, offset + end) for word, start, end in part.words]
        offset += len(part.samples) / channel.RATE
    phones[-1] = (*phones[-1][:2], len(samples) / channel.RATE)
    return Said(samples, phones, words)


def transcript(said: Said) -> str:
    """The text file of a clip, as LRS3 writes it."""
    rows = [f"{word} {start:.2f} {end:.2f} 0.0\n" for word, start, end in said.words]
    text = " ".join(word for word, _, _ in said.words)
    return f"Text:  {text}\nConf:  5\n\nWORD START END ASDSCORE\n" + "".join(rows)


class Camera:
    """Films one speaker."""

    def __init__(self, item: ReadingList, config: Lrs3MiniConfig) -> None:
        rng = np.random.default_rng([config.seed, item.speaker.index, 3])
        self._config = config
        self._shape = draw_face(rng, item.speaker.sex)
        self._head = Head(self._shape, rng)
        self._strength = 1 + config.articulation * rng.uniform(-1, 1)
        self._scale = config.scale * (1 + 0.5 * config.zoom * rng.uniform(-1, 1))
        grains = rng.normal(0, config.grain, (_GRAINS, SIDE, SIDE))
        self._grains = np.round(grains).astype(np.int16)

    def film(self, said: Said, rng: np.random.Generator) -> tuple[Iterator[np.ndarray], np.ndarray]:
        """Pictures of a clip as planes of YUV 4:2:0, and the true points (T, 8, 2) float32."""
        config = self._config
        frames = len(said.samples) // SAMPLES_PER_FRAME
        strengths = Strengths(config.turn, config.drift, config.shift, config.zoom)
        path = poses(rng, frames, self._scale, strengths)
        mouth = gestures(said.phones, frames, self._strength)
        background = paint_background(self._shape, rng, path[frames // 2])
        looks = list(eyes(rng, frames))
        grain = rng.integers(_GRAINS, size=frames)
        points = np.stack([self._head.points(*pair) for pair in zip(path, mouth, strict=True)])

        def pictures() -> Iterator[np.ndarray]:
            for frame in range(frames):
                picture = self._head.render(path[frame], mouth[frame], looks[frame], background)
                planes = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
                if config.grain > 0:
                    noise = self._grains[grain[frame]]
                    planes[:SIDE] = cv2.add(planes[:SIDE], noise, dtype=cv2.CV_8U)
                yield planes

        return pictures(), points


class _Clips:
    """Writes clips of one speaker below the corpus directory."""

    def __init__(self, item: ReadingList, config: Lrs3MiniConfig, root: Path) -> None:
        self._item, self._config, self._root = item, config, root
        self._name = name_of(item.speaker)
        self._camera = Camera(item, config)
        self._synthesiser = start_voice(item)
        self._next = 0
        self.result = FaceReading(item.speaker.index)
        (root / "landmarks" / self._name).mkdir(parents=True)

    def _say(self) -> Said:
        said = say_words(self._synthesiser, self._item, self._config.seed, self._next)
        self._next += 1
        return said

    def _one(self, subset: str, number: int, long: bool) -> None:
        """Write one clip: a sentence, or as many as exceed `_LONG` s."""
        parts = [self._say()]
        while long and sum(len(part.samples) for part in parts) <= _LONG * channel.RATE:
            parts.append(self._say())
        said = join(parts, SAMPLES_PER_FRAME)
        rng = np.random.default_rng([self._config.seed, self._item.speaker.index, 2, self._next])
        samples = record_clip(said.samples, self._config, rng)
        pictures, points = self._camera.film(said, rng)
        folder = self._root / "lrs3" / subset / self._name
        folder.mkdir(parents=True, exist_ok=True)
        write_mp4(folder / f"{number:05d}.mp4", pictures, samples, self._config.quality)
        (folder / f"{number:05d}.txt").write_text(transcript(said), "utf-8")
        np.save(self._root / "landmarks" / self._name / f"{number:05d}.npy", points)
        share = self.result.share(subset)
        share.phones += phone_lines(f"{self._name}/{number:05d}", said.phones)
        share.utterances += 1
        share.seconds += len(samples) / channel.RATE

    def fill(self, subset: str, first: int, seconds: float, long: int = 0) -> None:
        """Write clips numbered from `first` until there are `seconds`; `long` are long."""
        number = first
        while self.result.share(subset).seconds < seconds:
            self._one(subset, number, number - first < long)
            number += 1


def film_speaker(item: ReadingList, config: Lrs3MiniConfig, root: Path) -> FaceReading:
    """Write all clips of one speaker: trainval and pretrain of a seen one, or test."""
    cv2.setNumThreads(1)
    clips = _Clips(item, config, root)
    if item.speaker.subset != SEEN:
        clips.fill("test", 1, item.seconds)
        return clips.result
    clips.fill("trainval", FIRST_TRAINVAL, 60 * config.trainval_minutes / config.speakers)
    pretrain = 60 * config.pretrain_minutes / config.speakers
    if pretrain > 0:
        clips.fill("pretrain", 1, pretrain, int(item.speaker.index < config.long_clips))
    return clips.result
