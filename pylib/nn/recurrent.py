"""LSTM layers over short segments, with inputs that stay the same over time.

On the CPU in float32 a layer is written out over oneDNN's matrix products, which on AMD
processors are twice as fast as those of MKL that torch's own LSTM cells use: the product of a
constant input is made once for all steps, additions ride on the products, the gradient of a
weight is one product over all steps, and what nobody asked for is not computed. Elsewhere (other
devices and types, autocast) it is `nn.LSTM`. The values differ by rounding only.

Under autocast on processors that have no bfloat16 LSTM in oneDNN (those without AVX-512), where
torch would stop with an error, it is computed in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pylib.nn.linear import linear

_AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")

# Rows x H of one step: below, calling torch for every operation costs more than it saves.
_LEAST = 24576


def _product(x: Tensor, weight: Tensor, plus: Tensor | None = None) -> Tensor:
    """x (M, K) times weight (N, K) transposed, plus (M, N) or (N,), by oneDNN."""
    if plus is not None and plus.dim() == 2:
        return torch.ops.mkldnn._linear_pointwise.binary(x, plus, weight, None, "add")
    return torch.ops.mkldnn._linear_pointwise(x, weight, plus, "none", [], "")


def _tanh(x: Tensor, out: Tensor) -> Tensor:
    """tanh by way of torch's sigmoid, which is five times as fast; exact to 1e-7."""
    torch.mul(x, 2.0, out=out)
    return out.sigmoid_().mul_(2.0).sub_(1.0)


class _Layer(torch.autograd.Function):
    """One layer from the zero state; gates in torch's order: in, forget, cell, out."""

    @staticmethod
    def forward(
        ctx, x: Tensor | None, base: Tensor, wx: Tensor | None, wh: Tensor, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Run the layer.

        Args:
            x: (T, B, F) or None.
            base: what is added to the gates' inputs at each step: (4H,), or (B, 4H).
            wx: (4H, F) or None.
            wh: (4H, H).
            steps: T.

        Returns:
            (T, B, H) h of each step; (B, H) a copy of the last one.
        """
        rows = base.shape[0] if x is None else x.shape[1]
        hidden = wh.shape[1]
        out = base.new_empty(steps, rows, hidden)
        cells, squashed = torch.empty_like(out), torch.empty_like(out)
        gates: list[Tensor] = []
        for t in range(steps):
            if x is not None:
                gate = _product(x[t], wx, base)
            else:
                gate = base if t else base.clone()
            if t:
                gate = _product(out[t - 1], wh, gate)
            gate[:, : 2 * hidden].sigmoid_()
            gate[:, 3 * hidden :].sigmoid_()
            i, f, g, o = gate.split(hidden, 1)
            _tanh(g, g)
            torch.mul(i, g, out=cells[t])
            if t:
                cells[t].addcmul_(f, cells[t - 1])
            torch.mul(o, _tanh(cells[t], squashed[t]), out=out[t])
            gates.append(gate)
        ctx.set_materialize_grads(False)
        ctx.shared = base.dim() == 1
        ctx.save_for_backward(x, wx, wh, out, cells, squashed, *gates)
        return out, out[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(
        ctx, grad_out: Tensor | None, grad_last: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, wx, wh, out, cells, squashed, *gates = ctx.saved_tensors
        steps, rows, hidden = out.shape
        made = out.new_empty(steps, rows, 4 * hidden)  # gradients of the gates' inputs
        dc, scratch = out.new_zeros(rows, hidden), out.new_empty(rows, hidden)
        if grad_out is not None:
            grad_out = grad_out.contiguous()
        dh = out.new_zeros(rows, hidden) if grad_last is None else grad_last
        for t in range(steps - 1, -1, -1):
            if t < steps - 1:
                last = None if grad_out is None else grad_out[t]
                dh = _product(made[t + 1], wh.t(), last)
            elif grad_out is not None:
                dh = dh + grad_out[t]
            i, f, g, o = gates[t].split(hidden, 1)
            di, df, dg, do = made[t].split(hidden, 1)
            torch.mul(dh, o, out=scratch)
            torch.ops.aten.tanh_backward.grad_input(scratch, squashed[t], grad_input=scratch)
            dc += scratch
            _through_sigmoid(dh, squashed[t], o, do)
            _through_sigmoid(dc, g, i, di)
            if t:
                _through_sigmoid(dc, cells[t - 1], f, df)
            else:
                df.zero_()
            torch.mul(dc, i, out=dg)
            torch.ops.aten.tanh_backward.grad_input(dg, g, grad_input=dg)
            dc *= f
        flat = made.view(-1, 4 * hidden)
        need_x, need_base, need_wx, need_wh, _ = ctx.needs_input_grad
        dx = dbase = dwx = dwh = None
        if need_x:
            dx = _product(flat, wx.t()).view(steps, rows, -1)
        if need_base:
            dbase = flat.sum(0) if ctx.shared else made.sum(0)
        if need_wx:
            dwx = _product(x.reshape(-1, x.shape[2]).t(), flat.t()).t()
        if need_wh:
            before = out[:-1].view(-1, hidden)
            dwh = _product(before.t(), flat[rows:].t()).t() if steps > 1 else torch.zeros_like(wh)
        return dx, dbase, dwx, dwh, None


def _through_sigmoid(grad: Tensor, factor: Tensor, gate: Tensor, out: Tensor) -> None:
    """out = grad * factor * gate * (1 - gate)."""
    torch.mul(grad, factor, out=out)
    torch.ops.aten.sigmoid_backward.grad_input(out, gate, grad_input=out)


def _lacks_half(x: Tensor) -> bool:
    """Whether autocast asks for an LSTM of half precision that this processor does not have."""
    if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    if torch.get_autocast_dtype("cpu") == torch.float16:
        return not torch.ops.mkldnn._is_mkldnn_fp16_supported()
    return not torch.ops.mkldnn._is_mkldnn_bf16_supported()


class LSTM(nn.LSTM):
    """`nn.LSTM` (same parameters and names) from the zero state, time first, that takes a constant.

    The input of each step is [x_t, constant]; either part may be missing. Biases start at 0 and
    the forget gate's at 1, so that early gradients reach the first frame.

    Args:
        width: F of x, 0 for none.
        constant: C of the constant input, 0 for none.
        hidden: H of each layer.
        layers: number of layers.
    """

    def __init__(self, width: int, constant: int, hidden: int, layers: int) -> None:
        super().__init__(width + constant, hidden, layers)
        self.width, self.constant = width, constant

    def reset_parameters(self) -> None:
        """U(+-1/sqrt(H)) weights; biases 0, the forget gate's 1 in bias_ih and 0 in bias_hh."""
        super().reset_parameters()
        hidden = self.hidden_size
        with torch.no_grad():
            for name, item in self.named_parameters():
                if name.startswith("bias"):
                    item.zero_()
                if name.startswith("bias_ih"):
                    item[hidden : 2 * hidden] = 1.0

    def forward(
        self, x: Tensor | None, constant: Tensor | None, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Run over `steps` frames.

        Args:
            x: (T, B, F) or None where width is 0.
            constant: (B, C) or None where constant is 0.
            steps: T.

        Returns:
            (T, B, H) output of the top layer, and (B, layers * H) final h of all layers, the
            lowest first.
        """
        given = constant if x is None else x
        assert given is not None
        if _lacks_half(given):
            with torch.autocast("cpu", enabled=False):
                whole = [None if item is None else item.float() for item in (x, constant)]
                return self.forward(whole[0], whole[1], steps)
        rows = given.shape[-2]
        fast = (
            _AVAILABLE
            and given.device.type == "cpu"
            and given.dtype == self.weight_hh_l0.dtype == torch.float32
            and rows * self.hidden_size >= _LEAST
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )
        return self._fast(x, constant, steps) if fast else self._plain(x, constant, steps)

    def _plain(self, x: Tensor | None, constant: Tensor | None, steps: int):
        parts = [] if x is None else [x]
        if constant is not None:
            parts.append(constant.expand(steps, *constant.shape))
        out, (last, _) = super().forward(parts[0] if len(parts) == 1 else torch.cat(parts, 2))
        return out, last.transpose(0, 1).reshape(last.shape[1], -1)

    def _fast(self, x: Tensor | None, constant: Tensor | None, steps: int):
        finals = []
        for index in range(self.num_layers):
            wx, wh, bias_x, bias_h = (
                getattr(self, f"{name}_l{index}")
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            base = bias_x + bias_h
            if index == 0 and constant is not None:
                # Copies: oneDNN falls to its slowest kernels where it adds and rows have gaps.
                base = linear(constant, wx[:, self.width :].contiguous(), base)
                wx = wx[:, : self.width].contiguous()
            x, last = _Layer.apply(
                None if x is None else x.contiguous(), base, None if x is None else wx, wh, steps
            )
            finals.append(last)
        assert x is not None
        return x, finals[0] if len(finals) == 1 else torch.cat(finals, 1)
