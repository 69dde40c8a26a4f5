"""Features of a data directory, normalised on the way out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import ArkReader, as_float
from pylib.corpus.derived import open_derived
from pylib.corpus.errors import UserError
from pylib.corpus.tables import invert, names_some, read_table, table_path
from pylib.features.normalise import CMVN_MODES, MeanVariance

Matrix = npt.NDArray[np.float32]


class FeatureReader:
    """Reads `<data>/<stem>.scp`; holds no features, only statistics of speakers where asked.

    Args:
        data: data directory.
        stem: `feats`, `mfcc`, `hidden6` ...
        cmvn: `none`, `utterance` or `speaker`. Statistics of a speaker are over all of the
            speaker's utterances in `data`, so they do not depend on how the work is split.

    Attributes:
        meta: what `<stem>.json` says.
        utts: utterances, sorted.
        dim: numbers of a frame.
        rate: frames per second.

    Raises:
        UserError: missing or disagreeing files, an unknown mode.
    """

    def __init__(self, data: str | os.PathLike[str], stem: str, cmvn: str = "none") -> None:
        if cmvn not in CMVN_MODES:
            raise UserError(f"--cmvn {cmvn}: unknown: use {', '.join(CMVN_MODES)}")
        self.data, self.stem, self.cmvn = Path(data), stem, cmvn
        self.meta, self.table = open_derived(data, stem)
        self.utts = list(self.table)
        self.dim, self.rate = _dim_and_rate(self.meta, self.data / f"{stem}.json")
        self._utt2spk = read_table(table_path(self.data, "utt2spk"), fields=2)
        missing = self._utt2spk.keys() ^ self.table.keys()
        if missing:
            raise UserError(
                f"{self.data / stem}.scp: disagrees with utt2spk about {names_some(missing)}: "
                "make the features again, or run steps/fix_data_dir.sh"
            )
        self._spk2utt = invert(self._utt2spk)
        self._stats: dict[str, MeanVariance] = {}
        self._arks = ArkReader()

    def read(self, utt: str) -> Matrix:
        """Features of an utterance, normalised as asked.

        Returns:
            float32 (F, D).

        Raises:
            UserError: unreadable, of another dimension than the json says, empty, NaN or infinite.
        """
        raw = self._raw(utt)
        if self.cmvn == "none":
            return raw
        if self.cmvn == "utterance":
            return MeanVariance.of([raw], self.dim).apply(raw)
        speaker = self._utt2spk[utt]
        if speaker not in self._stats:
            parts = (self._raw(other) for other in self._spk2utt[speaker])
            self._stats[speaker] = MeanVariance.of(parts, self.dim)
        return self._stats[speaker].apply(raw)

    def num_frames(self, utt: str) -> int:
        """Frames of an utterance, from the ark's header.

        Raises:
            UserError: as `read`.
        """
        return self._arks.header(self._rx(utt), utt).shape[0]

    def _rx(self, utt: str) -> str:
        if utt not in self.table:
            raise UserError(f"{self.data / self.stem}.scp: no utterance '{utt}': check the id")
        return self.table[utt]

    def _raw(self, utt: str) -> Matrix:
        rx = self._rx(utt)
        matrix = as_float(self._arks.read(rx, utt), rx, utt)
        if matrix.ndim != 2 or matrix.shape[1] != self.dim or not len(matrix):
            raise UserError(
                f"utterance '{utt}': {rx}: shape {matrix.shape}, (frames, {self.dim}) expected "
                f"from {self.stem}.json: make the features again"
            )
        if not np.isfinite(matrix).all():
            raise UserError(
                f"utterance '{utt}': {rx}: NaN or infinite values: make the features again, or "
                "look at the model they come from"
            )
        return matrix


def _dim_and_rate(meta: Mapping[str, Any], path: Path) -> tuple[int, float]:
    dim, rate = meta.get("dim"), meta.get("rate")
    if not isinstance(dim, int) or dim < 1 or not isinstance(rate, (int, float)) or rate <= 0:
        raise UserError(
            f"{path}: dim {dim!r}, rate {rate!r}: not of a feature stage, make it again"
        )
    return dim, float(rate)
