"""One face followed through a clip: found in some frames, its points placed in all.

A face is looked for in every k-th frame, and more often where it is lost, moves far or the scene
changes (the stretch is halved until the frame is known). Between, boxes are interpolated. Points
are placed twice: within those boxes, then within boxes that the first points themselves ask for,
so that the result hardly depends on how often, and how coarsely, faces were looked for. Points that
do not agree with their box are a loss: the face is looked for in that frame, and missed if not
found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from pylib.features.face_geometry import (
    FIVE_OF_68,
    MeanFace,
    Points,
    apply,
    invert,
    scale_of,
    similarity,
    smooth,
)

Picture = npt.NDArray[np.uint8]

# Box of dlib's face detector on the canvas of the mean face, measured by us on real clips: its
# centre and its side, pixels.
_BOX_CENTRE, _BOX_SIDE = (128.0, 125.5), 134.0
_SAME = 0.3  # overlap of two boxes of one face, some frames apart
_STEADY = 0.4  # overlap of neighbours between which boxes are interpolated
_AGREES = 0.35  # overlap of a box and the one that its points ask for
_BOX_WINDOW = 5  # frames over which the points are averaged that ask for boxes


class Box(NamedTuple):
    """A square or oblong around a face, in pixels; right and bottom lie outside."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    def overlap(self, other: Box) -> float:
        """Area of both together as a part of the area covered by either."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        common = max(0.0, width) * max(0.0, height)
        return common / max(self.area + other.area - common, 1e-9)

    def between(self, other: Box, part: float) -> Box:
        """The box at `part` of the way to another."""
        return Box(*(a + part * (b - a) for a, b in zip(self, other, strict=True)))


class Landmarks(Protocol):
    """What finds faces and their points: the one interface of back ends.

    Attributes:
        name: for descriptions: the library, the model and its digest.
        count: points of a face, 5 or 68.
    """

    name: str
    count: int

    def detect(self, picture: Picture) -> list[Box]:
        """Faces in a grey picture (H, W), uint8."""

    def points(self, picture: Picture, box: Box) -> Points:
        """Points (count, 2), x and y, of the face in `box`."""


@dataclass
class Track:
    """The face of a clip.

    Attributes:
        points: (T, P, 2); NaN where the face is missed.
        found: (T,) whether it was found.
        starts: first frames of the stretches between scene changes, 0 first.
        second: size and presence of the next face beside it, as a part of its own.
        searches: frames in which faces were looked for.
    """

    points: Points
    found: npt.NDArray[np.bool_]
    starts: list[int]
    second: float
    searches: int


def five_of(points: Points) -> Points:
    """The five points (..., 5, 2) among 5 or 68."""
    return points if points.shape[-2] == 5 else points[..., FIVE_OF_68, :]


@dataclass
class _Search:
    """Looks for faces, in no frame twice."""

    pictures: Sequence[Picture]
    finder: Landmarks
    known: dict[int, list[Box]] = field(default_factory=dict)

    def __call__(self, frame: int) -> list[Box]:
        if frame not in self.known:
            self.known[frame] = self.finder.detect(self.pictures[frame])
        return self.known[frame]

    def nearest(self, frame: int, boxes: Iterable[Box]) -> Box | None:
        """The face that overlaps one of `boxes` most; the largest where none does."""
        faces, wanted = self(frame), list(boxes)
        if not faces:
            return None

        def rank(face: Box) -> tuple[float, float]:
            best = max((face.overlap(box) for box in wanted), default=0.0)
            return (best if best > 0.1 else 0.0, face.area)

        return max(faces, key=rank)


def _chains(search: _Search, keys: Sequence[int]) -> list[dict[int, Box]]:
    """Faces of the frames `keys`, joined by overlap to one chain (frame -> box) a face."""
    chains: list[dict[int, Box]] = []
    reach = 2 * max(1, keys[1] - keys[0] if len(keys) > 1 else 1)
    for key in keys:
        free = [c for c in chains if key - max(c) <= reach]
        for box in sorted(search(key), key=lambda b: -b.area):
            scored = [(box.overlap(chain[max(chain)]), i) for i, chain in enumerate(free)]
            overlap, best = max(scored, default=(0.0, -1))
            if overlap >= _SAME:
                free.pop(best)[key] = box
            else:
                chains.append({key: box})
    return chains


def _weight(chain: Mapping[int, Box]) -> float:
    return sum(box.area**0.5 for box in chain.values())


def _choose(chains: list[dict[int, Box]]) -> tuple[dict[int, Box], float]:
    """The main face (frame -> box), and how much the next one beside it has of its weight.

    Chains that never stand beside a chosen one go on with it: after a loss or a scene change.
    """
    main: dict[int, Box] = {}
    spans: list[tuple[int, int]] = []
    beside: list[dict[int, Box]] = []
    for chain in sorted(chains, key=_weight, reverse=True):
        first, last = min(chain), max(chain)
        if all(last < other_first or first > other_last for other_first, other_last in spans):
            main.update(chain)
            spans.append((first, last))
        else:
            beside.append(chain)
    second = max((_weight(chain) for chain in beside), default=0.0)
    return dict(sorted(main.items())), second / max(_weight(main), 1e-9)


def _halve(search: _Search, boxes: dict[int, Box | None], first: int, last: int) -> None:
    """Search between two searched frames until what happens between is plain."""
    if last - first <= 1:
        return
    a, b = boxes[first], boxes[last]
    if a is None and b is None:
        return
    if a is not None and b is not None and a.overlap(b) >= _STEADY:
        return
    middle = (first + last) // 2
    boxes[middle] = search.nearest(middle, [box for box in (a, b) if box is not None])
    _halve(search, boxes, first, middle)
    _halve(search, boxes, middle, last)


def _boxes(
    search: _Search, main: Mapping[int, Box], keys: Sequence[int]
) -> tuple[list[Box | None], list[int]]:
    """A box for every frame, None where the face is missed, and the scene changes."""
    boxes: dict[int, Box | None] = {key: main.get(key) for key in keys}
    for first, last in zip(keys, keys[1:], strict=False):
        _halve(search, boxes, first, last)
    out: list[Box | None] = [None] * len(search.pictures)
    starts = [0]
    places = sorted(boxes)
    for frame, box in boxes.items():
        out[frame] = box
    for first, last in zip(places, places[1:], strict=False):
        a, b = boxes[first], boxes[last]
        if a is None or b is None:
            continue
        for frame in range(first + 1, last):
            out[frame] = a.between(b, (frame - first) / (last - first))
        if last - first == 1 and a.overlap(b) < _STEADY:
            starts.append(last)
    return out, starts


def boxes_of(five: Points, face: MeanFace) -> list[Box]:
    """Boxes as a detector would give them, from five points (T, 5, 2)."""
    matrix = similarity(five, face.points)
    centre = apply(invert(matrix), np.array([_BOX_CENTRE]))[:, 0]
    half = 0.5 * _BOX_SIDE / np.maximum(scale_of(matrix), 1e-6)
    low, high = centre - half[:, None], centre + half[:, None]
    return [Box(*map(float, (*a, *b))) for a, b in zip(low, high, strict=True)]


def stretches(found: npt.NDArray[np.bool_], starts: Sequence[int]) -> list[tuple[int, int]]:
    """Runs [first, last) of found frames without a scene change inside."""
    out, begin = [], None
    for frame, good in enumerate([*found.tolist(), False]):
        if begin is not None and (not good or frame in starts):
            out.append((begin, frame))
            begin = None
        if good and begin is None:
            begin = frame
    return out


def follow(
    pictures: Sequence[Picture], finder: Landmarks, face: MeanFace, every: int = 10
) -> Track | None:
    """Follow the main face of a clip.

    Args:
        pictures: grey (H, W) uint8, all of one size.
        finder: the back end.
        face: mean face, whose points say how boxes lie around faces.
        every: frames between two searches.

    Returns:
        The track, None where no face is found at all.
    """
    total = len(pictures)
    keys = sorted({*range(0, total, every), total - 1})
    search = _Search(pictures, finder)
    chains = _chains(search, keys)
    if not chains:
        return None
    main, second = _choose(chains)
    boxes, starts = _boxes(search, main, keys)
    points = np.full((total, finder.count, 2), np.nan)
    for frame, box in enumerate(boxes):
        if box is not None:
            points[frame] = finder.points(pictures[frame], box)
    _mend(points, boxes, search, face)
    found = ~np.isnan(points[:, 0, 0])
    for first, last in stretches(found, starts):
        asked = boxes_of(smooth(five_of(points[first:last]), _BOX_WINDOW), face)
        for frame, box in zip(range(first, last), asked, strict=True):
            points[frame] = finder.points(pictures[frame], box)
    return Track(points, found, starts, second, len(search.known))


def _mend(points: Points, boxes: Sequence[Box | None], search: _Search, face: MeanFace) -> None:
    """Place points anew, or drop them, where they do not agree with the box they were placed in."""
    found = np.flatnonzero(~np.isnan(points[:, 0, 0]))
    if not len(found):
        return
    asked = boxes_of(five_of(points[found]), face)
    for frame, want in zip(found.tolist(), asked, strict=True):
        box = boxes[frame]
        if box is None or box.overlap(want) >= _AGREES:
            continue
        again = search.nearest(frame, [box])
        if again is None or again.overlap(box) < _SAME:
            points[frame] = np.nan
        else:
            points[frame] = search.finder.points(search.pictures[frame], again)
