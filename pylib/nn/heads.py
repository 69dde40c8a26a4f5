"""What turns masked frames into class scores or vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.nn.linear import Linear


class LinearHead(Linear):
    """Logits (M, K) of frames (M, D) by one linear layer; raw cluster ids, no specials."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).float()


class CosineHead(nn.Module):
    """HuBERT's head: cosine between projected frames and code embeddings, over a temperature.

    CE over these logits equals fairseq's contrastive form with the positive first, without its
    (K, M, dim) tensor. Cosine and product are in float32: a temperature of 0.1 makes bfloat16's
    grid visible.

    Args:
        dim: D of the frames.
        classes: K.
        cosine_dim: width of the embeddings, 256 for HuBERT Base.
        temperature: 0.1 for HuBERT.
    """

    def __init__(self, dim: int, classes: int, cosine_dim: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.projection = Linear(dim, cosine_dim)
        self.embeddings = nn.Parameter(torch.empty(classes, cosine_dim).uniform_())

    def forward(self, x: Tensor) -> Tensor:
        """Logits (M, K) float32 of frames (M, D)."""
        projected = self.projection(x)
        with torch.autocast(x.device.type, enabled=False):
            codes = F.normalize(self.embeddings.float(), dim=1)
            return F.normalize(projected.float(), dim=1) @ codes.T / self.temperature
