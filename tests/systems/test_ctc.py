"""CTC fine-tuning: loss, freezing, masks, padding, weights from pre-training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pylib.corpus.errors import UserError
from pylib.nn.batch import Batch
from pylib.nn.encoder import EncoderConfig
from pylib.nn.loss import summarise
from pylib.nn.masks import MaskConfig
from pylib.systems.ctc import CTC, CTCConfig
from pylib.systems.mt4ssl import MT4SSL, TargetsConfig
from pylib.units.letters import VOCABULARY

QUIET = {"dropout": 0.0, "attention_dropout": 0.0, "layerdrop": 0.0}
TINY = EncoderConfig(conv_dim=16, dim=32, ffn_dim=64, layers=2, heads=4, pos_conv_groups=4, **QUIET)
UNMASKED = CTCConfig(mask_prob=0.0, channel_prob=0.0)
MASKED = CTCConfig(channel_length=4)


def batch(tokens: tuple[int, ...] = (6, 4)) -> Batch:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 16000, generator=draw)
    x[1, 12000:] = 0
    ids = torch.randint(5, 32, (2, max(tokens)), generator=draw)
    ids[torch.arange(max(tokens)) >= torch.tensor(tokens)[:, None]] = 0
    lengths = torch.tensor([16000, 12000])
    return Batch(x, lengths, None, ids, torch.tensor(tokens), ("u-0", "u-1"))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(config: EncoderConfig = TINY, ctc: CTCConfig = UNMASKED) -> CTC:
    torch.manual_seed(0)
    return CTC(config, ctc, len(VOCABULARY))


def test_loss_is_the_sum_over_sentences() -> None:
    system = build().eval()
    given = batch()
    out = system(given, generator())
    log_probs, lengths = system.log_probs(given)
    assert log_probs.shape == (2, 49, 32) and lengths.tolist() == [49, 37]
    expected = sum(
        F.ctc_loss(
            log_probs[i, : lengths[i], None],
            given.tokens[i : i + 1, : given.token_lengths[i]],
            lengths[i : i + 1],
            given.token_lengths[i : i + 1],
            reduction="sum",
        )
        for i in range(2)
    )
    torch.testing.assert_close(out.loss_sum.detach(), expected)
    assert float(out.count) == 2
    numbers = summarise(out.metrics)
    assert numbers["loss"] == pytest.approx(float(expected) / 2)
    assert numbers["loss_per_token"] == pytest.approx(float(expected) / 10)
    assert numbers["too_long"] == 0


def test_padded_frames_are_blank() -> None:
    """And the rest does not depend on the padding."""
    system = build().eval()
    given = batch()
    log_probs, _ = system.log_probs(given)
    assert torch.equal(log_probs[1, 37:, 0], torch.zeros(12))
    assert torch.isneginf(log_probs[1, 37:, 1:]).all()
    alone, _ = system.log_probs(Batch(given.inputs[1:, :12000], torch.tensor([12000])))
    torch.testing.assert_close(alone[0], log_probs[1, :37], atol=1e-5, rtol=1e-5)
    with pytest.raises(RuntimeError, match="eval"):
        system.train().log_probs(given)


def test_too_long_targets_are_counted() -> None:
    system = build()
    given = batch((38, 38))  # 37 frames cannot spell 38 letters
    given.tokens[0, :] = torch.arange(38) % 20 + 5
    out = system(given, generator())
    assert torch.isfinite(out.loss_sum)
    assert summarise(out.metrics)["too_long"] == 0.5
    twice = batch((25, 4))
    twice.tokens[0, :] = 7  # 25 letters with 24 repeats need 49 frames: just enough
    assert summarise(system(twice, generator()).metrics)["too_long"] == 0.0
    more = batch((26, 4))
    more.tokens[0, :] = 7
    assert summarise(system(more, generator()).metrics)["too_long"] == 0.5


def test_freezing() -> None:
    system = build(ctc=replace(UNMASKED, freeze_updates=3))
    for update, learns in ((0, False), (2, False), (3, True)):
        system.set_update(update)
        system.zero_grad()
        system(batch(), generator()).loss_sum.backward()
        assert (system.encoder.projection.weight.grad is not None) == learns
        assert system.head.weight.grad is not None
        convs = system.encoder.frontend.parameters()
        assert all(p.grad is None and not p.requires_grad for p in convs), "front end frozen"
    scratch = build(ctc=replace(UNMASKED, freeze_frontend=False))
    scratch(batch(), generator()).loss_sum.backward()
    assert scratch.encoder.frontend.convs[0].conv.weight.grad is not None


def test_masks_only_while_training() -> None:
    system = build(ctc=MASKED)
    first = system(batch(), generator(1)).loss_sum
    assert torch.equal(first, system(batch(), generator(1)).loss_sum), "a function of the seed"
    assert not torch.equal(first, system(batch(), generator(2)).loss_sum)
    system.eval()
    plain = system(batch(), generator(1)).loss_sum
    assert torch.equal(plain, system(batch(), generator(2)).loss_sum)
    # Time spans hold the embedding, channel spans zeros.
    system.train()
    made = system.encoder.project(batch())
    with torch.no_grad():
        hidden = system._masked(made, generator(1))
        zero = (hidden == 0).all(1)
        assert zero.any() and (zero.sum(1) <= 16).all()
        embedded = ((hidden == system.encoder.mask_embedding) | zero[:, None]).all(2)
        assert 0.2 < float(embedded[0].float().mean()) < 0.8


def test_weights_from_pre_training() -> None:
    torch.manual_seed(3)
    source = MT4SSL(TINY, TargetsConfig(clusters=5, teacher_layers=1), MaskConfig())
    system = build()
    system.load_encoder_state(source.state_dict())
    for name, value in source.encoder.state_dict().items():
        assert torch.equal(system.encoder.state_dict()[name], value)
    with pytest.raises(UserError, match="missing in the checkpoint"):
        system.load_encoder_state({})
    other = MT4SSL(replace(TINY, dim=16), TargetsConfig(teacher_layers=1), MaskConfig())
    with pytest.raises(UserError, match=r"\(16,\) in the checkpoint, \(32,\) here"):
        system.load_encoder_state(other.state_dict())
    deeper = MT4SSL(replace(TINY, layers=3), TargetsConfig(teacher_layers=1), MaskConfig())
    with pytest.raises(UserError, match="unknown to this encoder"):
        system.load_encoder_state(deeper.state_dict())


def test_refusals() -> None:
    system = build()
    with pytest.raises(ValueError, match="needs tokens"):
        system(Batch(torch.zeros(1, 800), torch.tensor([800])), generator())
    with pytest.raises(ValueError, match="u-1: no token"):
        system(replace(batch(), token_lengths=torch.tensor([6, 0])), generator())
    with pytest.raises(UserError, match="channel_length = 64"):
        build(ctc=CTCConfig())
    for changes in ({"mask_prob": 1.0}, {"freeze_updates": -1}, {"mask_length": 0}):
        with pytest.raises(UserError, match="ctc."):
            replace(CTCConfig(), **changes)


@pytest.mark.slow
def test_over_fit() -> None:
    """Two sentences of noise are spelled without error after a few hundred updates."""
    torch.manual_seed(0)
    config = replace(TINY, frontend="fbank", dim=64, ffn_dim=128)
    system = build(config, UNMASKED)
    x = torch.randn(2, 240, 80)
    given = Batch(x, torch.tensor([240, 200]), None, batch((9, 7)).tokens, torch.tensor([9, 7]))
    optimizer = torch.optim.Adam(system.parameters(), 2e-3)
    for _ in range(300):
        out = system(given, generator())
        (out.loss_sum / out.count).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(out.loss_sum) < 0.5
    log_probs, _ = system.eval().log_probs(given)
    for row, length in enumerate((9, 7)):
        ids = torch.unique_consecutive(log_probs[row].argmax(1))
        assert ids[ids > 0].tolist() == given.tokens[row, :length].tolist()
