"""Inputs of a model as it was trained: read, normalised, counted in frames.

Training, feature dumping and decoding read through `InputReader`, so that a model never sees
inputs prepared in another way.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import ArkReader, as_float
from pylib.corpus.datadir import DataDir
from pylib.corpus.derived import open_derived
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_numbers

if TYPE_CHECKING:
    from pylib.nn.encoder import EncoderConfig

SAMPLE_RATE = 16000
FBANK_RATE = 100
CONV_FIELD, CONV_HOP = 400, 320  # receptive field and hop of the waveform front end, samples

Floats = npt.NDArray[np.float32]


class InputReader:
    """Reads the utterances of one data directory for one model.

    Attributes:
        rate: input units a second (16000 samples or 100 filter-bank frames).
        hop: input units a model frame.
        frame_rate: model frames a second.
        lengths: utterance -> input units.
    """

    def __init__(
        self,
        data: DataDir,
        model: EncoderConfig,
        normalise: bool,
        cache_gb: float = 0.0,
        features: str = "feats",
    ) -> None:
        """
        Args:
            data: the data directory; `<features>.scp` is used by filter-bank models.
            model: `frontend`, `fbank_dim` and `fbank_stack` are read.
            normalise: zero mean and unit variance over the whole utterance (each filter-bank
                channel for itself).
            cache_gb: memory for what was read, in GB; 0 = read anew each time.
            features: name of the scp and json. Only `feats` must be filter banks.

        Raises:
            UserError: no features, or of another kind, dimension or rate.
        """
        self.data, self.model, self.normalise, self.features = data, model, normalise, features
        self._room = int(cache_gb * 1e9)
        self._cache: dict[str, Floats] = {}
        self._scp: dict[str, str] = {}
        self._arks = ThreadArks()
        if model.frontend == "waveform":
            self.rate, self.hop = SAMPLE_RATE, CONV_HOP
            self.lengths = dict(data.utt2num_samples)
        else:
            self.rate, self.hop = FBANK_RATE, model.fbank_stack
            self._scp = _open_features(data, model, features)
            self.lengths = (
                _frame_counts(data)
                if features == "feats"
                else {u: self._arks.reader.header(self._scp[u], u).shape[0] for u in data.utts}
            )
        self.frame_rate = self.rate / self.hop

    def frames(self, length: int) -> int:
        """Model frames of an input of `length` units."""
        if self.model.frontend == "waveform":
            return max((length - CONV_FIELD) // CONV_HOP + 1, 0)
        return length // self.hop

    def holds(self, utts: Sequence[str]) -> bool:
        """Whether all of `utts` are in memory."""
        return all(utt in self._cache for utt in utts)

    def read(self, utt: str) -> Floats:
        """Input of an utterance: (N,) samples or (F, dim) filter banks, float32.

        Raises:
            UserError: unreadable, or not as long as the data directory says.
        """
        cached = self._cache.get(utt)
        if cached is not None:
            return cached
        if self.model.frontend == "waveform":
            value = self.data.read_utt(utt, SAMPLE_RATE)
        else:
            rx = self._scp[utt]
            value = as_float(self._arks.reader.read(rx, utt), rx, utt)
            if value.ndim != 2 or value.shape[1] != self.model.fbank_dim:
                raise UserError(
                    f"{self.data.path}/{self.features}.scp: {utt}: features of shape "
                    f"{value.shape}, expected (frames, {self.model.fbank_dim}): make the features "
                    "again"
                )
        if len(value) != self.lengths[utt]:
            raise UserError(
                f"{self.data.path}: {utt}: has {len(value)} samples or frames, its table says "
                f"{self.lengths[utt]}: the data changed after it was prepared, prepare it again"
            )
        if self.normalise:
            value = normalise(value)
        if value.nbytes <= self._room:
            self._room -= value.nbytes
            self._cache[utt] = value
        return value

    def read_padded(self, utts: Sequence[str]) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Inputs of several utterances, padded with zeros: (B, N) or (B, F, dim), lengths (B,)."""
        values = [self.read(utt) for utt in utts]
        lengths = np.array([len(value) for value in values], dtype=np.int64)
        out = np.zeros((len(values), int(lengths.max()), *values[0].shape[1:]), dtype=np.float32)
        for row, value in enumerate(values):
            out[row, : len(value)] = value
        return out, lengths


class ThreadArks(threading.local):
    """An ArkReader for each thread: they keep files open and must not be shared."""

    def __init__(self) -> None:
        self.reader = ArkReader()


def normalise(value: Floats) -> Floats:
    """Zero mean and unit variance over time: (N,), or each channel of (F, D). eps 1e-5.

    Source: fairseq `RawAudioDataset.postprocess` (layer_norm over the utterance).
    """
    wide = value.astype(np.float64)
    mean, variance = wide.mean(axis=0), wide.var(axis=0)
    return ((wide - mean) / np.sqrt(variance + 1e-5)).astype(np.float32)


def _open_features(data: DataDir, model: EncoderConfig, stem: str) -> dict[str, str]:
    meta, scp = open_derived(data.path, stem)
    wanted = [("kind", "fbank")] if stem == "feats" else []
    for key, expected in (*wanted, ("dim", model.fbank_dim), ("rate", FBANK_RATE)):
        if meta.get(key) != expected:
            fix = "make fbank features again with steps/make_feats.sh"
            raise UserError(
                f"{data.path}/{stem}.json: {key} = {meta.get(key)!r}, the model expects "
                f"{expected!r}: {fix if stem == 'feats' else 'set model.fbank_dim, or other data'}"
            )
    missing = [utt for utt in data.utts if utt not in scp]
    if missing:
        raise UserError(
            f"{data.path}/{stem}.scp: {len(missing)} of {len(data.utts)} utterances have no "
            f"features, the first is {missing[0]}: run steps/make_feats.sh again or "
            "steps/fix_data_dir.sh"
        )
    return scp


def _frame_counts(data: DataDir) -> dict[str, int]:
    path = data.path / "utt2num_frames"
    if not path.exists():
        raise UserError(f"{path}: missing: make the features again with steps/make_feats.sh")
    counts = read_numbers(path, int)
    missing = [utt for utt in data.utts if utt not in counts]
    if missing:
        raise UserError(
            f"{path}: {len(missing)} utterances have no count, the first is {missing[0]}: make "
            "the features again"
        )
    return counts
