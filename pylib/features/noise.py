"""Noise added to speech at a chosen signal-to-noise ratio, in training and in tests.

A noise directory (egs/lrs3/local/prepare_noise.sh) holds tables `<category>.<part>.scp`, id -> wav
of 16 kHz. Noise is added to the waveform, before any features. What is added to a test utterance
depends on the seed, the category and the utterance's name alone, so that every system hears the
same. NumPy only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pylib.corpus.audio import read_audio
from pylib.corpus.datadir import check_audio_path
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table

Samples = npt.NDArray[np.float32]

CATEGORIES = ("babble", "music", "natural", "speech")
PARTS = ("train", "valid", "test")
RATE = 16000
_TOP = 32767.0 / 32768.0  # the largest sample of 16-bit audio
_CONDITION = re.compile(r"([a-z][a-z0-9]*):([+-]?[0-9]+(?:\.[0-9]+)?)")


@dataclass(frozen=True)
class Condition:
    """In which noise something is tested.

    Attributes:
        category: `babble`, `music`, `natural`, `speech`; '' = clean.
        snr: dB of speech over noise; 0 where clean.
    """

    category: str = ""
    snr: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Condition:
        """`clean`, or a category and an SNR: `babble:-5`.

        Raises:
            UserError: anything else.
        """
        if text == "clean":
            return cls()
        match = _CONDITION.fullmatch(text)
        if match is None or match[1] not in CATEGORIES:
            raise UserError(
                f"condition '{text}': clean, or <category>:<SNR in dB> such as babble:-5, is "
                f"expected; categories: {', '.join(CATEGORIES)}"
            )
        return cls(match[1], float(match[2]) + 0.0)

    @property
    def clean(self) -> bool:
        """Whether nothing is added."""
        return not self.category

    @property
    def suffix(self) -> str:
        """What the name of a set gets: '' or `_babble_-5`."""
        return "" if self.clean else f"_{self.category}_{self.snr:g}"

    def __str__(self) -> str:
        return "clean" if self.clean else f"{self.category}:{self.snr:g}"


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def mix(speech: Samples, noise: Samples, snr_db: float, offset: int = 0) -> Samples:
    """Speech with noise of the same length.

    Args:
        speech: float32 (N,) in [-1, 1].
        noise: float32 (M,); repeated from its end to its beginning where it is too short.
        snr_db: 20 log10 of the ratio of the root mean squares, over the whole utterance.
        offset: sample of the noise to begin at, taken modulo M.

    Returns:
        float32 (N,), made smaller as a whole where 16 bits would overflow. Silent speech or noise
        leaves the speech as it is.

    Raises:
        ValueError: no speech or no noise.
    """
    if not len(speech) or not len(noise):
        raise ValueError(f"{len(speech)} samples of speech, {len(noise)} of noise")
    start = offset % len(noise)
    repeats = -(-(start + len(speech)) // len(noise))
    added = np.tile(noise, repeats)[start : start + len(speech)]
    loud, level = _rms(speech), _rms(added)
    if not loud or not level:
        return np.array(speech, dtype=np.float32)
    gain = loud / level / 10.0 ** (snr_db / 20.0)
    mixed = speech + added.astype(np.float64) * gain
    peak = float(max(mixed.max() / _TOP, -mixed.min()))
    if peak > 1.0:
        mixed /= peak
    return mixed.astype(np.float32)


def _fixed(seed: int, *names: str) -> np.random.Generator:
    """A generator that depends on a seed and some names alone."""
    text = "\0".join([str(seed), *names]).encode("utf-8")
    return np.random.default_rng(list(hashlib.sha256(text).digest()))


class NoiseSet:
    """Noise of one part (train, valid or test) of a noise directory.

    Args:
        directory: of egs/lrs3/local/prepare_noise.sh.
        part: which; what is trained with is never tested with.
        categories: which; None = all that are there.

    Attributes:
        tables: category -> id -> path, categories and ids sorted.

    Raises:
        UserError: no such directory or part, a category that is not there, an empty table.
    """

    def __init__(
        self, directory: str | Path, part: str, categories: Sequence[str] | None = None
    ) -> None:
        self.path, self.part = Path(directory), part
        if part not in PARTS:
            raise UserError(f"{directory}: part '{part}': {', '.join(PARTS)} expected")
        there = [c for c in CATEGORIES if (self.path / f"{c}.{part}.scp").is_file()]
        wanted = there if categories is None else sorted(set(categories))
        lacking = [name for name in wanted if name not in there]
        if lacking or not wanted:
            raise UserError(
                f"{self.path}: no {', '.join(lacking) or 'noise'} for {part} "
                f"(there: {', '.join(there) or 'nothing'}): make it with "
                "egs/lrs3/local/prepare_noise.sh, whose --musan gives music and natural noise"
            )
        self.tables: dict[str, dict[str, str]] = {}
        for name in wanted:
            path = self._scp(name)
            self.tables[name] = read_table(path)
            for number, (key, wav) in enumerate(self.tables[name].items(), 1):
                check_audio_path(key, wav, f"{path}:{number}")
            if not self.tables[name]:
                raise UserError(f"{path}: is empty: prepare the noise again")
        self._names = {name: list(table) for name, table in self.tables.items()}

    @property
    def categories(self) -> list[str]:
        """What there is, sorted."""
        return list(self.tables)

    @property
    def identity(self) -> str:
        """16 hexadecimal digits of the names of all that may be drawn; paths do not count."""
        text = "\n".join(f"{c} {name}" for c, names in self._names.items() for name in names)
        return hashlib.sha256(f"{self.part}\n{text}".encode()).hexdigest()[:16]

    def read(self, category: str, name: str) -> Samples:
        """Samples float32 (M,) of one noise.

        Raises:
            UserError: not there, not 16 kHz mono, broken.
        """
        table = self._table(category)
        if name not in table:
            raise UserError(f"{self._scp(category)}: no '{name}': check the name")
        try:
            return read_audio(table[name], RATE)
        except UserError as error:
            raise UserError(f"{self._scp(category)}: '{name}': {error}") from error

    def draw(self, rng: np.random.Generator) -> Samples:
        """A random noise, every category being as likely, with its first sample where it lies."""
        category = self.categories[int(rng.integers(len(self.tables)))]
        names = self._names[category]
        return self.read(category, names[int(rng.integers(len(names)))])

    def pick(self, category: str, utt: str, seed: int) -> Samples:
        """The noise that `utt` is tested in, always the same, rotated to its own beginning.

        Raises:
            UserError: no such category.
        """
        self._table(category)
        rng = _fixed(seed, category, utt)
        names = self._names[category]
        samples = self.read(category, names[int(rng.integers(len(names)))])
        return np.roll(samples, -int(rng.integers(len(samples))))

    def apply(self, speech: Samples, condition: Condition, utt: str, seed: int) -> Samples:
        """A test utterance in its condition: float32 (N,); where clean, `speech` itself."""
        if condition.clean:
            return speech
        return mix(speech, self.pick(condition.category, utt, seed), condition.snr)

    def _scp(self, category: str) -> Path:
        return self.path / f"{category}.{self.part}.scp"

    def _table(self, category: str) -> dict[str, str]:
        if category not in self.tables:
            raise UserError(
                f"{self.path}: no noise '{category}' for {self.part} "
                f"(there: {', '.join(self.tables)}): prepare it, or choose another condition"
            )
        return self.tables[category]
