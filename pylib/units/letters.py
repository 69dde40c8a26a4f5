"""The letter vocabulary of CTC fine-tuning, importable without torch.

32 symbols in the order of wav2vec 2.0's `dict.ltr.txt`: four specials, the word boundary `|`,
26 letters by frequency and the apostrophe. Blank is index 0. A transcript is spelled with a
trailing `|`, as in HELLO WORLD -> `H E L L O | W O R L D |`.
"""

from __future__ import annotations

from collections.abc import Iterable

from pylib.corpus.errors import UserError

BLANK = 0
BOUNDARY = "|"
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
VOCABULARY: tuple[str, ...] = (*SPECIALS, BOUNDARY, *"ETAONIHSRDLUMWCFGYPBVK'XJQZ")

_IDS = {symbol: i for i, symbol in enumerate(VOCABULARY)}
_SPELLING = frozenset(VOCABULARY[len(SPECIALS) + 1 :])


def encode(text: str, where: str = "transcript") -> list[int]:
    """Token ids of a transcript: letters, `|` after every word, the last one included.

    Args:
        text: words separated by white space, in upper case.
        where: utterance id or `file:line`, for the error.

    Raises:
        UserError: a character is not a letter of the vocabulary, or there is no word.
    """
    words = text.split()
    if not words:
        raise UserError(f"{where}: the transcript has no word: leave the utterance unlabelled")
    ids: list[int] = []
    for word in words:
        for letter in word:
            if letter not in _SPELLING:
                raise UserError(
                    f"{where}: {letter!r} in {word!r} is not in the letter vocabulary "
                    "(A-Z and the apostrophe): normalise the transcripts to upper-case letters"
                )
            ids.append(_IDS[letter])
        ids.append(_IDS[BOUNDARY])
    return ids


def decode(ids: Iterable[int]) -> str:
    """Words spelled by token ids, separated by one space; specials are dropped."""
    spelled = []
    for i in ids:
        symbol = VOCABULARY[i]
        if symbol not in SPECIALS:
            spelled.append(" " if symbol == BOUNDARY else symbol)
    return " ".join("".join(spelled).split())
