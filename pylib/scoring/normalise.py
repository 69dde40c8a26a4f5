"""Named, versioned text normalisers; one is applied to reference and hypothesis alike.

A change of what a normaliser does is a new version, because scores of two versions cannot be
compared; the name and version are written into every score file.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from pylib.corpus.errors import UserError


@dataclass(frozen=True)
class Normaliser:
    """`apply` maps a transcript to the words that are scored."""

    name: str
    version: int
    apply: Callable[[str], list[str]]

    @property
    def label(self) -> str:
        return f"{self.name}/{self.version}"


def _none(text: str) -> list[str]:
    return text.split()


def _librispeech(text: str) -> list[str]:
    # LibriSpeech's transcripts are upper case A-Z and apostrophes already; typographic
    # apostrophes and case are the differences that text from elsewhere brings.
    text = unicodedata.normalize("NFC", text).replace("\u2019", "'")
    return text.upper().split()


def _letters(text: str) -> list[str]:
    # Reads punctuation and hyphens as word breaks, keeps apostrophes inside words.
    text = unicodedata.normalize("NFKC", text).replace("\u2019", "'").upper()
    words = re.sub(r"[^\w']|_", " ", text).split()
    return [word for raw in words if (word := raw.strip("'"))]


NORMALISERS = {
    n.name: n
    for n in (
        Normaliser("none", 1, _none),
        Normaliser("librispeech", 1, _librispeech),
        Normaliser("letters", 1, _letters),
    )
}


def get_normaliser(name: str) -> Normaliser:
    """The normaliser of a name; UserError lists those that there are."""
    if name not in NORMALISERS:
        raise UserError(f"--normaliser {name}: expected one of {', '.join(sorted(NORMALISERS))}")
    return NORMALISERS[name]
