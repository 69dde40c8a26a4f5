"""Beam search over an attention decoder, CTC prefix scores, or both, in batches with a cache.

All hypotheses of a batch take one step together; those that end leave, utterances that are done
leave the batch. Scores are float32 sums of natural logs. The rule is fairseq's: a hypothesis ends
when the end symbol is among the best `beam` continuations; an utterance is done when `beam` of
its hypotheses have ended or there are as many tokens as frames. Which hypotheses are
found does not depend on the length penalty, which only ranks them: it can be tuned on one search.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.decoding.ctc_prefix import CTCPrefix
from pylib.nn.decoder import Decoder, DecoderState


@dataclass(frozen=True)
class SearchOptions:
    """What decides the result of a search."""

    beam: int = 20  # hypotheses kept
    length_penalty: float = 1.0  # sums are divided by (tokens + 1) ** this
    ctc_weight: float = 0.0  # share of CTC's prefix score; 1 = CTC alone
    threshold: float = 20.0  # nats below the best, ended or not, that are given up; 0 = never

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise UserError(f"beam {self.beam}: expected at least 1")
        if not 0.0 <= self.ctc_weight <= 1.0:
            raise UserError(f"CTC weight {self.ctc_weight}: expected 0 to 1")
        if self.threshold < 0:
            raise UserError(f"threshold {self.threshold}: expected 0 or more")

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Hypothesis:
    """A sentence found.

    Attributes:
        tokens: without end symbol.
        score: sum of natural logs, the end symbol's included, both models weighted.
    """

    tokens: tuple[int, ...]
    score: float

    def ranked(self, length_penalty: float) -> float:
        """What hypotheses are compared by."""
        return self.score / (len(self.tokens) + 1) ** length_penalty


@dataclass(frozen=True)
class Symbols:
    """Ids with a meaning of their own; `never` are not written by a search."""

    eos: int
    blank: int
    never: tuple[int, ...] = ()


def best(found: Sequence[Hypothesis], length_penalty: float) -> Hypothesis:
    """The best of the hypotheses of one utterance; ties go to the shorter, then the lower ids."""
    return max(
        found,
        key=lambda h: (h.ranked(length_penalty), -len(h.tokens), tuple(-t for t in h.tokens)),
    )


class _Beams:
    """Hypotheses of the utterances that are still searched.

    Attributes:
        index: (B,) which utterance each row is.
        tokens: (B, n, U); attention, total: (B, n) sums, -inf for a hypothesis that is none.
    """

    def __init__(self, lengths: Tensor, device: torch.device) -> None:
        rows = len(lengths)
        self.index = torch.arange(rows)
        self.limits = lengths.to(device)
        self.tokens = torch.zeros(rows, 1, 0, dtype=torch.int64, device=device)
        self.attention = torch.zeros(rows, 1, device=device)
        self.total = torch.zeros(rows, 1, device=device)


@torch.no_grad()
def search(
    decoder: Decoder | None,
    memory: Tensor,
    lengths: Tensor,
    padding: Tensor | None,
    options: SearchOptions,
    symbols: Symbols,
    ctc_log_probs: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """Hypotheses of a batch, the best first.

    Args:
        decoder: None where CTC searches alone.
        memory: (B, T, E), encoder output.
        lengths: (B,) int64 on the CPU, frames; a sentence has at most as many tokens.
        padding: (B, T) bool, True beyond the frames; None without padding.
        options: see there.
        symbols: see there.
        ctc_log_probs: (B, T, V), needed with a CTC weight.

    Returns:
        For each utterance at most `beam` hypotheses, at least one.

    Raises:
        UserError: scores are not numbers.
    """
    weight = 1.0 if decoder is None else options.ctc_weight
    if weight > 0 and ctc_log_probs is None:
        raise ValueError("search: a CTC weight needs CTC's log-probabilities")
    if decoder is not None and decoder.training:
        raise RuntimeError("search: call eval() first")
    state = decoder.begin(memory, padding) if decoder is not None and weight < 1.0 else None
    prefix = CTCPrefix(ctc_log_probs, symbols.blank, symbols.eos) if weight > 0 else None  # type: ignore[arg-type]
    beams = _Beams(lengths, memory.device)
    found: list[list[Hypothesis]] = [[] for _ in range(len(lengths))]
    never = torch.tensor([i for i in symbols.never if i != symbols.eos], device=memory.device)
    while len(beams.index):
        attention, total = _continuations(decoder, state, prefix, beams, weight, symbols, never)
        kept = _take(beams, attention, total, found, options, symbols)
        if state is not None:
            state.select(*kept)
        if prefix is not None:
            prefix.advance(kept[0], beams.tokens[:, :, -1].flatten(), kept[1])
    for item in found:
        item.sort(key=lambda h: (-h.ranked(options.length_penalty), len(h.tokens), h.tokens))
        if not item:
            item.append(Hypothesis((), float("-inf")))
    return found


def _continuations(
    decoder: Decoder | None,
    state: DecoderState | None,
    prefix: CTCPrefix | None,
    beams: _Beams,
    weight: float,
    symbols: Symbols,
    never: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sums (B, n, V) of the decoder, and of both models together, for every next token."""
    rows, hypotheses, done = beams.tokens.shape
    if state is not None:
        assert decoder is not None
        if done:
            newest = beams.tokens[:, :, -1].flatten()
        else:
            newest = beams.tokens.new_full((rows,), symbols.eos)
        logits = decoder.step(newest, state).float()
        attention = logits.log_softmax(1).view(rows, hypotheses, -1)
        attention += beams.attention[:, :, None]
        total = attention if weight == 0.0 else (1.0 - weight) * attention
        if bool(total.isnan().any()):
            raise UserError(
                "search: scores are not numbers: the model has diverged, use an earlier checkpoint"
            )
    if prefix is not None:
        spelled = prefix.scores()
        if state is None:
            attention = torch.zeros_like(spelled)
            total = spelled
        else:
            total = total + weight * spelled
    total = total.index_fill(2, never, float("-inf"))
    full = beams.limits <= done
    if bool(full.any()):  # nothing but the end fits
        ended = torch.full_like(total, float("-inf"))
        ended[:, :, symbols.eos] = total[:, :, symbols.eos]
        total = torch.where(full[:, None, None], ended, total)
    dead = beams.total.isinf()[:, :, None]
    return attention, total.masked_fill(dead, float("-inf"))


def _take(
    beams: _Beams,
    attention: Tensor,
    total: Tensor,
    found: list[list[Hypothesis]],
    options: SearchOptions,
    symbols: Symbols,
) -> tuple[Tensor, Tensor | None]:
    """Keep the best continuations, collect those that end, drop utterances that are done.

    Returns:
        rows (B' * n') that the kept hypotheses continue, and the utterances kept (None = all).
    """
    rows, hypotheses, vocab = total.shape
    beam = options.beam
    score, place = total.flatten(1).topk(min(2 * beam, hypotheses * vocab), dim=1)
    source = torch.div(place, vocab, rounding_mode="floor")
    token = place - source * vocab
    ends = token == symbols.eos
    _collect(beams, score[:, :beam], source, ends[:, :beam], found, beam)
    # The first `beam` that go on, in their order.
    order = torch.arange(score.shape[1], device=score.device) + ends * score.shape[1]
    chosen = order.argsort(dim=1)[:, :beam]
    score = score.masked_fill(ends, float("-inf")).gather(1, chosen)
    source, token = source.gather(1, chosen), token.gather(1, chosen)
    if options.threshold > 0:
        ended = [max((h.score for h in found[i]), default=float("-inf")) for i in beams.index]
        top = torch.maximum(torch.tensor(ended, device=score.device), score[:, 0])
        score = score.masked_fill(score < top[:, None] - options.threshold, float("-inf"))
    # They are in order: what is given up stands last, and columns of nothing else go.
    width = max(int(score.isfinite().sum(1).max()), 1)
    score, source, token = (x[:, :width] for x in (score, source, token))
    alive = score.isfinite().any(1).cpu()
    alive &= torch.tensor([len(found[i]) < beam for i in beams.index])
    past = beams.tokens.gather(1, source[:, :, None].expand(-1, -1, beams.tokens.shape[2]))
    spelled = torch.cat([past, token[:, :, None]], dim=2)
    summed = attention.flatten(1).gather(1, source * vocab + token)
    first = torch.arange(rows, device=source.device)[:, None] * hypotheses
    going = source + first
    keep = None
    if not bool(alive.all()):
        keep = alive.nonzero()[:, 0]
        beams.index = beams.index[keep]
        keep = keep.to(score.device)
        spelled, summed, score, going = (x[keep] for x in (spelled, summed, score, going))
        beams.limits = beams.limits[keep]
    beams.tokens, beams.attention, beams.total = spelled, summed, score
    return going.flatten(), keep


def _collect(
    beams: _Beams,
    score: Tensor,
    source: Tensor,
    ends: Tensor,
    found: list[list[Hypothesis]],
    beam: int,
) -> None:
    """Note the hypotheses that end, best first, at most `beam` for an utterance."""
    row, column = (ends & score.isfinite()).nonzero(as_tuple=True)
    if not len(row):
        return
    tokens = beams.tokens[row, source[row, column]].tolist()
    for place, value, spelled in zip(
        row.tolist(), score[row, column].tolist(), tokens, strict=True
    ):
        mine = found[int(beams.index[place])]
        if len(mine) < beam:
            mine.append(Hypothesis(tuple(spelled), value))
