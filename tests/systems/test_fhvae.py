"""FHVAE: parameter counts, the bound written out, gradients, refreshing, health."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from pylib.corpus.errors import UserError
from pylib.nn.loss import CollapseError, add_metrics, summarise
from pylib.nn.segments import SegmentBatch
from pylib.systems.fhvae import FHVAE, FHVAEConfig, ObjectiveConfig

TINY = FHVAEConfig(feature_dim=6, segment=5, z1_dim=3, z2_dim=4, layers=2, hidden=8)
PLAIN = ObjectiveConfig(alpha=0.0)
ROWS = 9


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(model: FHVAEConfig = TINY, objective: ObjectiveConfig = PLAIN, rows: int = ROWS) -> FHVAE:
    torch.manual_seed(0)
    return FHVAE(model, objective, rows)


def make_batch(
    segments: Tensor, sequences: Tensor, speakers: Tensor | None = None, refresh=None
) -> SegmentBatch:
    rows = len(segments)
    return SegmentBatch(
        segments,
        sequences,
        torch.bincount(sequences)[sequences].float(),
        sequences // 2 if speakers is None else speakers,
        sequences,
        torch.full((rows,), segments.shape[1]),
        tuple(f"u{int(i)}" for i in sequences),
        refresh,
    )


def batch(rows: int = 12, model: FHVAEConfig = TINY, seed: int = 3) -> SegmentBatch:
    segments = torch.randn(rows, model.segment, model.feature_dim, generator=generator(seed))
    return make_batch(segments, torch.arange(rows) % 6)


def parameters(system: FHVAE) -> int:
    return sum(item.numel() for name, item in system.named_parameters() if name != "table")


# ---- the published sizes


@pytest.mark.parametrize(
    ("model", "count"),
    [
        (FHVAEConfig(), 2_740_512),
        (FHVAEConfig(feature_dim=201), 3_050_514),
        (FHVAEConfig(layers=1), 1_128_736),
        (FHVAEConfig(layers=1, feature_dim=200), 1_436_176),
        (FHVAEConfig(layers=1, hidden=128), 367_904),
        (FHVAEConfig(layers=1, hidden=128, z1_dim=16, z2_dim=16), 335_072),
        (FHVAEConfig(encoder="mlp", hidden=128, z1_dim=16, z2_dim=16), 886_720),
    ],
)
def test_parameter_counts(model: FHVAEConfig, count: int) -> None:
    with torch.device("meta"):
        assert parameters(FHVAE(model, PLAIN, 3)) == count


def test_parts_of_the_published_size() -> None:
    with torch.device("meta"):
        system = FHVAE(FHVAEConfig(), PLAIN, 3)
    # One bias a layer, as the code published with the papers counts, is 1024 less a layer.
    for part, count in (("z2_encoder", 903_232), ("z1_encoder", 936_000), ("decoder", 895_136)):
        module = getattr(system, part)
        assert sum(item.numel() for item in module.parameters()) - 2 * 1024 == count


@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
def test_published_sizes_step(layers: int) -> None:
    model = FHVAEConfig(layers=layers, feature_dim=80 if layers == 2 else 200)
    system = build(model, ObjectiveConfig(contrast="supcon"), 2000)
    optimizer = torch.optim.Adam(system.parameters(), 1e-3, (0.95, 0.999))
    given = batch(256, model)
    losses = []
    for step in range(3):
        optimizer.zero_grad()
        out = system(given, generator(step))
        (out.loss_sum / out.count).backward()
        optimizer.step()
        losses.append(float(out.loss_sum.detach() / out.count))
    assert losses[2] < losses[0]


# ---- the loss


@pytest.mark.parametrize("encoder", ["lstm", "mlp"])
def test_bound_written_out(encoder: str) -> None:
    model = replace(TINY, encoder=encoder)
    system = build(model, ObjectiveConfig(alpha=10.0))
    system.set_normalisation(torch.arange(6.0), torch.arange(1.0, 7.0))
    given = batch()
    out = system(given, generator(5))
    noise = torch.randn(12, 7, generator=generator(5))
    x = ((given.segments - torch.arange(6.0)) / torch.arange(1.0, 7.0)).transpose(0, 1)
    m2, lv2 = system.z2_encoder(x)
    z2 = m2 + (lv2 / 2).exp() * noise[:, :4]
    m1, lv1 = system.z1_encoder(x, z2)
    z1 = m1 + (lv1 / 2).exp() * noise[:, 4:]
    xm, xlv = system.decoder(torch.cat([z1, z2], 1))
    mu2 = system.table[given.sequences]
    log_px = Normal(xm, (xlv / 2).exp()).log_prob(x).sum((0, 2))
    kl1 = kl_divergence(Normal(m1, (lv1 / 2).exp()), Normal(0.0, 1.0)).sum(1)
    kl2 = kl_divergence(Normal(m2, (lv2 / 2).exp()), Normal(mu2, 0.5)).sum(1)
    prior = Normal(0.0, 1.0).log_prob(mu2).sum(1)
    bound = log_px - kl1 - kl2 + prior / given.counts
    logits = Normal(system.table[None], 0.5).log_prob(m2[:, None]).sum(2)
    log_q = logits.log_softmax(1)[torch.arange(12), given.sequences]
    assert torch.allclose(out.loss_sum, -(bound + 10 * log_q).sum(), rtol=1e-5)
    assert float(out.count) == 12
    numbers = summarise(out.metrics)
    for name, value in (
        ("bound", bound), ("log_px", log_px), ("kl_z1", kl1), ("kl_z2", kl2),
        ("log_pmu2", prior), ("log_q", log_q), ("mu2_norm", mu2.norm(dim=1)),
    ):  # fmt: skip
        assert math.isclose(numbers[name], value.mean().item(), rel_tol=1e-4), name
    assert math.isclose(numbers["loss"], float(out.loss_sum.detach()) / 12, rel_tol=1e-6)


@pytest.mark.parametrize("encoder", ["lstm", "mlp"])
@pytest.mark.parametrize("alpha", [0.0, 10.0])
def test_every_part_learns(encoder: str, alpha: float) -> None:
    system = build(replace(TINY, encoder=encoder), ObjectiveConfig(alpha=alpha))
    given = batch()
    system(given, generator()).loss_sum.backward()
    for name, item in system.named_parameters():
        assert item.grad is not None and bool(item.grad.abs().sum() > 0), name
    moved = system.table.grad.abs().sum(1) > 0
    assert moved.tolist() == [row < 6 or alpha > 0 for row in range(ROWS)]


def test_the_contrastive_term_is_added_per_segment() -> None:
    given = batch()
    plain = build(TINY, PLAIN)(given, generator())
    for weight, update, expected in ((7.0, 10, 7.0), (7.0, 5, 3.5), (7.0, 0, 0.0)):
        objective = ObjectiveConfig(
            alpha=0.0, contrast="supcon", contrast_weight=weight, contrast_warmup=10
        )
        system = build(TINY, objective)
        system.set_update(update)
        out = system(given, generator())
        term = summarise(out.metrics)["contrast"]
        assert term > 0
        difference = float((out.loss_sum - plain.loss_sum).detach()) / 12
        assert math.isclose(difference, expected * term, rel_tol=1e-3, abs_tol=1e-4)
    assert summarise(out.metrics)["contrast_anchors"] == 1.0


@pytest.mark.parametrize(
    "kind", ["supcon", "supcon_utterance", "supcon_table", "ge2e", "nca", "triplet"]
)
def test_each_contrast_reaches_what_it_acts_on(kind: str) -> None:
    system = build(TINY, ObjectiveConfig(alpha=0.0, contrast=kind))
    given = batch()
    means = system.z2_encoder(system._normalised(given.segments))[0]
    term, anchors = system.contrast(
        means, system.table, given.sequences, given.speakers, given.utterances
    )
    assert float(term.detach()) > 0 and int(anchors) == (6 if "_" in kind else 12)
    term.backward()
    on_table = kind == "supcon_table"
    assert (system.table.grad is not None) == on_table
    assert (next(system.z2_encoder.parameters()).grad is None) == on_table


def test_sums_do_not_depend_on_how_a_batch_is_cut() -> None:
    system = build(TINY, PLAIN).eval()
    x = batch().segments
    whole = make_batch(x, torch.tensor([0] * 4 + [1] * 8))
    parts = [make_batch(x[:4], torch.zeros(4).long()), make_batch(x[4:], torch.zeros(8).long())]

    def measure(given: list[SegmentBatch]) -> dict[str, float]:
        noise = generator()
        return summarise(add_metrics([system(item, noise).metrics for item in given]))

    first, second = measure([whole]), measure(parts)
    for name in ("kl_z2", "log_pmu2", "mu2_norm"):  # the terms without noise
        assert math.isclose(first[name], second[name], rel_tol=1e-5), name
    assert "log_q" not in first and "contrast" not in first
    assert math.isclose(first["loss"], -first["bound"], rel_tol=1e-6)


def test_evaluation_uses_the_closed_form() -> None:
    system = build().eval()
    given = batch()
    means = system.encode(given.segments).z2_mean
    vectors = system.closed_form_mu2(means, given.sequences, 6)
    expected = torch.stack([means[i::6].sum(0) / 2.25 for i in range(6)])
    assert torch.allclose(vectors, expected, atol=1e-6)
    numbers = summarise(system(given, generator()).metrics)
    assert math.isclose(numbers["mu2_norm"], float(expected.norm(dim=1).mean()), rel_tol=1e-5)


def test_free_bits_push_no_further() -> None:
    system = build(TINY, replace(PLAIN, free_bits=1e6))
    out = system(batch(), generator())
    numbers = summarise(out.metrics)
    expected = 1e6 * 7 - numbers["log_px"] - numbers["log_pmu2"] / 2
    assert math.isclose(float(out.loss_sum.detach()) / 12, expected, rel_tol=1e-5)
    out.loss_sum.backward()
    assert not bool(system.z1_encoder.head.linear.weight.grad[3:].isnan().any())


def test_shape_of_another_feature_is_refused() -> None:
    with pytest.raises(ValueError, match="u0: segments of .5, 7."):
        build()(batch(model=replace(TINY, feature_dim=7)), generator())
    with pytest.raises(UserError, match="feature mean"):
        build().set_normalisation(torch.zeros(7), torch.ones(7))


# ---- the table


def test_refresh_sets_rows_to_the_closed_form() -> None:
    system = build(TINY, ObjectiveConfig())
    optimizer = torch.optim.Adam(system.parameters(), 1e-2)
    given = batch()
    system(given, generator()).loss_sum.backward()
    optimizer.step()
    before = system.table.detach().clone()
    x = torch.randn(10, 5, 6, generator=generator(9))
    rows = torch.tensor([0, 0, 0, 2, 2, 5, 5, 5, 5, 0])
    asks = replace(given, refresh=[(rows[:4], x[:4]), (rows[4:], x[4:])])
    assert system.before_update([(0, given), (1, asks)], optimizer) == 3
    means = system.encode(x).z2_mean
    for row in range(ROWS):
        mine = means[rows == row]
        expected = mine.sum(0) / (len(mine) + 0.25) if len(mine) else before[row]
        assert torch.allclose(system.table[row], expected, atol=1e-6)
    for name in ("exp_avg", "exp_avg_sq"):
        still = optimizer.state[system.table][name].abs().sum(1) == 0
        assert still.tolist() == [row in (0, 2, 5) for row in range(ROWS)]
    assert system.before_update([given], optimizer) == 0


def test_moments_can_be_kept() -> None:
    system = build(TINY, ObjectiveConfig(reset_moments=False))
    optimizer = torch.optim.Adam(system.parameters(), 1e-2)
    given = batch()
    system(given, generator()).loss_sum.backward()
    optimizer.step()
    rows = torch.arange(ROWS)
    x = torch.randn(ROWS, 5, 6, generator=generator(9))
    system.before_update([replace(given, refresh=[(rows, x)])], optimizer)
    assert bool((optimizer.state[system.table]["exp_avg"].abs().sum(1) > 0).all())


def test_refresh_before_the_first_step() -> None:
    system = build(TINY, ObjectiveConfig())
    optimizer = torch.optim.Adam(system.parameters(), 1e-2)
    asks = replace(batch(), refresh=[(torch.arange(ROWS), torch.randn(ROWS, 5, 6))])
    assert system.before_update([asks], optimizer) == ROWS


# ---- use


def test_encode_is_deterministic_and_decode_undoes_the_normalisation() -> None:
    system = build().eval()
    x = batch().segments
    mean, std = torch.arange(6.0), torch.full((6,), 2.0)
    plain = system.decode(*(system.encode(x)[i] for i in (2, 0)))
    first, second = system.encode(x), system.encode(x)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert [tuple(item.shape) for item in first] == [(12, 4), (12, 4), (12, 3), (12, 3)]
    system.set_normalisation(mean, std)
    scaled = system.encode(x * 2 + mean)
    assert torch.allclose(scaled.z1_mean, first.z1_mean, atol=1e-5)
    raw = system.decode(scaled.z1_mean, scaled.z2_mean)
    assert raw[0].shape == (12, 5, 6)
    assert torch.allclose(raw[0], plain[0] * 2 + mean, atol=1e-4)
    assert torch.allclose(raw[1], plain[1] + 2 * math.log(2), atol=1e-4)


def test_normalisation_and_table_are_saved() -> None:
    system = build()
    system.set_normalisation(torch.ones(6), torch.full((6,), 3.0))
    other = build(rows=ROWS)
    other.load_state_dict(system.state_dict())
    assert torch.equal(other.feature_std, torch.full((6,), 3.0))
    x = batch().segments
    assert torch.equal(other.encode(x).z1_mean, system.encode(x).z1_mean)


# ---- trouble


def test_digital_silence_stays_finite() -> None:
    system = build(replace(TINY, hidden=16), ObjectiveConfig(contrast="supcon"))
    floor = math.log(1e-5)
    system.set_normalisation(torch.full((6,), floor), torch.zeros(6))
    given = batch()
    given.segments.fill_(floor)
    optimizer = torch.optim.Adam(system.parameters(), 1e-2)
    for step in range(100):
        optimizer.zero_grad()
        out = system(given, generator(step))
        (out.loss_sum / out.count).backward()
        optimizer.step()
    assert math.isfinite(float(out.loss_sum.detach()))
    assert all(bool(item.isfinite().all()) for item in system.parameters())
    # The log-variance of x is clamped at -8: the bound cannot grow without limit.
    assert summarise(out.metrics)["log_px"] <= 30 * (4 - 0.9189) + 1e-3


@pytest.mark.parametrize(
    ("numbers", "update", "match"),
    [
        ({"loss": math.nan}, 0, "loss is nan"),
        ({"kl_z1": 4.0, "kl_z2": 9.0}, 1001, "content latent is not used"),
        ({"kl_z1": 9.0, "kl_z2": 0.1}, 1001, "sequence latent is not used"),
        ({"contrast_anchors": 0.0}, 1, "another of its speaker"),
    ],
)
def test_health_stops_with_the_cause(numbers: dict, update: int, match: str) -> None:
    with pytest.raises(CollapseError, match=match):
        build(TINY, ObjectiveConfig(contrast="supcon")).health(numbers, update)


def test_health_lets_the_healthy_go_on() -> None:
    system = build()
    system.health({"kl_z1": 0.1, "kl_z2": 0.0, "loss": 5.0}, 1000)
    system.health({"kl_z1": 30.0, "kl_z2": 30.0, "contrast_anchors": 0.5}, 5000)


@pytest.mark.parametrize(
    ("made", "match"),
    [
        (lambda: FHVAEConfig(hidden=0), "fhvae.hidden"),
        (lambda: FHVAEConfig(x_logvar=(8.0, -8.0)), "fhvae.x_logvar"),
        (lambda: ObjectiveConfig(alpha=-1.0), "objective.alpha"),
        (lambda: ObjectiveConfig(temperature=0.0), "objective.temperature"),
    ],
)
def test_settings_out_of_range(made, match: str) -> None:
    with pytest.raises(UserError, match=match):
        made()


def test_half_precision_keeps_losses_in_float32() -> None:
    system = build(TINY, ObjectiveConfig(contrast="supcon"))
    with torch.autocast("cpu", torch.bfloat16):
        out = system(batch(), generator())
    exact = system(batch(), generator())
    assert out.loss_sum.dtype == torch.float32
    assert math.isclose(float(out.loss_sum.detach()), float(exact.loss_sum.detach()), rel_tol=0.02)
