"""The attention decoder: torch's own decoder as oracle, steps with a cache, published sizes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pylib.nn.decoder import PAD, Decoder, DecoderSize, sinusoids

SIZE = DecoderSize(vocab=20, memory_dim=12, dim=16, ffn_dim=24, layers=2, heads=4)


def made(size: DecoderSize = SIZE) -> Decoder:
    torch.manual_seed(1)
    decoder = Decoder(size).eval()
    for name, value in decoder.named_parameters():
        if name.endswith("bias") or "norm" in name:
            nn.init.normal_(value, 0.5 if name.endswith("norm.weight") else 0.0, 0.3)
    return decoder.requires_grad_(False)


def padded(lengths: list[int]) -> Tensor:
    return torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]


def copied(decoder: Decoder) -> nn.TransformerDecoder:
    """torch's decoder with the same weights."""
    size = decoder.size
    layer = nn.TransformerDecoderLayer(
        size.dim, size.heads, size.ffn_dim, 0.0, "relu", batch_first=True, norm_first=True
    )
    oracle = nn.TransformerDecoder(layer, size.layers, norm=nn.LayerNorm(size.dim))
    oracle.norm.load_state_dict(decoder.norm.state_dict())
    for theirs, ours in zip(oracle.layers, decoder.blocks, strict=True):
        pairs = {
            theirs.self_attn.in_proj_weight: ours.self_qkv.weight,
            theirs.self_attn.in_proj_bias: ours.self_qkv.bias,
            theirs.multihead_attn.in_proj_weight: torch.cat(
                [ours.cross_q.weight, ours.cross_kv.weight]
            ),
            theirs.multihead_attn.in_proj_bias: torch.cat([ours.cross_q.bias, ours.cross_kv.bias]),
        }
        for target, source in pairs.items():
            target.data.copy_(source)
        for target, source in (
            (theirs.self_attn.out_proj, ours.self_out),
            (theirs.multihead_attn.out_proj, ours.cross_out),
            (theirs.linear1, ours.fc1),
            (theirs.linear2, ours.fc2),
            (theirs.norm1, ours.self_norm),
            (theirs.norm2, ours.cross_norm),
            (theirs.norm3, ours.ffn_norm),
        ):
            target.load_state_dict(source.state_dict())
    return oracle.eval().requires_grad_(False)


@pytest.mark.parametrize("scaled", [False, True])
def test_equals_torchs_decoder(scaled: bool) -> None:
    decoder = made(
        DecoderSize(20, memory_dim=16, dim=16, ffn_dim=24, layers=2, heads=4, scaled=scaled)
    )
    oracle = copied(decoder)
    tokens = torch.randint(3, 20, (3, 6))
    memory, padding = torch.randn(3, 9, 16), padded([9, 4, 1])
    table = torch.zeros(6, 16)  # written out: the first token is at position 2
    for u in range(6):
        for i in range(8):
            angle = (u + 2) * math.exp(-i * math.log(10000) / 7)
            table[u, i], table[u, 8 + i] = math.sin(angle), math.cos(angle)
    x = decoder.embedding.weight[tokens] * (4.0 if scaled else 1.0) + table
    causal = torch.ones(6, 6).triu(1).bool()
    y = oracle(x, memory, tgt_mask=causal, memory_key_padding_mask=padding)
    expected = y @ decoder.embedding.weight.t()
    torch.testing.assert_close(decoder(tokens, memory, padding), expected, atol=1e-5, rtol=1e-5)


def test_sinusoids_are_not_interleaved() -> None:
    table = sinusoids(3, 5, first=2)
    assert table.shape == (3, 5)
    assert torch.equal(table[:, 4], torch.zeros(3))  # an odd width
    torch.testing.assert_close(table[0, :4], torch.tensor([2.0, 2e-4, 2.0, 2e-4]).sin_().where(
        torch.tensor([True, True, False, False]), torch.tensor([2.0, 2e-4, 2.0, 2e-4]).cos()
    ))  # fmt: skip


def test_steps_equal_the_whole_across_growth_of_the_cache() -> None:
    decoder = made()
    tokens = torch.randint(3, 20, (3, 40))
    memory, padding = torch.randn(3, 9, 12), padded([9, 4, 1])
    whole = decoder(tokens, memory, padding)
    state = decoder.begin(memory, padding)
    for u in range(40):
        step = decoder.step(tokens[:, u], state)
        torch.testing.assert_close(step, whole[:, u], atol=1e-5, rtol=1e-5)


def test_select_continues_other_hypotheses_and_leaves_utterances() -> None:
    decoder = made()
    memory, padding = torch.randn(3, 9, 12), padded([9, 4, 2])
    first = torch.tensor([2, 2, 2])
    state = decoder.begin(memory, padding)
    decoder.step(first, state)
    # Two hypotheses of each utterance, then utterance 1 is done and hypotheses change places.
    state.select(torch.tensor([0, 0, 1, 1, 2, 2]))
    second = torch.tensor([[5, 6], [7, 8], [9, 10]])
    decoder.step(second.flatten(), state)
    state.select(torch.tensor([1, 1, 0, 5, 4, 5]), torch.tensor([0, 2]))
    third = torch.tensor([[11, 12, 13], [14, 15, 16]])
    got = decoder.step(third.flatten(), state).view(2, 3, -1)
    for row, (utt, sources) in enumerate(((0, (1, 1, 0)), (2, (1, 0, 1)))):
        for place, source in enumerate(sources):
            spelled = torch.tensor([[2, int(second[utt, source]), int(third[row, place])]])
            one = slice(utt, utt + 1)
            expected = decoder(spelled, memory[one], padding[one])[0, -1]
            torch.testing.assert_close(got[row, place], expected, atol=1e-5, rtol=1e-5)


def test_padding_of_memory_changes_nothing() -> None:
    decoder = made()
    tokens, memory = torch.randint(3, 20, (1, 5)), torch.randn(1, 9, 12)
    longer = torch.cat([memory, torch.full((1, 4, 12), 1e3)], dim=1)
    torch.testing.assert_close(
        decoder(tokens, longer, padded([9, 13])[:1]), decoder(tokens, memory, None)
    )


def test_a_later_token_is_not_seen() -> None:
    decoder = made()
    tokens, memory = torch.randint(3, 20, (1, 6)), torch.randn(1, 9, 12)
    other = tokens.clone()
    other[0, 4] = (other[0, 4] + 1) % 16 + 3
    first, second = decoder(tokens, memory, None), decoder(other, memory, None)
    assert torch.equal(first[:, :4], second[:, :4])
    assert not torch.equal(first[:, 4:], second[:, 4:])


def test_embedding_of_padding_learns_nothing_from_inputs() -> None:
    decoder = made().requires_grad_(True)
    tokens = torch.tensor([[2, 5, PAD]])
    decoder(tokens, torch.randn(1, 4, 12), None)[..., 4].sum().backward()
    assert torch.equal(decoder.embedding.weight.grad[PAD], torch.zeros(16))


@pytest.mark.parametrize(
    ("size", "count"),
    [
        (DecoderSize(1000, 768, 768, 3072, 6, 4), 57_480_192),
        (DecoderSize(1000, 1024, 1024, 4096, 9, 8), 152_196_096),
    ],
)
def test_published_sizes(size: DecoderSize, count: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Decoder(size).parameters()) == count
