"""Error counts by hand, against a plain dynamic programme, jiwer and sclite."""

import re
import shutil
import subprocess

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylib.corpus.errors import UserError
from pylib.scoring.kaldi_files import trn_lines
from pylib.scoring.normalise import get_normaliser
from pylib.scoring.wer import Counts, align, characters, count_pairs, score_set

NONE = get_normaliser("none")
words = st.lists(st.sampled_from(["A", "B", "C", "IT'S", "Ö"]), max_size=8)


def plain_distance(ref, hyp):
    """Levenshtein distance, the textbook table."""
    table = list(range(len(hyp) + 1))
    for i, r in enumerate(ref, 1):
        previous, table[0] = table[0], i
        for j, h in enumerate(hyp, 1):
            best = min(previous + (r != h), table[j] + 1, table[j - 1] + 1)
            previous, table[j] = table[j], best
    return table[-1]


def score(refs, hyps, unit="word", normaliser=NONE):
    return score_set(refs, hyps, {u: u.split("-")[0] for u in refs}, normaliser, unit)


@pytest.mark.parametrize(
    ("ref", "hyp", "expected"),
    [
        ("THE CAT SAT", "THE CAT SAT", Counts(3, 0, 0, 0)),
        ("THE CAT SAT", "THE BAT SAT", Counts(2, 1, 0, 0)),
        ("THE CAT SAT", "THE SAT", Counts(2, 0, 0, 1)),
        ("THE CAT SAT", "THE BIG CAT SAT", Counts(3, 0, 1, 0)),
        ("THE CAT", "", Counts(0, 0, 0, 2)),
        ("", "THE CAT", Counts(0, 0, 2, 0)),
        ("", "", Counts(0, 0, 0, 0)),
        ("A B C D", "B C D E", Counts(3, 0, 1, 1)),
    ],
)
def test_counts_by_hand(ref, hyp, expected):
    assert count_pairs(align(ref.split(), hyp.split())) == expected


@given(words, words)
def test_alignment_is_whole_and_minimal(ref, hyp):
    pairs = align(ref, hyp)
    assert [r for r, _ in pairs if r != "***"] == ref
    assert [h for _, h in pairs if h != "***"] == hyp
    counts = count_pairs(pairs)
    assert counts.errors == plain_distance(ref, hyp)
    assert counts.reference == len(ref)


@settings(max_examples=30)
@given(st.lists(st.tuples(words.filter(bool), words), min_size=1, max_size=10))
def test_totals_equal_jiwer(pairs):
    refs = {f"s-{i:02d}": " ".join(r) for i, (r, _) in enumerate(pairs)}
    hyps = {f"s-{i:02d}": " ".join(h) for i, (_, h) in enumerate(pairs)}
    assert score(refs, hyps).rate == pytest.approx(
        100 * jiwer.wer(list(refs.values()), list(hyps.values()))
    )
    assert score(refs, hyps, "char").rate == pytest.approx(
        100 * jiwer.cer(list(refs.values()), list(hyps.values()))
    )


def test_characters_count_the_space():
    assert characters(["IT'S", "A"]) == ["I", "T", "'", "S", "<space>", "A"]
    assert characters([]) == []


def test_missing_hypotheses_are_deletions():
    refs = {"a-1": "THE CAT", "a-2": "ON A MAT"}
    result = score(refs, {"a-1": "THE CAT"})
    assert result.missing == ["a-2"]
    assert result.counts == Counts(2, 0, 0, 3)
    assert result.rate == 60.0
    present = score(refs, {"a-1": "THE CAT", "a-2": ""})
    assert present.counts == result.counts and present.missing == []


def test_empty_references_are_scored():
    result = score({"a-1": "", "a-2": "CAT"}, {"a-1": "OH NO", "a-2": "CAT"})
    assert result.counts == Counts(1, 0, 2, 0) and result.rate == 200.0


@pytest.mark.parametrize(
    ("refs", "hyps", "message"),
    [
        ({"a-1": ""}, {"a-1": "X"}, "no words at all"),
        ({"a-1": "X"}, {"a-1": "X", "b-9": "Y"}, "b-9"),
        ({"a-1": "X ***"}, {"a-1": "X"}, r"a-1: .*\*\*\*"),
    ],
)
def test_what_cannot_be_scored(refs, hyps, message):
    with pytest.raises(UserError, match=message):
        score(refs, hyps)


def test_speaker_comes_from_utt2spk_only():
    refs = {"x-1": "A", "x-2": "B"}
    result = score_set(refs, refs, {"x-1": "s2", "x-2": "s1"}, NONE)
    assert list(result.by_speaker()) == ["s1", "s2"]
    with pytest.raises(UserError, match="no speaker for 1"):
        score_set(refs, refs, {"x-1": "s2"}, NONE)


def test_normaliser_is_applied_to_both_sides():
    refs, hyps = {"a-1": "it\u2019s  HERE"}, {"a-1": "IT'S here"}
    assert score(refs, hyps).counts.errors == 2
    assert score(refs, hyps, normaliser=get_normaliser("librispeech")).counts == Counts(2, 0, 0, 0)
    refs, hyps = {"a-1": "'Tis well-known, Sir."}, {"a-1": "TIS WELL KNOWN SIR"}
    assert score(refs, hyps, normaliser=get_normaliser("letters")).counts.errors == 0
    assert get_normaliser("letters").label == "letters/1"
    with pytest.raises(UserError, match="expected one of"):
        get_normaliser("other")


@pytest.mark.skipif(shutil.which("sclite") is None, reason="sclite is not on PATH")
def test_totals_equal_sclite(tmp_path):
    rng = np.random.default_rng(0)
    vocabulary = [f"W{i}" for i in range(30)]
    refs = {f"s{i % 5}-{i:03d}": " ".join(rng.choice(vocabulary, 12)) for i in range(200)}
    hyps = {}
    for utt, text in refs.items():
        kept = [w if rng.random() > 0.15 else str(rng.choice(vocabulary)) for w in text.split()]
        hyps[utt] = " ".join(w for w in kept if rng.random() > 0.1)
    result = score(refs, hyps)
    for name, hypothesis in (("ref.trn", False), ("hyp.trn", True)):
        (tmp_path / name).write_text("".join(trn_lines(result, hypothesis)), encoding="utf-8")
    out = subprocess.run(
        ["sclite", "-i", "rm", "-r", "ref.trn", "trn", "-h", "hyp.trn", "trn", "-o", "rsum"]
        + ["stdout"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    numbers = [int(n) for n in re.findall(r"\d+", next(x for x in out.splitlines() if "Sum" in x))]
    assert numbers[1] == result.counts.reference
    assert result.counts.errors in numbers
