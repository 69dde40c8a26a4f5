"""Encoder: sizes, layers, padding, configuration errors."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from pylib.corpus.errors import UserError
from pylib.nn.batch import Batch
from pylib.nn.encoder import Encoder, EncoderConfig, parameter_count
from pylib.nn.positional import SinglePosition, StackedPositions
from pylib.nn.transformer import Transformer

TINY = EncoderConfig(conv_dim=16, dim=32, ffn_dim=64, layers=3, heads=4, pos_conv_groups=4)
HUBERT = {"conv_norm": "group", "pos_conv_depth": 1, "pos_conv_width": 128}
LARGE = {"dim": 1024, "ffn_dim": 4096, "layers": 24, "heads": 16, "norm": "pre"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 93_164_288),
        (HUBERT, 94_371_712),
        # Large by hand: 7 convolutions with LayerNorm, projection, positions, 24 blocks.
        (LARGE, 4_206_592 + 526_336 + 1_024 + 6_231_040 + 2_048 + 24 * 12_596_224),
    ],
)
def test_parameters_before_heads(changes: dict, expected: int) -> None:
    with torch.device("meta"):
        assert parameter_count(Encoder(EncoderConfig(**changes))) == expected


def padded_and_alone(config: EncoderConfig) -> torch.Tensor:
    """Largest difference of each valid frame between a padded row and the row alone."""
    torch.manual_seed(0)
    encoder = Encoder(config).eval()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3)
    if config.frontend == "waveform":
        x, short = torch.randn(2, 48000), 32000
    else:
        x, short = torch.randn(2, 400, 80), 270
    x[1, short:] = 0
    lengths = torch.tensor([x.shape[1], short])
    with torch.no_grad():
        alone, frames = encoder(Batch(x[1:, :short], lengths[1:]))
        together, _ = encoder(Batch(x, lengths))
    return (alone[0] - together[1, : int(frames)]).abs().amax(1)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("changes", [{}, HUBERT, {"frontend": "fbank"}])
def test_padding_changes_nothing(changes: dict, norm: str) -> None:
    config = replace(TINY, norm=norm, **changes)
    assert padded_and_alone(config).max() < 2e-5


def test_padding_leaks_without_the_flag() -> None:
    """Zeroing pads only once lets four k=19 convolutions carry them 36 frames inwards.

    Values are of size 1; what is equal differs by rounding, of convolutions of other lengths.
    """
    torch.manual_seed(0)
    positions = StackedPositions(32, 5, 95, 4, mask=False).eval()
    x = torch.randn(1, 100, 32)
    padded = torch.cat([x, torch.zeros(1, 40, 32)], 1)
    padding = torch.arange(140)[None] >= 100
    with torch.no_grad():
        difference = (positions(x) - positions(padded, padding)[:, :100]).abs().amax(2)[0]
        assert difference[64:].min() > 1e-4 and difference[:64].max() < 1e-5
        positions.mask = True
        difference = (positions(x) - positions(padded, padding)[:, :100]).abs().max()
    assert difference < 1e-5
    assert padded_and_alone(replace(TINY, mask_pos_conv=False)).max() > 1e-3


def test_positions_by_hand() -> None:
    torch.manual_seed(0)
    single = SinglePosition(8, 128, 2)
    assert abs(float(single.conv.weight.detach().std()) - (4 / (128 * 8)) ** 0.5) < 0.01
    assert single(torch.randn(1, 9, 8)).shape == (1, 9, 8), "the even kernel's last frame goes"
    stack = StackedPositions(8, 5, 95, 2, mask=True)
    assert [c.kernel_size[0] for c in stack.convs] == [19] * 5
    assert not [n for n, _ in stack.named_parameters() if "norm" in n], "norms have no affine"


def test_layers_of_extract() -> None:
    torch.manual_seed(0)
    x = Batch(torch.randn(2, 16000), torch.full((2,), 16000))
    for norm in ("post", "pre"):
        encoder = Encoder(replace(TINY, norm=norm)).eval()
        with torch.no_grad():
            made = encoder.project(x)
            zero, lengths = encoder.extract(x, 0)
            assert lengths.tolist() == [49, 49]
            torch.testing.assert_close(zero, encoder.context.embed(made.projected))
            block, _ = encoder.context.blocks[0](zero)
            torch.testing.assert_close(encoder.extract(x, 1)[0], block)
            last = encoder.extract(x, 3)[0]
            final = last if norm == "post" else encoder.context.norm(last)
            torch.testing.assert_close(encoder(x)[0], final)
    with pytest.raises(UserError, match="layer 4: the model has layers 0 to 3"):
        encoder.extract(x, 4)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_last_block_on_chosen_frames_equals_all_frames(norm: str) -> None:
    torch.manual_seed(0)
    context = Transformer(replace(TINY, norm=norm).transformer()).eval()
    x = torch.randn(2, 20, 32)
    padding = torch.arange(20)[None] >= torch.tensor([20, 15])[:, None]
    index = torch.tensor([[1, 4, 9], [0, 2, 14]])
    with torch.no_grad():
        every = context(x, padding)
        chosen = context(x, padding, index=index)
    expected = every.gather(1, index[:, :, None].expand(-1, -1, 32))
    torch.testing.assert_close(chosen, expected, atol=1e-5, rtol=1e-5)


def test_layerdrop_and_initialisation() -> None:
    torch.manual_seed(0)
    config = replace(TINY, dropout=0.0, attention_dropout=0.0, layerdrop=0.5)
    context = Transformer(config.transformer())
    for block in context.blocks:
        assert abs(float(block.ffn.fc1.weight.detach().std()) - 0.02) < 0.002
        assert float(block.attention.qkv.bias.detach().abs().max()) == 0
    x = torch.randn(1, 10, 32)
    outputs = {tuple(context(x)[0, 0, :3].tolist()) for _ in range(40)}
    assert len(outputs) == 2**3, "every block is dropped on its own"
    with pytest.raises(RuntimeError, match="eval"):
        context.feed_forward_outputs(x, None, [1])
    torch.manual_seed(7)
    first = context(x)
    torch.manual_seed(7)
    assert torch.equal(first, context(x)), "a function of the seed"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frontend": "mel"}, "expected one of waveform, fbank"),
        ({"conv_norm": "batch"}, "model.conv_norm"),
        ({"norm": "middle"}, "model.norm"),
        ({"dim": 100, "heads": 3}, "not a multiple of model.heads"),
        ({"dim": 24, "heads": 3}, "not a multiple of model.pos_conv_groups"),
        ({"layers": 0}, "model.layers"),
        ({"dropout": 1.0}, "model.dropout"),
        ({"pos_conv_depth": 0}, "pos_conv_depth"),
        ({"feature_grad_mult": 2.0}, "feature_grad_mult"),
    ],
)
def test_bad_configurations(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(EncoderConfig(), **changes)


def test_frame_rates() -> None:
    assert EncoderConfig().frame_rate == 50.0
    assert EncoderConfig(frontend="fbank", fbank_stack=2).frame_rate == 50.0
    assert Encoder(replace(TINY, frontend="fbank")).frame_rate == 25.0
    assert {f.name for f in fields(EncoderConfig)} >= {"dropout_features"}
