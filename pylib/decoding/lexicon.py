"""Lexicons: which words a search may write and how each is spelled.

A lexicon file has one line per spelling, `WORD S P E L L I N G |` (the trailing `|` is the word
boundary that training puts behind every word); bytewise sorted.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from pylib.corpus.atomic import atomic_path
from pylib.corpus.errors import UserError
from pylib.decoding.tokens import BOUNDARY, Tokens

# Written by language-model toolkits among the words; none of them is a word that can be said.
NOT_WORDS = frozenset({"<s>", "</s>", "<unk>", "<UNK>", "<eps>", "!SIL", "<SPOKEN_NOISE>", "#0"})


def open_text(path: str | Path) -> IO[str]:
    """Open plain or gzip text (by magic bytes, not by name) as UTF-8."""
    path = Path(path)
    try:
        with path.open("rb") as raw:
            magic = raw.read(2)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file: check the path") from None
    if magic == b"\x1f\x8b":
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    return path.open(encoding="utf-8", newline="\n")


def read_lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """(line number, line without its end) of a plain or gzip text file; UserError with line."""
    number = 0
    try:
        with open_text(path) as stream:
            for number, line in enumerate(stream, 1):
                if line.endswith("\r\n"):
                    raise UserError(f"{path}:{number}: CRLF line end: convert the file to LF")
                yield number, line.rstrip("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{number + 1}: not UTF-8 ({error.reason}): re-encode") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}:{number + 1}: broken gzip ({error}): fetch it again") from None


def read_words(path: str | Path, column: str = "all") -> set[str]:
    """Words of a text file.

    column "all": every blank-separated field of every line (LM text, a vocabulary of one word a
    line); "first": the first field only (a pronunciation lexicon such as
    librispeech-lexicon.txt); "text": all but the first field (a Kaldi `text`).
    """
    if column not in ("all", "first", "text"):
        raise UserError(f"column {column!r}: expected all, first or text")
    pick = {"all": slice(None), "first": slice(0, 1), "text": slice(1, None)}[column]
    words: set[str] = set()
    for _, line in read_lines(path):
        words.update(line.split()[pick])
    words -= NOT_WORDS
    if not words:
        raise UserError(f"{path}: no words: give a text with blank-separated words")
    return words


def spell(words: Iterable[str], letters: Iterable[str]) -> tuple[dict[str, list[str]], list[str]]:
    """({word: letters of it and `|`}, words the letters cannot spell), both sorted.

    letters: the single characters that words may be spelled with.
    """
    alphabet = set(letters) - {BOUNDARY}
    spelled: dict[str, list[str]] = {}
    refused: list[str] = []
    for word in sorted(words):
        if word and alphabet.issuperset(word):
            spelled[word] = [*word, BOUNDARY]
        else:
            refused.append(word)
    return spelled, refused


def write_lexicon(path: str | Path, lexicon: dict[str, list[str]]) -> None:
    """Write `WORD L E T T E R S |` lines, bytewise sorted, atomically."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        for word in sorted(lexicon, key=lambda w: w.encode()):
            stream.write(f"{word} {' '.join(lexicon[word])}\n")


def read_lexicon(path: str | Path, tokens: Tokens) -> list[tuple[str, list[int]]]:
    """[(word, token ids of a spelling ending in the boundary)] in file order.

    A word may have several lines (spellings). UserError: a symbol the model does not have, a
    spelling without a final `|`, the same line twice.
    """
    ids = {**tokens.letters, BOUNDARY: tokens.boundary}
    entries: list[tuple[str, list[int]]] = []
    seen: set[tuple[str, ...]] = set()
    for number, line in read_lines(path):
        word, *spelling = line.split() or [""]
        where = f"{path}:{number}"
        if len(spelling) < 2 or spelling[-1] != BOUNDARY or BOUNDARY in spelling[:-1]:
            raise UserError(
                f"{where}: expected 'WORD L E T T E R S |', found {line[:60]!r}: correct it"
            )
        unknown = [s for s in spelling if s not in ids]
        if unknown:
            raise UserError(
                f"{where}: symbol {unknown[0]!r} is not an output of the model: "
                "make the lexicon with steps/make_lexicon.sh from words in the model's letters"
            )
        if (word, *spelling) in seen:
            raise UserError(f"{where}: spelling of {word!r} written twice: keep one line")
        seen.add((word, *spelling))
        entries.append((word, [ids[s] for s in spelling]))
    if not entries:
        raise UserError(f"{path}: empty lexicon: run steps/make_lexicon.sh")
    return entries
