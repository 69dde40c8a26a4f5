"""The video of a data directory: which file each utterance is in, and which frames of it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import parse_number, read_table, table_path


@dataclass(frozen=True)
class Clip:
    """Video of an utterance: frames `first` to `first + frames` of `path`, 25 a second."""

    path: str
    first: int
    frames: int


def read_video_segments(path: str | os.PathLike[str]) -> dict[str, tuple[int, int]]:
    """Read `video_segments`: utterance -> (first, end) frame of its video, end exclusive.

    Raises:
        UserError: rules of a table; numbers that are none, or end not after first.
    """
    out: dict[str, tuple[int, int]] = {}
    for number, (utt, value) in enumerate(read_table(path, fields=3).items(), 1):
        try:
            first, end = (parse_number(word, int) for word in value.split())
        except ValueError:
            first, end = 0, -1
        if not 0 <= first < end:
            raise UserError(
                f"{os.fspath(path)}:{number}: '{utt} {value}': 0 <= first < end frame is needed: "
                "prepare the data again"
            )
        out[utt] = (first, end)
    return out


def read_clips(data: DataDir) -> dict[str, Clip]:
    """Clip of each utterance of a data directory with `video.scp` and `utt2num_video`.

    Raises:
        UserError: a missing or broken table, keys that differ from utt2spk's, or frames that
            disagree.
    """
    path = table_path(data.path, "video.scp")
    video, frames = read_table(path), data.utt2num_video
    place = data.path / "video_segments"
    spans = read_video_segments(place) if place.is_file() else {u: (0, frames[u]) for u in frames}
    for name, table in (("video.scp", video), ("video_segments", spans)):
        if table.keys() != data.utt2spk.keys():
            raise UserError(
                f"{data.path / name}: its utterances are not those of utt2spk: see "
                f"steps/validate_data_dir.sh {data.path}"
            )
    for utt, (first, end) in spans.items():
        if end - first != frames[utt]:
            raise UserError(
                f"{place}: '{utt}' has {end - first} frames, {frames[utt]} in utt2num_video: "
                "prepare the data again"
            )
    return {utt: Clip(video[utt], first, end - first) for utt, (first, end) in spans.items()}
