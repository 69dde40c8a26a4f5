"""Lexicon files: spelling, reading, refusals."""

import gzip

import pytest

from pylib.bin import make_lexicon
from pylib.corpus.errors import UserError
from pylib.decoding.lexicon import read_lexicon, read_words, spell, write_lexicon
from pylib.decoding.tokens import Tokens
from pylib.units.letters import VOCABULARY

TOKENS = Tokens(VOCABULARY)


def test_spelling_ends_in_the_boundary_and_lists_what_it_cannot():
    lexicon, refused = spell({"IT'S", "CAT", "naïve", "A1"}, TOKENS.letters)
    assert lexicon == {"CAT": ["C", "A", "T", "|"], "IT'S": ["I", "T", "'", "S", "|"]}
    assert refused == ["A1", "naïve"]


def test_round_trip_in_the_model_s_ids(tmp_path):
    lexicon, _ = spell({"AB", "BA"}, TOKENS.letters)
    write_lexicon(tmp_path / "lexicon.txt", lexicon)
    ids = {s: i for i, s in enumerate(VOCABULARY)}
    assert read_lexicon(tmp_path / "lexicon.txt", TOKENS) == [
        ("AB", [ids["A"], ids["B"], ids["|"]]),
        ("BA", [ids["B"], ids["A"], ids["|"]]),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("AB A B", "expected 'WORD"),
        ("AB |", "expected 'WORD"),
        ("A|B A | B |", "expected 'WORD"),
        ("AÖ A Ö |", "not an output"),
        ("AB A B |\nAB A B |", "txt:2.*twice"),
        ("AB A B |\r", "CRLF"),
        ("", "empty lexicon|expected 'WORD"),
    ],
)
def test_bad_lexicons_are_refused_with_their_line(tmp_path, line, message):
    (tmp_path / "lexicon.txt").write_bytes((line + "\n").encode() if line else b"")
    with pytest.raises(UserError, match=message):
        read_lexicon(tmp_path / "lexicon.txt", TOKENS)


def test_a_word_may_have_two_spellings(tmp_path):
    (tmp_path / "lexicon.txt").write_text("OK O K |\nOK O K A Y |\n", encoding="utf-8")
    assert [w for w, _ in read_lexicon(tmp_path / "lexicon.txt", TOKENS)] == ["OK", "OK"]


def test_columns_and_gzip(tmp_path):
    plain = tmp_path / "lex"
    plain.write_text("CAT K AE T\nDOG D AO G\n<s> S\n", encoding="utf-8")
    assert read_words(plain, "first") == {"CAT", "DOG"}
    assert read_words(plain, "text") == {"K", "AE", "T", "D", "AO", "G", "S"}
    packed = tmp_path / "lex.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_words(packed, "all") == read_words(plain, "all")
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(UserError, match="broken gzip"):
        read_words(packed)


def test_verb_counts_what_it_leaves_out(tmp_path, capsys):
    (tmp_path / "words").write_text("CAT\nDOG\n42\n", encoding="utf-8")
    assert make_lexicon.main([str(tmp_path / "words"), str(tmp_path / "lm")]) == 0
    out = capsys.readouterr()
    assert "2 words" in out.out and "1 words left out" in out.err
    (tmp_path / "words").write_text("cat dog\n", encoding="utf-8")
    with pytest.raises(UserError, match="upper case"):
        make_lexicon.main([str(tmp_path / "words"), str(tmp_path / "lm")])
