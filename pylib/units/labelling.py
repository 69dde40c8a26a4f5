"""The label stage: units of a data directory from a k-means, in shards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import iter_scp
from pylib.corpus.datadir import DataDir
from pylib.corpus.derived import Derived, input_bytes
from pylib.corpus.errors import UserError
from pylib.corpus.progress import Progress
from pylib.corpus.tables import names_some, read_numbers
from pylib.units.assign import Assigner
from pylib.units.kmeans_model import KMeansModel
from pylib.units.labels import (
    ALIGNMENTS,
    Align,
    LabelReader,
    label_meta,
    labeller,
    picture_frames,
    ratio,
    require_variety,
    usage,
    waveform_frames,
)
from pylib.units.quality import perplexity

PICTURE_RATE = 25.0  # Hz of audio-visual models


class Features(Protocol):
    """What the stage reads: `pylib.features.reader.FeatureReader`."""

    meta: dict[str, Any]
    utts: list[str]
    rate: float

    def read(self, utt: str) -> npt.NDArray[np.float32]:
        """Features (F, D) of an utterance."""


@dataclass(frozen=True)
class LabelStage:
    """Labels of one data directory from one k-means.

    Attributes:
        data: data directory.
        kmeans: the fitted model.
        ark_dir: where the arks go.
        rate: Hz of the labels.
        align: `start` for the waveform front end, `centre` for stacked filter banks.
        jobs: number of shards.
    """

    data: Path
    kmeans: KMeansModel
    ark_dir: Path
    rate: float
    align: Align
    jobs: int = 1

    def derived(self) -> Derived:
        """Names and digests of the arks."""
        tables = [f"{self.kmeans.stem}.scp", f"{self.kmeans.stem}.json", "utt2num_samples"]
        if self.rate == PICTURE_RATE:
            tables.append("utt2num_video")
        if self.kmeans.cmvn == "speaker":
            tables.append("utt2spk")
        inputs = input_bytes(self.data / name for name in tables)
        meta = label_meta(self.kmeans.meta(), self.rate, self.align)
        return Derived(self.data, "labels", self.ark_dir, meta, tuple(inputs), self.jobs)

    def make_shard(self, index: int, features: Features) -> int:
        """Label shard `index` (from 1); returns its number of labels.

        Raises:
            UserError: features that the k-means was not fitted to; lengths that disagree.
        """
        self.kmeans.require(features.meta, f"{self.data}/{self.kmeans.stem}.json")
        ratio(features.rate, self.rate)  # once, not for every utterance
        make = labeller(
            features.read,
            Assigner(self.kmeans.centroids),
            features.rate,
            self.rate,
            self.align,
            self._frames(features.utts),
        )
        progress = Progress(f"labels of {self.data}, shard {index}/{self.jobs}")
        return self.derived().write_shard(index, features.utts, make, progress=progress)

    def _frames(self, utts: Sequence[str]) -> Mapping[str, int] | None:
        """Frames that the model makes of each utterance, where the audio lies at its rate: conv
        frames at 50 Hz, pictures at 25 Hz."""
        counted = self.data / "utt2num_video"
        if self.align == "start" and self.rate == PICTURE_RATE and counted.is_file():
            pictures = read_numbers(counted, int)
            missing = [utt for utt in utts if utt not in pictures]
            if missing:
                raise UserError(f"{counted}: lacks {names_some(missing)}: prepare the data again")
            return pictures
        data = DataDir.load(self.data)
        if self.align != "start" or self.rate not in (50.0, PICTURE_RATE) or not _known(data):
            return None
        samples, seconds = data.utt2num_samples, data.utt2dur
        if any(abs(samples[utt] - 16000 * seconds[utt]) > 16 for utt in utts):
            return None  # resampled on reading: the length is not known without the audio
        frames = waveform_frames if self.rate == 50.0 else picture_frames
        return {utt: frames(samples[utt]) for utt in utts}

    def commit(self, utts: Sequence[str]) -> str:
        """Join the shards; returns the line about the use of the units.

        Raises:
            UserError: a shard or an utterance is missing; all labels are one unit.
        """
        derived = self.derived()
        shards = [derived.directory / f"{i}.scp" for i in range(1, self.jobs + 1)]
        counts = usage(_all_ids(shards), len(self.kmeans.centroids))
        require_variety(counts, f"{derived.directory}")
        frames = sum(derived.commit(utts).values())
        reader = LabelReader(self.data)
        return (
            f"labels of {self.data}: {frames} at {reader.rate:g} Hz "
            f"({frames / reader.rate / 3600:.2f} h), {(counts > 0).sum()} of {len(counts)} units "
            f"used, perplexity {perplexity(counts):.1f}"
        )


def _known(data: DataDir) -> bool:
    return all((data.path / name).is_file() for name in ("utt2num_samples", "utt2dur"))


def _all_ids(scps: Sequence[Path]) -> Iterator[npt.NDArray[np.int32]]:
    for scp in scps:
        if not scp.is_file():
            raise UserError(
                f"{scp}: missing: its job failed or was made from other inputs, run the step again"
            )
        for _, ids in iter_scp(scp):
            yield ids


def default_align(rate: float, features: Mapping[str, Any]) -> Align:
    """How labels at `rate` Hz lie, where nobody says.

    Features of a model lie as that model's frames do. Else `start` at 50 Hz, the rate of the
    waveform front end, and `centre` at any other rate.

    Args:
        rate: Hz of the labels.
        features: metadata of the features.
    """
    if rate == features.get("rate") and features.get("align") in ALIGNMENTS:
        align: Align = features["align"]
        return align
    return "start" if rate == 50.0 else "centre"
