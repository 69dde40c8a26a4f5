"""FHVAE learns: eight utterances by heart, and speakers where it is told the true ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pylib.nn.loss import summarise
from pylib.nn.segments import SegmentBatch
from pylib.scoring.eer import equal_error
from pylib.systems.fhvae import FHVAE, FHVAEConfig, ObjectiveConfig


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(model: FHVAEConfig, objective: ObjectiveConfig, rows: int) -> FHVAE:
    torch.manual_seed(0)
    return FHVAE(model, objective, rows)


def make_batch(segments: Tensor, sequences: Tensor, speakers: Tensor) -> SegmentBatch:
    return SegmentBatch(
        segments,
        sequences,
        torch.bincount(sequences)[sequences].float(),
        speakers,
        sequences,
        torch.full((len(segments),), segments.shape[1]),
    )


def train(system: FHVAE, batches, steps: int, rate: float = 3e-3) -> dict[str, float]:
    optimizer = torch.optim.Adam(system.parameters(), rate, (0.95, 0.999))
    numbers: dict[str, float] = {}
    for step in range(steps):
        system.set_update(step)
        optimizer.zero_grad()
        out = system(batches(step), generator(step))
        (out.loss_sum / out.count).backward()
        torch.nn.utils.clip_grad_norm_(system.parameters(), 50.0)
        optimizer.step()
        numbers = summarise(out.metrics)
    return numbers


@pytest.mark.slow
def test_eight_utterances_are_learned() -> None:
    # Smooth tracks with an offset of their own: structure that a model of independent bins misses.
    model = FHVAEConfig(layers=1, hidden=64, z1_dim=8, z2_dim=8)
    draw = np.random.default_rng(0)
    time = np.arange(100)[:, None] / 100
    x = np.stack([
        np.sin(2 * np.pi * (time * draw.uniform(1, 3, 80) + draw.uniform(0, 1, 80)))
        + 0.7 * draw.normal(size=80) + 0.2 * draw.normal(size=(100, 80))
        for _ in range(8)
    ])  # fmt: skip
    x = torch.from_numpy((x - x.mean((0, 1))) / x.std((0, 1))).float()
    windows = x.unfold(1, 20, 8).permute(0, 1, 3, 2)  # (8, 11, 20, 80)
    owner = torch.arange(8).repeat_interleave(windows.shape[1])
    given = make_batch(windows.flatten(0, 1), owner, owner)
    system = build(model, ObjectiveConfig(), 8)
    numbers = train(system, lambda step: given, 150)
    assert numbers["bound"] > -2270 + 300
    assert numbers["row_accuracy"] == 1.0
    system.eval()
    assert summarise(system(given, generator()).metrics)["bound"] > -2270 + 300


def toy_corpus(speakers: int, utterances: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Segments (N, 8, 12), their utterance and speaker: speaker, channel and content add up.

    The mixing is the same for all seeds; only who speaks, where and what differs.
    """
    fixed = np.random.default_rng(0)
    by_speaker, by_channel, by_content = (fixed.normal(size=(k, 12)) for k in (4, 4, 4))
    draw = np.random.default_rng(seed)
    who = draw.normal(size=(speakers, 1, 1, 1, 4)) @ by_speaker
    where = draw.normal(size=(speakers, utterances, 1, 1, 4)) @ by_channel
    what = draw.normal(size=(speakers, utterances, 8, 8, 4)) @ by_content
    x = np.tanh(0.4 * (who + where + 0.7 * what)) + 0.05 * draw.normal(size=what.shape)
    owner = np.arange(speakers * utterances).repeat(8)
    return (
        torch.from_numpy(x.reshape(-1, 8, 12)).float(),
        torch.from_numpy(owner),
        torch.from_numpy(owner // utterances),
    )


def unseen_error(system: FHVAE) -> float:
    """Equal error of cosines of s-vectors over all pairs of unseen speakers' utterances."""
    x, owner, speakers = toy_corpus(12, 6, seed=2)
    system.eval()
    vectors = system.closed_form_mu2(system.encode(x).z2_mean, owner, 72).double()
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    scores = (vectors @ vectors.t()).numpy()
    names = speakers[::8].numpy()
    upper = np.triu_indices(72, 1)
    same = (names[:, None] == names[None, :])[upper]
    return equal_error(scores[upper][same], scores[upper][~same]).eer


@pytest.mark.slow
def test_contrast_needs_the_true_speakers() -> None:
    model = FHVAEConfig(
        feature_dim=12, segment=8, z1_dim=6, z2_dim=6, encoder="mlp", layers=1, hidden=64
    )
    x, owner, speakers = toy_corpus(32, 6, seed=1)
    shuffled = torch.randperm(192, generator=generator(7))

    def trained(contrast: str, labels: Tensor) -> float:
        objective = ObjectiveConfig(alpha=0.0, contrast=contrast)
        system = build(model, objective, 192)

        def draw(step: int) -> SegmentBatch:
            pick = torch.randint(0, len(x), (192,), generator=generator(1000 + step))
            given = make_batch(x[pick], owner[pick], labels[pick])
            return replace(given, counts=torch.full((192,), 8.0))

        train(system, draw, 400)
        return unseen_error(system)

    plain = trained("none", speakers)
    true = trained("supcon", speakers)
    control = trained("supcon", speakers[::8][shuffled][owner])
    assert true < 0.8 * plain
    assert control > true + 0.5 * (plain - true)
