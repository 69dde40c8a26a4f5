"""Checks of transcripts; decoding is Python's, never the locale's."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from pylib.corpus.tables import Table

# Symbols of language models and lexicons that must not stand as words.
ILLEGAL_WORDS = frozenset(("<s>", "</s>", "#0"))
_CONTROL = bytes(byte for byte in range(32) if byte not in (9, 10)) + b"\x7f"

Found = list[tuple[int, str]]


def check_text(
    table: Table, allow_empty: bool, non_print: bool
) -> Iterator[tuple[str, Found, str]]:
    """Yield (rule, [(line, what)], fix) for what is wrong with a table of transcripts.

    Args:
        table: utterance -> transcript.
        allow_empty: whether an utterance may have no words (silence is meant).
        non_print: whether control characters are allowed.
    """
    if not allow_empty and not all(table.values):
        lines = enumerate(zip(table.keys, table.values, strict=True), 1)
        found = [(n, f"'{key}' has no words") for n, (key, value) in lines if key and not value]
        yield "empty-text", found, "transcribe it, leave it out, or use --allow-empty-text"
    whole = "\n".join(table.values)
    if any(word in whole for word in ILLEGAL_WORDS):
        found = []
        for number, value in enumerate(table.values, 1):
            words = sorted(ILLEGAL_WORDS.intersection(value.split()))
            if words:
                found.append((number, f"illegal word {words[0]}"))
        yield "illegal-word", found, "remove it; <s>, </s> and #0 are symbols of the decoder"
    if whole.isascii():
        encoded = whole.encode("ascii")
        if len(encoded.translate(None, _CONTROL)) == len(encoded):
            return
    spaces: Found = []
    controls: Found = []
    for number, value in enumerate(table.values, 1):
        # Printable covers nearly all lines at the speed of C.
        if value.isprintable():
            continue
        for column, char in enumerate(value, 1):
            if char.isspace() and char not in " \t":
                spaces.append((number, f"{_name(char)} in column {column} of the transcript"))
                break
            if unicodedata.category(char) in ("Cc", "Cs", "Cn") or char == "\ufeff":
                controls.append((number, f"{_name(char)} in column {column} of the transcript"))
                break
    if spaces:
        yield "white-space", spaces, "separate words by ASCII blanks"
    if controls and not non_print:
        yield "not-printable", controls, "remove it, or use --non-print"


def _name(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, 'control character')}"
