"""The encoder of audio, video and phones: three front ends, fusion, one context network.

Source: arXiv 2211.11275 (VATLM); with streams = ["audio", "video"] it is arXiv 2201.02184
(AV-HuBERT). Every stream comes at 25 Hz; a stream that is absent is zeros from the fusion on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.corpus.errors import UserError
from pylib.nn.av_masks import Hide
from pylib.nn.dropout import Dropout, check_rate
from pylib.nn.linear import Linear
from pylib.nn.modal_batch import PAD_PHONE, STREAMS, ModalBatch
from pylib.nn.norms import padding_mask, send
from pylib.nn.transformer import Transformer, TransformerSize
from pylib.nn.vision import VideoFrontend

LEAST_WIDTH = 8  # channels of the video stem


@dataclass(frozen=True)
class AVModelConfig:
    """Shape and dropouts of the audio-visual encoder; the defaults are VATLM Base."""

    streams: tuple[str, ...] = STREAMS  # audio, video, phone; AV-HuBERT: audio, video
    resnet_width: int = 64  # channels of the video stem; 64 is ResNet-18
    video_pool: int = 1  # pictures are averaged over this many pixels a side first: 1, 2 or 4
    audio_dim: int = 104  # four 26-d log filter-bank frames
    dim: int = 768  # width of the context network
    ffn_dim: int = 3072  # width of its feed-forward layers
    layers: int = 12  # blocks
    heads: int = 12  # attention heads
    fusion: str = "concat"  # concat | add
    masking: str = "input"  # input: each stream masked by itself | feature: after the fusion
    phones: int = 46  # phone symbols, four specials included
    dropout: float = 0.1  # after attention and feed-forward
    attention_dropout: float = 0.1  # on attention weights
    activation_dropout: float = 0.0  # inside the feed-forward layers
    layerdrop: float = 0.05  # chance that a block is skipped
    dropout_input: float = 0.1  # on the fused features
    feature_grad_mult: float = 0.1  # factor on the audio and video extractors' gradient
    pos_conv_width: int = 128  # kernel of the positional convolution
    pos_conv_groups: int = 16  # its groups

    def __post_init__(self) -> None:
        object.__setattr__(self, "streams", tuple(self.streams))  # TOML and JSON have lists
        if not self.streams or any(name not in STREAMS for name in self.streams):
            raise UserError(
                f"av_model.streams = {list(self.streams)}: expected some of {', '.join(STREAMS)}"
            )
        if tuple(sorted(set(self.streams), key=STREAMS.index)) != tuple(self.streams):
            raise UserError(
                f"av_model.streams = {list(self.streams)}: expected each once, in the order "
                f"{', '.join(STREAMS)}"
            )
        for name, allowed in (
            ("fusion", ("concat", "add")),
            ("masking", ("input", "feature")),
            ("video_pool", (1, 2, 4)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                listed = ", ".join(str(item) for item in allowed)
                raise UserError(f"av_model.{name} = {value!r}: expected one of {listed}")
        for name in ("resnet_width", "audio_dim", "dim", "ffn_dim", "layers", "heads", "phones"):
            if getattr(self, name) < 1:
                raise UserError(f"av_model.{name} = {getattr(self, name)}: expected at least 1")
        if self.resnet_width < LEAST_WIDTH:
            raise UserError(
                f"av_model.resnet_width = {self.resnet_width}: expected at least {LEAST_WIDTH}: "
                "on processors without AVX-512 torch's convolutions of 4 channels write beyond "
                "their memory"
            )
        for name in ("heads", "pos_conv_groups"):
            if self.dim % getattr(self, name):
                raise UserError(
                    f"av_model.dim = {self.dim}: not a multiple of av_model.{name} = "
                    f"{getattr(self, name)}: change one"
                )
        if not 0.0 <= self.feature_grad_mult <= 1.0:
            raise UserError(
                f"av_model.feature_grad_mult = {self.feature_grad_mult}: expected 0 to 1"
            )
        for name in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
            check_rate(f"av_model.{name}", getattr(self, name))
        check_rate("av_model.dropout_input", self.dropout_input)

    def transformer(self) -> TransformerSize:
        """What the context network is built from."""
        return TransformerSize(
            dim=self.dim,
            ffn_dim=self.ffn_dim,
            layers=self.layers,
            heads=self.heads,
            norm="pre",
            pos_conv_depth=1,
            pos_conv_width=self.pos_conv_width,
            pos_conv_groups=self.pos_conv_groups,
            mask_pos_conv=True,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            activation_dropout=self.activation_dropout,
            layerdrop=self.layerdrop,
        )


@dataclass(frozen=True)
class Streams:
    """What the front ends make of a batch: each stream (B, T, D), or None where it is absent.

    Attributes:
        lengths: (B,) int64 on the CPU, frames at 25 Hz.
        padding: (B, T) bool on the streams' device, None without padding.
    """

    audio: Tensor | None
    video: Tensor | None
    phone: Tensor | None
    lengths: Tensor
    padding: Tensor | None

    def only(self, names: Collection[str]) -> Streams:
        """The same with all other streams absent."""
        gone = {name: None for name in STREAMS if name not in names}
        return replace(self, **gone)

    @property
    def present(self) -> tuple[str, ...]:
        """Names of the streams that are there."""
        return tuple(name for name in STREAMS if getattr(self, name) is not None)


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class AudioFrontend(nn.Module):
    """(B, T, 104) stacked log filter banks -> (B, T, D): a norm per frame, a linear layer."""

    def __init__(self, inside: int, dim: int) -> None:
        super().__init__()
        self.projection = Linear(inside, dim)

    def forward(self, x: Tensor, mask: Tensor | None, vector: Tensor | None) -> Tensor:
        """mask (B, T) bool on x's device: frames that show `vector` (104,) instead."""
        x = F.layer_norm(x, x.shape[-1:])
        if mask is not None:
            assert vector is not None
            x = torch.where(mask.unsqueeze(2), vector.to(x.dtype), x)
        return self.projection(x)


class PhoneFrontend(nn.Module):
    """(B, 4 * T) phone ids at 100 Hz -> (B, T, D) at 25 Hz; output t sees 4 t - 3 to 4 t + 3."""

    def __init__(self, symbols: int, dim: int, masked: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, dim)
        self.conv1 = nn.Conv1d(dim, dim, 3, 2, 1)
        self.conv2 = nn.Conv1d(dim, dim, 3, 2, 1)
        # A vector of its own, not a 47th symbol: the embedding keeps its published shape.
        self.mask_embedding = nn.Parameter(torch.empty(dim).uniform_()) if masked else None

    def forward(self, phones: Tensor, mask: Tensor | None) -> Tensor:
        """mask (B, 4 * T) bool on the phones' device: frames that show the mask vector."""
        x = self.embedding(phones)
        if mask is not None:
            assert self.mask_embedding is not None
            x = torch.where(mask.unsqueeze(2), self.mask_embedding.to(x.dtype), x)
        x = x.masked_fill((phones == PAD_PHONE).unsqueeze(2), 0.0)
        return self.conv2(F.relu(self.conv1(x.transpose(1, 2)))).transpose(1, 2)


class VideoModule(nn.Module):
    """(B, T, 88, 88) uint8 -> (B, T, D): the visual front end and a linear layer."""

    def __init__(self, width: int, pool: int, dim: int) -> None:
        super().__init__()
        self.resnet = VideoFrontend(width, pool)
        self.projection = Linear(self.resnet.dim, dim)

    def forward(self, video: Tensor, lengths: Tensor, shown: Tensor | None = None) -> Tensor:
        """See `VideoFrontend.forward`."""
        return self.projection(self.resnet(video, lengths, shown))


class AVEncoder(nn.Module):
    """Front ends, fusion and context network."""

    frame_rate = 25.0

    def __init__(self, config: AVModelConfig) -> None:
        super().__init__()
        self.config = config
        dim, by_input = config.dim, config.masking == "input"
        self.audio: AudioFrontend | None = None
        self.video: VideoModule | None = None
        self.phone: PhoneFrontend | None = None
        if "audio" in config.streams:
            self.audio = AudioFrontend(config.audio_dim, dim)
        if "video" in config.streams:
            self.video = VideoModule(config.resnet_width, config.video_pool, dim)
        if "phone" in config.streams:
            self.phone = PhoneFrontend(config.phones, dim, by_input)
        fused = dim * (len(config.streams) if config.fusion == "concat" else 1)
        self.norm = nn.LayerNorm(fused)
        self.projection = Linear(fused, dim)
        self.dropout_input = Dropout(config.dropout_input)
        masked = config.audio_dim if by_input else dim
        self.mask_embedding = nn.Parameter(torch.empty(masked).uniform_())
        self.context = Transformer(config.transformer())

    def frame_lengths(self, input_lengths: Tensor) -> Tensor:
        """Frames (B,) of rows of `input_lengths` frames at 25 Hz: the same."""
        return input_lengths

    def front(
        self,
        batch: ModalBatch,
        hide: Hide | None = None,
        modalities: Collection[str] | None = None,
    ) -> Streams:
        """Streams after their front ends, before they are put together.

        Args:
            batch: what there is.
            hide: masks and dropped streams; nothing by default.
            modalities: streams to compute; the others are absent. By default all of the batch.

        Raises:
            ValueError: a stream is asked for that the batch or the model does not have.
        """
        wanted = self._wanted(batch, modalities)
        hide = hide or Hide()
        padding = padding_mask(batch.lengths, batch.frames)
        padding = None if padding is None else send(padding, batch.device)
        audio = video = phone = None
        if "audio" in wanted:
            assert self.audio is not None and batch.audio is not None
            mask = None if hide.audio is None else send(hide.audio, batch.device)
            audio = self.audio(batch.audio, mask, self.mask_embedding)
            audio = self._keep(self._scale(audio), hide.keep_audio)
        if "video" in wanted:
            video = self._video(batch, hide)
        if "phone" in wanted:
            assert self.phone is not None and batch.phones is not None
            mask = None if hide.phones is None else send(hide.phones, batch.device)
            phone = self._keep(self.phone(batch.phones, mask), hide.keep_phone)
        return Streams(audio, video, phone, batch.lengths, padding)

    def _wanted(self, batch: ModalBatch, modalities: Collection[str] | None) -> list[str]:
        there = {"audio": batch.audio, "video": batch.video, "phone": batch.phones}
        given = [name for name in STREAMS if there[name] is not None]
        for name in given if modalities is None else modalities:
            if name not in self.config.streams:
                raise ValueError(
                    f"{batch.name(0)}: {name} is no stream of this model (av_model.streams = "
                    f"{list(self.config.streams)})"
                )
            if name not in given:
                raise ValueError(f"{batch.name(0)}: {name} was asked for, the batch has none")
        return given if modalities is None else [n for n in given if n in modalities]

    def _video(self, batch: ModalBatch, hide: Hide) -> Tensor | None:
        """The video stream; rows that drop it are not computed."""
        assert self.video is not None and batch.video is not None
        lengths = batch.lengths
        if hide.keep_video is not None:
            lengths = lengths * hide.keep_video
            if not bool(hide.keep_video.any()):
                return None
        made = self._scale(self.video(batch.video, lengths, hide.shown))
        return self._keep(made, hide.keep_video)

    def _scale(self, x: Tensor) -> Tensor:
        factor = self.config.feature_grad_mult
        return _ScaleGradient.apply(x, factor) if factor != 1.0 and x.requires_grad else x

    @staticmethod
    def _keep(x: Tensor, keep: Tensor | None) -> Tensor:
        """x (B, T, D) with zeros in rows that are not kept."""
        if keep is None or bool(keep.all()):
            return x
        return x.masked_fill(~send(keep, x.device).view(-1, 1, 1), 0.0)

    def fuse(self, streams: Streams, mask: Tensor | None = None) -> Tensor:
        """One stream (B, T, D) of several; absent ones are zeros.

        Args:
            mask: (B, T) bool on the streams' device, frames to hide after the fusion.
        """
        parts = [getattr(streams, name) for name in self.config.streams]
        some = getattr(streams, streams.present[0])
        if self.config.fusion == "concat":
            x = torch.cat([torch.zeros_like(some) if p is None else p for p in parts], dim=2)
        else:
            x = torch.stack([part for part in parts if part is not None]).sum(0)
        x = self.dropout_input(self.projection(self.norm(x)))
        if mask is None:
            return x
        return torch.where(mask.unsqueeze(2), self.mask_embedding.to(x.dtype), x)

    def mean_square(self, streams: Streams) -> Tensor:
        """Mean square () float32 of what is fused, over valid frames; absent streams are zeros."""
        parts = [getattr(streams, name) for name in streams.present]
        if self.config.fusion == "add":
            parts = [torch.stack(parts).sum(0)]
            wide = self.config.dim
        else:
            wide = self.config.dim * len(self.config.streams)
        total = 0.0
        for part in parts:
            with torch.autocast(part.device.type, enabled=False):
                squares = part.float().square()
                if streams.padding is not None:
                    squares = squares.masked_fill(streams.padding.unsqueeze(2), 0.0)
                total = total + squares.sum()
        return total / (float(streams.lengths.sum()) * wide)

    def forward(
        self, batch: ModalBatch, modalities: Collection[str] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Last layer (B, T, D) and frames (B,), nothing hidden but streams not in `modalities`."""
        streams = self.front(batch, modalities=modalities)
        return self.context(self.fuse(streams), streams.padding), streams.lengths

    def extract(
        self, batch: ModalBatch, layer: int, modalities: Collection[str] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features of one layer, nothing hidden but streams not in `modalities`.

        Args:
            layer: 0 is the input of the first block, l the output of block l, never through the
                closing LayerNorm.

        Returns:
            (B, T, D) and frames (B,) on the CPU; padded frames hold nothing of use.
        """
        if not 0 <= layer <= self.config.layers:
            raise UserError(f"layer {layer}: the model has layers 0 to {self.config.layers}")
        streams = self.front(batch, modalities=modalities)
        hidden = self.context(self.fuse(streams), streams.padding, last=layer)
        return hidden, streams.lengths
