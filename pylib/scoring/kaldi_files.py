"""Scores in the text formats of Kaldi's scoring directory.

Formats as `align-text | wer_per_utt_details.pl`, `wer_per_spk_details.pl` and
`wer_ops_details.pl | sort` write them with the gap symbol `***`, `compute-wer` (best_wer) and
`compute-wer-bootci` (wer_bootci), so that tools that read those read these.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from pylib.scoring.wer import GAP, Counts, Score, Utterance

_SPEAKER_WIDTH = 15
_FIELD_WIDTH = 10
_OPS_WIDTH = 16
_HEADINGS = ("#SENT", "#WORD", "Corr", "Sub", "Ins", "Del", "Err", "S.Err")


def _centre(text: str, width: int) -> str:
    right = (width - len(text)) // 2
    return " " * (width - len(text) - right) + text + " " * right


def _op(ref: str, hyp: str) -> str:
    if hyp == GAP:
        return "D"
    if ref == GAP:
        return "I"
    return "C" if ref == hyp else "S"


def per_utt_lines(score: Score) -> Iterator[str]:
    """Four lines per utterance: ref, hyp, op (columns centred), #csid."""
    for u in score.utterances:
        columns = [(r, h, _op(r, h)) for r, h in u.pairs]
        widths = [max(map(len, column)) for column in columns]
        for row, label in enumerate(("ref  ", "hyp  ", "op   ")):
            cells = [_centre(c[row], w) for c, w in zip(columns, widths, strict=True)]
            yield f"{u.utt} {label}" + "  ".join(cells) + "\n"
        c = u.counts
        yield f"{u.utt} #csid {c.cor} {c.sub} {c.ins} {c.dele}\n"


def _spk_rows(name: str, width: int, utterances: Iterable[Utterance]) -> Iterator[str]:
    utterances = list(utterances)
    c = sum((u.counts for u in utterances), Counts())
    wrong = sum(u.counts.errors > 0 for u in utterances)
    values = [c.cor, c.sub, c.ins, c.dele, c.errors]
    head = f"{len(utterances):{_FIELD_WIDTH}d} {c.reference:{_FIELD_WIDTH}d}"
    raw = " ".join(f"{v:{_FIELD_WIDTH}d}" for v in (*values, wrong))
    yield f"{name:<{width}} raw {head} {raw}\n"
    if c.reference:
        percent = [100.0 * v / c.reference for v in values] + [100.0 * wrong / len(utterances)]
        shown = " ".join(f"{v:{_FIELD_WIDTH}.2f}" for v in percent)
        yield f"{name:<{width}} sys {head} {shown}\n"


def per_spk_lines(score: Score) -> Iterator[str]:
    """Header, a raw and a percent line per speaker, then SUM."""
    speakers = score.by_speaker()
    width = max([_SPEAKER_WIDTH, *map(len, speakers)])
    yield f"{'SPEAKER':<{width}} id  " + " ".join(f"{h:>{_FIELD_WIDTH}}" for h in _HEADINGS) + "\n"
    for speaker, utterances in speakers.items():
        yield from _spk_rows(speaker, width, utterances)
    yield from _spk_rows("SUM", width, score.utterances)


def ops_counts(score: Score) -> list[tuple[str, str, str, int]]:
    """(operation, ref, hyp, count), by operation, then count downwards, then words."""
    names = {"C": "correct", "S": "substitution", "D": "deletion", "I": "insertion"}
    pairs = Counter(pair for u in score.utterances for pair in u.pairs)
    rows = [(names[_op(r, h)], r, h, n) for (r, h), n in pairs.items()]
    return sorted(rows, key=lambda row: (row[0], -row[3], row[1], row[2]))


def ops_lines(score: Score) -> Iterator[str]:
    """Counts of every operation on every pair of words."""
    rows = ops_counts(score)
    width = min(_OPS_WIDTH, max((len(w) for row in rows for w in row[1:3]), default=1))
    digits = max((len(str(row[3])) for row in rows), default=1)
    for name, ref, hyp, count in rows:
        yield f"{name:<12}  {ref:>{width}}    {hyp:>{width}}    {count:>{digits}}\n"


def best_lines(score: Score, name: str, where: str) -> str:
    """The one line of best_wer / best_cer; ` [PARTIAL]` when hypotheses were missing."""
    c = score.counts
    partial = " [PARTIAL]" if score.missing else ""
    return (
        f"%{name} {score.rate:.2f} [ {c.errors} / {c.reference}, {c.ins} ins, {c.dele} del, "
        f"{c.sub} sub ]{partial} {where}\n"
    )


def summary_lines(score: Score, name: str) -> str:
    """compute-wer's three lines: %WER, %SER, how many were scored."""
    c, n = score.counts, len(score.utterances)
    partial = " [PARTIAL]" if score.missing else ""
    return (
        f"%{name} {score.rate:.2f} [ {c.errors} / {c.reference}, {c.ins} ins, {c.dele} del, "
        f"{c.sub} sub ]{partial}\n"
        f"%SER {100.0 * score.sentence_errors / n:.2f} [ {score.sentence_errors} / {n} ]\n"
        f"Scored {n} sentences, {len(score.missing)} not present in hyp.\n"
    )


def trn_lines(score: Score, hypothesis: bool) -> Iterator[str]:
    """sclite's trn: `words (speaker-utterance)`, for `sclite -i rm`."""
    for u in score.utterances:
        words = u.hyp if hypothesis else u.ref
        # sclite reads the speaker as what precedes the first - or _, so neither may be in it.
        speaker = u.speaker.replace("-", ".").replace("_", ".")
        yield f"{' '.join(words)} ({speaker}-{u.utt})\n"
