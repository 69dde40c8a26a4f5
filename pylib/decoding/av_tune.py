"""Choosing length penalty and CTC weight of an attention decoder on a development set.

Which sentences a search finds depends on the CTC weight alone: there is one search a weight, and
every length penalty is tried on what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from rapidfuzz.distance import Levenshtein

from pylib.decoding.attention_search import Hypothesis, SearchOptions, best
from pylib.decoding.av_decode import Sources, encode, find
from pylib.decoding.variants import Variant
from pylib.features.noise import Condition
from pylib.systems.seq2seq import Seq2Seq
from pylib.units.subwords import words_of

LENGTH_PENALTIES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
CTC_WEIGHTS = (0.0, 0.1, 0.3, 0.5, 0.7)
PUBLISHED = (1.0, 0.0)  # arXiv 2211.11275's decoding

Normalise = Callable[[str], list[str]]
Found = dict[str, list[Hypothesis]]


@dataclass(frozen=True)
class Trial:
    """One setting: words wrong of words, and characters wrong (breaks ties)."""

    length_penalty: float
    ctc_weight: float
    errors: int
    words: int
    char_errors: int

    @property
    def wer(self) -> float:
        return 100.0 * self.errors / self.words

    def rank(self) -> tuple[float, ...]:
        """Fewest word errors, then characters, then nearest to the published setting."""
        away = abs(self.length_penalty - PUBLISHED[0]) + abs(self.ctc_weight - PUBLISHED[1])
        return (self.errors, self.char_errors, away, self.length_penalty, self.ctc_weight)


def ctc_weights(model: Seq2Seq) -> tuple[float, ...]:
    """The weights that a model's heads allow."""
    if model.decoder is None:
        return (1.0,)
    return CTC_WEIGHTS if model.ctc_head is not None else (0.0,)


def search_all(
    model: Seq2Seq,
    sources: Sources,
    batches: Sequence[Sequence[str]],
    modality: str,
    weights: Sequence[float],
    options: SearchOptions,
    device: str = "cpu",
) -> dict[float, Found]:
    """CTC weight -> utterance -> hypotheses of a clean set."""
    variant = Variant(Condition(), modality)
    found: dict[float, Found] = {weight: {} for weight in weights}
    for batch in batches:
        for _, memory, streams in encode(model, sources, batch, [variant], device):
            for weight in weights:
                made = find(model, memory, streams, replace(options, ctc_weight=weight))
                found[weight].update(zip(batch, made, strict=True))
    return found


def evaluate(
    found: Mapping[float, Found],
    refs: Mapping[str, list[str]],
    pieces: Sequence[str],
    normalise: Normalise,
    penalties: Sequence[float] = LENGTH_PENALTIES,
) -> list[Trial]:
    """Every CTC weight with every length penalty.

    Args:
        found: of `search_all`; an utterance that is missing has no words.
        refs: utterance -> reference words, normalised.
        normalise: what is done to hypotheses (the same as was done to refs).
    """
    total = sum(len(words) for words in refs.values())
    trials = []
    for weight, hypotheses in found.items():
        for penalty in penalties:
            words = chars = 0
            for utt, ref in refs.items():
                mine = hypotheses.get(utt)
                ids = best(mine, penalty).tokens if mine else ()
                hyp = normalise(" ".join(words_of(pieces, ids)))
                words += Levenshtein.distance(ref, hyp)
                chars += Levenshtein.distance(" ".join(ref), " ".join(hyp))
            trials.append(Trial(penalty, weight, words, total, chars))
    return trials


def format_table(trials: Sequence[Trial], chosen: Trial) -> str:
    """WER for every setting: one line per CTC weight, one column per length penalty."""
    at = {(t.ctc_weight, t.length_penalty): t for t in trials}
    penalties = sorted({t.length_penalty for t in trials})
    lines = ["ctc \\ length " + " ".join(f"{p:>7.2f}" for p in penalties)]
    for weight in sorted({t.ctc_weight for t in trials}):
        cells = []
        for penalty in penalties:
            trial = at[weight, penalty]
            cells.append(f"{trial.wer:6.2f}{'*' if trial == chosen else ' '}")
        lines.append(f"{weight:12.2f} " + " ".join(cells))
    return "\n".join(lines) + "\n"
