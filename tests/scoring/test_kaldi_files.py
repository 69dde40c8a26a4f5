"""Kaldi's scoring files, character by character."""

from pylib.scoring.kaldi_files import (
    best_lines,
    ops_lines,
    per_spk_lines,
    per_utt_lines,
    summary_lines,
    trn_lines,
)
from pylib.scoring.normalise import get_normaliser
from pylib.scoring.wer import score_set

REFS = {"a-1": "THE CAT SAT", "a-2": "ONE TWO", "b-1": "GO", "b-2": ""}
HYPS = {"a-1": "THE BAT SAT", "a-2": "ONE", "b-1": "GO NEW", "b-2": "X"}
SPEAKERS = {"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "c"}
SCORE = score_set(REFS, HYPS, SPEAKERS, get_normaliser("none"))


def test_per_utt():
    assert "".join(per_utt_lines(SCORE)) == (
        "a-1 ref  THE  CAT  SAT\n"
        "a-1 hyp  THE  BAT  SAT\n"
        "a-1 op    C    S    C \n"
        "a-1 #csid 2 1 0 0\n"
        "a-2 ref  ONE  TWO\n"
        "a-2 hyp  ONE  ***\n"
        "a-2 op    C    D \n"
        "a-2 #csid 1 0 0 1\n"
        "b-1 ref  GO  ***\n"
        "b-1 hyp  GO  NEW\n"
        "b-1 op    C   I \n"
        "b-1 #csid 1 0 1 0\n"
        "b-2 ref  ***\n"
        "b-2 hyp   X \n"
        "b-2 op    I \n"
        "b-2 #csid 0 0 1 0\n"
    )


def test_per_spk():
    def row(name, kind, *values):
        return f"{name:<15} {kind} " + " ".join(f"{v:>10}" for v in values) + "\n"

    header = ["#SENT", "#WORD", "Corr", "Sub", "Ins", "Del", "Err", "S.Err"]
    assert "".join(per_spk_lines(SCORE)) == (
        row("SPEAKER", "id ", *header)
        + row("a", "raw", 2, 5, 3, 1, 0, 1, 2, 2)
        + row("a", "sys", 2, 5, "60.00", "20.00", "0.00", "20.00", "40.00", "100.00")
        + row("b", "raw", 1, 1, 1, 0, 1, 0, 1, 1)
        + row("b", "sys", 1, 1, "100.00", "0.00", "100.00", "0.00", "100.00", "100.00")
        + row("c", "raw", 1, 0, 0, 0, 1, 0, 1, 1)  # no percentages of no words
        + row("SUM", "raw", 4, 6, 4, 1, 2, 1, 4, 4)
        + row("SUM", "sys", 4, 6, "66.67", "16.67", "33.33", "16.67", "66.67", "100.00")
    )


def test_ops_by_type_then_count():
    lines = [line.split() for line in ops_lines(SCORE)]
    assert lines == [
        ["correct", "GO", "GO", "1"],
        ["correct", "ONE", "ONE", "1"],
        ["correct", "SAT", "SAT", "1"],
        ["correct", "THE", "THE", "1"],
        ["deletion", "TWO", "***", "1"],
        ["insertion", "***", "NEW", "1"],
        ["insertion", "***", "X", "1"],
        ["substitution", "CAT", "BAT", "1"],
    ]
    assert next(iter(ops_lines(SCORE))) == "correct        GO     GO    1\n"


def test_best_wer_and_summary():
    assert best_lines(SCORE, "WER", "exp/x/hyp") == (
        "%WER 66.67 [ 4 / 6, 2 ins, 1 del, 1 sub ] exp/x/hyp\n"
    )
    assert summary_lines(SCORE, "WER") == (
        "%WER 66.67 [ 4 / 6, 2 ins, 1 del, 1 sub ]\n"
        "%SER 100.00 [ 4 / 4 ]\n"
        "Scored 4 sentences, 0 not present in hyp.\n"
    )
    partial = score_set(REFS, {"a-1": "THE CAT SAT"}, SPEAKERS, get_normaliser("none"))
    assert "] [PARTIAL] exp" in best_lines(partial, "WER", "exp/x/hyp")
    assert "3 not present" in summary_lines(partial, "WER")


def test_trn_keeps_the_speaker_apart():
    score = score_set({"u-1": "A B"}, {"u-1": "A"}, {"u-1": "sp_1-x"}, get_normaliser("none"))
    assert list(trn_lines(score, hypothesis=False)) == ["A B (sp.1.x-u-1)\n"]
    assert list(trn_lines(score, hypothesis=True)) == ["A (sp.1.x-u-1)\n"]
