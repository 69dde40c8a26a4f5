"""The feature stage: filter banks, MFCC or log-spectra of a data directory, in shards."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.atomic import write_text
from pylib.corpus.datadir import DataDir, format_seconds
from pylib.corpus.derived import Derived, input_bytes
from pylib.corpus.errors import UserError
from pylib.corpus.progress import Progress
from pylib.corpus.tables import write_table
from pylib.features.config import AnyConfig, LogFbankConfig, SpectrumConfig

Matrix = npt.NDArray[np.float32]

# Names of the scp and json beside the data directory, by kind.
STEMS = {
    "fbank": "feats",
    "mfcc": "mfcc",
    "logmel": "logmel",
    "logspec": "logspec",
    "logspec200": "logspec",
    "logfbank": "logfbank",
}


@dataclass(frozen=True)
class FeatureStage:
    """Features of one data directory.

    Attributes:
        data: data directory.
        ark_dir: where the arks go.
        config: what is computed.
        jobs: number of shards.
        compression: Kaldi's method; 0 keeps float32 (fastest to read), 3 halves the size.
        resample: convert audio of another rate instead of refusing it.
        mix: average channels instead of refusing several.
    """

    data: Path
    ark_dir: Path
    config: AnyConfig
    jobs: int = 1
    compression: int = 0
    resample: bool = False
    mix: bool = False

    def meta(self) -> dict[str, Any]:
        """What `<stem>.json` says."""
        config = self.config
        return {
            "kind": config.kind,
            "dim": config.dim,
            "rate": config.frame_rate,
            "frame_shift": config.shift / config.rate,
            "compression": self.compression,
            "resample": self.resample,
            "mix": self.mix,
            "config": config.describe(),
        }

    def derived(self) -> Derived:
        """Names and digests of the arks."""
        inputs = input_bytes(self.data / name for name in ("wav.scp", "segments", "utt2spk"))
        stem = STEMS[self.config.kind]
        return Derived(self.data, stem, self.ark_dir, self.meta(), tuple(inputs), self.jobs)

    def make_shard(self, index: int) -> int:
        """Compute shard `index` (from 1); returns its number of frames.

        Raises:
            UserError: utterances that could not be read or are too short, all named; too little
                free space. Nothing is left of the shard then.
        """
        data = DataDir.load(self.data)
        derived = self.derived()
        derived.require_space(index, data.utts)
        progress = Progress(f"{self.config.kind} of {self.data}, shard {index}/{self.jobs}")
        return derived.write_shard(
            index, data.utts, self._maker(data), compression=self.compression, progress=progress
        )

    def _maker(self, data: DataDir) -> Callable[[str], Matrix]:
        front = make_frontend(self.config)
        known = (self.data / "utt2num_samples").is_file() and not self.resample

        def make(utt: str) -> Matrix:
            samples = data.read_utt(utt, self.config.rate, resample=self.resample, mix=self.mix)
            if known and len(samples) != data.utt2num_samples[utt]:
                raise UserError(
                    f"utterance '{utt}': {data.wav_of(utt)[0]}: {len(samples)} samples, "
                    f"{data.utt2num_samples[utt]} in {self.data / 'utt2num_samples'}: the audio "
                    "has changed since it was prepared, prepare the data again"
                )
            return front(samples)

        return make

    def commit(self) -> int:
        """Join the shards; write utt2num_frames and frame_shift. Returns the number of frames.

        `logfbank` writes neither of the two: it has one frame more than the other kinds, which
        they describe.

        Raises:
            UserError: a shard or an utterance is missing.
        """
        data = DataDir.load(self.data)
        frames = self.derived().commit(data.utts)
        if isinstance(self.config, LogFbankConfig):
            return sum(frames.values())
        write_table(self.data / "utt2num_frames", frames)
        shift = format_seconds(self.config.shift / self.config.rate)
        write_text(self.data / "frame_shift", f"{shift}\n")
        return sum(frames.values())


def make_frontend(config: AnyConfig) -> Callable[[npt.NDArray[np.float32]], Matrix]:
    """What turns samples float32 (N,) into features (F, D). Imports torch but for `logfbank`."""
    if isinstance(config, LogFbankConfig):
        from pylib.features.logfbank import LogFbankFrontend

        return LogFbankFrontend(config)
    if isinstance(config, SpectrumConfig):
        from pylib.features.spectrum import SpectrumFrontend

        return SpectrumFrontend(config)
    from pylib.features.kaldi_frontend import KaldiFrontend

    return KaldiFrontend(config)


def log_made(what: str, data: str | os.PathLike[str], frames: int, rate: float) -> str:
    """One line for the log: what was made, how much of it."""
    return f"{what} of {os.fspath(data)}: {frames} frames, {frames / rate / 3600:.2f} h"
