"""Beam search: every sentence enumerated as oracle, CTC prefix scores by torch's CTC, batches."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.decoding.attention_search import Hypothesis, SearchOptions, Symbols, best, search
from pylib.decoding.ctc_prefix import CTCPrefix
from pylib.nn.decoder import Decoder, DecoderSize

VOCAB, EOS, BLANK = 6, 2, 0
SYMBOLS = Symbols(EOS, BLANK, (0, 1))
SAYABLE = (3, 4, 5)
LENGTHS = torch.tensor([4, 3, 1])
PADDING = torch.arange(4) >= LENGTHS[:, None]


def world(seed: int) -> tuple[Decoder, Tensor, Tensor]:
    """A decoder, memory (3, 4, 8), CTC log-probabilities (3, 4, 6) with certain blanks beyond."""
    torch.manual_seed(seed)
    decoder = Decoder(DecoderSize(VOCAB, 8, 8, 16, 2, 2)).eval().requires_grad_(False)
    decoder.embedding.weight.mul_(2)
    log_probs = (2 * torch.randn(3, 4, VOCAB)).log_softmax(2)
    certain = torch.full((VOCAB,), -math.inf)
    certain[BLANK] = 0.0
    return decoder, 2 * torch.randn(3, 4, 8), torch.where(PADDING[:, :, None], certain, log_probs)


def spelled(log_probs: Tensor, tokens: tuple[int, ...]) -> float:
    """log p of a sentence by torch's CTC; (T, V)."""
    if not tokens:
        return float(log_probs[:, BLANK].sum())
    sizes = (torch.tensor([len(log_probs)]), torch.tensor([len(tokens)]))
    loss = F.ctc_loss(log_probs[:, None], torch.tensor([tokens]), *sizes, reduction="none")
    return -float(loss)


def sentences(frames: int) -> list[tuple[int, ...]]:
    return [s for n in range(frames + 1) for s in itertools.product(SAYABLE, repeat=n)]


def enumerated(seed: int, row: int, weight: float) -> dict[tuple[int, ...], float]:
    """Every sentence and its score."""
    decoder, memory, log_probs = world(seed)
    frames = int(LENGTHS[row])
    scores = {}
    for tokens in sentences(frames):
        logits = decoder(torch.tensor([[EOS, *tokens]]), memory[row : row + 1, :frames], None)
        steps = logits.log_softmax(2)[0]
        attention = sum(float(steps[i, t]) for i, t in enumerate((*tokens, EOS)))
        ctc = spelled(log_probs[row, :frames], tokens)
        score = (1 - weight) * attention + (weight * ctc if weight else 0.0)
        if score > -math.inf:
            scores[tokens] = score
    return scores


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_a_wide_beam_finds_every_sentence(weight: float, penalty: float) -> None:
    decoder, memory, log_probs = world(3)
    options = SearchOptions(2000, penalty, weight, threshold=0)
    found = search(decoder, memory, LENGTHS, PADDING, options, SYMBOLS, log_probs)
    for row, hypotheses in enumerate(found):
        expected = enumerated(3, row, weight)
        assert {h.tokens for h in hypotheses} == expected.keys()
        for item in hypotheses:
            assert item.score == pytest.approx(expected[item.tokens], abs=2e-5)
        ranked = [h.ranked(penalty) for h in hypotheses]
        assert ranked == sorted(ranked, reverse=True)
        top = max(expected, key=lambda t: expected[t] / (len(t) + 1) ** penalty)
        assert hypotheses[0].tokens == top == best(hypotheses, penalty).tokens


def test_ctc_searches_alone_without_a_decoder() -> None:
    _, memory, log_probs = world(4)
    options = SearchOptions(2000, 0.0, 1.0, threshold=0)
    found = search(None, memory, LENGTHS, PADDING, options, SYMBOLS, log_probs)
    for row, hypotheses in enumerate(found):
        expected = {
            t: s for t in sentences(int(LENGTHS[row]))
            if (s := spelled(log_probs[row, : int(LENGTHS[row])], t)) > -math.inf
        }  # fmt: skip
        assert {h.tokens for h in hypotheses} == expected.keys()
        assert hypotheses[0].tokens == max(expected, key=expected.__getitem__)


def test_prefix_scores_are_sums_over_all_sentences_that_begin_so() -> None:
    _, _, log_probs = world(5)
    # The specials can be said too here: all of a prefix's continuations count.
    tokens = (1, 2, 3, 4, 5)
    prefix = CTCPrefix(log_probs[:1], BLANK, eos=1)
    spoken: tuple[int, ...] = ()
    for following in (4, 4, 3):
        scores = prefix.scores()[0, 0]
        for token in (2, 3, 4, 5):
            begin = (*spoken, token)
            probs = [
                math.exp(spelled(log_probs[0], (*begin, *rest)))
                for n in range(4 - len(begin) + 1)
                for rest in itertools.product(tokens, repeat=n)
            ]
            total = math.log(sum(probs)) if sum(probs) else -math.inf
            assert float(scores[token]) == pytest.approx(total, abs=1e-4)
        assert float(scores[1]) == pytest.approx(spelled(log_probs[0], spoken), abs=1e-4)
        assert float(scores[BLANK]) == -math.inf
        prefix.advance(torch.tensor([0]), torch.tensor([following]))
        spoken = (*spoken, following)


def test_prefix_scores_of_long_confident_input_do_not_vanish() -> None:
    frames = 3000
    logits = torch.full((1, frames, 5), -30.0)
    path = [3 if t % 4 == 0 else 4 if t % 4 == 2 else BLANK for t in range(frames)]
    logits[0, torch.arange(frames), torch.tensor(path)] = 0.0
    prefix = CTCPrefix(logits.log_softmax(2), BLANK, eos=2)
    for token in [3, 4] * 15:  # each takes all the frames
        scores = prefix.scores()[0, 0]
        assert int(scores.argmax()) == token and float(scores[token]) > -1.0
        prefix.advance(torch.tensor([0]), torch.tensor([token]))


@pytest.mark.parametrize("weight", [0.0, 0.3])
@pytest.mark.parametrize("beam", [1, 3])
def test_batches_do_not_matter(beam: int, weight: float) -> None:
    decoder, memory, log_probs = world(6)
    options = SearchOptions(beam, 1.0, weight)
    together = search(decoder, memory, LENGTHS, PADDING, options, SYMBOLS, log_probs)
    for row, frames in enumerate(LENGTHS.tolist()):
        one = slice(row, row + 1)
        alone = search(
            decoder, memory[one, :frames], LENGTHS[one], None, options, SYMBOLS,
            log_probs[one, :frames],
        )[0]  # fmt: skip
        assert [h.tokens for h in alone] == [h.tokens for h in together[row]]
        assert len(alone) <= beam
        for first, second in zip(alone, together[row], strict=True):
            assert first.score == pytest.approx(second.score, abs=1e-4)


def test_a_beam_of_one_takes_the_best_token_each_time() -> None:
    decoder, memory, _ = world(7)
    found = search(decoder, memory, LENGTHS, PADDING, SearchOptions(1), SYMBOLS)
    for row, frames in enumerate(LENGTHS.tolist()):
        tokens: tuple[int, ...] = ()
        while len(tokens) < frames:
            asked = torch.tensor([[EOS, *tokens]])
            scores = decoder(asked, memory[row : row + 1, :frames], None)[0, -1]
            scores[[0, 1]] = -math.inf
            if int(scores.argmax()) == EOS:
                break
            tokens = (*tokens, int(scores.argmax()))
        assert found[row][0].tokens == tokens


def test_the_end_is_forced_after_as_many_tokens_as_frames() -> None:
    decoder, memory, _ = world(8)
    decoder.embedding.weight[EOS].zero_()
    decoder.embedding.weight[EOS] -= 5 * decoder.norm(torch.randn(8))
    found = search(decoder, memory, LENGTHS, PADDING, SearchOptions(4), SYMBOLS)
    for hypotheses, frames in zip(found, LENGTHS.tolist(), strict=True):
        assert hypotheses and all(len(h.tokens) <= frames for h in hypotheses)


def test_a_threshold_gives_up_what_is_far_behind() -> None:
    decoder, memory, _ = world(3)
    wide = SearchOptions(2000, 0.0, threshold=0)
    everything = search(decoder, memory, LENGTHS, PADDING, wide, SYMBOLS)
    fewer = search(decoder, memory, LENGTHS, PADDING, replace(wide, threshold=3.0), SYMBOLS)
    assert len(fewer[0]) < len(everything[0])
    assert fewer[0][0] == everything[0][0]


def test_ties_go_to_the_shorter_then_the_lower() -> None:
    found = [Hypothesis((4,), -2.0), Hypothesis((3,), -2.0), Hypothesis((), -1.0)]
    assert best(found, 1.0).tokens == ()
    assert best(found[:2], 1.0).tokens == (3,)


def test_a_diverged_model_is_told_of() -> None:
    decoder, memory, _ = world(9)
    decoder.norm.weight.fill_(math.nan)
    with pytest.raises(UserError, match="diverged"):
        search(decoder, memory, LENGTHS, PADDING, SearchOptions(2), SYMBOLS)


@pytest.mark.parametrize(
    "wrong", [{"beam": 0}, {"ctc_weight": 1.5}, {"ctc_weight": -0.1}, {"threshold": -1.0}]
)
def test_options_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError):
        SearchOptions(**wrong)
