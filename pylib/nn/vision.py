"""The visual front end: grey mouth pictures to one vector a frame (a ResNet-18 after a 3-D stem).

Shapes and initialisation are those of arXiv 2201.02184's front end. Frames of all rows go
through it in one packed sequence with two blank frames between rows, which is what the stem's
time padding would show, so that no computation is spent on what lies beyond a row's length and
batch normalisation counts real frames only.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.nn.norm_act import norm_act
from pylib.nn.norms import send
from pylib.nn.winograd import conv3x3

MEAN, STD = 0.421, 0.165  # of grey mouths in [0, 1]
SIDE = 88  # pixels of a picture after the crop
PIECE = 256  # frames that are computed together without a gradient
CONTEXT = 2  # frames the stem sees to either side


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a PReLU for each, and a shortcut.

    (N, I, H, W) -> (N, C, H / stride, W / stride).
    """

    def __init__(self, inside: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.act1 = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.act2 = nn.PReLU(channels)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or inside != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        one = self.conv1.stride[0] == 1
        y = conv3x3(x, self.conv1.weight) if one else self.conv1(x)
        y = norm_act(y, self.norm1, self.act1)
        if self.shortcut is not None:
            conv, norm = self.shortcut
            x = norm_act(conv(x), norm, None)
        return norm_act(conv3x3(y, self.conv2.weight), self.norm2, self.act2, x)


class VideoFrontend(nn.Module):
    """(B, T, 88, 88) uint8 -> (B, T, 8 * width) float; zero beyond a row's length.

    Args:
        width: channels of the stem; 64 is ResNet-18.
        pool: pictures are averaged over pool x pool pixels first; 1 leaves them as they are.
    """

    def __init__(self, width: int = 64, pool: int = 1) -> None:
        super().__init__()
        self.pool = pool
        self.dim = 8 * width
        self.conv = nn.Conv3d(1, width, (5, 7, 7), (1, 2, 2), (2, 3, 3), bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.PReLU(width)
        blocks: list[nn.Module] = []
        inside = width
        for level in range(4):
            channels = width * 2**level
            blocks.append(BasicBlock(inside, channels, 1 if level == 0 else 2))
            blocks.append(BasicBlock(channels, channels, 1))
            inside = channels
        self.trunk = nn.Sequential(*blocks)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Conv3d)):
                fan = math.prod(module.kernel_size) * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan))

    def forward(self, video: Tensor, lengths: Tensor, shown: Tensor | None = None) -> Tensor:
        """Features of the valid frames.

        Args:
            video: (B, T, 88, 88) uint8.
            lengths: (B,) int64 on the CPU; 0 leaves a row out.
            shown: (B, T) int64 on the CPU, the frame of the same row that is seen at t instead,
                -1 for a blank (mean grey) one; by default every frame itself.

        Returns:
            (B, T, 8 * width).
        """
        rows, frames = video.shape[:2]
        flat, index, centre = pack(lengths, frames, shown)
        x = self.normalise(video.flatten(0, 1), index)
        if self.training or torch.is_grad_enabled():
            x = self.embed(x, centre)
        else:  # frames are independent of each other: in pieces, whatever the length
            x = torch.cat([self.embed(x, piece) for piece in centre.split(PIECE)])
        if len(flat) == rows * frames:
            return x.view(rows, frames, self.dim)
        out = x.new_zeros(rows * frames, self.dim)
        return out.index_copy(0, send(flat, x.device), x).view(rows, frames, self.dim)

    def embed(self, x: Tensor, centre: Tensor) -> Tensor:
        """Features (N, 8 * width) of frames `centre` (N,) of the packed x (M, H, W)."""
        x = norm_act(self.stem(x, centre), self.norm, self.act)
        return self.trunk(F.max_pool2d(x, 3, 2, 1)).mean((2, 3))

    def normalise(self, pictures: Tensor, index: Tensor) -> Tensor:
        """Pictures (P, H, W) uint8 chosen by index (M,), -1 a blank one, as (M, H', W')."""
        index = send(index, pictures.device)
        x = pictures.index_select(0, index.clamp_min(0)).to(self.conv.weight.dtype)
        if self.pool > 1:
            x = F.avg_pool2d(x.unsqueeze(1), self.pool).squeeze(1)
        # In place: fresh memory costs more than the arithmetic.
        x.mul_(1.0 / (255.0 * STD)).add_(-MEAN / STD)
        return x.masked_fill_((index < 0).view(-1, 1, 1), 0.0)

    def stem(self, x: Tensor, centre: Tensor) -> Tensor:
        """The first convolution around frames `centre` (N,) of the packed x (M, H, W).

        A convolution over space whose input channels are five frames: the same products as the
        3-D one, without outputs for the gaps.
        """
        around = centre[:, None] + torch.arange(-CONTEXT, CONTEXT + 1)
        windows = x.index_select(0, send(around.flatten(), x.device))
        windows = windows.view(len(centre), 2 * CONTEXT + 1, *x.shape[1:])
        windows = windows.contiguous(memory_format=torch.channels_last)
        weight = self.conv.weight.squeeze(1).contiguous(memory_format=torch.channels_last)
        return F.conv2d(windows, weight, None, 2, 3)


def pack(lengths: Tensor, width: int, shown: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Where the valid frames of a padded batch are, and what one packed sequence of them shows.

    Args:
        lengths: (B,) int64 on the CPU.
        width: T of the batch.
        shown: see `VideoFrontend.forward`.

    Returns:
        flat (N,): positions of the valid frames in the flattened (B * T).
        index (M,): for each frame of the packed sequence its position in (B * T), -1 for a
            blank one: CONTEXT blank frames, row 0, CONTEXT blank frames, row 1, ..., and
            CONTEXT at the end.
        centre (N,): positions of the valid frames in the packed sequence.
    """
    valid = torch.arange(width) < lengths[:, None]
    flat = valid.flatten().nonzero().squeeze(1)
    row = flat // width
    # Rows without frames leave no gap behind, and none is needed for them.
    gaps = torch.cumsum(lengths > 0, 0)[row] * CONTEXT
    centre = torch.arange(len(flat)) + gaps
    index = torch.full((int(centre[-1]) + CONTEXT + 1 if len(flat) else 0,), -1)
    if shown is None:
        index[centre] = flat
    else:
        source = shown.flatten()[flat]
        index[centre] = torch.where(source < 0, source, row * width + source)
    return flat, index, centre
