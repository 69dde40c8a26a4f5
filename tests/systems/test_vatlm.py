"""VATLM: terms by definition, every kind of data alone and in mixtures, refusals, over-fit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.nn.av_encoder import AVModelConfig
from pylib.nn.av_masks import AVMaskConfig, draw_hide
from pylib.nn.loss import CollapseError, LossOutput, add_metrics, summarise
from pylib.nn.modal_batch import KINDS, ModalBatch
from pylib.systems.vatlm import SPECIALS, VATLM, UnitsConfig

TINY = AVModelConfig(
    resnet_width=8,
    dim=64,
    ffn_dim=128,
    layers=2,
    heads=4,
    dropout=0.0,
    attention_dropout=0.0,
    layerdrop=0.0,
    dropout_input=0.0,
)
UNITS = UnitsConfig(clusters=50)
AV = ("audio", "video")


def clips(kind: str, lengths: list[int], seed: int = 0) -> ModalBatch:
    draw = torch.Generator().manual_seed(seed)
    sizes = torch.tensor(lengths)
    rows, frames = len(lengths), max(lengths)
    valid = torch.arange(frames) < sizes[:, None]
    audio = video = phones = None
    if kind != "onlytext":
        audio = torch.randn(rows, frames, 104, generator=draw) * valid.unsqueeze(2)
    if kind == "videoaudio":
        video = torch.randint(0, 256, (rows, frames, 88, 88), generator=draw, dtype=torch.uint8)
    if kind.endswith("text"):
        phones = torch.randint(4, 46, (rows, frames), generator=draw).repeat_interleave(4, 1)
        phones[~valid.repeat_interleave(4, 1)] = 1
    labels = torch.randint(0, 50, (rows, frames), generator=draw).masked_fill(~valid, -1)
    utts = tuple(f"utt-{i}" for i in range(rows))
    return ModalBatch(kind, sizes, audio, video, phones, labels, utts=utts)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(units: UnitsConfig = UNITS, mask: AVMaskConfig | None = None, **changes: object) -> VATLM:
    torch.manual_seed(0)
    return VATLM(replace(TINY, **changes), units, mask or AVMaskConfig())


def numbers(*outputs: LossOutput) -> dict[str, float]:
    return summarise(add_metrics(out.metrics for out in outputs))


def by_definition(system: VATLM, batch: ModalBatch, seed: int) -> tuple[float, float, Tensor]:
    """Summed cross-entropy, mean square and mask, from explicit cosines in NumPy."""
    by_input = system.encoder.config.masking == "input"
    hide, mask = draw_hide(batch, system.mask_config, by_input, generator(seed))
    encoder = system.encoder
    with torch.no_grad():
        streams = encoder.front(batch, hide)
        hidden = encoder.context(encoder.fuse(streams, hide.fused), streams.padding)[mask]
        projected = system.head.projection(hidden).double().numpy()
        codes = system.head.embeddings.double().numpy()
        found = [getattr(streams, name) for name in streams.present]
        valid = torch.arange(batch.frames) < batch.lengths[:, None]
        square = sum(float(x[valid].square().sum()) for x in found)
    square /= int(valid.sum()) * encoder.config.dim * len(encoder.config.streams)
    product = (projected[:, None] * codes[None]).sum(2)
    norms = np.linalg.norm(projected, axis=1)[:, None] * np.linalg.norm(codes, axis=1)
    logits = product / np.maximum(norms, 1e-6) / system.units.temperature
    targets = batch.labels[mask].numpy() + SPECIALS
    top = logits.max(1, keepdims=True)
    log_sum = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
    ce = float((log_sum - logits[np.arange(len(targets)), targets]).sum())
    return ce, square, mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("masking", ["input", "feature"])
def test_loss_by_definition(kind: str, masking: str) -> None:
    """weight x (CE at hidden frames + 10 x mean square x this batch's own count)."""
    mask = AVMaskConfig() if masking == "input" else AVMaskConfig(video_prob=0.8)
    system = build(replace(UNITS, **{f"{kind}_weight": 0.5}), mask, masking=masking)
    batch = clips(kind, [30, 21])
    # Twice the same in training mode: batch norm uses the batch, and nothing else is random.
    ce, square, mask = by_definition(system, batch, 3)
    out = system(batch, generator(3))
    count = int(mask.sum())
    assert float(out.count) == count
    assert float(out.loss_sum.detach()) == pytest.approx(0.5 * (ce + 10 * square * count), rel=1e-4)
    seen = numbers(out)
    assert seen["ce"] == seen[f"ce_{kind}"] == pytest.approx(ce / count, rel=1e-4)
    assert seen["feature_penalty"] == pytest.approx(square, rel=1e-4)
    assert seen["masked"] == pytest.approx(count / 51)
    assert all(seen[f"ce_{other}"] == 0 for other in KINDS if other != kind)


def test_head_is_torchaudios_and_its_gradient_is_right() -> None:
    """Cosines with the positive first, as released; the slope of CE by finite differences."""
    from torchaudio.models.wav2vec2.components import LogitGenerator

    head = build().head
    torch.manual_seed(0)
    x = torch.randn(1, 30, 64)
    labels = torch.randint(SPECIALS, 54, (1, 30))
    peer = LogitGenerator(64, 54, 256, skip_masked=False, skip_nomask=True)
    peer.final_proj.load_state_dict(head.projection.state_dict())
    peer.label_embeddings.data.copy_(head.embeddings)
    everywhere = torch.ones(1, 30, dtype=torch.bool)
    logits, _ = peer(x, labels, everywhere, ~everywhere)
    first = torch.zeros(30, dtype=torch.long)
    expected = F.cross_entropy(logits, first, reduction="none")
    found = F.cross_entropy(head(x[0]), labels[0], reduction="none")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    for parameter in head.parameters():
        head.zero_grad()
        F.cross_entropy(head(x[0]), labels[0]).backward()
        direction = torch.randn_like(parameter)
        slope = float((parameter.grad * direction).sum())
        step, values = 1e-3, []
        start = parameter.detach().clone()
        with torch.no_grad():
            for sign in (1, -1):
                parameter.copy_(start + sign * step * direction)
                values.append(float(F.cross_entropy(head(x[0]), labels[0]).double()))
            parameter.copy_(start)
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(slope, rel=0.02, abs=2e-3)


def test_unmasked_frames_and_mean_per_batch() -> None:
    batch = clips("onlyaudio", [30, 21])
    both = build(replace(UNITS, unmasked_weight=1.0, feature_penalty=0.0))
    hidden = build(replace(UNITS, feature_penalty=0.0))
    others = build(replace(UNITS, masked_weight=0.0, unmasked_weight=1.0, feature_penalty=0.0))
    outs = [system(batch, generator(1)) for system in (both, hidden, others)]
    assert float(outs[0].count) == 51 == float(outs[1].count) + float(outs[2].count)
    total = outs[1].loss_sum + outs[2].loss_sum
    torch.testing.assert_close(outs[0].loss_sum, total, atol=1e-3, rtol=1e-4)
    mean = build(replace(UNITS, loss_norm="per_type_mean", feature_penalty=0.0))
    out = mean(batch, generator(1))
    assert float(out.count) == 1.0
    torch.testing.assert_close(out.loss_sum, outs[1].loss_sum / outs[1].count)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("streams", [("audio", "video", "phone"), AV])
def test_every_kind_alone_with_any_length(kind: str, streams: tuple[str, ...]) -> None:
    """One row, short and long, and rows of very different lengths: finite loss and gradients."""
    system = build(streams=streams)
    if kind.endswith("text") and streams == AV:
        with pytest.raises(ValueError, match="phone is no stream"):
            system(clips(kind, [9]), generator())
        return
    draw = generator()
    for lengths in ([1], [2], [3], [5], [10], [31], [5, 60, 1]):
        for _ in range(4):  # masks and dropped streams of four kinds of luck
            out = system(clips(kind, lengths), draw)
            (out.loss_sum / out.count).backward()
            assert math.isfinite(float(out.loss_sum.detach())) and float(out.count) >= 1
    for name, value in system.named_parameters():
        assert value.grad is None or torch.isfinite(value.grad).all(), name


@pytest.mark.parametrize(
    "mixture", [KINDS, KINDS[:1], KINDS[:2], ("videoaudio", "onlytext"), KINDS[1:]]
)
def test_mixtures_train_what_they_reach(mixture: tuple[str, ...]) -> None:
    """Exact global normalisation: kinds weigh by their hidden frames."""
    system = build(mask=AVMaskConfig(modality_dropout=0.0))
    outs = [system(clips(kind, [30, 21]), generator(2)) for kind in mixture]
    total = sum(out.loss_sum for out in outs) / sum(out.count for out in outs)
    total.backward()
    reached = {name.split(".")[1] for name, p in system.named_parameters() if p.grad is not None}
    assert ("video" in reached) == ("videoaudio" in mixture)
    assert ("phone" in reached) == any(kind.endswith("text") for kind in mixture)
    seen = numbers(*outs)
    frames = sum(float(out.count) for out in outs)
    each = sum(seen[f"ce_{k}"] * float(o.count) for k, o in zip(mixture, outs, strict=True))
    assert seen["ce"] == pytest.approx(each / frames, rel=1e-5)
    assert seen["loss"] == pytest.approx(float(total.detach()), rel=1e-5)


def test_same_generator_same_loss() -> None:
    batch = clips("videoaudio", [20, 12])
    first, second, other = (build()(batch, generator(seed)).loss_sum for seed in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_dropped_stream_is_not_computed_and_not_trained() -> None:
    system = build(mask=AVMaskConfig(modality_dropout=1.0, audio_dropout=0.0))
    system.encoder.video.register_forward_pre_hook(lambda m, i: pytest.fail("video computed"))
    out = system(clips("videoaudio", [20, 12]), generator())
    out.loss_sum.backward()
    assert system.encoder.video.projection.weight.grad is None
    assert system.encoder.audio.projection.weight.grad is not None


def test_specials_are_never_targets_and_checkpoints_are_plain() -> None:
    system = build()
    out = system(clips("onlyaudio", [40]), generator())
    assert int(out.metrics["label_units"][0][:SPECIALS].sum()) == 0
    assert system.head.embeddings.shape == (54, 256)
    names = set(system.state_dict())
    assert all(name.startswith(("encoder.", "head.")) for name in names)


def test_labels_that_cannot_be_right_are_refused() -> None:
    system = build()
    batch = clips("onlyaudio", [30, 21])
    labels = batch.labels
    for wrong, message in (
        (None, "needs labels"),
        (labels[:, :29], "labels have 29 frames"),
        (labels.clone().index_fill_(1, torch.tensor([20]), -1), "29 labels for 30 frames"),
        (labels.masked_fill(labels == int(labels.max()), 50), "label 50"),
    ):
        with pytest.raises(ValueError, match=message):
            system(replace(batch, labels=wrong), generator())
    long = clips("onlyaudio", [120])
    with pytest.raises(ValueError, match="one label only"):
        system(replace(long, labels=torch.zeros_like(long.labels)), generator())
    silent = AVMaskConfig(audio_prob=0.0)
    with pytest.raises(ValueError, match="nothing is hidden of onlyaudio"):
        build(mask=silent)(batch, generator())


def test_configurations_that_cannot_be_are_refused() -> None:
    for key, value in (
        ("clusters", 1),
        ("temperature", 0.0),
        ("loss_norm", "mean"),
        ("onlytext_weight", -1.0),
        ("masked_weight", 0.0),
    ):
        with pytest.raises(UserError, match=f"units.{key}"):
            UnitsConfig(**{key: value})
    with pytest.raises(UserError, match="av_mask.video_prob"):
        build(masking="feature")


def test_health_stops_what_is_not_finite() -> None:
    system = build()
    system.after_update(7)
    system.health({"loss": 1.0, "ce": 1.0})
    with pytest.raises(CollapseError, match="ce is nan at update 7"):
        system.health({"loss": 1.0, "ce": math.nan})


def test_half_precision_agrees() -> None:
    system = build(mask=AVMaskConfig(modality_dropout=0.0))
    for kind in KINDS:
        batch = clips(kind, [20, 12])
        full = system(batch, generator(1)).loss_sum
        with torch.autocast("cpu", torch.bfloat16):
            half = system(batch, generator(1)).loss_sum
        half.backward()
        assert half.dtype == torch.float32
        assert float(half.detach()) == pytest.approx(float(full.detach()), rel=0.05)


def lessons() -> list[ModalBatch]:
    """Four clips: an ellipse for a mouth and tones, both of one unit; phones say it too."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 8, (4, 12), generator=draw).repeat_interleave(4, 1)[:, :40]
    down, across = torch.meshgrid(torch.arange(88) - 44, torch.arange(88) - 44, indexing="ij")
    height = 4.0 + 4.0 * labels
    inside = (across / 30.0).square() + (down / height[..., None, None]).square() < 1
    video = torch.where(inside, 30, 180).to(torch.uint8)
    tones = torch.randn(8, 104, generator=draw)
    audio = tones[labels] + 0.1 * torch.randn(4, 40, 104, generator=draw)
    phones = (labels + 4).repeat_interleave(4, 1)
    sizes = torch.full((4,), 40)
    return [
        ModalBatch("videoaudio", sizes, audio, video, labels=labels),
        ModalBatch("audiotext", sizes, audio, phones=phones, labels=labels),
        ModalBatch("onlytext", sizes, phones=phones, labels=labels),
        ModalBatch("onlyaudio", sizes, audio, labels=labels),
    ]


@pytest.mark.slow
def test_over_fit_on_four_kinds() -> None:
    """Four clips by heart: more than 95 % of the hidden frames of every kind."""
    mask = AVMaskConfig(
        audio_prob=0.4, text_prob=0.3, audio_length=4, video_length=4, text_length=4
    )
    system = build(UnitsConfig(clusters=8), mask, video_pool=2, feature_grad_mult=1.0)
    optimiser = torch.optim.Adam(system.parameters(), lr=1e-3)
    given, draw = lessons(), generator()
    steady = 0.0
    for _ in range(400):
        outs = [system(batch, draw) for batch in given]
        loss = sum(out.loss_sum for out in outs) / sum(out.count for out in outs)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        seen = numbers(*outs)
        steady = 0.9 * steady + 0.1 * min(seen[f"accuracy_{kind}"] for kind in KINDS)
        if steady > 0.975:
            break
    system.eval()
    with torch.no_grad():
        seen = numbers(*(system(batch, draw) for batch in given for _ in range(5)))
    assert min(seen[f"accuracy_{kind}"] for kind in KINDS) > 0.95, seen
