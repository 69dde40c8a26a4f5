"""Mouth regions of a data directory (`steps/make_mouth.sh`): made in shards, refused ones listed.

The result is a data directory of its own: that of the source less the clips without a usable
mouth, with `mouth.scp`, `mouth.json`, `mouth_quality` and `mouth_excluded.txt`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pylib.corpus.ark import ArkWriter, concat_scps, read_scp
from pylib.corpus.atomic import atomic_dir, require_free_space, write_json, write_text
from pylib.corpus.datadir import DataDir
from pylib.corpus.derived import Derived, input_bytes, shard_slice
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.progress import Progress
from pylib.corpus.tables import read_table, table_path
from pylib.corpus.video import read_grey
from pylib.features.face_geometry import MeanFace
from pylib.features.landmarks import Landmarks, Picture
from pylib.features.mouth import Mouth, MouthConfig, Quality, cut_mouth
from pylib.features.mouth_store import COMPRESSION, DIM, RATE, STEM, describe_mouth, to_matrix

QUALITY, EXCLUDED = "mouth_quality", "mouth_excluded.txt"
_INPUTS = ("video.scp", "video_segments", "utt2spk", "utt2num_video")


@dataclass(frozen=True)
class MouthStage:
    """Mouth regions of one data directory.

    Attributes:
        data: the source, with `video.scp`.
        out: the data directory that is made.
        ark_dir: where the arks go.
        config: how.
        finder: name of the back end, and what makes it (once a process).
        face: the mean face.
        jobs: number of shards.
    """

    data: Path
    out: Path
    ark_dir: Path
    config: MouthConfig
    finder: Callable[[], Landmarks]
    face: MeanFace
    jobs: int = 1

    def __post_init__(self) -> None:
        """Raises UserError when the result would replace its source, or there is no video."""
        if os.path.realpath(self.data) == os.path.realpath(self.out):
            raise UserError(f"{self.out}: is the source itself: name another directory")
        if not (self.data / "video.scp").is_file():
            raise UserError(
                f"{self.data}/video.scp: no such file: prepare the data from a corpus with video"
            )

    @cached_property
    def source(self) -> DataDir:
        """The source, checked."""
        return DataDir.load(self.data)

    @cached_property
    def _finder(self) -> Landmarks:
        return self.finder()

    def meta(self) -> dict[str, Any]:
        """What `mouth.json` says."""
        return {
            **describe_mouth(),
            "config": dataclasses.asdict(self.config),
            "landmarks": self._finder.name,
            "mean_face": self.face.digest,
        }

    @cached_property
    def derived(self) -> Derived:
        """Names of the arks."""
        inputs = tuple(input_bytes(self.data / name for name in _INPUTS))
        return Derived(self.out, STEM, self.ark_dir, self.meta(), inputs, self.jobs)

    @property
    def _owner(self) -> str:
        return os.path.relpath(self.out, self.ark_dir) + "\n"

    @cached_property
    def _videos(self) -> dict[str, str]:
        return read_table(table_path(self.data, "video.scp"))

    @cached_property
    def _segments(self) -> dict[str, tuple[int, int]]:
        """Utterance -> first frame, number of frames, where it is a piece of its video."""
        path = self.data / "video_segments"
        if not path.is_file():
            return {}
        out = {}
        for number, (utt, value) in enumerate(read_table(path, fields=3).items(), 1):
            try:
                first, end = map(int, value.split())
            except ValueError:
                first, end = 0, 0
            if not 0 <= first < end:
                raise UserError(
                    f"{path}:{number}: '{utt} {value}': 0 <= first < end frame is expected: "
                    "prepare the data again"
                )
            out[utt] = (first, end - first)
        return out

    def make_shard(self, index: int) -> int:
        """Make shard `index` (from 1); returns the number of clips accepted.

        Raises:
            UserError: too little free space, or a fault of the data directory; unusable clips are
                listed and no error.
        """
        data = self.source
        part = shard_slice(data.utts, index, self.jobs)
        frames = data.utt2num_video
        require_free_space(self.ark_dir, DIM * sum(frames[utt] for utt in part))
        progress = Progress(f"mouths of {self.data}, shard {index}/{self.jobs}")
        folder = self.derived.directory
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "owner", self._owner)
        report = folder / f"{index}.json"
        report.unlink(missing_ok=True)
        quality: dict[str, str] = {}
        excluded: list[tuple[str, str, str]] = []
        with ArkWriter(folder / f"{index}.ark", folder / f"{index}.scp", COMPRESSION) as writer:
            for done, utt in enumerate(part, 1):
                mouth = self.cut(utt, frames[utt])
                if mouth.pictures is None:
                    excluded.append((utt, mouth.reason, mouth.what))
                else:
                    writer.write(utt, to_matrix(mouth.pictures))
                    quality[utt] = mouth.quality.line()
                progress(done, len(part))
        write_json(report, {"quality": quality, "excluded": excluded})
        return len(quality)

    def cut(self, utt: str, frames: int) -> Mouth:
        """The mouth of an utterance; an unreadable video is a reason, not an error."""
        first, count = self._segments.get(utt, (0, None))
        path = self._videos[utt]
        try:
            mouth = cut_mouth(
                _limited(read_grey(path, first, count, RATE), frames, path),
                self._finder,
                self.face,
                self.config,
            )
        except UserError as error:
            return Mouth(None, Quality(), "unreadable", str(error))
        return mouth

    def commit(self) -> dict[str, Any]:
        """Join the shards and write the data directory.

        Returns:
            `accepted`, `excluded` (reason -> count).

        Raises:
            UserError: a shard is missing, or no clip is left; nothing is written then.
        """
        quality, excluded = self._read_shards()
        if not quality:
            counts = Counter(reason for _, reason, _ in excluded)
            listed = ", ".join(f"{counts[reason]} {reason}" for reason in sorted(counts))
            first = " ".join(excluded[0]) if excluded else ""
            raise UserError(
                f"{self.data}: no clip has a usable mouth ({listed}; {first}): look at the videos, "
                "or ask for less (--min-detected, --min-mouth)"
            )
        chosen = sorted(quality)
        contents = Contents.load(self.data).select(chosen)
        contents.utt[QUALITY] = {utt: quality[utt] for utt in chosen}
        with atomic_dir(self.out) as temp:
            contents.write(temp)
            write_json(temp / f"{STEM}.json", self.meta())
            shards = [self.derived.directory / f"{i}.scp" for i in range(1, self.jobs + 1)]
            concat_scps([scp for scp in shards if scp.stat().st_size], temp / f"{STEM}.scp")
            lines = [f"{utt} {reason} {what}\n" for utt, reason, what in sorted(excluded)]
            write_text(temp / EXCLUDED, "".join(lines))
        self._remove_others()
        return {
            "accepted": len(chosen),
            "excluded": dict(sorted(Counter(reason for _, reason, _ in excluded).items())),
        }

    def _read_shards(self) -> tuple[dict[str, str], list[list[str]]]:
        quality: dict[str, str] = {}
        excluded: list[list[str]] = []
        for index in range(1, self.jobs + 1):
            base = self.derived.directory / str(index)
            try:
                found = json.loads(Path(f"{base}.json").read_text(encoding="utf-8"))
            except FileNotFoundError as error:
                raise UserError(
                    f"{base}.json: shard {index}/{self.jobs} is missing: its job failed or was "
                    "made from other inputs, run the step again"
                ) from error
            part = shard_slice(self.source.utts, index, self.jobs)
            named = [*found["quality"], *(row[0] for row in found["excluded"])]
            if sorted(named) != sorted(part) or (
                found["quality"] and read_scp(f"{base}.scp").keys() != found["quality"].keys()
            ):
                raise UserError(f"{base}.scp: is not of these utterances: run the step again")
            quality.update(found["quality"])
            excluded += found["excluded"]
        return quality, excluded

    def _remove_others(self) -> None:
        """Remove the arks that the data directory had before."""
        for other in self.ark_dir.glob(f"{STEM}.*.n*"):
            owner = other / "owner"
            if other.name == self.derived.directory.name or not owner.is_file():
                continue
            if owner.read_text(encoding="utf-8") == self._owner:
                shutil.rmtree(other)


def _limited(pictures: Iterable[Picture], frames: int, path: str) -> Iterator[Picture]:
    """All pictures, of which there must be as many as the data directory says.

    Raises:
        UserError: another number.
    """
    count = 0
    for count, picture in enumerate(pictures, 1):
        if count > frames:
            break
        yield picture
    if count != frames:
        found = f"more than {frames}" if count > frames else f"{count}"
        raise UserError(
            f"{path}: {found} frames, {frames} in utt2num_video: prepare the data again"
        )
