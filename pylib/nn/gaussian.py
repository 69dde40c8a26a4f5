"""Diagonal Gaussians by mean and log-variance: densities, divergences, and FHVAE's sequence mean.

Everything here is elementwise and in the type it is given; sums and float32 are the caller's.
Formulae: FHVAE (arXiv 1709.07902) and scalable FHVAE (arXiv 1804.03201).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOG_2PI = math.log(2 * math.pi)
Z2_VARIANCE = 0.25  # of z2 around its sequence's mean; the means themselves have variance 1


def log_normal(x: Tensor, mean: Tensor | float, logvar: Tensor | float) -> Tensor:
    """log N(x; mean, exp logvar) of each element, in nats.

    x, mean, logvar: of shapes that broadcast; numbers are taken too.
    """
    logvar = torch.as_tensor(logvar, dtype=x.dtype, device=x.device)
    return -0.5 * (LOG_2PI + logvar + (x - mean).square() * torch.exp(-logvar))


def kl_normal(
    mean: Tensor, logvar: Tensor, prior_mean: Tensor | float = 0.0, prior_variance: float = 1.0
) -> Tensor:
    """KL(N(mean, exp logvar) || N(prior_mean, prior_variance)) of each element, in nats."""
    spread = ((mean - prior_mean).square() + logvar.exp()) / prior_variance
    return -0.5 * (1 + logvar - math.log(prior_variance) - spread)


def sample(mean: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
    """A draw from N(mean, exp logvar) made of standard normal `noise` of the same shape."""
    return mean + torch.exp(0.5 * logvar) * noise


def sequence_mean(z2_mean: Tensor, sequences: Tensor, n: int) -> Tensor:
    """The most probable mean of each sequence given the z2 means of its segments, in closed form.

    sum of z2_mean / (number of segments + 0.25): the arg-max of p(mu2) prod p(z2_mean | mu2).
    A sequence without segments gets the prior's mean, 0.

    Args:
        z2_mean: (N, D).
        sequences: (N,) int64, the sequence of each segment, 0..n-1.
        n: number of sequences.

    Returns:
        (n, D).
    """
    total, count = sequence_sums(z2_mean, sequences, n)
    return total / (count + Z2_VARIANCE).unsqueeze(1)


def sequence_sums(z2_mean: Tensor, sequences: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Sum (n, D) of z2_mean (N, D) over each sequence's segments, and their number (n,)."""
    total = z2_mean.new_zeros(n, z2_mean.shape[1]).index_add(0, sequences, z2_mean)
    count = z2_mean.new_zeros(n).index_add(0, sequences, z2_mean.new_ones(len(sequences)))
    return total, count


def row_log_probs(z2_mean: Tensor, table: Tensor) -> Tensor:
    """log q(row | z2_mean): log-softmax over rows of -|z2_mean - row|^2 / (2 * 0.25).

    z2_mean (B, D), table (K, D); returns (B, K). |z2_mean|^2 is the same for all rows, so it is
    left out, and no (B, K, D) difference is formed.
    """
    scores = (z2_mean @ table.t() - 0.5 * table.square().sum(1)) / Z2_VARIANCE
    return scores.log_softmax(1)
