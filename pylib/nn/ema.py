"""The online teacher: an exponential moving average of the student's context network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pylib.nn.norms import time_statistics
from pylib.nn.sharded import held
from pylib.nn.transformer import Transformer, TransformerSize


def decay(update: int, start: float, end: float, anneal: int) -> float:
    """tau after `update` updates: linear from start to end over `anneal`, then end.

    0.999 at 0, 0.99945 at 15,000 and 0.9999 from 30,000 with the papers' values.
    """
    if update >= anneal:
        return end
    return start + (end - start) * update / anneal


class Teacher(nn.Module):
    """EMA of the Transformer only, in float32, always in eval mode, never with a gradient.

    The convolutions and the projection are the student's own; positional
    convolutions and buffers are copied at every update, everything else is averaged.

    Args:
        size: the student's context network; dropouts do not matter here.
        layers: how many upper layers the targets average.
    """

    def __init__(self, size: TransformerSize, layers: int) -> None:
        super().__init__()
        self.context = Transformer(size)
        self.layers = range(size.layers - layers + 1, size.layers + 1)
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> Teacher:
        """Stays in eval mode: a teacher has no dropout and no LayerDrop."""
        return super().train(False)

    @torch.no_grad()
    def copy_from(self, student: Transformer) -> None:
        """Become the student's copy, as at update 0."""
        self.context.load_state_dict(student.state_dict())

    @torch.no_grad()
    def step(self, student: Transformer, tau: float) -> None:
        """teacher <- tau * teacher + (1 - tau) * student; positions and buffers copied.

        Of sharded parameters every process steps its own part: teacher and student are shared
        out alike, and the average of one number needs no other.
        """
        averaged: list[Tensor] = []
        sources: list[Tensor] = []
        copied: list[Tensor] = []
        originals: list[Tensor] = []
        pairs = zip(self.context.named_parameters(), student.parameters(), strict=True)
        for (name, whole), original in pairs:
            mine, theirs = held(whole), held(original)
            if name.startswith("pos_conv."):
                copied.append(mine)
                originals.append(theirs)
            else:
                averaged.append(mine)
                sources.append(theirs.float())
        torch._foreach_lerp_(averaged, sources, 1.0 - tau)
        torch._foreach_copy_(copied, originals)
        for buffer, original in zip(self.context.buffers(), student.buffers(), strict=True):
            buffer.copy_(original)

    @torch.no_grad()
    def targets(
        self, projected: Tensor, padding: Tensor | None, lengths: Tensor, flat: Tensor
    ) -> Tensor:
        """Regression targets of chosen frames.

        Feed-forward outputs of the upper layers, each normalised over time per channel, then
        averaged; normalisation in float32 (data2vec, section 3.3 and table 5).

        Args:
            projected: (B, T, D), before dropout and masking.
            padding: (B, T) bool or None.
            lengths: (B,) frames.
            flat: (M,) frames wanted, as positions in the flattened (B * T).

        Returns:
            (M, D) float32.
        """
        frames = projected.shape[1]
        row = torch.div(flat, frames, rounding_mode="floor")
        total: Tensor | None = None
        outputs = self.context.feed_forward_outputs(projected.detach(), padding, self.layers)
        with torch.autocast(projected.device.type, enabled=False):
            for output in outputs:
                mean, inverse = time_statistics(output, padding, lengths)
                picked = output.flatten(0, 1).index_select(0, flat).float()
                picked = (picked - mean.squeeze(1)[row]) * inverse.squeeze(1)[row]
                total = picked if total is None else total.add_(picked)
        assert total is not None
        return total.div_(len(outputs))
