"""Words to phones: lexicons, variants, compounds, marks, and words no lexicon has."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from pylib.corpus.errors import UserError
from pylib.units.g2p import Rules, from_espeak
from pylib.units.pronounce import Pronouncer, read_lexicon


def lexicon(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_stress_variants_comments_and_probabilities(tmp_path: Path) -> None:
    file = lexicon(
        tmp_path / "lex",
        ";;; a comment\nthe DH AH0\nthe(2) DH AH1\nTHE(3) DH IY0\nREAD 0.4 R EH1 D # past\n",
    )
    assert read_lexicon(file) == {
        "THE": [("DH", "AH"), ("DH", "IY")],
        "READ": [("R", "EH", "D")],
    }


def test_gzip_and_errors_with_their_place(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "lex.gz", "wt") as stream:
        stream.write("A AH0\n")
    assert read_lexicon(tmp_path / "lex.gz") == {"A": [("AH",)]}
    with pytest.raises(UserError, match=r"lex:2: phone 'QQ' of 'B'"):
        read_lexicon(lexicon(tmp_path / "lex", "A AH0\nB QQ\n"))
    with pytest.raises(UserError, match="no pronunciation"):
        read_lexicon(lexicon(tmp_path / "lex", "\n"))
    with pytest.raises(UserError, match="no such lexicon"):
        read_lexicon(tmp_path / "none")


def test_compounds_marks_and_unknown_words() -> None:
    table = {"WELL": [("W", "EH", "L")], "KNOWN": [("N", "OW", "N")]}
    said = Pronouncer(table, "g2p", rules=lambda word: ("B",) if word == "BX" else ())
    assert said.word("well-known") == [("W", "EH", "L", "N", "OW", "N")]
    assert said.word("<unk>") == said.word("[LAUGHTER]") == [("<SIL>",)]
    assert said.words("WELL BX") == [[("W", "EH", "L")], [("B",)]]
    assert said.words("WELL ???") is None and said.words("") is None
    assert said.unknown == {"BX": 1, "???": 1} and list(said.hopeless) == ["???"]
    assert "2 words" in said.report() and "1 said by rule" in said.report()


def test_drop_gives_up_the_text() -> None:
    said = Pronouncer({"A": [("AH",)]}, "drop")
    assert said.words("A ZYZZYVAX") is None
    assert said.words("A A") == [[("AH",)], [("AH",)]]
    with pytest.raises(UserError, match="--oov guess"):
        Pronouncer({"A": [("AH",)]}, "guess")  # type: ignore[arg-type]


def test_cmudict_is_the_default() -> None:
    table = read_lexicon(None)
    assert table["HELLO"][0] == ("HH", "AH", "L", "OW") and len(table) > 100_000


def test_espeak_is_folded_to_the_same_phones() -> None:
    assert from_espeak("'aI3") == ("AY", "ER") and from_espeak("t#") == ("T",)
    assert from_espeak("_:") == ()
    rules = Rules()
    assert rules("car") == ("K", "AA", "R")
    assert rules("water") == ("W", "AO", "T", "ER")
    assert rules("...") == ()
