"""The encoder that all systems share: front end, projection, masking, context network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pylib.corpus.errors import UserError
from pylib.nn.batch import Batch
from pylib.nn.conv_frontend import WaveformFrontend
from pylib.nn.dropout import Dropout, check_rate
from pylib.nn.fbank_frontend import FbankFrontend
from pylib.nn.linear import Linear
from pylib.nn.norms import padding_mask, send
from pylib.nn.transformer import Transformer, TransformerSize


@dataclass(frozen=True)
class EncoderConfig:
    """Shape and dropouts of the encoder; the defaults are MT4SSL Base. fairseq's in brackets."""

    frontend: str = "waveform"  # waveform: seven convolutions | fbank: stacked filter banks
    conv_dim: int = 512  # channels of the convolutions (conv_feature_layers)
    conv_norm: str = "layer"  # layer: MT4SSL, data2vec, large | group: HuBERT Base (extractor_mode)
    conv_bias: bool = False  # whether the convolutions have a bias (conv_bias)
    feature_grad_mult: float = 1.0  # factor on the convolutions' gradient (feature_grad_mult)
    fbank_dim: int = 80  # bins of the filter banks
    fbank_stack: int = 4  # filter-bank frames joined: 4 -> 25 Hz, 2 -> 50 Hz
    dim: int = 768  # width of the context network (encoder_embed_dim)
    ffn_dim: int = 3072  # width of its feed-forward layers (encoder_ffn_embed_dim)
    layers: int = 12  # blocks (encoder_layers)
    heads: int = 12  # attention heads (encoder_attention_heads)
    norm: str = "post"  # post | pre (layer_norm_first), pre for large models
    pos_conv_depth: int = 5  # stacked positional convolutions; 1 is HuBERT's (pos_conv_depth)
    pos_conv_width: int = 95  # their total kernel; 128 with depth 1 (conv_pos)
    pos_conv_groups: int = 16  # their groups (conv_pos_groups)
    mask_pos_conv: bool = True  # padding never reaches speech; no fairseq name
    dropout: float = 0.1  # after attention and feed-forward (dropout)
    attention_dropout: float = 0.1  # on attention weights (attention_dropout)
    activation_dropout: float = 0.0  # inside the feed-forward layers (activation_dropout)
    layerdrop: float = 0.05  # chance that a block is skipped (encoder_layerdrop)
    dropout_input: float = 0.0  # on projected features, before masking (dropout_input)
    # On the copy of the features that only wav2vec 2.0's quantiser reads: fairseq's HuBERT and
    # data2vec set it and no loss of theirs sees it. Kept so that their files read as published.
    dropout_features: float = 0.0

    def __post_init__(self) -> None:
        _one_of("model.frontend", self.frontend, ("waveform", "fbank"))
        _one_of("model.conv_norm", self.conv_norm, ("layer", "group"))
        _one_of("model.norm", self.norm, ("post", "pre"))
        for name in ("conv_dim", "fbank_dim", "fbank_stack", "dim", "ffn_dim", "layers", "heads"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name} = {getattr(self, name)}: expected at least 1")
        for name, part in (("heads", self.heads), ("pos_conv_groups", self.pos_conv_groups)):
            if self.dim % part:
                raise UserError(
                    f"model.dim = {self.dim}: not a multiple of model.{name} = {part}: change one"
                )
        if self.pos_conv_depth < 1 or self.pos_conv_width < self.pos_conv_depth:
            raise UserError(
                f"model.pos_conv_width = {self.pos_conv_width} over model.pos_conv_depth = "
                f"{self.pos_conv_depth}: expected a depth of at least 1 and a width not below it"
            )
        if not 0.0 <= self.feature_grad_mult <= 1.0:
            raise UserError(f"model.feature_grad_mult = {self.feature_grad_mult}: expected 0 to 1")
        for name in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
            check_rate(f"model.{name}", getattr(self, name))
        check_rate("model.dropout_input", self.dropout_input)
        check_rate("model.dropout_features", self.dropout_features)

    @property
    def frame_rate(self) -> float:
        """Frames a second of the encoder: 50, or 100 / fbank_stack."""
        return 50.0 if self.frontend == "waveform" else 100.0 / self.fbank_stack

    def transformer(self) -> TransformerSize:
        """What the context network is built from."""
        names = TransformerSize.__dataclass_fields__
        return TransformerSize(**{name: getattr(self, name) for name in names})


def _one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"{key} = {value!r}: expected one of {', '.join(allowed)}")


class Projected(NamedTuple):
    """What the front end and the projection make of a batch."""

    features: Tensor  # (B, T, conv_dim | stack * bins), before LayerNorm and projection
    projected: Tensor  # (B, T, D), before dropout_input and masking
    lengths: Tensor  # (B,) frames, on the CPU
    padding: Tensor | None  # (B, T) bool on the inputs' device, None without padding


class Encoder(nn.Module):
    """Front end, projection and context network, with the vector that stands for masked frames."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend: WaveformFrontend | FbankFrontend
        if config.frontend == "waveform":
            self.frontend = WaveformFrontend(
                config.conv_dim,
                config.conv_norm,
                config.conv_bias,
                config.feature_grad_mult,
                config.mask_pos_conv,
            )
            self.feature_norm: nn.Module = nn.LayerNorm(config.conv_dim)
        else:
            self.frontend = FbankFrontend(config.fbank_dim, config.fbank_stack)
            # Filter banks come normalised per utterance; a norm per frame would take away
            # how loud a frame is.
            self.feature_norm = nn.Identity()
        self.projection = Linear(self.frontend.dim, config.dim)
        self.dropout_input = Dropout(config.dropout_input)
        self.mask_embedding = nn.Parameter(torch.empty(config.dim).uniform_())
        self.context = Transformer(config.transformer())

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.frontend.frame_rate

    def frame_lengths(self, input_lengths: Tensor) -> Tensor:
        """Frames (B,) of inputs of `input_lengths` samples or filter-bank frames."""
        return self.frontend.frame_lengths(input_lengths)

    def project(self, batch: Batch) -> Projected:
        """Features and projected features of a batch.

        Raises:
            ValueError: an utterance is too short for a single frame.
        """
        lengths = self.frame_lengths(batch.input_lengths)
        if int(lengths.min()) < 1:
            row = int(lengths.argmin())
            unit = "samples" if self.config.frontend == "waveform" else "filter-bank frames"
            raise ValueError(
                f"{batch.name(row)}: {int(batch.input_lengths[row])} {unit} are too short for "
                "one frame of the encoder: leave the utterance out (data.min_seconds)"
            )
        features = self.frontend(batch.inputs, batch.input_lengths)
        padding = padding_mask(lengths, features.shape[1])
        if padding is not None:
            padding = send(padding, features.device)
        projected = self.projection(self.feature_norm(features))
        return Projected(features, projected, lengths, padding)

    def mask(self, projected: Tensor, mask: Tensor | None) -> Tensor:
        """Projected features (B, T, D) after dropout_input, the embedding where mask (B, T)."""
        x = self.dropout_input(projected)
        if mask is None:
            return x
        return torch.where(mask.unsqueeze(2), self.mask_embedding.to(x.dtype), x)

    def forward(self, batch: Batch, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Last layer (B, T, D) and frame lengths (B,); mask (B, T) bool hides frames."""
        made = self.project(batch)
        hidden = self.context(self.mask(made.projected, mask), made.padding)
        return hidden, made.lengths

    def extract(self, batch: Batch, layer: int) -> tuple[Tensor, Tensor]:
        """Features of one layer, unmasked.

        Args:
            layer: 0 is the input of the first block, l the output of block l, whole block with
                its last LayerNorm in a post-norm network.

        Returns:
            (B, T, D) and frame lengths (B,) on the CPU; padded frames hold nothing of use.
        """
        if not 0 <= layer <= self.config.layers:
            raise UserError(f"layer {layer}: the model has layers 0 to {self.config.layers}")
        made = self.project(batch)
        return self.context(made.projected, made.padding, last=layer), made.lengths


def parameter_count(module: nn.Module) -> int:
    """Parameters that a module trains."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
