"""Unit labels of every frame: their rate, their rules, their files.

A label file belongs to one frame rate and one way of aligning frames:

- `start`, for the waveform front end: T = (N - 400) // 320 + 1 frames at 50 Hz. Its frame t and the
  100 Hz frame 2t start at the same sample, so its labels are `labels[0::2]`, exactly T of them.
- `centre`, for stacked filter banks: T = F // S frames at 100 / S Hz. Frame t covers the 100 Hz
  frames tS .. tS + S - 1 and takes the label of the middle one, tS + S // 2.

Nothing is padded, cropped or repeated: a length that does not follow the rule is an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import ArkReader, as_ints
from pylib.corpus.derived import open_derived
from pylib.corpus.errors import UserError

Ids = npt.NDArray[np.int32]
Align = Literal["start", "centre"]

ALIGNMENTS: tuple[Align, ...] = ("start", "centre")
_FIELD, _HOP = 400, 320  # samples: receptive field and hop of the waveform front end
_WINDOW_S = 0.025  # seconds that one 100 Hz frame and one conv frame see


def ratio(from_rate: float, to_rate: float) -> int:
    """How many frames at `from_rate` Hz become one at `to_rate` Hz.

    Raises:
        UserError: not a whole number: such labels cannot be aligned.
    """
    steps = round(from_rate / to_rate)
    if steps < 1 or abs(steps * to_rate - from_rate) > 1e-6 * from_rate:
        raise UserError(
            f"labels at {from_rate:g} Hz cannot become {to_rate:g} Hz: the ratio must be whole "
            "(100 Hz features give 100, 50, 33.3, 25 Hz ...)"
        )
    return steps


def num_frames(from_frames: int, from_rate: float, to_rate: float, align: Align) -> int:
    """Frames at `to_rate` of an utterance with `from_frames` frames at `from_rate`."""
    steps = ratio(from_rate, to_rate)
    return -(-from_frames // steps) if align == "start" else from_frames // steps


def waveform_frames(samples: int) -> int:
    """Frames of the waveform front end for `samples` samples at 16 kHz."""
    return max((samples - _FIELD) // _HOP + 1, 0)


def picture_frames(samples: int) -> int:
    """Frames at 25 Hz of an audio-visual model for `samples` samples at 16 kHz.

    ceil(F / 4) of the F = 1 + floor((N - 400) / 160) whole frames of 100 Hz: N = 640 T samples,
    the sound of T pictures, make T of them, and labels of MFCC with alignment `start` as many.
    """
    return -(-(1 + (samples - _FIELD) // 160) // 4) if samples >= _FIELD else 0


def decimate(
    labels: npt.NDArray[np.integer],
    from_rate: float,
    to_rate: float,
    num_frames: int,
    centre: bool,
) -> Ids:
    """Labels at a lower rate.

    Args:
        labels: (L,) ids at `from_rate`.
        from_rate: Hz of `labels`.
        to_rate: Hz wanted; `from_rate / to_rate` = S must be whole.
        num_frames: T, the frames that the model makes of this utterance.
        centre: False takes `labels[0::S]` and needs ceil(L / S) = T; True takes
            `labels[S // 2::S]`, the middle of each group of S, and needs L // S = T.

    Returns:
        int32 (T,).

    Raises:
        UserError: the ratio is not whole, or the rule gives another number of frames than T.
    """
    steps = ratio(from_rate, to_rate)
    made = len(labels) // steps if centre else -(-len(labels) // steps)
    if made != num_frames:
        rule = f"{len(labels)} // {steps}" if centre else f"ceil({len(labels)} / {steps})"
        raise UserError(
            f"{len(labels)} labels at {from_rate:g} Hz give {rule} = {made} at {to_rate:g} Hz, "
            f"the model makes {num_frames} frames: features and audio disagree, make both again"
        )
    first = steps // 2 if centre else 0
    return np.ascontiguousarray(labels[first::steps][:made], dtype=np.int32)


def check_ids(labels: npt.NDArray[np.integer], clusters: int, frames: int | None = None) -> None:
    """Refuse labels that cannot be those of an utterance.

    Args:
        labels: (T,) ids.
        clusters: K.
        frames: T where it is known.

    Raises:
        UserError: short, long, empty, or ids outside 0 .. K - 1.
    """
    if frames is not None and len(labels) != frames:
        short = "short" if len(labels) < frames else "long"
        raise UserError(
            f"{len(labels)} labels, {frames} frames: the labels are too {short}: label this data "
            "directory again (steps/dump_labels.sh)"
        )
    if labels.ndim != 1 or not len(labels):
        raise UserError(
            f"labels of shape {labels.shape}: at least one label is needed: label again"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= clusters:
        raise UserError(
            f"label {low if low < 0 else high} is unknown: ids are 0 to {clusters - 1}: these "
            "labels belong to another k-means, label again"
        )


def frame_times(count: int, rate: float, align: Align) -> npt.NDArray[np.float64]:
    """Middle, in seconds, of what the label of each frame was computed from.

    Args:
        count: T.
        rate: Hz.
        align: see the module.

    Returns:
        float64 (T,).
    """
    step = 1.0 / rate
    first = 0.0 if align == "start" else np.floor(step * 100.0 / 2.0 + 1e-9) / 100.0
    return np.arange(count) * step + first + _WINDOW_S / 2


class LabelReader:
    """Labels of a data directory, each checked as it is read.

    Attributes:
        utts: utterances, sorted.
        clusters: K.
        rate: Hz.
        align: `start` or `centre`.
        meta: what `labels.json` says.

    Raises:
        UserError: missing or disagreeing files.
    """

    def __init__(self, data: str | os.PathLike[str], stem: str = "labels") -> None:
        self.meta, self.table = open_derived(data, stem)
        self.utts = list(self.table)
        self._where = Path(data) / f"{stem}.scp"
        self._arks = ArkReader()
        try:
            self.clusters = int(self.meta["clusters"])
            self.rate = float(self.meta["rate"])
            self.align: Align = self.meta["align"]
            if self.align not in ALIGNMENTS:
                raise ValueError(self.align)
            if self.clusters < 1 or not 0 < self.rate < 1e6:
                raise ValueError(f"{self.clusters} clusters at {self.rate} Hz")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{Path(data) / stem}.json: not of a label stage ({error!r}): label again"
            ) from error

    def read(self, utt: str, frames: int | None = None) -> Ids:
        """Labels int32 (T,) of an utterance, checked against T = `frames` where it is given.

        Raises:
            UserError: see `check_ids`; unknown utterance; unreadable ark.
        """
        if utt not in self.table:
            raise UserError(f"{self._where}: no labels of utterance '{utt}': label again")
        rx = self.table[utt]
        labels = as_ints(self._arks.read(rx, utt), rx, utt)
        try:
            check_ids(labels, self.clusters, frames)
        except UserError as error:
            raise UserError(f"{self._where}: '{utt}': {error}") from error
        return labels


def labeller(
    read: Callable[[str], npt.NDArray[np.float32]],
    assign: Callable[[npt.NDArray[np.float32]], Ids],
    from_rate: float,
    to_rate: float,
    align: Align,
    frames: Mapping[str, int] | None,
) -> Callable[[str], Ids]:
    """Utterance -> labels, for `pylib.corpus.derived.Derived.write_shard`.

    Args:
        read: utterance -> features (F, D).
        assign: features -> ids (F,).
        from_rate: Hz of the features.
        to_rate: Hz of the labels.
        align: see the module.
        frames: frames that the model makes of each utterance; None = what the rule gives.
    """

    def make(utt: str) -> Ids:
        ids = assign(read(utt))
        want = num_frames(len(ids), from_rate, to_rate, align) if frames is None else frames[utt]
        return decimate(ids, from_rate, to_rate, want, align == "centre")

    return make


def usage(labels: Iterable[Ids], clusters: int) -> npt.NDArray[np.int64]:
    """Frames of each unit, int64 (K,)."""
    counts = np.zeros(clusters, dtype=np.int64)
    for ids in labels:
        counts += np.bincount(ids, minlength=clusters)
    return counts


def require_variety(counts: npt.NDArray[np.int64], where: str) -> None:
    """Refuse labels that are all one unit: nothing can be learnt from them.

    Raises:
        UserError: with the unit.
    """
    if len(counts) > 1 and (counts > 0).sum() < 2:
        raise UserError(
            f"{where}: every frame has unit {int(counts.argmax())}: the k-means does not fit these "
            "features (normalised otherwise? silent audio?), look at both"
        )


def label_meta(kmeans: Mapping[str, Any], rate: float, align: Align) -> dict[str, Any]:
    """What `labels.json` says: the k-means, and the rate and alignment of the labels."""
    return {"kind": "labels", "rate": float(rate), "align": align, **kmeans}
