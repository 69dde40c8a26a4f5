"""Word and character errors: alignment, counts per utterance and speaker, totals.

Alignments are minimal in edits (unit costs); the split into substitutions, deletions and
insertions may differ from sclite's (which weighs 4/3/3), the total does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from pylib.corpus.errors import UserError
from pylib.scoring.normalise import Normaliser

GAP = "***"
SPACE = "<space>"


@dataclass(frozen=True)
class Counts:
    """Correct, substituted, inserted and deleted units."""

    cor: int = 0
    sub: int = 0
    ins: int = 0
    dele: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.cor + other.cor,
            self.sub + other.sub,
            self.ins + other.ins,
            self.dele + other.dele,
        )

    @property
    def errors(self) -> int:
        return self.sub + self.ins + self.dele

    @property
    def reference(self) -> int:
        return self.cor + self.sub + self.dele


@dataclass(frozen=True)
class Utterance:
    """A scored utterance: `pairs` are aligned (reference, hypothesis) units, `***` for a gap."""

    utt: str
    speaker: str
    pairs: tuple[tuple[str, str], ...]
    counts: Counts
    missing: bool = False

    @property
    def ref(self) -> list[str]:
        return [r for r, _ in self.pairs if r != GAP]

    @property
    def hyp(self) -> list[str]:
        return [h for _, h in self.pairs if h != GAP]


@dataclass(frozen=True)
class Score:
    """All utterances of a set in key order, and the unit they were counted in (word, char)."""

    unit: str
    utterances: tuple[Utterance, ...]

    @property
    def counts(self) -> Counts:
        return sum((u.counts for u in self.utterances), Counts())

    @property
    def missing(self) -> list[str]:
        return [u.utt for u in self.utterances if u.missing]

    @property
    def rate(self) -> float:
        """Errors over reference units, in percent."""
        return 100.0 * self.counts.errors / self.counts.reference

    @property
    def sentence_errors(self) -> int:
        return sum(u.counts.errors > 0 for u in self.utterances)

    def by_speaker(self) -> dict[str, list[Utterance]]:
        """Speaker (sorted) -> utterances."""
        speakers: dict[str, list[Utterance]] = {}
        for utterance in self.utterances:
            speakers.setdefault(utterance.speaker, []).append(utterance)
        return dict(sorted(speakers.items()))


def align(ref: Sequence[str], hyp: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pairs (reference unit, hypothesis unit) of one minimal alignment, `***` for a gap.

    UserError when a unit is `***` itself: it could not be told from a gap.
    """
    if GAP in ref or GAP in hyp:
        raise UserError(f"the word {GAP!r} marks gaps in alignments: take it out of the text")
    pairs: list[tuple[str, str]] = []
    i = j = 0
    for op in Levenshtein.editops(ref, hyp):
        while i < op.src_pos and j < op.dest_pos:
            pairs.append((ref[i], hyp[j]))
            i, j = i + 1, j + 1
        if op.tag == "delete":
            pairs.append((ref[i], GAP))
            i += 1
        elif op.tag == "insert":
            pairs.append((GAP, hyp[j]))
            j += 1
        else:
            pairs.append((ref[i], hyp[j]))
            i, j = i + 1, j + 1
    pairs.extend(zip(ref[i:], hyp[j:], strict=True))
    return tuple(pairs)


def count_pairs(pairs: Sequence[tuple[str, str]]) -> Counts:
    """Correct, sub, ins, del of an alignment."""
    cor = sum(r == h for r, h in pairs)
    ins = sum(r == GAP for r, _ in pairs)
    dele = sum(h == GAP for _, h in pairs)
    return Counts(cor, len(pairs) - cor - ins - dele, ins, dele)


def characters(words: Sequence[str]) -> list[str]:
    """Characters of a transcript, word boundaries counted as one character `<space>`."""
    return [SPACE if c == " " else c for c in " ".join(words)]


def score_set(
    refs: Mapping[str, str],
    hyps: Mapping[str, str],
    utt2spk: Mapping[str, str],
    normaliser: Normaliser,
    unit: str = "word",
) -> Score:
    """Score hypotheses against references, both normalised.

    Every reference is scored: a missing hypothesis counts each of its words as deleted and is
    marked, an empty reference counts the hypothesis as insertions. unit: word or char.
    UserError: hypotheses of unknown utterances, an utterance without speaker, no reference words
    at all.
    """
    unknown = sorted(hyps.keys() - refs.keys())
    if unknown:
        raise UserError(
            f"hypotheses of {len(unknown)} utterances that the reference lacks "
            f"({', '.join(unknown[:5])}): score against the data directory that was decoded"
        )
    lost = sorted(refs.keys() - utt2spk.keys())
    if lost:
        raise UserError(f"utt2spk: no speaker for {len(lost)} utterances ({', '.join(lost[:5])})")
    split = characters if unit == "char" else list
    utterances = []
    for utt in sorted(refs):
        missing = utt not in hyps
        ref = split(normaliser.apply(refs[utt]))
        hyp = [] if missing else split(normaliser.apply(hyps[utt]))
        try:
            pairs = align(ref, hyp)
        except UserError as error:
            raise UserError(f"{utt}: {error}") from None
        utterances.append(Utterance(utt, utt2spk[utt], pairs, count_pairs(pairs), missing))
    score = Score(unit, tuple(utterances))
    if score.counts.reference == 0:
        raise UserError("the references have no words at all: an error rate does not exist")
    return score
