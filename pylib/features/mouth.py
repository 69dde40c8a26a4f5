"""Mouth region of a talking face: 96 x 96 grey pictures, upright, of one size, centred.

Each frame is turned, scaled and shifted so that the face lies on its canvas as the mean face does,
by the points averaged over a window around the frame (a shorter one for the place), and 96 x 96
pixels are cut out around the mouth: with 5 points, which have none of the mouth, around the place
of the mean face's mouth, found through eyes and nose; with 68, around the centre of the mouth's own
points. What lies outside the picture repeats its border; nothing is ever squashed. A clip without a
usable face is refused with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.features.face_geometry import (
    MOUTH_OF_68,
    MOUTH_WIDTH,
    MeanFace,
    Points,
    apply,
    fill,
    invert,
    scale_of,
    similarity,
    smooth,
)
from pylib.features.landmarks import (
    Landmarks,
    Picture,
    Track,
    five_of,
    follow,
)
from pylib.features.mouth_store import SIDE, Pictures

Matrices = npt.NDArray[np.float64]

MAX_SIDE = 640  # larger pictures are made smaller while they are read
_SHRINK_BELOW = 0.5  # scale below which single pixels would be picked out of a sharper picture
REASONS = {
    "unreadable": "the video cannot be read, or has not the frames that utt2num_video says",
    "no_face": "no face in any frame looked at",
    "few_frames": "a face in too few frames",
    "long_gap": "too many frames without a face in a row",
    "small_mouth": "the mouth is too small",
    "two_faces": "a second face nearly as large beside the first, for nearly as long",
}


@dataclass(frozen=True)
class MouthConfig:
    """How mouths are cut out, and what is refused.

    Attributes:
        every: frames between two searches for the face.
        window: frames over which the points are averaged (their place: over 5 at most).
        min_detected: least share of frames in which the face is found.
        max_gap: longest run of frames without a face, which is interpolated.
        min_mouth: least width of the mouth, pixels of the video.
        second: size times presence of a second face, as a part of the first one's, that makes the
            clip ambiguous.
    """

    every: int = 10
    window: int = 13
    min_detected: float = 0.5
    max_gap: int = 25
    min_mouth: float = 12.0
    second: float = 0.7

    def __post_init__(self) -> None:
        """Raises UserError for a value without a meaning."""
        for name, good in (
            ("every", self.every >= 1),
            ("window", self.window >= 1),
            ("min_detected", 0 <= self.min_detected <= 1),
            ("max_gap", self.max_gap >= 0),
            ("min_mouth", self.min_mouth >= 0),
            ("second", self.second > 0),
        ):
            if not good:
                option = name.replace("_", "-")
                raise UserError(f"--{option} {getattr(self, name)}: out of range: see --help")


@dataclass(frozen=True)
class Quality:
    """How well the mouth of a clip could be followed; a line of `mouth_quality`.

    Attributes:
        detected: share of the frames in which the face was found.
        mouth_px: width of a mouth of this face, pixels of the video.
        max_gap: longest run of frames without a face.
        second: size and presence of the next face, as a part of the first one's.
        shift: largest movement of the centre of the cut between two frames, pixels of the result.
    """

    detected: float = 0.0
    mouth_px: float = 0.0
    max_gap: int = 0
    second: float = 0.0
    shift: float = 0.0

    def line(self) -> str:
        """Values of a line, in the order of `NAMES`."""
        return (
            f"{self.detected:.3f} {self.mouth_px:.1f} {self.max_gap} {self.second:.2f} "
            f"{self.shift:.2f}"
        )


NAMES = ("share_detected", "mouth_px", "max_gap", "second_face", "max_shift")


@dataclass(frozen=True)
class Mouth:
    """What became of a clip.

    Attributes:
        pictures: uint8 (T, 96, 96); None where it is refused.
        quality: how it went.
        reason: key of `REASONS`, empty where it is accepted.
        what: the reason with its numbers.
    """

    pictures: Pictures | None
    quality: Quality
    reason: str = ""
    what: str = ""


def load_pictures(frames: Iterable[Picture]) -> tuple[list[Picture], float]:
    """Pictures of a clip in memory, larger ones made smaller; and their size to the video's."""
    import cv2

    cv2.setNumThreads(1)
    out: list[Picture] = []
    factor = 1.0
    for picture in frames:
        height, width = picture.shape
        if not out and max(height, width) > MAX_SIDE:
            factor = MAX_SIDE / max(height, width)
        if factor != 1.0:
            size = (max(1, round(width * factor)), max(1, round(height * factor)))
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        if out and picture.shape != out[0].shape:
            raise UserError("the size of the pictures changes within the clip: leave it out")
        out.append(picture)
    if not out:
        raise UserError("no picture at all: leave it out")
    return out, factor


def longest_gap(found: npt.NDArray[np.bool_]) -> int:
    """Longest run of False in (T,)."""
    longest = run = 0
    for good in found.tolist():
        run = 0 if good else run + 1
        longest = max(longest, run)
    return longest


def crop_matrices(track: Track, face: MeanFace, window: int, place_window: int = 5) -> Matrices:
    """From pixels of the video to those of the 96 x 96 pictures: (T, 2, 3).

    Args:
        track: the points.
        face: the mean face.
        window: frames over which the points are averaged that give turn and scale.
        place_window: the same for the place: shorter, to stay with a face that moves fast (the
            mean of five points is steadier than their shape).
    """
    points = fill(track.points, track.found)
    place = points.copy()
    ends = [*track.starts[1:], len(points)]
    for first, last in zip(track.starts, ends, strict=True):
        points[first:last] = smooth(points[first:last], window)
        place[first:last] = smooth(place[first:last], min(window, place_window))
    matrix = similarity(five_of(points), face.points)
    # The best similarity takes the mean of the points to that of the mean face.
    matrix[..., 2] = 0
    centre = five_of(place).mean(1, keepdims=True)
    matrix[..., 2] = face.points.mean(0) - apply(matrix, centre)[:, 0]
    middle = np.tile(np.array(face.mouth), (len(points), 1))
    if points.shape[1] == 68:
        middle = apply(matrix, place)[:, MOUTH_OF_68].mean(1)
    out = matrix.copy()
    out[..., 2] += (SIDE - 1) / 2 - middle
    return out


def cut_out(pictures: list[Picture], matrices: Matrices) -> Pictures:
    """The pictures (T, 96, 96) that transforms (T, 2, 3) cut out of a clip."""
    import cv2

    shrink = 1.0
    scale = float(np.median(scale_of(matrices)))
    if scale < _SHRINK_BELOW:
        shrink = scale / _SHRINK_BELOW
    out = np.empty((len(pictures), SIDE, SIDE), dtype=np.uint8)
    for place, (picture, matrix) in enumerate(zip(pictures, matrices, strict=True)):
        if shrink != 1.0:
            height, width = picture.shape
            size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
            ratio = np.array([width / size[0], height / size[1]])
            # Pixel u of the small picture is pixel ratio (u + 1/2) - 1/2 of the large one.
            linear = matrix[:, :2] * ratio
            shift = matrix[:, 2] + matrix[:, :2] @ (0.5 * ratio - 0.5)
            matrix = np.concatenate([linear, shift[:, None]], axis=1)
        out[place] = cv2.warpAffine(
            picture, matrix, (SIDE, SIDE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return out


def cut_mouth(
    frames: Iterable[Picture], finder: Landmarks, face: MeanFace, config: MouthConfig
) -> Mouth:
    """The mouth of a clip.

    Args:
        frames: grey (H, W) uint8, 25 a second.
        finder: finds faces and points.
        face: the mean face.
        config: how.

    Raises:
        UserError: the video cannot be read.
    """
    pictures, factor = load_pictures(frames)
    track = follow(pictures, finder, face, config.every)
    if track is None or not track.found.any():
        looked = len(range(0, len(pictures), config.every))
        return Mouth(
            None, Quality(max_gap=len(pictures)), "no_face", f"in {looked} frames looked at"
        )
    matrices = crop_matrices(track, face, config.window)
    quality = _quality(track, matrices, factor)
    reason, what = judge(quality, config)
    if reason:
        return Mouth(None, quality, reason, what)
    return Mouth(cut_out(pictures, matrices), quality)


def _quality(track: Track, matrices: Matrices, factor: float) -> Quality:
    scale = float(np.median(scale_of(matrices[track.found])))
    middle = np.full((len(matrices), 1, 2), (SIDE - 1) / 2)
    back = _centres(matrices, middle)
    steps = np.linalg.norm(np.diff(back, axis=0), axis=-1)
    for start in track.starts[1:]:
        steps[start - 1] = 0.0  # another scene
    return Quality(
        detected=float(track.found.mean()),
        mouth_px=MOUTH_WIDTH / scale / factor,
        max_gap=longest_gap(track.found),
        second=track.second,
        shift=float(steps.max(initial=0.0)) * scale,
    )


def _centres(matrices: Matrices, middle: Points) -> Points:
    """Where the middle of the cut lies in the video: (T, 2)."""
    return apply(invert(matrices), middle)[:, 0]


def judge(quality: Quality, config: MouthConfig) -> tuple[str, str]:
    """Reason to refuse a clip, and its numbers; empty where it is good."""
    if quality.detected < config.min_detected:
        return (
            "few_frames",
            f"{quality.detected:.0%} of the frames, {config.min_detected:.0%} asked",
        )
    if quality.max_gap > config.max_gap:
        return "long_gap", f"{quality.max_gap} frames without a face, at most {config.max_gap}"
    if quality.mouth_px < config.min_mouth:
        return "small_mouth", f"{quality.mouth_px:.1f} pixels wide, {config.min_mouth:g} asked"
    if quality.second >= config.second:
        return "two_faces", f"the second has {quality.second:.0%} of the first one's weight"
    return "", ""
