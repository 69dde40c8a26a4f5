"""Texts as phones, with silence here and there and, where no model gives them, drawn durations."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.units.phone_set import FRAMES, SIL, phone_id
from pylib.units.pronounce import Pronouncer

Ids = npt.NDArray[np.int32]

_SILENCES, _LENGTHS = 22, 23  # keep the two streams of random numbers apart
# Mean and deviation of drawn durations, in frames of 10 ms (SpeechLM's).
_PHONE, _PAUSE = (5.0, 2.5), (14.0, 7.0)


@dataclass(frozen=True)
class TextOptions:
    """How texts become phones.

    Attributes:
        silence: probability of silence between two words; at both ends it is always.
        seed: of silences and drawn durations; with the utterance's name it decides both.
    """

    silence: float = 0.25
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.silence <= 1:
            raise UserError(f"--silence {self.silence}: a probability, 0 to 1, expected")


class TextPhones:
    """Phones of texts.

    Attributes:
        utts: utterances that have phones, in the order of the table.
        left_out: the others: an unknown word, or no text.
    """

    def __init__(
        self, text: Mapping[str, str], pronouncer: Pronouncer, options: TextOptions
    ) -> None:
        """
        Args:
            text: utterance -> words.
            pronouncer: says the words; each distinct word is asked once.
            options: see TextOptions.

        Raises:
            UserError: no utterance has phones.
        """
        self._text, self._options = text, options
        self._phones: dict[str, tuple[int, ...]] = {}
        for line in text.values():
            for word in line.split():
                if word not in self._phones:
                    variants = pronouncer.word(word)
                    first = variants[0] if variants else ()
                    self._phones[word] = tuple(phone_id(phone) for phone in first)
        self.utts = [
            utt
            for utt, line in text.items()
            if line.strip() and all(self._phones[word] for word in line.split())
        ]
        kept = set(self.utts)
        self.left_out = [utt for utt in text if utt not in kept]
        if not self.utts:
            raise UserError(
                "no text has phones: is it English? is --lexicon the right one (or use --oov g2p)?"
            )

    def said(self) -> bytes:
        """How all words are said, for digests."""
        return repr(sorted(self._phones.items())).encode("utf-8")

    def phones(self, utt: str) -> Ids:
        """Phone ids (P,) of a text, each once, silence at both ends."""
        words = self._text[utt].split()
        pauses = self._rng(_SILENCES, utt).random(len(words)) < self._options.silence
        out = [SIL]
        for place, word in enumerate(words):
            out += self._phones[word]
            if pauses[place] and place + 1 < len(words):
                out.append(SIL)
        out.append(SIL)
        return np.array(out, dtype=np.int32)

    def lengths(self, utt: str, phones: Ids) -> Ids:
        """Drawn lengths (P,) of phones at 100 Hz, whose sum is a multiple of 4."""
        rng = self._rng(_LENGTHS, utt)
        silent = phones == SIL
        mean = np.where(silent, _PAUSE[0], _PHONE[0])
        spread = np.where(silent, _PAUSE[1], _PHONE[1])
        drawn = np.rint(rng.normal(mean, spread)).astype(np.int32).clip(1)
        drawn[-1] += -drawn.sum() % FRAMES
        return drawn

    def _rng(self, stream: int, utt: str) -> np.random.Generator:
        return np.random.default_rng([self._options.seed, stream, zlib.crc32(utt.encode())])
