"""Reading ARPA files: a plain back-off model for small texts, and the header of any size.

The beam search reads models through KenLM; this reader is the independent one that tests and the
reference decoder use.
"""

from __future__ import annotations

import re
from pathlib import Path

from pylib.corpus.errors import UserError
from pylib.decoding.lexicon import open_text, read_lines

State = tuple[str, ...]


class ArpaModel:
    """A back-off n-gram model in dictionaries; scores are log10 as in the file."""

    def __init__(self, grams: dict[State, tuple[float, float]], order: int) -> None:
        self._grams = grams
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
            raise UserError("language model has no <unk> and a word is not in it: add <unk>")
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
    """Read an ARPA file (plain or gzip) whole. UserError names the line."""
    grams: dict[State, tuple[float, float]] = {}
    order, section, ended = 0, 0, False
    for number, line in read_lines(path):
        heading = re.fullmatch(r"\\(\d+)-grams:", line)
        if heading:
            section = int(heading[1])
        elif line == "\\end\\":
            ended = True
        elif line and section:
            fields = line.split("\t")
            gram = tuple(fields[1].split(" ")) if len(fields) in (2, 3) else ()
            if len(gram) != section:
                raise UserError(f"{path}:{number}: not a {section}-gram line: {line!r}")
            grams[gram] = (float(fields[0]), float(fields[2]) if len(fields) == 3 else 0.0)
            order = max(order, section)
    if not ended:
        raise UserError(f"{path}: no \\end\\ line: the file is cut short, make or fetch it again")
    return ArpaModel(grams, order)


def arpa_counts(path: str | Path) -> list[int]:
    """N-gram counts of an ARPA header; UserError where the file does not begin as one."""
    counts: list[int] = []
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            text = line.strip()
            entry = re.fullmatch(r"ngram (\d+)\s*=\s*(\d+)", text)
            if entry and int(entry[1]) == len(counts) + 1:
                counts.append(int(entry[2]))
            elif counts and not text:
                return counts
            elif text not in ("", "\\data\\") or number > 100:
                break
    raise UserError(f"{path}: does not begin as an ARPA file (\\data\\, ngram 1=...)")
