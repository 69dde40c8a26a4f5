"""The token table that travels with a directory of log-probabilities.

`tokens.txt` has one line `<symbol> <id>` per output of the model (Kaldi's `words.txt` layout),
ids 0..V-1 in order. Blank and word boundary are named in `logprobs.json`, so that a search
needs neither the checkpoint nor torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pylib.corpus.atomic import write_text
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_lines

BOUNDARY = "|"


@dataclass(frozen=True)
class Tokens:
    """Symbols of a letter model, in the order of its outputs.

    `blank` is the id of CTC's blank (0 in every system here), `boundary` the id of
    the word boundary `|`. `specials` are ids that never spell anything (`<s>`, `<pad>` ...).
    """

    symbols: tuple[str, ...]
    blank: int = 0

    def __post_init__(self) -> None:
        if len(set(self.symbols)) != len(self.symbols):
            raise UserError("tokens: a symbol occurs twice: write each symbol once")
        if BOUNDARY not in self.symbols:
            raise UserError(f"tokens: no word boundary {BOUNDARY!r}: the model must spell words")
        if not 0 <= self.blank < len(self.symbols):
            raise UserError(f"tokens: blank = {self.blank} is not one of {len(self.symbols)} ids")

    @property
    def boundary(self) -> int:
        return self.symbols.index(BOUNDARY)

    @property
    def specials(self) -> frozenset[int]:
        named = {i for i, s in enumerate(self.symbols) if s.startswith("<") and s.endswith(">")}
        return frozenset(named | {self.blank})

    @property
    def letters(self) -> dict[str, int]:
        """Symbol -> id of what words are spelled with (no specials, no boundary)."""
        skip = self.specials | {self.boundary}
        return {s: i for i, s in enumerate(self.symbols) if i not in skip}

    def words(self, ids: Sequence[int]) -> list[str]:
        """Words spelled by collapsed token ids: specials dropped, `|` between words."""
        text = "".join(
            " " if i == self.boundary else self.symbols[i] for i in ids if i not in self.specials
        )
        return text.split()


def write_tokens(path: str | Path, tokens: Tokens) -> None:
    """Write `<symbol> <id>` lines, ids ascending."""
    write_text(path, "".join(f"{s} {i}\n" for i, s in enumerate(tokens.symbols)))


def read_tokens(path: str | Path, blank: int = 0) -> Tokens:
    """Read `tokens.txt`; ids must be 0..V-1 in order. UserError names file and line."""
    symbols: list[str] = []
    if not Path(path).is_file():
        raise UserError(f"{path}: no token table: run steps/dump_logprobs.sh first")
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split(" ")
        if len(fields) != 2 or not fields[0] or fields[1] != str(len(symbols)):
            raise UserError(
                f"{path}:{number}: expected '<symbol> {len(symbols)}', found {line!r}: "
                "dump the log-probabilities again"
            )
        symbols.append(fields[0])
    try:
        return Tokens(tuple(symbols), blank)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
