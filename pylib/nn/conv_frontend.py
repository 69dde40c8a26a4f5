"""The seven convolutions that read the waveform (wav2vec 2.0's extractor)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pylib.nn.linear import matmul
from pylib.nn.norms import channel_norm, padding_mask, send, time_statistics, widen

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
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class _TimeConv(torch.autograd.Function):
    """Convolution over time of (B, T, C) on the CPU, with the gradient as matrix products.

    oneDNN's forward pass is at its best in this layout; its float32 backward pass is four times
    slower than the two products that it comes down to.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return _conv_channels_last(x, weight, stride)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        outputs, channels, kernel = weight.shape
        rows, made, _ = grad.shape
        stride = ctx.stride
        grad = grad.reshape(rows * made, outputs)
        for_x = for_weight = None
        if ctx.needs_input_grad[1]:
            step = x.stride(1)
            windows = x.as_strided(
                (rows, made, kernel * channels), (x.stride(0), stride * step, 1)
            ).reshape(rows * made, kernel * channels)
            for_weight = matmul(grad.t(), windows).view(outputs, kernel, channels)
            for_weight = for_weight.transpose(1, 2)
        if ctx.needs_input_grad[0]:
            taps = weight.transpose(1, 2).reshape(outputs, kernel * channels)
            parts = matmul(grad, taps).view(rows, made, kernel, channels)
            for_x = torch.zeros_like(x)
            for_x[:, : made * stride].view(rows, made, stride, channels).copy_(parts[:, :, :stride])
            for k in range(stride, kernel):
                last = k + (made - 1) * stride + 1
                for_x[:, k:last:stride].add_(parts[:, :, k])
        return for_x, for_weight, None


def _conv_channels_last(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    rows, frames, channels = x.shape
    image = x.view(rows, 1, frames, channels).permute(0, 3, 1, 2)
    y = F.conv2d(image, weight.unsqueeze(2), stride=(1, stride))
    return y.permute(0, 2, 3, 1).reshape(rows, -1, weight.shape[0])


def time_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve x (B, T, C) over time with weight (O, C, K), kernel >= stride, no padding.

    Channels stay last in memory, so that LayerNorm needs no transposition.

    Returns:
        (B, T', O), contiguous.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return _conv_channels_last(x.contiguous(), weight, stride)
    if not torch.is_grad_enabled():
        # Inference keeps oneDNN's other layout: slower by the transpositions, but a third of the
        # rounding error, which keeps whole models within 1e-5 of other implementations.
        y = F.conv1d(x.transpose(1, 2).contiguous(), weight, stride=stride)
        return y.transpose(1, 2).contiguous()
    if torch.is_autocast_enabled("cpu"):
        kind = torch.get_autocast_dtype("cpu")
        x, weight = x.to(kind), weight.to(kind)
    return _TimeConv.apply(x.contiguous(), weight, stride)


class ConvLayer(nn.Module):
    """Convolution, normalisation (layer | group | none), GELU. (B, T, C) -> (B, T', C')."""

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

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x (B, T, C).

        Args:
            lengths: (B,) valid output frames, for group statistics over these alone; all by
                default.
        """
        x = time_conv(x, self.conv.weight, self.conv.stride[0])
        if self.conv.bias is not None:
            x = x + self.conv.bias.to(x.dtype)
        if self.kind == "layer":
            x = self.norm(x)  # type: ignore[misc]
        elif self.kind == "group":
            x = self._group(x, lengths)
        return F.gelu(x)

    def _group(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """One channel a group: statistics of each channel over the row."""
        norm: nn.GroupNorm = self.norm  # type: ignore[assignment]
        padding = None if lengths is None else padding_mask(lengths, x.shape[1])
        if padding is None:
            return channel_norm(x, norm.weight, norm.bias, norm.eps)
        mean, inverse = time_statistics(x, send(padding, x.device), lengths, norm.eps)
        return ((widen(x) - mean) * (inverse * norm.weight) + norm.bias).to(x.dtype)


class WaveformFrontend(nn.Module):
    """(B, N) waveform at 16 kHz -> (B, T, conv_dim) features at 50 Hz.

    Args:
        dim: channels of every convolution.
        norm: `layer` (MT4SSL, data2vec, large models): LayerNorm after every convolution;
            `group` (HuBERT Base): GroupNorm, one channel a group, after the first only.
        bias: whether the convolutions have one (some released large models).
        grad_mult: factor on the gradient that reaches the convolutions; 0 freezes them.
        masked_norm: take group statistics from a row's own frames, so that padding changes
            nothing; False is what fairseq and transformers compute.
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
        self.learns = grad_mult > 0  # once: a compiler takes a number that changes for a symbol
        self.scaled = grad_mult not in (0.0, 1.0)
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
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.learns):
            x = inputs.unsqueeze(2)
            for i, conv in enumerate(self.convs):
                masked = i == 0 and conv.kind == "group" and self.masked_norm
                x = conv(x, conv_lengths(lengths, 1) if masked else None)
        if self.scaled:
            x = GradientScale.apply(x, self.grad_mult)
        return x
