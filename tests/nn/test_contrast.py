"""Contrastive terms: hand examples, invariances, nothing to compare with, values of a library."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pylib.nn.contrast import (
    Centroids,
    cosines,
    group_means,
    neighbour_scores,
    pairs,
    supcon,
    triplet,
)


def by_cosine(x: Tensor, labels: Tensor, temperature: float = 0.1, groups=None) -> Tensor:
    return supcon(cosines(x, temperature), *pairs(labels, groups))[0]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_four_vectors_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, -1.0]])
    labels = torch.tensor([0, 0, 1, 1])
    # cosines over 1: row 0: 0 to its own, 1, 0; row 1: 0, 0, -1; row 2: 0 to its own, 1, 0;
    # row 3: 0 to its own, 0, -1.
    first = math.log(1 + math.e + 1)
    second = math.log(1 + 1 + math.exp(-1))
    expected = (first + second + first + second) / 4
    assert math.isclose(float(by_cosine(x, labels, 1.0)), expected, rel_tol=1e-6)


def test_golden_values_of_another_implementation() -> None:
    # pytorch-metric-learning 2.9.0, SupConLoss(temperature), on these very vectors.
    x = ((torch.arange(48) * 7919 % 101).float() / 50 - 1).view(8, 6)
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3])
    assert math.isclose(float(by_cosine(x, labels)), 10.763911, abs_tol=2e-6)
    assert math.isclose(float(by_cosine(x, labels, 0.5)), 3.0526865, abs_tol=1e-6)
    y = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]])
    assert math.isclose(float(by_cosine(y, torch.tensor([0, 0, 1, 1]))), 0.8490395, abs_tol=1e-6)


def test_the_order_of_the_batch_does_not_matter() -> None:
    x, labels = draw(12, 5), torch.arange(12) % 4
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    for loss in (
        lambda x, y: by_cosine(x, y),
        lambda x, y: supcon(neighbour_scores(x), *pairs(y))[0],
        lambda x, y: triplet(x, *pairs(y))[0],
        lambda x, y: Centroids()(x, y)[0],
    ):
        assert torch.allclose(loss(x, labels), loss(x[order], labels[order]), atol=1e-5)


@pytest.mark.parametrize("kind", ["supcon", "nca", "triplet", "ge2e"])
@pytest.mark.parametrize("labels", [[0, 1, 2, 3], [0]])
def test_no_positives_cost_nothing(kind: str, labels: list[int]) -> None:
    x = draw(len(labels), 3).requires_grad_()
    y = torch.tensor(labels)
    if kind == "ge2e":
        loss, anchors = Centroids()(x, y)
    elif kind == "triplet":
        loss, anchors = triplet(x, *pairs(y))
    else:
        loss, anchors = supcon(cosines(x, 0.1) if kind == "supcon" else neighbour_scores(x),
                               *pairs(y))  # fmt: skip
    loss.backward()
    assert float(loss.detach()) == 0 and int(anchors) == 0
    assert torch.equal(x.grad, torch.zeros_like(x))


@pytest.mark.parametrize("kind", ["supcon", "nca", "triplet", "ge2e"])
def test_one_speaker_alone_is_finite(kind: str) -> None:
    x = draw(4, 3).requires_grad_()
    y = torch.zeros(4, dtype=torch.long)
    if kind == "ge2e":
        loss, _ = Centroids()(x, y)
    elif kind == "triplet":
        loss, _ = triplet(x, *pairs(y))
    else:
        loss, _ = supcon(cosines(x, 0.1) if kind == "supcon" else neighbour_scores(x), *pairs(y))
    loss.backward()
    assert bool(x.grad.isfinite().all())


def test_anchors_without_a_positive_are_skipped() -> None:
    x = draw(5, 4)
    labels = torch.tensor([0, 0, 1, 1, 2])
    loss, anchors = supcon(cosines(x, 0.1), *pairs(labels))
    scores = cosines(x, 0.1).masked_fill(torch.eye(5, dtype=torch.bool), -math.inf)
    log_probs = scores.log_softmax(1)
    expected = -(log_probs[0, 1] + log_probs[1, 0] + log_probs[2, 3] + log_probs[3, 2]) / 4
    assert int(anchors) == 4 and torch.allclose(loss, expected)


def test_pairs_of_one_utterance_are_left_out_of_both_sums() -> None:
    x, labels = draw(6, 4), torch.tensor([0, 0, 0, 1, 1, 1])
    utterances = torch.tensor([0, 0, 1, 2, 2, 3])
    candidates, positives = pairs(labels, utterances)
    assert positives.sum(1).tolist() == [1, 1, 2, 1, 1, 2]
    assert candidates.sum(1).tolist() == [4, 4, 5, 4, 4, 5]
    changed = x.clone()
    # Anchor 0 does not see vector 1, of its own utterance.
    scores = cosines(x, 0.1)[0, 2:]
    expected = scores.logsumexp(0) - scores[0]
    changed[1] = 100.0
    each = [
        supcon(cosines(item, 0.1)[:1, :], candidates[:1], positives[:1])[0] for item in (x, changed)
    ]
    assert torch.allclose(each[0], expected) and torch.allclose(each[0], each[1])


def test_neighbour_scores_are_squared_distances() -> None:
    x = draw(5, 4)
    assert torch.allclose(neighbour_scores(x), -2 * torch.cdist(x, x).square(), atol=1e-4)


def test_group_means_keep_labels() -> None:
    x = draw(5, 2)
    means, labels = group_means(x, torch.tensor([3, 3, 7, 7, 3]), torch.tensor([4, 4, 9, 9, 1]))
    assert labels.tolist() == [3, 3, 7]
    assert torch.allclose(means, torch.stack([x[4], x[:2].mean(0), x[2:4].mean(0)]))


def test_triplet_takes_the_nearest_of_the_farther_negatives() -> None:
    angles = torch.tensor([0.0, 0.6, 0.3, 0.8, 2.0])
    x = torch.stack([angles.cos(), angles.sin()], 1)
    labels = torch.tensor([0, 0, 1, 2, 3])
    d = 1 - cosines(x, 1.0)
    # Anchor 0: positive 1 at .6, so of .3, .8 and 2.0 it is .8. Anchor 1 at .6: positive 0 at
    # distance .6 in angle; negatives at .3, .2, 1.4: it is 1.4, too far to cost anything.
    expected = ((0.2 + d[0, 1] - d[0, 3]).relu() + (0.2 + d[1, 0] - d[1, 4]).relu()) / 2
    loss, anchors = triplet(x, *pairs(labels))
    assert torch.allclose(loss, expected, atol=1e-6) and int(anchors) == 2


def test_triplet_without_a_farther_negative_takes_the_farthest() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.1], [1.0, 0.2]])
    labels = torch.tensor([0, 0, 1, 2])
    d = 1 - cosines(x, 1.0)
    expected = ((0.2 + d[0, 1] - d[0, 3]).relu() + (0.2 + d[1, 0] - d[1, 2]).relu()) / 2
    assert torch.allclose(triplet(x, *pairs(labels))[0], expected, atol=1e-6)


def test_centroids_leave_the_anchor_out_of_its_own() -> None:
    x, labels = draw(6, 4), torch.tensor([0, 0, 0, 5, 5, 9])
    module = Centroids()
    v = F.normalize(x, dim=1)
    total = 0.0
    for index in range(5):
        scores = []
        for name in (0, 5, 9):
            members = [
                j for j in range(6) if labels[j] == name and (j != index or name != labels[index])
            ]
            center = F.normalize(v[members].mean(0), dim=0)
            scores.append(10 * v[index] @ center - 5)
        target = 0 if index < 3 else 1
        total -= torch.stack(scores).log_softmax(0)[target]
    loss, anchors = module(x, labels)
    assert int(anchors) == 5 and torch.allclose(loss, total / 5, atol=1e-5)
