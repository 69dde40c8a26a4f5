"""Features, samples and pitch of the utterances that a conversion is made of, each made once."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pylib.conversion import world
from pylib.corpus.datadir import DataDir
from pylib.corpus.derived import read_meta
from pylib.corpus.errors import UserError
from pylib.features.config import SpectrumConfig
from pylib.features.reader import FeatureReader

Matrix = npt.NDArray[np.float32]
Samples = npt.NDArray[np.float32]
Key = TypeVar("Key")
Value = TypeVar("Value")


class Recent(OrderedDict[Key, Value]):
    """The last few things made, by key."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def get_or(self, key: Key, make: Callable[[], Value]) -> Value:
        """What `make` gives, unless it was made lately."""
        if key in self:
            self.move_to_end(key)
            return self[key]
        value = self[key] = make()
        if len(self) > self._size:
            self.popitem(last=False)
        return value


def spectrum_config(data: str | os.PathLike[str], stem: str) -> SpectrumConfig:
    """The configuration of `<data>/<stem>.scp`, if these features can be turned into sound.

    Raises:
        UserError: missing, of a kind that holds no magnitudes, or made with other settings.
    """
    meta = read_meta(data, stem)
    where = Path(data) / f"{stem}.json"
    kind = meta.get("kind")
    if kind not in ("logmel", "logspec", "logspec200"):
        raise UserError(
            f"{where}: features of kind '{kind}' cannot be turned into sound: convert with a "
            "system trained on logmel, logspec or logspec200 (steps/make_feats.sh --kind)"
        )
    config = SpectrumConfig.preset(kind)
    if meta.get("config") != config.describe():
        raise UserError(f"{where}: made by another version: make them again, steps/make_feats.sh")
    return config


class Voices:
    """The utterances of a data directory with features.

    Args:
        data: data directory with `<stem>.scp` and audio.
        stem: name of the features.

    Attributes:
        config: of the features.
        data: the data directory.
    """

    def __init__(self, data: str | os.PathLike[str], stem: str = "logmel") -> None:
        self.config = spectrum_config(data, stem)
        self.data = DataDir.load(data)
        self._reader = FeatureReader(data, stem)
        self._features: Recent[str, Matrix] = Recent(512)
        self._log_f0: Recent[str, npt.NDArray[np.float64]] = Recent(512)
        self._analyses: Recent[str, world.Analysis] = Recent(32)

    @property
    def meta(self) -> dict[str, Any]:
        """What the features' json says."""
        return self._reader.meta

    def require(self, utt: str) -> None:
        """Refuse an utterance that is not there (UserError)."""
        self.data.wav_of(utt)

    def speaker(self, utt: str) -> str:
        """Speaker of an utterance."""
        return self.data.utt2spk[utt]

    def features(self, utt: str) -> Matrix:
        """Features float32 (F, D) of an utterance."""
        return self._features.get_or(utt, lambda: self._reader.read(utt))

    def joined(self, utts: Sequence[str]) -> Matrix:
        """Features (sum of F, D) of some utterances, one after the other."""
        return np.concatenate([self.features(utt) for utt in utts])

    def samples(self, utt: str) -> Samples:
        """Samples of an utterance at the features' rate.

        Raises:
            UserError: unreadable, of another rate, or of another length than its features.
        """
        config = self.config
        made = {key: bool(self.meta.get(key)) for key in ("resample", "mix")}
        samples = self.data.read_utt(utt, config.rate, **made)
        frames = self._reader.num_frames(utt)
        if config.num_frames(len(samples)) != frames:
            raise UserError(
                f"utterance '{utt}': {len(samples)} samples, but {frames} frames of features: the "
                "audio has changed, make the features again"
            )
        return samples

    def analysis(self, utt: str) -> world.Analysis:
        """WORLD's parameters of an utterance."""
        return self._analyses.get_or(
            utt, lambda: world.analyse(self.samples(utt), self.config.rate)
        )

    def pitch(self, utts: Sequence[str]) -> world.Pitch:
        """Pitch statistics over some utterances."""
        return world.pitch_of(
            self._log_f0.get_or(utt, lambda utt=utt: self._voiced(utt)) for utt in utts
        )

    def _voiced(self, utt: str) -> npt.NDArray[np.float64]:
        return world.log_f0(self.samples(utt), self.config.rate)

    def company(self, utt: str, count: int) -> tuple[str, ...]:
        """The utterance and others of its speaker, at most `count`: what is known of the voice."""
        others = [other for other in self.data.spk2utt[self.speaker(utt)] if other != utt]
        return (utt, *others[: max(count - 1, 0)])
