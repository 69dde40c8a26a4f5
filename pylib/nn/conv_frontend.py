"""The seven convolutions that read the waveform (mt4ssl.md 2.2; wav2vec 2.0's extractor)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.nn.norms import padding_mask

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
RECEPTIVE_FIELD = 400  # samples
HOP = 320  # samples


def conv_lengths(lengths: Tensor, layers: int = len(KERNELS)) -> Tensor:
    """Frames that the first `layers` convolutions make of `lengths` samples; 0 if too short.

    After all seven: floor((N - 400) / 320) + 1 for N >= 400.
    """
    for kernel, stride in zip(KERNELS[:layers], STRIDES[:layers], strict=True):
        lengths = torch.div(lengths - kernel, stride, rounding_mode="floor") + 1
    return lengths.clamp_min(0)


class GradientScale(torch.autograd.Function):
    """Identity whose gradient is multiplied by a constant (fairseq: feature_grad_mult)."""

    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:  # type: ignore[override]
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return grad * ctx.factor, None


class ConvLayer(nn.Module):
    """Convolution, normalisation (layer | group | none), GELU. (B, C, T) -> (B, C', T')."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, norm: str, bias: bool
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, bias=bias)
        nn.init.kaiming_normal_(self.conv.weight)
        self.kind = norm
        self.norm: nn.Module | None = None
        if norm == "layer":
            self.norm = nn.LayerNorm(outputs)
        elif norm == "group":
            self.norm = nn.GroupNorm(outputs, outputs)

    def forward(self, x: Tensor, padding: Tensor | None = None) -> Tensor:
        """x (B, C, N); padding (B, N') bool over the output, for masked group statistics."""
        x = self.conv(x)
        if self.kind == "layer":
            x = self.norm(x.transpose(1, 2)).transpose(1, 2)  # type: ignore[misc]
        elif self.kind == "group":
            x = self._group(x, padding)
        return F.gelu(x)

    def _group(self, x: Tensor, padding: Tensor | None) -> Tensor:
        norm: nn.GroupNorm = self.norm  # type: ignore[assignment]
        if padding is None:
            return norm(x)
        # One channel a group: statistics of each channel over the row's own frames.
        valid = (~padding).unsqueeze(1).to(torch.float32)
        count = valid.sum(2, keepdim=True)
        wide = x.float()
        mean = (wide * valid).sum(2, keepdim=True) / count
        variance = ((wide - mean).square() * valid).sum(2, keepdim=True) / count
        scale = norm.weight.view(1, -1, 1) * torch.rsqrt(variance + norm.eps)
        return ((wide - mean) * scale + norm.bias.view(1, -1, 1)).to(x.dtype)


class WaveformFrontend(nn.Module):
    """(B, N) waveform at 16 kHz -> (B, T, conv_dim) features at 50 Hz.

    Args:
        dim: channels of every convolution.
        norm: `layer` (MT4SSL, data2vec, large models): LayerNorm after every convolution;
            `group` (HuBERT Base): GroupNorm, one channel a group, after the first only.
        bias: whether the convolutions have one (some released large models).
        grad_mult: factor on the gradient that reaches the convolutions; 0 freezes them.
        masked_norm: take group statistics from a row's own frames, so that padding changes
            nothing (mt4ssl.md G9); False is what fairseq and transformers compute.
    """

    frame_rate = 50.0

    def __init__(
        self,
        dim: int = 512,
        norm: str = "layer",
        bias: bool = False,
        grad_mult: float = 1.0,
        masked_norm: bool = True,
    ) -> None:
        super().__init__()
        self.dim = dim
        self.grad_mult = grad_mult
        self.masked_norm = masked_norm
        self.convs = nn.ModuleList()
        for i, (kernel, stride) in enumerate(zip(KERNELS, STRIDES, strict=True)):
            kind = norm if norm == "layer" or i == 0 else "none"
            self.convs.append(ConvLayer(1 if i == 0 else dim, dim, kernel, stride, kind, bias))

    def frame_lengths(self, lengths: Tensor) -> Tensor:
        """Frames of rows of `lengths` samples (B,)."""
        return conv_lengths(lengths)

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Features (B, T, dim) of a waveform (B, N) with `lengths` (B,) valid samples."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.grad_mult > 0):
            x = inputs.unsqueeze(1)
            for i, conv in enumerate(self.convs):
                padding = None
                if i == 0 and conv.kind == "group" and self.masked_norm:
                    first = conv_lengths(lengths, 1)
                    width = int(conv_lengths(lengths.new_tensor(inputs.shape[1]), 1))
                    padding = padding_mask(first, width)
                    padding = None if padding is None else padding.to(x.device)
                x = conv(x, padding)
            x = x.transpose(1, 2)
        if self.grad_mult not in (0.0, 1.0):
            x = GradientScale.apply(x, self.grad_mult)
        return x
