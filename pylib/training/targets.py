"""What a model is trained to predict: unit labels of every frame, or a transcript's letters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import read_ints, read_scp
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.training.inputs import InputReader, read_meta
from pylib.units.letters import encode


class LabelStore:
    """Unit labels of a set, checked once and kept in memory in the smallest type that holds K.

    mt4ssl.md G1-G5: a wrong rate, a wrong length, an id outside 0..K-1 or a set with a single
    unit is an error here, never a silently misaligned target.
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
        path = folder / "labels.scp"
        if not path.exists():
            raise UserError(f"{path}: missing: offline targets need it; run steps/dump_labels.sh")
        self.meta = read_meta(folder / "labels.json")
        self._check_meta(f"{folder}/labels.json", reader, clusters)
        scp = read_scp(path)
        dtype = np.uint8 if clusters <= 256 else np.uint16 if clusters <= 65536 else np.int32
        self._labels: dict[str, npt.NDArray] = {}
        seen = np.zeros(clusters, dtype=bool)
        for utt in utts:
            if utt not in scp:
                raise UserError(f"{path}: {utt}: has no labels: run steps/dump_labels.sh again")
            ids = np.asarray(read_ints(scp[utt]))
            self._check(f"{path}: {utt}", ids, reader.frames(reader.lengths[utt]), clusters)
            seen[ids] = True
            self._labels[utt] = ids.astype(dtype)
        if seen.sum() < 2:
            raise UserError(
                f"{path}: all labels are one and the same unit: a wrong or empty k-means model? "
                "look at steps/measure_units.sh"
            )

    def _check_meta(self, where: str, reader: InputReader, clusters: int) -> None:
        rate = self.meta.get("rate")
        if rate != reader.frame_rate:
            raise UserError(
                f"{where}: labels are at {rate} Hz, the model's frames at "
                f"{reader.frame_rate:g} Hz: run steps/dump_labels.sh --rate {reader.frame_rate:g}"
            )
        if self.meta.get("clusters") != clusters:
            raise UserError(
                f"{where}: labels have {self.meta.get('clusters')} clusters, the model "
                f"{clusters}: set targets.clusters={self.meta.get('clusters')}"
            )

    @staticmethod
    def _check(where: str, ids: npt.NDArray, frames: int, clusters: int) -> None:
        if ids.ndim != 1 or len(ids) != frames:
            raise UserError(
                f"{where}: has {ids.shape} labels, the model makes {frames} frames of this "
                "utterance: label the data again after preparing it"
            )
        if len(ids) and (ids.min() < 0 or ids.max() >= clusters):
            raise UserError(
                f"{where}: ids from {ids.min()} to {ids.max()}, allowed are 0 to {clusters - 1}: "
                "these labels belong to another k-means model"
            )

    def get(self, utt: str, start: int, frames: int) -> npt.NDArray:
        """Labels of `frames` model frames from frame `start` on: (frames,)."""
        part = self._labels[utt][start : start + frames]
        if len(part) != frames:
            raise UserError(f"{utt}: labels end before frame {start + frames}: label again")
        return part


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
