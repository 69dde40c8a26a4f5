"""MT4SSL and its parents: terms, guard, refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import pylib.systems.mt4ssl as mt4ssl
from pylib.corpus.errors import UserError
from pylib.interop.transformers import state_to_transformers
from pylib.nn.batch import Batch
from pylib.nn.encoder import EncoderConfig
from pylib.nn.heads import CosineHead, LinearHead
from pylib.nn.loss import CollapseError, add_metrics, summarise
from pylib.nn.masks import MaskConfig
from pylib.systems.mt4ssl import MT4SSL, TargetsConfig

QUIET = {"dropout": 0.0, "attention_dropout": 0.0, "layerdrop": 0.0}
TINY = EncoderConfig(conv_dim=16, dim=32, ffn_dim=64, layers=3, heads=4, pos_conv_groups=4, **QUIET)
TARGETS = TargetsConfig(clusters=7, teacher_layers=2)
FBANK = replace(TINY, frontend="fbank")


def audio(rows: int = 4, samples: int = 16000, clusters: int = 7, seed: int = 0) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    frames = (samples - 400) // 320 + 1
    labels = torch.randint(0, clusters, (rows, frames), generator=draw)
    x = torch.randn(rows, samples, generator=draw)
    return Batch(x, torch.full((rows,), samples), labels, utts=tuple(f"u-{i}" for i in range(rows)))


def banks(lengths: list[int], clusters: int = 7) -> Batch:
    torch.manual_seed(1)
    frames = torch.tensor(lengths) // 4
    labels = torch.randint(0, clusters, (len(lengths), int(frames.max())))
    labels[torch.arange(labels.shape[1]) >= frames[:, None]] = -1
    return Batch(torch.randn(len(lengths), max(lengths), 80), torch.tensor(lengths), labels)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(config: EncoderConfig = TINY, targets: TargetsConfig = TARGETS, seed: int = 0) -> MT4SSL:
    torch.manual_seed(seed)
    return MT4SSL(config, targets, MaskConfig())


def gradients(system: MT4SSL) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in system.named_parameters() if p.grad is not None}
    system.zero_grad()
    return found


def close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(value, b[name], atol=2e-4, rtol=1e-4, msg=name)


def test_terms_by_definition() -> None:
    """CE is NumPy's, regression is the squared error over sqrt(D), both over masked frames."""
    system = build()
    batch = audio()
    out = system(batch, generator(3))
    mask = mt4ssl.draw_mask(torch.full((4,), 49), MaskConfig(), generator(3))
    with torch.no_grad():
        made = system.encoder.project(batch)
        hidden, _ = system.encoder(batch, mask)
        logits = system.offline_head(hidden[mask]).numpy().astype(np.float64)
        prediction = system.online_head(hidden[mask])
        frames = torch.arange(4 * 49)
        target = system.teacher.targets(made.projected, None, made.lengths, frames)
        target = target.view(4, 49, 32)[mask]
    ids = batch.labels[mask].numpy()
    log_sum = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
    ce = (log_sum - logits[np.arange(len(ids)), ids]).sum()
    mse = float((prediction - target).square().sum()) / math.sqrt(32)
    assert float(out.count) == mask.sum()
    assert float(out.metrics["ce"][0]) == pytest.approx(ce, rel=1e-5)
    assert float(out.metrics["mse"][0]) == pytest.approx(mse, rel=1e-4)
    assert float(out.loss_sum.detach()) == pytest.approx(ce + mse, rel=1e-4)
    numbers = summarise(out.metrics)
    assert numbers["accuracy"] == pytest.approx((logits.argmax(1) == ids).mean())
    assert numbers["masked"] == pytest.approx(float(mask.float().mean()))
    expected = (target.double().var(0) + 1e-6).sqrt().mean()
    assert numbers["target_std"] == pytest.approx(float(expected), rel=1e-4)
    expected = (prediction.double().var(0) + 1e-6).sqrt().mean()
    assert numbers["pred_std"] == pytest.approx(float(expected), rel=1e-4)
    assert numbers["conv_std"] > 0 and numbers["label_used"] == 7


@pytest.mark.parametrize("config", [TINY, FBANK], ids=["waveform", "fbank"])
def test_terms_do_not_depend_on_each_other(config: EncoderConfig) -> None:
    """CE-only and MSE-only runs have the joint run's terms, and gradients that add up."""
    batch = audio() if config is TINY else banks([400, 400, 300])
    parts = {}
    for name, weights in {"joint": (1, 1), "ce": (1, 0), "mse": (0, 1), "half": (0.5, 2)}.items():
        targets = replace(TARGETS, offline_weight=weights[0], online_weight=weights[1])
        system = build(config, targets)
        assert (system.teacher is None) == (weights[1] == 0), "no teacher without its term"
        assert (system.offline_head is None) == (weights[0] == 0)
        system.load_state_dict(build(config).state_dict(), strict=False)
        if system.teacher is not None:
            system.teacher.copy_from(system.encoder.context)
        out = system(batch, generator(5))
        out.loss_sum.backward()
        parts[name] = (out, gradients(system))
    joint = parts["joint"][0]
    assert torch.equal(joint.metrics["ce"][0], parts["ce"][0].metrics["ce"][0])
    assert torch.equal(joint.metrics["mse"][0], parts["mse"][0].metrics["mse"][0])
    total = parts["ce"][0].loss_sum + parts["mse"][0].loss_sum
    torch.testing.assert_close(joint.loss_sum, total)
    half = 0.5 * parts["ce"][0].loss_sum + 2 * parts["mse"][0].loss_sum
    torch.testing.assert_close(parts["half"][0].loss_sum, half)
    name = "encoder.context.blocks.1.ffn.fc1.weight"
    together = parts["ce"][1][name] + parts["mse"][1][name]
    torch.testing.assert_close(parts["joint"][1][name], together, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["mt4ssl", "hubert"])
def test_accumulation_equals_the_big_batch(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss, gradient and metrics of 1 x B equal those of 2 x B/2."""
    config, targets = TINY, TARGETS
    if kind == "hubert":
        config = replace(TINY, conv_norm="group", pos_conv_depth=1, pos_conv_width=16)
        targets = replace(
            TARGETS, offline_head="cosine", cosine_dim=8, online_weight=0.0, feature_penalty=10.0
        )
    batch = audio()
    mask = mt4ssl.draw_mask(torch.full((4,), 49), MaskConfig(), generator(2))
    whole = build(config, targets)
    monkeypatch.setattr(mt4ssl, "draw_mask", lambda *_: mask)
    out = whole(batch, generator())
    (out.loss_sum / out.count).backward()
    expected = gradients(whole)
    halves = build(config, targets)
    outs = []
    for rows in (slice(0, 2), slice(2, 4)):
        monkeypatch.setattr(mt4ssl, "draw_mask", lambda *_, rows=rows: mask[rows])
        part = Batch(batch.inputs[rows], batch.input_lengths[rows], batch.labels[rows])
        outs.append(halves(part, generator()))
        (outs[-1].loss_sum / out.count).backward()
    assert sum(float(o.count) for o in outs) == float(out.count)
    close(gradients(halves), expected)
    together, apart = summarise(out.metrics), summarise(add_metrics(o.metrics for o in outs))
    assert together == pytest.approx(apart, rel=1e-4)


def test_hubert_loss_is_torchaudios() -> None:
    """Masked CE over cosines and the feature penalty equal torchaudio's HuBERT model."""
    from torchaudio.models import hubert_pretrain_model

    config = replace(
        TINY, conv_norm="group", pos_conv_depth=1, pos_conv_width=128, mask_pos_conv=False
    )
    targets = TargetsConfig(
        clusters=7, offline_head="cosine", cosine_dim=8, online_weight=0.0, feature_penalty=10.0
    )
    system = build(config, targets)
    with torch.no_grad():
        system.offline_head.projection.bias.normal_()
    theirs = hubert_pretrain_model(
        "group_norm",
        [(16, 10, 5)] + [(16, 3, 2)] * 4 + [(16, 2, 2)] * 2,
        False,
        32,
        0.0,
        128,
        4,
        3,
        4,
        0.0,
        64,
        0.0,
        0.0,
        False,
        0.0,
        0.8,
        "static",
        0.0,
        10,
        False,
        1,
        0.0,
        "static",
        0.0,
        10,
        False,
        1,
        False,
        False,
        7,
        8,
        None,
    )
    state = {}
    for name, value in state_to_transformers(system.encoder.state_dict()).items():
        if name == "masked_spec_embed":
            state["mask_generator.mask_embedding"] = value
        elif name.startswith("feature_projection."):
            state[f"wav2vec2.encoder.{name}"] = value
        elif name.startswith("encoder."):
            state[f"wav2vec2.encoder.transformer.{name.removeprefix('encoder.')}"] = value
        else:
            state[f"wav2vec2.{name}"] = value
    head = system.offline_head
    state["logit_generator.final_proj.weight"] = head.projection.weight
    state["logit_generator.final_proj.bias"] = head.projection.bias
    state["logit_generator.label_embeddings"] = head.embeddings
    theirs.load_state_dict(state)
    batch = audio()
    mask = mt4ssl.draw_mask(torch.full((4,), 49), MaskConfig(), generator(4))
    embedding = state["mask_generator.mask_embedding"]
    theirs.mask_generator.forward = lambda x, _: (
        torch.where(mask[:, :, None], embedding, x),
        mask,
    )
    logits, _, penalty = theirs(batch.inputs, batch.labels)
    first = torch.zeros(logits.shape[0], dtype=torch.long)
    ce = F.cross_entropy(logits, first, reduction="sum")
    expected = ce + 10 * penalty * logits.shape[0]
    out = system(batch, generator(4))
    torch.testing.assert_close(out.metrics["ce"][0], ce, atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(out.loss_sum, expected, atol=1e-3, rtol=1e-5)
    out.loss_sum.backward()
    expected.backward()
    mine = system.encoder.frontend.convs[2].conv.weight.grad
    torch.testing.assert_close(
        mine,
        theirs.wav2vec2.feature_extractor.conv_layers[2].conv.weight.grad,
        atol=1e-4,
        rtol=1e-3,
    )


def test_teacher_sees_neither_mask_nor_dropout() -> None:
    """Targets are those of the clean batch whatever the student goes through."""
    clean = build()
    noisy = build(replace(TINY, dropout=0.3, dropout_input=0.3, layerdrop=0.3))
    noisy.load_state_dict(clean.state_dict())
    batch = audio()
    found = []
    for system, seed in ((clean, 1), (noisy, 1), (noisy, 2)):
        torch.manual_seed(seed)
        made = system.encoder.project(batch)
        everything = torch.arange(4 * 49)
        found.append(
            system.teacher.targets(made.projected, None, made.lengths, everything).detach()
        )
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    noisy(batch, generator()).loss_sum.backward()
    assert all(p.grad is None for p in noisy.teacher.parameters())
    missing = noisy.load_state_dict
    state = {k: v for k, v in noisy.state_dict().items() if not k.startswith("teacher.")}
    with pytest.raises(RuntimeError, match="Missing key.*teacher"):
        missing(state)


def test_after_update_steps_the_teacher() -> None:
    system = build(targets=replace(TARGETS, ema_start=0.5, ema_end=0.9, ema_anneal=4))
    before = system.teacher.context.norm.weight.clone()
    with torch.no_grad():
        system.encoder.context.norm.weight.add_(1.0)
    system.after_update(2)  # tau = 0.7
    torch.testing.assert_close(system.teacher.context.norm.weight, before + 0.3)


def test_everything_in_float32_under_autocast() -> None:
    """The terms and the teacher's statistics are float32; parameters stay so."""
    for head in ("linear", "cosine"):
        system = build(targets=replace(TARGETS, offline_head=head, cosine_dim=8))
        full = system(audio(), generator(1))
        with torch.autocast("cpu", torch.bfloat16):
            out = system(audio(), generator(1))
        assert out.loss_sum.dtype == torch.float32
        for name in ("ce", "mse"):
            assert out.metrics[name][0].dtype == torch.float32
            ratio = float(out.metrics[name][0] / full.metrics[name][0])
            assert ratio == pytest.approx(1.0, abs=0.03)
        out.loss_sum.backward()
        system.after_update(1)
        assert all(p.dtype == torch.float32 for p in system.parameters())


class HalfHead(nn.Linear):
    """A head that, unlike ours, leaves its logits as autocast makes them, and keeps them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.logits = super().forward(x)
        return self.logits


def test_cross_entropy_casts_the_logits_under_autocast() -> None:
    """The sum is that of float32 softmaxes; in half precision it would lie on a grid of 2."""
    system = build()
    system.offline_head = HalfHead(32, 7)
    batch = audio(rows=8)
    with torch.autocast("cpu", torch.bfloat16):
        ce = system(batch, generator(1)).metrics["ce"][0]
    mask = mt4ssl.draw_mask(torch.full((8,), 49), MaskConfig(), generator(1))
    logits = system.offline_head.logits.detach()
    assert logits.dtype == torch.bfloat16
    exact = F.cross_entropy(logits.double(), batch.labels[mask], reduction="sum")
    assert abs(float(exact.bfloat16() - exact)) > 0.05, "the grid would show"
    assert ce.dtype == torch.float32
    assert float(ce) == pytest.approx(float(exact), rel=1e-6)


@pytest.mark.parametrize("head", [LinearHead(32, 7), CosineHead(32, 7, 8, 0.1)])
def test_heads_give_float32_logits_under_autocast(head: nn.Module) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert head(torch.randn(5, 32)).dtype == torch.float32


def test_guard_fires_on_a_constant_teacher() -> None:
    """Only after guard_after updates, on either spread; NaN at once."""
    system = build(targets=replace(TARGETS, guard_after=10, teacher_layers=1))
    with torch.no_grad():
        system.teacher.context.blocks[2].ffn.fc2.weight.zero_()
    numbers = summarise(system(audio(), generator()).metrics)
    assert numbers["target_std"] < 0.01
    system.health(numbers, 10)
    with pytest.raises(CollapseError, match="target_std is .* at update 11"):
        system.health(numbers, 11)
    with pytest.raises(CollapseError, match="pred_std"):
        system.health({"target_std": 1.0, "pred_std": 0.001}, 11)
    with pytest.raises(CollapseError, match="loss is nan"):
        system.health({"loss": float("nan")}, 0)
    build(targets=replace(TARGETS, online_weight=0.0)).health({"pred_std": 0.0}, 10**6)


def test_labels_that_do_not_fit_are_refused() -> None:
    """Another rate, a short line, another k-means, one label only."""
    system = build()
    batch = audio()
    labels = batch.labels

    def refused(message: str, changed: torch.Tensor | None) -> None:
        with pytest.raises(ValueError, match=message):
            system(replace(batch, labels=changed), generator())

    refused("need labels", None)
    refused("98 frames, the encoder makes 49", torch.cat([labels, labels], 1))
    short = labels.clone()
    short[2, 47:] = -1
    refused("u-2: 47 labels for 49 frames", short)
    other = labels.clone()
    other[1, 3] = 7
    refused("u-1: label 7, but targets.clusters = 7", other)
    refused("one label only, 3", torch.full_like(labels, 3))
    with pytest.raises(ValueError, match="u-0"):
        system(replace(batch, labels=labels * 0), generator())


def test_padded_batches_train_on_valid_frames_only() -> None:
    """Padding contributes nothing: contents of padded inputs do not matter."""
    system = build(FBANK)
    batch = banks([400, 300, 352])
    first = system(batch, generator(1))
    changed = batch.inputs.clone()
    changed[1, 300:] = 9.0
    second = system(replace(batch, inputs=changed), generator(1))
    torch.testing.assert_close(first.loss_sum, second.loss_sum)
    assert float(first.count) % 3 == 0, "same_count: equal rows"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"offline_weight": 0.0, "online_weight": 0.0}, "nothing to predict"),
        ({"offline_weight": -1.0}, "expected 0 or more"),
        ({"offline_head": "softmax"}, "linear or cosine"),
        ({"clusters": 1}, "targets.clusters"),
        ({"ema_start": 0.9999, "ema_end": 0.999}, "ema_start <= ema_end"),
        ({"temperature": 0.0}, "temperature"),
    ],
)
def test_bad_targets(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(TargetsConfig(), **changes)


def test_more_teacher_layers_than_layers() -> None:
    with pytest.raises(UserError, match="teacher_layers = 4: expected 1 to model.layers = 3"):
        build(targets=replace(TARGETS, teacher_layers=4))
