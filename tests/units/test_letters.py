"""The letter vocabulary."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pylib.corpus.errors import UserError
from pylib.units.letters import BLANK, VOCABULARY, decode, encode


def test_vocabulary() -> None:
    assert len(VOCABULARY) == 32 == len(set(VOCABULARY))
    assert BLANK == 0 and VOCABULARY[4] == "|"
    assert set(VOCABULARY[5:]) == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ'")


def test_spelling_and_back() -> None:
    ids = encode("HELLO  WORLD")
    assert " ".join(VOCABULARY[i] for i in ids) == "H E L L O | W O R L D |"
    assert decode(ids) == "HELLO WORLD"
    assert decode([0, 2, *encode("IT'S"), 1]) == "IT'S"


def test_refusals() -> None:
    with pytest.raises(UserError, match=r"text:3: 'e' in 'He'"):
        encode("He", "text:3")
    with pytest.raises(UserError, match="no word"):
        encode("  ")


def test_imports_without_torch() -> None:
    code = "import sys, pylib.units.letters; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
