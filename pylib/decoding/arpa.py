"""Reading ARPA files: a plain back-off model for small texts, and the header of any size.

The beam search reads models through KenLM; this reader is the independent one that tests and the
reference decoder use.
"""

from __future__ import annotations

import re
from pathlib import Path

from pylib.corpus.errors import UserError
from pylib.decoding.lexicon import read_lines

State = tuple[str, ...]

_AGAIN = "make or fetch it again"
_SECTION = re.compile(r"\\([0-9]{1,2})-grams:")
_COUNT = re.compile(r"ngram ([0-9]{1,2})\s*=\s*([0-9]{1,15})")


class ArpaModel:
    """A back-off n-gram model in dictionaries; scores are log10 as in the file."""

    def __init__(
        self, grams: dict[State, tuple[float, float]], order: int, where: str = "language model"
    ) -> None:
        self._grams = grams
        self._where = where
        self.order = order

    @property
    def words(self) -> list[str]:
        """Vocabulary with `<unk>`, `</s>` and `<s>`, sorted."""
        return sorted(gram[0] for gram in self._grams if len(gram) == 1)

    def start(self) -> State:
        return ("<s>",)

    def score(self, state: State, word: str) -> tuple[State, float]:
        """(next state, log10 p(word | state)); a word that the model lacks is `<unk>`."""
        if (word,) not in self._grams:
            word = "<unk>"
        if (word,) not in self._grams:
            raise UserError(f"{self._where}: has no {word}, nor the word asked for: add {word}")
        context = state[-(self.order - 1) :] if self.order > 1 else ()
        total = 0.0
        while (*context, word) not in self._grams:
            total += self._grams.get(context, (0.0, 0.0))[1]
            context = context[1:]
        total += self._grams[(*context, word)][0]
        return (*state, word)[-max(self.order - 1, 0) :] if self.order > 1 else (), total

    def finish(self, state: State) -> tuple[State, float]:
        return self.score(state, "</s>")


def read_arpa(path: str | Path) -> ArpaModel:
    """Read an ARPA file (plain or gzip) whole.

    Raises UserError with the line: no ARPA file, a line of another form, numbers that are no log
    probabilities, an n-gram twice, fewer or more n-grams than the header says.
    """
    counts = arpa_counts(path)
    grams: dict[State, tuple[float, float]] = {}
    found = [0] * len(counts)
    section, ended = 0, False
    for number, line in read_lines(path):
        heading = _SECTION.fullmatch(line)
        if heading:
            section = int(heading[1])
            if section > len(counts):
                raise UserError(f"{path}:{number}: {line} is not in the header: {_AGAIN}")
        elif line == "\\end\\":
            ended = True
            break
        elif line and section:
            gram, scores = _parse_gram(line, section, f"{path}:{number}")
            if gram in grams:
                raise UserError(f"{path}:{number}: {' '.join(gram)!r} is there twice: {_AGAIN}")
            grams[gram] = scores
            found[section - 1] += 1
    if not ended:
        raise UserError(f"{path}: no \\end\\ line: the file is cut short, make or fetch it again")
    if found != counts:
        raise UserError(f"{path}: {found} n-grams, the header says {counts}: {_AGAIN}")
    return ArpaModel(grams, len(counts), str(path))


def _parse_gram(line: str, order: int, where: str) -> tuple[State, tuple[float, float]]:
    """(words, (log10 p, back-off)) of a line."""
    fields = line.split("\t")
    words = tuple(fields[1].split(" ")) if len(fields) in (2, 3) else ()
    try:
        scores = float(fields[0]), float(fields[2]) if len(fields) == 3 else 0.0
        if len(words) != order or not all(words) or scores[0] > 0 or scores[1] - scores[1] != 0:
            raise ValueError(line)
        if not scores[0] > float("-inf"):
            raise ValueError(line)
    except ValueError:
        raise UserError(f"{where}: not a {order}-gram line: {line[:60]!r}: {_AGAIN}") from None
    return words, scores


def arpa_counts(path: str | Path) -> list[int]:
    """N-gram counts of an ARPA header; UserError where the file does not begin as one."""
    counts: list[int] = []
    for number, line in read_lines(path):
        text = line.strip()
        entry = _COUNT.fullmatch(text)
        if entry and int(entry[1]) == len(counts) + 1:
            counts.append(int(entry[2]))
        elif counts and not text:
            return counts
        elif text not in ("", "\\data\\") or number > 100:
            break
    raise UserError(f"{path}: does not begin as an ARPA file (\\data\\, ngram 1=...): {_AGAIN}")
