"""The phones: 46 symbols, one place that knows their ids, names of others folded to them."""

from __future__ import annotations

import pytest

from pylib.corpus.errors import UserError
from pylib.nn.modal_batch import PAD_PHONE
from pylib.units.phone_set import (
    ARPABET,
    COUNT,
    EOS,
    PAD,
    SIL,
    SYMBOLS,
    UNK,
    fold,
    phone_id,
    phone_ids,
    phone_names,
    require_symbols,
)


def test_forty_six_symbols_in_their_places() -> None:
    assert COUNT == len(set(SYMBOLS)) == 46 and len(ARPABET) == 39
    assert (PAD, EOS, UNK) == (1, 2, 3) and PAD_PHONE == PAD
    assert SYMBOLS[4:7] == ("|", "<SIL>", "'") and SIL == 5


def test_there_and_back() -> None:
    assert phone_names(phone_ids(ARPABET)) == list(ARPABET)


@pytest.mark.parametrize(
    ("name", "plain"),
    [("AH0", "AH"), ("ah1", "AH"), ("T_B", "T"), ("AY2_S", "AY"), ("sil", "<SIL>"),
     ("!SIL", "<SIL>"), ("spn_S", "<SIL>"), ("<eps>", "<SIL>"), ("|", "|")],
)  # fmt: skip
def test_names_of_others(name: str, plain: str) -> None:
    assert fold(name) == plain
    assert phone_id(name) == SYMBOLS.index(plain)


@pytest.mark.parametrize("name", ["aI@", "AX", "<pad>", "<unk>"])
def test_a_foreign_phone_is_named(name: str) -> None:
    with pytest.raises(UserError, match="not one of"):
        phone_id(name)


def test_other_symbols_are_refused() -> None:
    require_symbols(list(SYMBOLS), "here")
    with pytest.raises(UserError, match="here: symbols are not"):
        require_symbols(["a"], "here")
    with pytest.raises(UserError, match="phone id 46"):
        phone_names([46])
