"""Pieces of words: ids, round trips, determinism, what bad input gets; the step."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pylib.bin import train_subwords
from pylib.corpus.errors import UserError
from pylib.corpus.tables import write_table
from pylib.units.subwords import SPACE, SPECIALS, Subwords, train, words_of

TEXT = ["PLEASE PLACE BLUE AT FIVE", "SET RED BY NINE NOW", "IT'S A TEST OF THE MOUTH"] * 4


@pytest.fixture(scope="module")
def model() -> Subwords:
    return Subwords(train(TEXT, 60))


def test_specials_come_first(model: Subwords) -> None:
    assert model.pieces[:4] == SPECIALS
    assert len(set(model.pieces)) == len(model) <= 60
    assert SPACE in "".join(model.pieces)


def test_words_come_back_in_upper_case(model: Subwords) -> None:
    for text in TEXT:
        ids = model.encode(text)
        assert min(ids) > 3
        assert model.decode(ids) == text
        assert model.encode(f"  {text.lower()}\t") == ids
    assert model.decode([0, *model.encode("RED"), 2, 1]) == "RED"
    assert words_of(model.pieces, model.encode("set red")) == ["SET", "RED"]


def test_unknown_characters_are_unknown_and_write_nothing(model: Subwords) -> None:
    ids = model.encode("RED Ж")
    assert 3 in ids
    assert model.decode(ids) == "RED"


def test_the_same_text_gives_the_same_bytes(model: Subwords) -> None:
    assert train(iter(TEXT), 60) == model.model
    assert Subwords(model.model).sha256 == model.sha256


def test_small_texts_give_fewer_pieces() -> None:
    assert 10 < len(Subwords(train(TEXT, 1000))) < 100


@pytest.mark.parametrize(
    ("text", "vocab", "message"), [([], 60, "no words"), (["  "], 60, "no words"), (TEXT, 8, "8")]
)
def test_text_that_cannot_be_learnt_from(text: list[str], vocab: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(text, vocab)


def test_what_is_no_model(tmp_path: Path, model: Subwords) -> None:
    with pytest.raises(UserError, match="no word"):
        model.encode("  ", "utt1")
    with pytest.raises(UserError, match="train_subwords"):
        Subwords(b"junk", "x")
    with pytest.raises(UserError, match="no such model"):
        Subwords.load(tmp_path / "spm.model")


def test_step_reads_data_directories_and_texts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_table(data / "text", {f"u{i}": text for i, text in enumerate(TEXT)})
    with gzip.open(tmp_path / "lm.txt.gz", "wt", encoding="utf-8") as stream:
        stream.write("\n".join(TEXT) + "\n")
    for source, out in ((data, "one"), (tmp_path / "lm.txt.gz", "two")):
        train_subwords.main(["--vocab", "60", str(source), str(tmp_path / out)])
    for name in ("spm.model", "units.txt"):
        first, second = ((tmp_path / out / name).read_bytes() for out in ("one", "two"))
        assert first == second
    record = json.loads((tmp_path / "one" / "spm.json").read_text(encoding="utf-8"))
    made = Subwords.load(tmp_path / "one")
    assert record["pieces"] == len(made) and record["sha256"] == made.sha256
    assert record["sentences"] == len(TEXT)
    lines = (tmp_path / "one" / "units.txt").read_text(encoding="utf-8").splitlines()
    assert lines[2] == "</s> 2" and len(lines) == len(made)
    (data / "text").unlink()
    with pytest.raises(UserError, match="transcripts"):
        train_subwords.main([str(data), str(tmp_path / "three")])


def test_damaged_pieces_are_refused() -> None:
    """A model whose pieces are no text opens, and failed on the first look at them."""
    model = bytearray(train(TEXT, 40))
    place = model.index(SPACE.encode())
    model[place : place + 3] = b"\xff\xff\xff"
    with pytest.raises(UserError, match="spm.model: not a SentencePiece model"):
        Subwords(bytes(model))
