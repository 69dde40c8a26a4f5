"""Gaussian densities and divergences, the closed-form sequence mean, the discriminative term."""

from __future__ import annotations

import math

import torch
from torch.distributions import Normal, kl_divergence

from pylib.nn.gaussian import (
    kl_normal,
    log_normal,
    row_log_probs,
    sample,
    sequence_mean,
)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_density_and_divergence_match_torch() -> None:
    x, mean, logvar, prior = (draw(5, 7, seed=seed) for seed in range(4))
    own = Normal(mean, (0.5 * logvar).exp())
    assert torch.allclose(log_normal(x, mean, logvar), own.log_prob(x), atol=1e-12)
    expected = kl_divergence(own, Normal(prior, torch.tensor(0.5, dtype=torch.float64)))
    assert torch.allclose(kl_normal(mean, logvar, prior, 0.25), expected, atol=1e-12)
    assert torch.allclose(kl_normal(mean, logvar), kl_divergence(own, Normal(0.0, 1.0)), atol=1e-6)


def test_golden_values() -> None:
    zero = torch.zeros(1, 32)
    assert math.isclose(float(kl_normal(zero, zero, 0.0, 0.25)[0, 0]), 0.80685, abs_tol=1e-5)
    assert math.isclose(float(log_normal(zero, 0.0, 0.0).sum()), -0.918939 * 32, rel_tol=1e-5)
    # Data of the model N(0, 1) itself: the baseline that any training must beat.
    expected = -0.5 * (math.log(2 * math.pi) + 1)
    assert math.isclose(expected, -1.419, abs_tol=1e-3)
    assert math.isclose(expected * 1600, -2270, abs_tol=1)


def test_sample_has_the_moments_asked_for() -> None:
    x = sample(torch.tensor(3.0), torch.tensor(math.log(4.0)), draw(200_000))
    assert abs(float(x.mean()) - 3) < 0.02 and abs(float(x.std()) - 2) < 0.02


def test_sequence_mean_is_the_most_probable() -> None:
    z = draw(9, 3)
    owner = torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 0])
    found = sequence_mean(z, owner, 4)
    assert torch.equal(found[3], torch.zeros(3, dtype=torch.float64))  # none: the prior's mean
    mu = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    log_joint = log_normal(mu, 0.0, 0.0).sum() + log_normal(z, mu[owner], math.log(0.25)).sum()
    (slope,) = torch.autograd.grad(log_joint, mu, create_graph=True)
    # The joint is quadratic with curvature -(1 + 4 N): one Newton step from 0 is its maximum.
    sizes = torch.tensor([6.0, 2.0, 1.0], dtype=torch.float64)
    best = slope.detach() / (1 + 4 * sizes)[:, None]
    assert torch.allclose(found[:3], best, atol=1e-10, rtol=0)


def test_sequence_mean_of_many_is_the_mean() -> None:
    z = draw(100_000, 2)
    assert torch.allclose(sequence_mean(z, torch.zeros(len(z)).long(), 1)[0], z.mean(0), atol=1e-5)


def test_row_log_probs_equals_the_broadcast_form() -> None:
    z, table = draw(6, 5), draw(4, 5, seed=1)
    distance = (z[:, None] - table[None]).square().sum(2)
    expected = torch.log_softmax(-distance / (2 * 0.25), 1)
    assert torch.allclose(row_log_probs(z, table), expected, atol=1e-10)


def test_row_log_probs_of_equal_rows_is_uniform() -> None:
    table = draw(1, 5, seed=1).expand(8, 5)
    assert torch.allclose(
        row_log_probs(draw(3, 5), table), torch.full((3, 8), -math.log(8.0)).double()
    )


def test_nearer_to_its_row_means_more_probable() -> None:
    table = draw(4, 5)
    z = draw(1, 5, seed=2)
    nearer = z + 0.1 * (table[2] - z)
    assert float(row_log_probs(nearer, table)[0, 2]) > float(row_log_probs(z, table)[0, 2])
