"""Interpolated modified Kneser-Ney n-gram models (Chen & Goodman 1999), estimated with arrays.

For corpora of up to a few hundred thousand sentences (memory: about 0.3 GB a million running
words); larger texts want KenLM's `lmplz`, which `make_lm` uses when it is on PATH. Definitions
follow `lmplz` so that the two agree: sentences are `<s> w1 .. wn </s>`; the highest order and
n-grams that begin with `<s>` keep raw counts, lower orders count distinct left neighbours;
discounts D1, D2, D3+ per order from counts of counts; unigrams are interpolated with the uniform
distribution over the vocabulary with `</s>` and `<unk>`, without `<s>`, so `<unk>` always has a
real probability.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pylib.corpus.atomic import atomic_path
from pylib.corpus.errors import UserError

UNK, BOS, EOS = "<unk>", "<s>", "</s>"
UNK_ID, BOS_ID, EOS_ID = 0, 1, 2
# What lmplz takes with --discount_fallback where counts of counts give no valid discounts.
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class Encoded:
    """A text as ids: `ids` (N,) int32 with `<s>` and `</s>` around every sentence."""

    words: tuple[str, ...]
    ids: np.ndarray
    sentences: int


@dataclass
class Order:
    """All n-grams of one order, row j = one n-gram.

    prefix, suffix (M,): rows of the order below of its first and last n-1 words; word (M,): its
    last word; count (M,): raw count; first (M,): its first word.
    """

    prefix: np.ndarray
    suffix: np.ndarray
    word: np.ndarray
    count: np.ndarray
    first: np.ndarray


@dataclass
class NgramModel:
    """An estimated model: per order log10 probability (M,), log10 back-off (M,), words (M, n)."""

    vocabulary: tuple[str, ...]
    words: list[np.ndarray]
    log10_prob: list[np.ndarray]
    log10_backoff: list[np.ndarray]
    discounts: list[tuple[float, float, float]]
    fallback_orders: list[int]

    @property
    def order(self) -> int:
        return len(self.words)


def encode_text(lines: Iterable[tuple[int, str]], vocabulary: set[str] | None = None) -> Encoded:
    """Encode (line number, sentence) pairs; empty lines are skipped.

    vocabulary: words outside become `<unk>`; None = every word of the text. UserError on
    sentence marks inside a sentence and on a text without words.
    """
    table: dict[str, int] = {UNK: UNK_ID, BOS: BOS_ID, EOS: EOS_ID}
    if vocabulary is not None:
        for word in sorted(vocabulary - {UNK, BOS, EOS}):
            table[word] = len(table)
    chunks: list[np.ndarray] = []
    pending: list[int] = []
    sentences = 0
    for number, line in lines:
        fields = line.split()
        if not fields:
            continue
        if BOS in fields or EOS in fields:
            raise UserError(
                f"line {number}: {BOS} or {EOS} inside the text: give plain sentences, one a line"
            )
        sentences += 1
        pending.append(BOS_ID)
        if vocabulary is None:
            pending.extend(table.setdefault(word, len(table)) for word in fields)
        else:
            pending.extend(table.get(word, UNK_ID) for word in fields)
        pending.append(EOS_ID)
        if len(pending) > 1 << 20:
            chunks.append(np.array(pending, dtype=np.int32))
            pending = []
    chunks.append(np.array(pending, dtype=np.int32))
    if not sentences:
        raise UserError("language model text: no sentences: give text with one sentence a line")
    return Encoded(tuple(table), np.concatenate(chunks), sentences)


def count_orders(encoded: Encoded, order: int) -> list[Order]:
    """Distinct n-grams of order 1..order with raw counts; none crosses a sentence boundary."""
    ids = encoded.ids.astype(np.int64)
    size = len(encoded.words)
    every = np.arange(size)
    orders = [Order(every * 0, every * 0, every, np.bincount(ids, minlength=size), every)]
    rows = ids.copy()  # row, in the order below, of the (n-1)-gram that starts at a position
    for n in range(2, order + 1):
        if len(orders[-1].word) > (2**63 - 1) // size:
            raise UserError(f"order {n}: too many n-grams for 64-bit keys: use lmplz")
        last = len(ids) - (n - 1)
        starts = np.flatnonzero((rows[:last] >= 0) & (ids[n - 1 :] != BOS_ID))
        keys = rows[starts] * size + ids[starts + n - 1]
        unique, at, inverse, count = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        prefix = unique // size
        orders.append(
            Order(prefix, rows[starts[at] + 1], unique % size, count, orders[-1].first[prefix])
        )
        rows = np.full(len(ids), -1, dtype=np.int64)
        rows[starts] = inverse
    return orders


def adjusted_counts(orders: list[Order]) -> list[np.ndarray]:
    """Kneser-Ney counts (M,) per order: distinct left neighbours below the highest order."""
    adjusted: list[np.ndarray] = []
    for n, current in enumerate(orders, 1):
        if n == len(orders):
            counts = current.count.copy()
        else:
            counts = np.bincount(orders[n].suffix, minlength=len(current.word))
            starts = current.first == BOS_ID
            counts[starts] = current.count[starts]
        if n == 1:
            counts[BOS_ID] = 0  # <s> is a context, never predicted
        adjusted.append(counts)
    return adjusted


def kneser_ney_discounts(counts: np.ndarray) -> tuple[tuple[float, float, float], bool]:
    """((D1, D2, D3+), whether the fallback was taken) from counts of counts t1..t4."""
    t1, t2, t3, t4 = (int(np.count_nonzero(counts == k)) for k in (1, 2, 3, 4))
    if not (t1 and t2 and t3):
        return FALLBACK_DISCOUNTS, True
    y = t1 / (t1 + 2 * t2)
    d1, d2, d3 = 1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3
    if not (0 <= d1 <= 1 and 0 <= d2 <= 2 and 0 <= d3 <= 3):
        return FALLBACK_DISCOUNTS, True
    return (d1, d2, d3), False


def estimate(encoded: Encoded, order: int = 4) -> NgramModel:
    """Estimate an interpolated modified Kneser-Ney model of the given order (>= 1)."""
    if order < 1:
        raise UserError(f"order = {order}: expected 1 or more (4 is the usual)")
    orders = count_orders(encoded, order)
    adjusted = adjusted_counts(orders)
    size = len(encoded.words)
    model = NgramModel(encoded.words, [], [], [], [], [])
    lower = np.full(1, 1.0 / (size - 1))  # uniform, without <s>
    words = np.zeros((1, 0), dtype=np.int32)
    for n, (current, counts) in enumerate(zip(orders, adjusted, strict=True), 1):
        discounts, fallback = kneser_ney_discounts(counts)
        if fallback:
            model.fallback_orders.append(n)
        taken = np.array((0.0, *discounts))[np.minimum(counts, 3)]
        taken = np.minimum(taken, counts)  # a discount never takes more than there is
        contexts = len(lower)
        total = np.bincount(current.prefix, counts, minlength=contexts)
        freed = np.bincount(current.prefix, taken, minlength=contexts)
        with np.errstate(invalid="ignore", divide="ignore"):
            gamma = np.where(total > 0, freed / total, 1.0)
        share = (counts - taken) / np.maximum(total, 1)[current.prefix]
        prob = share + gamma[current.prefix] * lower[current.suffix]
        if n == 1:
            prob[BOS_ID] = 1.0  # log10 = 0, as lmplz writes it; never asked for
        else:
            model.log10_backoff.append(_log10(gamma))
        words = np.column_stack([words[current.prefix], current.word.astype(np.int32)])
        model.words.append(words)
        model.discounts.append(discounts)
        model.log10_prob.append(_log10(prob))
        lower = prob
    model.log10_backoff.append(np.zeros(len(lower)))
    return model


def _log10(values: np.ndarray) -> np.ndarray:
    """log10 with the ARPA convention of -99 for zero."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log10(values), -99.0)


def arpa_lines(model: NgramModel) -> Iterator[str]:
    """The ARPA format in pieces of whole lines."""
    yield "\\data\\\n"
    for n, words in enumerate(model.words, 1):
        yield f"ngram {n}={len(words)}\n"
    for n in range(1, model.order + 1):
        yield f"\n\\{n}-grams:\n"
        for begin in range(0, len(model.words[n - 1]), _LINES_AT_ONCE):
            yield _gram_lines(model, n, slice(begin, begin + _LINES_AT_ONCE))
    yield "\n\\end\\\n"


_LINES_AT_ONCE = 65536  # as Python objects an n-gram takes ten times its arrays


def _gram_lines(model: NgramModel, n: int, rows: slice) -> str:
    """Some lines of one order: `log10 p<TAB>words[<TAB>back-off]`."""
    names, lines = model.vocabulary, []
    parts = (model.words[n - 1], model.log10_prob[n - 1], model.log10_backoff[n - 1])
    for ids, prob, backoff in zip(*(part[rows].tolist() for part in parts), strict=True):
        text = " ".join([names[i] for i in ids])
        tail = f"\t{backoff:.7g}" if n < model.order and ids[-1] != EOS_ID else ""
        lines.append(f"{prob:.7g}\t{text}{tail}\n")
    return "".join(lines)


def write_arpa(path: str | Path, model: NgramModel) -> None:
    """Write the model as ARPA text, atomically."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as stream:
        stream.writelines(arpa_lines(model))


def perplexity(log10_sum: float, tokens: int) -> float:
    """Perplexity from a sum of log10 probabilities over `tokens` words and sentence ends."""
    if tokens < 1:
        raise UserError("perplexity of no words: give text with at least one sentence")
    return math.pow(10.0, -log10_sum / tokens)
