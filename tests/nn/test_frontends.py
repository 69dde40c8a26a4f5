"""Front ends: frame formulas, normalisation and padding, gradient multiplier."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pylib.nn.batch import Batch
from pylib.nn.conv_frontend import GradientScale, WaveformFrontend, conv_lengths, time_conv
from pylib.nn.encoder import Encoder, EncoderConfig
from pylib.nn.fbank_frontend import FbankFrontend
from pylib.nn.norms import channel_norm

TINY = EncoderConfig(conv_dim=16, dim=32, ffn_dim=64, layers=2, heads=4, pos_conv_groups=4)


def test_frame_formula_from_400_to_600k() -> None:
    samples = torch.arange(400, 600_001)
    expected = torch.div(samples - 400, 320, rounding_mode="floor") + 1
    assert torch.equal(conv_lengths(samples), expected)
    assert conv_lengths(torch.tensor([0, 5, 399])).tolist() == [0, 0, 0]


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_formula_is_what_the_convolutions_make(norm: str) -> None:
    with torch.device("meta"):
        frontend = WaveformFrontend(8, norm)
        for samples in (400, 719, 720, 16000, 16001, 250_000, 320_000, 599_999):
            lengths = torch.full((1,), samples, device="cpu")
            made = frontend(torch.empty(1, samples), lengths)
            assert made.shape == (1, int(conv_lengths(lengths)), 8)


def test_labels_of_100_hz_halve_to_the_frames() -> None:
    """labels[0::2] of Kaldi's 100 Hz frames has exactly T labels."""
    samples = torch.arange(400, 100_000)
    frames = (samples - 400) // 160 + 1
    assert torch.equal((frames + 1) // 2, conv_lengths(samples))


def test_group_norm_ignores_padding_when_masked() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8000)
    x[1, 5000:] = 0
    lengths = torch.tensor([8000, 5000])
    for masked in (True, False):
        frontend = WaveformFrontend(16, "group", masked_norm=masked)
        alone = frontend(x[1:, :5000], lengths[1:])
        together = frontend(x, lengths)[1:, : alone.shape[1]]
        difference = (alone - together).abs().amax(dim=(0, 2))
        if masked:
            assert difference.max() < 1e-5
        else:
            assert difference[0] > 1e-3, "fairseq's statistics do count padding"


def test_masked_group_norm_is_group_norm_without_padding() -> None:
    torch.manual_seed(0)
    layer = WaveformFrontend(16, "group").convs[0]
    x = torch.randn(2, 1000, 1)
    with torch.no_grad():
        layer.norm.weight.uniform_()
        layer.norm.bias.uniform_()
        y = layer.norm(layer.conv(x.transpose(1, 2))).transpose(1, 2)
        torch.testing.assert_close(layer(x), F.gelu(y), atol=1e-5, rtol=1e-5)
        # 199 frames; the first row uses all of them, though the second is padded.
        masked = layer(x, torch.tensor([199, 100]))
    torch.testing.assert_close(masked[:1], F.gelu(y)[:1], atol=1e-5, rtol=1e-5)


def test_channel_norm_and_its_gradients() -> None:
    torch.manual_seed(0)
    x = (2 + torch.randn(2, 30, 4, dtype=torch.float64)).requires_grad_()
    weight = torch.rand(4, dtype=torch.float64, requires_grad=True)
    bias = torch.rand(4, dtype=torch.float64, requires_grad=True)
    found = channel_norm(x, weight, bias, 1e-5)
    expected = F.group_norm(x.transpose(1, 2), 4, weight, bias, 1e-5).transpose(1, 2)
    torch.testing.assert_close(found, expected)
    given = torch.randn_like(found)
    mine = torch.autograd.grad(found, (x, weight, bias), given)
    theirs = torch.autograd.grad(expected, (x, weight, bias), given)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kernel", "stride"), [(10, 5), (3, 2), (2, 2)])
@pytest.mark.parametrize("frames", [40, 41, 43])
def test_time_convolution_and_its_gradients(kernel: int, stride: int, frames: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, frames, 6, requires_grad=True)
    weight = torch.randn(4, 6, kernel, requires_grad=True)
    found = time_conv(x, weight, stride)
    expected = F.conv1d(x.transpose(1, 2), weight, stride=stride).transpose(1, 2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(time_conv(x, weight, stride), expected, atol=1e-5, rtol=1e-5)
    given = torch.randn_like(found)
    mine = torch.autograd.grad(found, (x, weight), given)
    theirs = torch.autograd.grad(expected, (x, weight), given)
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        half = time_conv(x, weight, stride)
    assert half.dtype == torch.bfloat16
    half.float().mul(given).sum().backward()
    torch.testing.assert_close(weight.grad, theirs[1], atol=1.0, rtol=0.05)


def test_gradient_multiplier() -> None:
    x = torch.ones(3, requires_grad=True)
    GradientScale.apply(x, 0.1).sum().backward()
    assert torch.allclose(x.grad, torch.full((3,), 0.1))
    gradients = {}
    for factor in (1.0, 0.1, 0.0):
        torch.manual_seed(0)
        frontend = WaveformFrontend(8, "layer", grad_mult=factor)
        made = frontend(torch.randn(1, 2000), torch.tensor([2000]))
        if factor == 0.0:
            assert not made.requires_grad, "0 freezes the convolutions"
            continue
        made.sum().backward()
        gradients[factor] = frontend.convs[3].conv.weight.grad
    torch.testing.assert_close(gradients[0.1], 0.1 * gradients[1.0])


def test_fbank_stacks_and_normalises_own_frames() -> None:
    torch.manual_seed(0)
    frontend = FbankFrontend(bins=5, stack=4)
    assert frontend.frame_rate == 25.0 and frontend.dim == 20
    x = 3 * torch.randn(2, 43, 5) + 7
    x[1, 30:] = 0
    lengths = torch.tensor([43, 30])
    made = frontend(x, lengths)
    assert made.shape == (2, 10, 20)
    assert frontend.frame_lengths(lengths).tolist() == [10, 7]
    row = x[1, :30]
    normal = (row - row.mean(0)) / (row.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(made[1, :7], normal[:28].reshape(7, 20), atol=1e-4, rtol=0)
    torch.testing.assert_close(made[0], FbankFrontend(5, 4)(x[:1], lengths[:1])[0])
    with pytest.raises(ValueError, match="model.fbank_dim"):
        frontend(torch.randn(1, 20, 6), torch.tensor([20]))


def test_too_short_names_the_utterance() -> None:
    encoder = Encoder(TINY)
    batch = Batch(torch.zeros(2, 1000), torch.tensor([1000, 399]), utts=("a-1", "b-2"))
    with pytest.raises(ValueError, match="b-2: 399 samples are too short"):
        encoder(batch)
