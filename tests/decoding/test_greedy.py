"""Greedy decoding against brute force over all alignments of a toy."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylib.corpus.errors import UserError
from pylib.decoding.greedy import collapse, greedy_words
from pylib.decoding.tokens import Tokens, read_tokens, write_tokens
from pylib.units import letters

TOKENS = Tokens(letters.VOCABULARY)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([], []),
        ([0, 0], []),
        ([5, 5, 5], [5]),
        ([5, 0, 5], [5, 5]),
        ([0, 5, 5, 0, 6, 6, 4], [5, 6, 4]),
    ],
)
def test_collapse_by_hand(ids, expected):
    assert collapse(ids) == expected


@given(st.lists(st.integers(1, 4), max_size=8), st.data())
def test_collapse_undoes_any_ctc_expansion(labels, data):
    path = []
    for i, label in enumerate(labels):
        need = i > 0 and labels[i - 1] == label
        path += [0] * data.draw(st.integers(1 if need else 0, 2))
        path += [label] * data.draw(st.integers(1, 3))
    assert collapse(path + [0]) == labels


def test_greedy_is_the_best_single_path():
    rng = np.random.default_rng(0)
    tokens = Tokens(("<s>", "|", "A", "B"))
    for _ in range(20):
        logits = rng.normal(size=(4, 4))
        log_probs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        best = max(
            itertools.product(range(4), repeat=4),
            key=lambda path: sum(log_probs[t, i] for t, i in enumerate(path)),
        )
        assert greedy_words(log_probs, tokens) == tokens.words(collapse(best))


def test_greedy_spells_what_training_spelled():
    text = "IT'S A BOOK"
    ids = letters.encode(text)
    path = [i for label in ids for i in (label, label, 0)]
    log_probs = np.full((len(path), len(letters.VOCABULARY)), -10.0)
    log_probs[np.arange(len(path)), path] = 0.0
    assert " ".join(greedy_words(log_probs, TOKENS)) == text


def test_specials_are_not_spelled():
    assert TOKENS.words([1, 2, 3, 5, 4, 6]) == ["E", "T"]


def test_tokens_round_trip(tmp_path):
    write_tokens(tmp_path / "tokens.txt", TOKENS)
    assert read_tokens(tmp_path / "tokens.txt") == TOKENS


def test_tokens_out_of_order_are_refused(tmp_path):
    (tmp_path / "tokens.txt").write_text("<s> 0\n| 2\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"tokens.txt:2.*'<symbol> 1'"):
        read_tokens(tmp_path / "tokens.txt")


def test_tokens_need_a_boundary():
    with pytest.raises(UserError, match="boundary"):
        Tokens(("<s>", "A"))
