"""What a model is trained to predict: unit labels of every frame, or a transcript's letters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.training.inputs import InputReader
from pylib.units.labels import LabelReader
from pylib.units.letters import encode


class LabelStore:
    """Unit labels of a set, checked once and kept in memory in the smallest type that holds K.

    A wrong rate, alignment or length, an id outside 0..K-1 or a set with a
    single unit is an error here, never a silently misaligned target.
    """

    def __init__(self, reader: InputReader, utts: Sequence[str], clusters: int) -> None:
        """
        Args:
            reader: gives the frame rate and the frames every utterance must have.
            utts: the utterances that will be asked for.
            clusters: K of the model's head.

        Raises:
            UserError: naming the file, the utterance and the rule.
        """
        folder = reader.data.path
        labels = LabelReader(folder)
        self.meta = labels.meta
        _check_meta(f"{folder}/labels.json", labels, reader, clusters)
        dtype = np.uint8 if clusters <= 256 else np.uint16 if clusters <= 65536 else np.int32
        self._labels: dict[str, npt.NDArray] = {}
        seen = np.zeros(clusters, dtype=bool)
        for utt in utts:
            ids = labels.read(utt, reader.frames(reader.lengths[utt]))
            seen[ids] = True
            self._labels[utt] = ids.astype(dtype)
        if seen.sum() < 2:
            raise UserError(
                f"{folder}/labels.scp: all labels are one and the same unit: a wrong or empty "
                "k-means model? look at steps/measure_units.sh"
            )

    def get(self, utt: str, start: int, frames: int) -> npt.NDArray:
        """Labels of `frames` model frames from frame `start` on: (frames,)."""
        part = self._labels[utt][start : start + frames]
        if len(part) != frames:
            raise UserError(f"{utt}: labels end before frame {start + frames}: label again")
        return part


def _check_meta(where: str, labels: LabelReader, reader: InputReader, clusters: int) -> None:
    rate = reader.frame_rate
    align = "start" if reader.model.frontend == "waveform" else "centre"
    again = f"run steps/dump_labels.sh --rate {rate:g} --align {align}"
    if abs(labels.rate - rate) > 0.01:
        raise UserError(
            f"{where}: labels are at {labels.rate:g} Hz, the model's frames at {rate:g} Hz: {again}"
        )
    if labels.align != align:
        raise UserError(
            f"{where}: labels are aligned to the {labels.align} of a frame, this front end "
            f"({reader.model.frontend}) needs the {align}: {again}"
        )
    if labels.clusters != clusters:
        raise UserError(
            f"{where}: labels have {labels.clusters} clusters, the model {clusters}: set "
            f"targets.clusters={labels.clusters}"
        )


def transcripts(data: DataDir, utts: Sequence[str]) -> dict[str, list[int]]:
    """Letter ids of the transcripts of `utts`.

    Raises:
        UserError: a missing transcript, or a character outside the vocabulary; names the line.
    """
    text = data.text
    if text is None:
        raise UserError(f"{data.path}/text: missing: CTC training needs transcripts")
    missing = [utt for utt in utts if utt not in text]
    if missing:
        raise UserError(
            f"{data.path}/text: {len(missing)} of {len(utts)} utterances have no transcript, the "
            f"first is {missing[0]}: train on the transcribed ones (steps/subset_data_dir.sh)"
        )
    return {utt: encode(text[utt], f"{data.path}/text: {utt}") for utt in utts}


def too_fast(tokens: Sequence[int], frames: int) -> bool:
    """Whether CTC cannot spell `tokens` in `frames` frames (a blank parts equal neighbours)."""
    repeats = sum(a == b for a, b in zip(tokens, tokens[1:], strict=False))
    return len(tokens) + repeats > frames
