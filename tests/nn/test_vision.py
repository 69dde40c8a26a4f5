"""The visual front end: against plain modules, transformers' ResNet, and itself in pieces."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pylib.nn.vision as vision
from pylib.nn.norm_act import norm_act
from pylib.nn.vision import MEAN, STD, BasicBlock, VideoFrontend, pack


def pictures(rows: int, frames: int, side: int = 88) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (rows, frames, side, side), generator=draw, dtype=torch.uint8)


def unsettled(module: nn.Module) -> None:
    """Random norms and slopes, so that no part of them is at its neutral start."""
    torch.manual_seed(1)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 1.5)
        if isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, -0.1, 0.5)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize("joined", [True, False])
def test_norm_act_is_the_modules(training: bool, acts: bool, joined: bool) -> None:
    """Values, all gradients and running statistics, against torch's modules in float64."""
    both = nn.ModuleList([nn.BatchNorm2d(16), nn.PReLU(16)])
    unsettled(both)
    norm, act = both.train(training)
    wide_norm, wide_act = copy.deepcopy(both).double().train(training)
    x = (torch.randn(400, 16, 5, 3) * 2 + 3).to(memory_format=torch.channels_last)
    more = torch.randn_like(x) if joined else None
    inputs = [t.requires_grad_() for t in (x, more) if t is not None]
    wide = [t.detach().double().requires_grad_() for t in inputs]
    y = norm_act(inputs[0], norm, act if acts else None, inputs[1] if joined else None)
    expected = wide_norm(wide[0]) + (wide[1] if joined else 0)
    expected = wide_act(expected) if acts else expected
    torch.testing.assert_close(y.double(), expected, atol=1e-5, rtol=1e-5)
    weight = torch.randn_like(y)
    y.backward(weight)
    expected.backward(weight.double())
    for mine, theirs in zip(inputs, wide, strict=True):
        # At the kink of PReLU a rounding error decides for one slope or the other.
        apart = (mine.grad.double() - theirs.grad).abs() > 1e-5
        assert apart.double().mean() < 1e-4
    peers = [*wide_norm.parameters(), *wide_act.parameters()]
    for (name, mine), theirs in zip(both.named_parameters(), peers, strict=True):
        assert (mine.grad is None) == (theirs.grad is None), name
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad.double(), theirs.grad, atol=2e-2, rtol=1e-3)
    for mine, theirs in zip(norm.buffers(), wide_norm.buffers(), strict=True):
        torch.testing.assert_close(mine.double(), theirs.double(), atol=1e-5, rtol=1e-5)


def test_norm_act_without_gradient_and_in_other_types() -> None:
    both = nn.ModuleList([nn.BatchNorm2d(8), nn.PReLU(8)]).eval()
    unsettled(both)
    x = torch.randn(3, 8, 4, 4)
    expected = both[1](both[0](x))
    with torch.no_grad():
        found = norm_act(x.clone(memory_format=torch.channels_last), *both)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(norm_act(x, *both), expected)  # not channels last
    with torch.autocast("cpu", torch.bfloat16):
        assert norm_act(x.bfloat16(), *both).dtype == torch.bfloat16


def test_trunk_is_transformers_resnet() -> None:
    """PReLU with slope 0 is ReLU: the four stages of a ResNet-18."""
    from transformers.models.resnet.modeling_resnet import ResNetBasicLayer

    torch.manual_seed(0)
    trunk = VideoFrontend(8).trunk.eval()
    unsettled(trunk)
    blocks = []
    for block in trunk:
        assert isinstance(block, BasicBlock)
        nn.init.zeros_(block.act1.weight)
        nn.init.zeros_(block.act2.weight)
        peer = ResNetBasicLayer(
            block.conv1.in_channels, block.conv1.out_channels, block.conv1.stride[0]
        )
        names = {"layer.0.convolution": block.conv1, "layer.0.normalization": block.norm1}
        names |= {"layer.1.convolution": block.conv2, "layer.1.normalization": block.norm2}
        if block.shortcut is not None:
            conv, norm = block.shortcut
            names |= {"shortcut.convolution": conv, "shortcut.normalization": norm}
        state = {f"{n}.{k}": v for n, m in names.items() for k, v in m.state_dict().items()}
        peer.load_state_dict(state)
        blocks.append(peer.eval())
    x = torch.randn(3, 8, 22, 22)
    sides = []
    with torch.no_grad():
        for block, peer in zip(trunk, blocks, strict=True):
            y, x = block(x.to(memory_format=torch.channels_last)), peer(x)
            torch.testing.assert_close(y, x, atol=5e-5, rtol=1e-5)  # sums of 576 numbers
            sides.append(y.shape[2])
    assert sides == [22, 22, 11, 11, 6, 6, 3, 3]


class Slopes(nn.Module):
    """PReLU by its definition: one slope for each channel of (N, C, ...)."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight.detach().clone()

    def forward(self, x: Tensor) -> Tensor:
        slope = self.weight.view(1, -1, *[1] * (x.dim() - 2))
        return x.clamp_min(0) + slope * x.clamp_max(0)


class PlainBlock(nn.Module):
    """The published block of torch's own modules, one after the other, with a block's weights."""

    def __init__(self, block: BasicBlock) -> None:
        super().__init__()
        state = block.state_dict()
        channels, inside = state["conv1.weight"].shape[:2]
        stride = 1 if inside == channels else 2
        if inside == channels:
            self.shortcut: nn.Module = nn.Identity()
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )
        self.first = nn.Sequential(
            nn.Conv2d(inside, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels)
        )
        names = {"first.0": "conv1", "first.1": "norm1", "second.0": "conv2", "second.1": "norm2"}
        names |= {"shortcut.0": "shortcut.0", "shortcut.1": "shortcut.1"}
        mine = {
            f"{own}.{key[len(its) + 1 :]}": value
            for own, its in names.items()
            for key, value in state.items()
            if key.startswith(f"{its}.")
        }
        self.load_state_dict(mine)
        self.inner, self.outer = Slopes(state["act1.weight"]), Slopes(state["act2.weight"])

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.second(self.inner(self.first(x))) + self.shortcut(x))


def plain_trunk(front: VideoFrontend) -> nn.Sequential:
    blocks = [PlainBlock(block) for block in front.trunk]  # type: ignore[arg-type]
    return nn.Sequential(*blocks).train(front.training)


def test_trunk_is_plain_modules_with_slopes_of_its_own() -> None:
    """Two separate slopes a channel and block: another order of them is another function."""
    torch.manual_seed(0)
    front = VideoFrontend(8).eval()
    unsettled(front)
    slopes = [p for name, p in front.trunk.named_parameters() if ".act" in name]
    assert len(slopes) == 16 and all(p.unique().numel() == p.numel() for p in slopes)
    peer = plain_trunk(front)
    x = torch.randn(3, 8, 22, 22)
    sides = []
    with torch.no_grad():
        for block, plain_block in zip(front.trunk, peer, strict=True):
            found, expected = block(x.to(memory_format=torch.channels_last)), plain_block(x)
            torch.testing.assert_close(found, expected, atol=5e-5, rtol=1e-5)
            plain_block.inner, plain_block.outer = plain_block.outer, plain_block.inner
            assert float((plain_block(x) - found).abs().max()) > 0.05
            plain_block.outer = plain_block.inner
            assert float((plain_block(x) - found).abs().max()) > 0.05
            x = expected
            sides.append(x.shape[2])
    assert sides == [22, 22, 11, 11, 6, 6, 3, 3] and x.shape == (3, 64, 3, 3)


def plain(front: VideoFrontend, video: Tensor) -> Tensor:
    """Stem by 3-D modules over whole clips, then the trunk of plain modules; (B, T, C)."""
    x = ((video.float() / 255 - MEAN) / STD).unsqueeze(1)
    x = front.conv(x)
    assert x.shape[2:] == (video.shape[1], 44, 44)
    norm = nn.BatchNorm3d(x.shape[1])
    norm.load_state_dict(front.norm.state_dict())
    norm.train(front.training)
    x = Slopes(front.act.weight)(norm(x))
    x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    assert x.shape[3:] == (22, 22)
    x = plain_trunk(front)(x.transpose(1, 2).flatten(0, 1).contiguous())
    return x.mean((2, 3)).view(*video.shape[:2], -1)


@pytest.mark.parametrize("training", [True, False])
def test_stem_is_the_three_dimensional_one(training: bool) -> None:
    torch.manual_seed(0)
    front = VideoFrontend(8)
    unsettled(front)
    front.train(training)
    video, weight = pictures(2, 6), torch.randn(2, 6, 64)
    expected = plain(front, video)
    if training:
        theirs = torch.autograd.grad(expected, front.conv.weight, weight)[0]
    found = front(video, torch.tensor([6, 6]))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)
    if training:
        mine = torch.autograd.grad(found, front.conv.weight, weight)[0]
        assert float((mine - theirs).norm() / theirs.norm()) < 1e-3


def test_rows_do_not_see_each_other_or_their_padding() -> None:
    torch.manual_seed(0)
    front = VideoFrontend(8).eval()
    video = pictures(3, 7)
    with torch.no_grad():
        found = front(video, torch.tensor([7, 3, 1]))
        for row, length in enumerate((7, 3, 1)):
            alone = front(video[row : row + 1, :length], torch.tensor([length]))
            torch.testing.assert_close(found[row : row + 1, :length], alone, atol=1e-5, rtol=1e-5)
            assert not found[row, length:].any()
        without = front(video, torch.tensor([0, 3, 0]))
    torch.testing.assert_close(without[1], found[1], atol=1e-5, rtol=1e-5)
    assert not without[0].any() and not without[2].any()


def test_shown_frames_stand_in() -> None:
    front = VideoFrontend(8).eval()
    video = pictures(2, 4)
    shown = torch.tensor([[0, 3, 2, 3], [1, 1, -1, 0]])
    swapped = video.clone()
    swapped[0] = video[0, [0, 3, 2, 3]]
    swapped[1] = video[1, [1, 1, 0, 0]]
    with torch.no_grad():
        found = front(video, torch.tensor([4, 2]), shown)
        expected = front(swapped, torch.tensor([4, 2]))
        torch.testing.assert_close(found, expected)
        blank = front(video, torch.tensor([4, 4]), torch.full((2, 4), -1))
    assert torch.equal(blank[0], blank[1])
    flat, index, centre = pack(torch.tensor([2, 0, 1]), 3)
    assert flat.tolist() == [0, 1, 6]
    assert index.tolist() == [-1, -1, 0, 1, -1, -1, 6, -1, -1]
    assert centre.tolist() == [2, 3, 6]


def test_long_clips_go_through_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    front = VideoFrontend(8).eval()
    video, lengths = pictures(2, 9), torch.tensor([9, 4])
    whole = front(video, lengths).detach()
    monkeypatch.setattr(vision, "PIECE", 3)
    with torch.no_grad():
        torch.testing.assert_close(front(video, lengths), whole, atol=1e-5, rtol=1e-5)


def test_one_frame_in_training_and_averaged_pictures() -> None:
    for pool in (1, 2, 4):
        front = VideoFrontend(8, pool=pool).train()
        made = front(pictures(1, 1), torch.tensor([1]))
        assert made.shape == (1, 1, 64)
        made.sum().backward()
        assert torch.isfinite(front.conv.weight.grad).all()


def test_trunk_has_the_published_size() -> None:
    with torch.device("meta"):
        front = VideoFrontend()
    assert sum(p.numel() for p in front.parameters()) == 11_186_688


def test_autocast_takes_torchs_modules() -> None:
    front = VideoFrontend(8)
    with torch.autocast("cpu", torch.bfloat16):
        made = front(pictures(1, 3), torch.tensor([3]))
    made.float().sum().backward()
    assert torch.isfinite(front.conv.weight.grad).all()
