"""The audio-visual encoder: peers, published sizes, absent streams, what a phone reaches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pylib.corpus.errors import UserError
from pylib.interop.transformers import state_to_transformers
from pylib.nn.av_encoder import AVEncoder, AVModelConfig, Streams
from pylib.nn.av_masks import Hide
from pylib.nn.encoder import parameter_count
from pylib.nn.modal_batch import ModalBatch
from pylib.nn.norms import padding_mask
from pylib.systems.vatlm import VATLM, AVMaskConfig, UnitsConfig

TINY = AVModelConfig(
    resnet_width=8,
    dim=64,
    ffn_dim=96,
    layers=3,
    heads=4,
    dropout=0.0,
    attention_dropout=0.0,
    layerdrop=0.0,
    dropout_input=0.0,
)
LARGE = {"dim": 1024, "ffn_dim": 4096, "layers": 24, "heads": 16}
AV = ("audio", "video")


def clip(lengths: list[int], *streams: str) -> ModalBatch:
    draw = torch.Generator().manual_seed(0)
    sizes = torch.tensor(lengths)
    rows, frames = len(lengths), max(lengths)
    valid = torch.arange(frames) < sizes[:, None]
    audio = torch.randn(rows, frames, 104, generator=draw) * valid.unsqueeze(2)
    video = torch.randint(0, 256, (rows, frames, 88, 88), generator=draw, dtype=torch.uint8)
    phones = torch.randint(4, 46, (rows, 4 * frames), generator=draw)
    phones[~valid.repeat_interleave(4, 1)] = 1
    return ModalBatch(
        "videoaudio" if "video" in streams else "audiotext",
        sizes,
        audio if "audio" in streams else None,
        video if "video" in streams else None,
        phones if "phone" in streams else None,
    )


def build(**changes: object) -> AVEncoder:
    torch.manual_seed(0)
    return AVEncoder(replace(TINY, **changes)).eval()


@pytest.mark.parametrize(
    ("streams", "size", "published"),
    [
        (("audio", "video", "phone"), {}, 107_497_448),
        (AV, {}, 103_330_280),
        (("audio", "video", "phone"), LARGE, 332_789_736),
        (AV, LARGE, 325_398_504),
    ],
)
def test_published_sizes(streams: tuple[str, ...], size: dict, published: int) -> None:
    """All but the vector of masked phones, which is ours: the published model has none."""
    with torch.device("meta"):
        system = VATLM(AVModelConfig(streams=streams, **size), UnitsConfig(), AVMaskConfig())
    phone = system.encoder.phone
    extra = 0 if phone is None else phone.mask_embedding.numel()
    assert parameter_count(system) - extra == published


@pytest.mark.parametrize("lengths", [[12, 12], [12, 7]])
def test_context_is_huberts_stable_encoder(lengths: list[int]) -> None:
    from transformers import HubertConfig
    from transformers.models.hubert.modeling_hubert import HubertEncoderStableLayerNorm

    encoder = build(layers=2)
    config = HubertConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        do_stable_layer_norm=True,
        attn_implementation="eager",
    )
    peer = HubertEncoderStableLayerNorm(config).eval()
    state = {f"context.{k}": v for k, v in encoder.context.state_dict().items()}
    theirs = state_to_transformers(state)
    peer.load_state_dict({k.removeprefix("encoder."): v for k, v in theirs.items()})
    torch.manual_seed(1)
    x = torch.randn(2, 12, 64)
    sizes = torch.tensor(lengths)
    padding = padding_mask(sizes, 12)
    mask = None if padding is None else ~padding
    layers = []
    for layer in peer.layers:
        layer.register_forward_hook(lambda m, i, o: layers.append(o))
    with torch.no_grad():
        found = encoder.context(x, padding)
        expected = peer(x.clone(), attention_mask=mask).last_hidden_state
        valid = torch.arange(12) < sizes[:, None]
        torch.testing.assert_close(found[valid], expected[valid], atol=1e-5, rtol=1e-5)
        for number in (1, 2):  # the last one before the closing norm
            mine = encoder.context(x, padding, last=number)
            torch.testing.assert_close(mine[valid], layers[number - 1][valid], atol=1e-5, rtol=1e-5)


def test_context_is_torchaudios_layers() -> None:
    from torchaudio.models.wav2vec2 import components as peers

    encoder = build(layers=2)
    state = {f"context.{k}": v for k, v in encoder.context.state_dict().items()}
    theirs = {k.removeprefix("encoder."): v for k, v in state_to_transformers(state).items()}

    def part(module: torch.nn.Module, prefix: str) -> torch.nn.Module:
        own = {k.removeprefix(prefix): v for k, v in theirs.items() if k.startswith(prefix)}
        module.load_state_dict(own)
        return module.eval()

    position = part(peers.ConvolutionalPositionalEmbedding(64, 128, 16), "pos_conv_embed.")
    layers = [
        part(
            peers.EncoderLayer(
                peers.SelfAttention(64, 4), 0.0, True, peers.FeedForward(64, 96, 0.0, 0.0)
            ),
            f"layers.{number}.",
        )
        for number in range(2)
    ]
    torch.manual_seed(1)
    x = torch.randn(2, 12, 64)
    with torch.no_grad():
        expected = x + position(x)
        torch.testing.assert_close(encoder.context(x, last=0), expected, atol=1e-5, rtol=1e-5)
        for number, layer in enumerate(layers, 1):
            expected, _ = layer(expected)
            found = encoder.context(x, last=number)
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_layer_is_the_next_ones_input() -> None:
    encoder = build()
    batch = clip([9, 6], *AV)
    seen: list[torch.Tensor] = []
    for block in encoder.context.blocks:
        block.register_forward_pre_hook(lambda m, i: seen.append(i[0]))
    with torch.no_grad():
        hidden, lengths = encoder(batch)
        inputs = list(seen)
        for layer in range(3):
            made, _ = encoder.extract(batch, layer)
            torch.testing.assert_close(made, inputs[layer])
        last, _ = encoder.extract(batch, 3)
        torch.testing.assert_close(encoder.context.norm(last), hidden)
    assert lengths.tolist() == [9, 6] and encoder.frame_rate == 25.0
    with pytest.raises(UserError, match="layers 0 to 3"):
        encoder.extract(batch, 4)


@pytest.mark.parametrize("fusion", ["concat", "add"])
def test_an_absent_stream_is_zeros_after_its_front_end(fusion: str) -> None:
    encoder = build(fusion=fusion)
    batch = clip([9, 6], *AV)
    alone = clip([9, 6], "audio")
    with torch.no_grad():
        streams = encoder.front(batch)
        zeroed = replace(streams, video=torch.zeros_like(streams.video))
        expected = encoder.context(encoder.fuse(zeroed), streams.padding)
        for found in (
            encoder(alone)[0],
            encoder(batch, {"audio"})[0],
            encoder.context(encoder.fuse(streams.only({"audio"})), streams.padding),
        ):
            torch.testing.assert_close(found, expected)
        keep = torch.tensor([True, True])
        dropped = encoder.front(batch, Hide(keep_video=~keep))
        assert dropped.video is None and dropped.present == ("audio",)
        half = encoder.front(batch, Hide(keep_video=torch.tensor([True, False])))
    torch.testing.assert_close(half.video[0], streams.video[0])
    assert not half.video[1].any()


def test_zero_phones_are_not_a_smaller_model() -> None:
    """The fusion's norm counts the zeros: VATLM without phones is no AV-HuBERT."""
    wide, narrow = build(), build(streams=AV)
    for name in ("audio", "video", "context"):
        getattr(narrow, name).load_state_dict(getattr(wide, name).state_dict())
    with torch.no_grad():
        narrow.norm.weight.copy_(wide.norm.weight[:128])
        narrow.projection.weight.copy_(wide.projection.weight[:, :128])
        narrow.projection.bias.copy_(wide.projection.bias)
        batch = clip([9], *AV)
        assert not torch.allclose(narrow(batch)[0], wide(batch)[0], atol=1e-2)


def test_what_a_phone_reaches() -> None:
    """A clean phone at 100 Hz reaches the frames t with 4 t - 3 <= p <= 4 t + 3, no others."""
    encoder = build()
    batch = clip([10], "phone")
    with torch.no_grad():
        before = encoder.front(batch).phone
        assert before.shape == (1, 10, 64)
        for p in (0, 1, 4, 17, 18, 23, 39):
            phones = batch.phones.clone()
            phones[0, p] = 4 + (int(phones[0, p]) - 3) % 42
            after = encoder.front(replace(batch, phones=phones)).phone
            changed = (after != before).any(2)[0].nonzero().flatten().tolist()
            assert changed == [t for t in range(10) if 4 * t - 3 <= p <= 4 * t + 3]
            mask = torch.zeros(1, 40, dtype=torch.bool)
            mask[0, p] = True
            hidden = [
                encoder.front(replace(batch, phones=x), Hide(phones=mask)).phone
                for x in (batch.phones, phones)
            ]
            torch.testing.assert_close(*hidden, rtol=0, atol=0)


def test_padding_changes_nothing() -> None:
    encoder = build()
    for streams in (AV, ("audio", "phone"), ("phone",)):
        batch = clip([11, 5], *streams)
        short = clip([5], *streams)
        cut = {
            name: value[1:, : factor * 5]
            for name, factor in (("audio", 1), ("video", 1), ("phones", 4))
            if (value := getattr(batch, name)) is not None
        }
        with torch.no_grad():
            both = encoder(batch)[0][1:, :5]
            alone = encoder(replace(short, **cut))[0]
        torch.testing.assert_close(both, alone, atol=1e-4, rtol=1e-4)


def test_audio_is_normed_per_frame_and_masked_by_its_vector() -> None:
    encoder = build(feature_grad_mult=1.0)
    batch = clip([6], "audio")
    mask = torch.zeros(1, 6, dtype=torch.bool)
    mask[0, 2] = True
    with torch.no_grad():
        louder = replace(batch, audio=3.0 * batch.audio + 2.0)
        torch.testing.assert_close(
            encoder.front(louder).audio, encoder.front(batch).audio, atol=1e-4, rtol=1e-4
        )
        found = encoder.front(batch, Hide(audio=mask)).audio
        expected = encoder.audio.projection(encoder.mask_embedding)
    torch.testing.assert_close(found[0, 2], expected)
    assert torch.equal(found[0, 3], encoder.front(batch).audio[0, 3])


def test_gradient_of_audio_and_video_is_scaled_phones_are_not() -> None:
    found: dict[float, dict[str, torch.Tensor]] = {}
    for factor in (1.0, 0.1):
        encoder = build(feature_grad_mult=factor)
        for streams in (AV, ("phone",)):
            made = encoder.front(clip([6], *streams))
            for name in made.present:
                getattr(made, name).square().sum().backward()
        found[factor] = {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}
    for name, grad in found[0.1].items():
        factor = 1.0 if name.startswith("phone.") else 0.1
        whole = found[1.0][name] * factor
        torch.testing.assert_close(grad, whole, atol=float(whole.abs().max()) * 1e-5, rtol=1e-4)


def test_mean_square_counts_valid_frames_and_absent_streams() -> None:
    encoder = build()
    x = torch.randn(2, 4, 64)
    padding = torch.tensor([[False] * 4, [False, False, True, True]])
    streams = Streams(x, None, 2 * x, torch.tensor([4, 2]), padding)
    square = x[~padding].square().sum()
    found = encoder.mean_square(streams)
    torch.testing.assert_close(found, 5 * square / (6 * 3 * 64))
    added = build(fusion="add").mean_square(streams)
    torch.testing.assert_close(added, 9 * square / (6 * 64))


def test_streams_that_are_not_there_are_refused() -> None:
    encoder = build(streams=AV)
    with pytest.raises(ValueError, match="video was asked for"):
        encoder(clip([5], "audio"), {"video"})
    with pytest.raises(ValueError, match="phone is no stream of this model"):
        encoder(clip([5], "audio", "phone"))
    with pytest.raises(ValueError, match="neither audio nor video nor phones"):
        clip([5])
    with pytest.raises(ValueError, match="equally long"):
        replace(clip([5], *AV), audio=torch.zeros(1, 4, 104))


@pytest.mark.parametrize(
    "changes",
    [
        {"streams": ()},
        {"streams": ("video", "audio")},
        {"streams": ("sound",)},
        {"fusion": "mean"},
        {"masking": "none"},
        {"video_pool": 3},
        {"heads": 5},
        {"layers": 0},
        {"resnet_width": 4},
        {"feature_grad_mult": 2.0},
        {"dropout": 1.0},
    ],
)
def test_refusals_name_the_key(changes: dict) -> None:
    with pytest.raises(UserError, match="av_model."):
        AVModelConfig(**changes)
    assert AVModelConfig(streams=["audio", "video"]).streams == AV
