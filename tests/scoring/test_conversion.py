"""Measures of converted speech by hand; enrolment never hears what the conversion used."""

from __future__ import annotations

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.scoring.conversion import (
    Estimate,
    acceptance,
    choose_enrolment,
    cosines,
    means,
    ratio,
    result_row,
    two_class_eer,
)
from pylib.scoring.score_files import ROW_FIELDS

NATURAL = {f"{spk}-{i}": spk for spk in ("s", "t") for i in range(4)}
TEXTS = {utt: f"words {utt[-1]}" for utt in NATURAL}


def test_enrolment_leaves_out_references_and_the_same_words() -> None:
    pairs = choose_enrolment(
        {"t-c": "words 1"}, {"t-c": "t"}, {"t-c": frozenset({"t-0", "s-1"})}, TEXTS, NATURAL
    )
    assert {natural for _, natural in pairs} == {"t-2", "t-3"}
    assert {converted for converted, _ in pairs} == {"t-c"}


def test_enrolment_is_limited_and_the_same_for_all_systems() -> None:
    both = [
        choose_enrolment({utt: ""}, {utt: "t"}, {utt: frozenset()}, None, NATURAL, 2)
        for utt in ("t-x", "t-y")
    ]
    assert [b for _, b in both[0]] == [b for _, b in both[1]]
    assert len(both[0]) == 2


def test_no_enrolment_left() -> None:
    with pytest.raises(UserError, match="'?t-c'?.*more of each speaker"):
        choose_enrolment({"t-c": ""}, {"t-c": "t"}, {"t-c": frozenset(NATURAL)}, TEXTS, NATURAL)


def test_cosines_by_hand() -> None:
    left = {"a": np.array([3.0, 4.0], np.float32)}
    right = {"b": np.array([0.0, 2.0], np.float32)}
    assert cosines(left, right, [("a", "b")]) == pytest.approx([0.8])
    with pytest.raises(UserError, match="zz"):
        cosines(left, right, [("a", "zz")])


def test_acceptance_counts_every_conversion_alike() -> None:
    pairs = [("t-1", "x"), ("t-1", "y"), ("u-1", "x"), ("v-1", "x")]
    scores = np.array([0.9, 0.1, 0.5, 0.2])
    speaker = {"t-1": "t", "u-1": "u", "v-1": "v"}
    found = acceptance(pairs, scores, 0.5, speaker)
    assert found.value == pytest.approx(50.0)
    assert found.n == 3
    assert found.low is not None and found.high is not None
    assert 0 <= found.low <= 50 <= found.high <= 100
    assert acceptance(pairs, scores, 0.95, speaker).value == 0
    assert acceptance(pairs, scores, -1, speaker).value == 100


def test_ratio_of_sums() -> None:
    top, bottom = np.array([1.0, 9.0, 2.0]), np.array([1.0, 1.0, 2.0])
    found = ratio(top, bottom, ["a", "b", "c"], np.sqrt)
    assert found is not None
    assert found.value == pytest.approx(3**0.5)
    assert found.low is not None and found.high is not None
    assert 1 <= found.low <= found.value <= found.high <= 3
    assert ratio(top, np.zeros(3), ["a", "b", "c"]) is None
    assert means(top, ["a", "a", "b"]).value == pytest.approx(4)


def test_intervals_come_from_speakers() -> None:
    """Many utterances of three speakers that differ: the interval is as wide as the speakers."""
    values = np.repeat([0.0, 50.0, 100.0], 100)
    of_speakers = means(values, list(np.repeat(["a", "b", "c"], 100)))
    of_utterances = means(values, [str(i) for i in range(300)])
    assert of_speakers.low is not None and of_utterances.low is not None
    assert of_speakers.low < 20 < 40 < of_utterances.low


def test_error_rates_of_two_kinds() -> None:
    groups = (["a", "b", "c"], ["d", "e", "f"])
    apart = two_class_eer(np.array([3.0, 4, 5]), np.array([0.0, 1, 2]), groups)
    assert (apart.value, apart.low, apart.high, apart.n) == (0, 0, 0, 6)
    rng = np.random.default_rng(0)
    same = two_class_eer(
        rng.standard_normal(400), rng.standard_normal(400),
        (list("abcdefgh") * 50, list("abcdefgh") * 50),
    )  # fmt: skip
    assert 45 < same.value < 55


def test_rows() -> None:
    row = result_row(
        {"system": "fhvae", "seed": 1, "set": "unseen"}, "mcd", "shift/world",
        Estimate(7.1234567, None, 8.0, 3), "x.json",
    )  # fmt: skip
    assert tuple(row) == ROW_FIELDS
    assert (row["value"], row["low"], row["high"]) == (7.12346, None, 8.0)
