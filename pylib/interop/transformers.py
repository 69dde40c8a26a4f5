"""Weights of our encoder as transformers' Data2VecAudioModel or HubertModel, and back.

Only names and layouts change: transformers keeps query, key and value apart,
ours are one matrix. Nothing here imports transformers; the configuration comes as a dict, ready
for `Data2VecAudioConfig(**kwargs)` or `HubertConfig(**kwargs)`. Heads and teacher have no place
there and are left behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.interop.names import rename
from pylib.nn.conv_frontend import KERNELS, STRIDES
from pylib.nn.encoder import EncoderConfig

# Ours -> theirs, for everything but query, key and value. `#` stands for a layer number.
_NAMES = {
    "frontend.convs.#.conv.": "feature_extractor.conv_layers.#.conv.",
    "frontend.convs.#.norm.": "feature_extractor.conv_layers.#.layer_norm.",
    "feature_norm.": "feature_projection.layer_norm.",
    "projection.": "feature_projection.projection.",
    "mask_embedding": "masked_spec_embed",
    "context.pos_conv.convs.#.": "encoder.pos_conv_embed.layers.#.conv.",
    "context.pos_conv.conv.": "encoder.pos_conv_embed.conv.",
    "context.norm.": "encoder.layer_norm.",
    "context.blocks.#.attention.out.": "encoder.layers.#.attention.out_proj.",
    "context.blocks.#.attention_norm.": "encoder.layers.#.layer_norm.",
    "context.blocks.#.ffn_norm.": "encoder.layers.#.final_layer_norm.",
    "context.blocks.#.ffn.fc1.": "encoder.layers.#.feed_forward.intermediate_dense.",
    "context.blocks.#.ffn.fc2.": "encoder.layers.#.feed_forward.output_dense.",
}
# What a config.json must tell.
_NEEDED = (
    "conv_dim", "conv_bias", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "num_conv_pos_embeddings", "num_conv_pos_embedding_groups",
    "hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop",
)  # fmt: skip
_NEEDED_OF = {
    "hubert": ("feat_extract_norm", "do_stable_layer_norm"),
    "data2vec-audio": ("conv_pos_kernel_size",),
}
_QKV = re.compile(r"context\.blocks\.(\d+)\.attention\.qkv\.(weight|bias)")
_PART = re.compile(r"encoder\.layers\.(\d+)\.attention\.([qkv])_proj\.(weight|bias)")


def architecture(config: EncoderConfig) -> str:
    """`data2vec-audio` or `hubert`: the transformers model that computes what `config` does.

    Raises:
        UserError: neither does.
    """
    if config.frontend != "waveform":
        raise UserError(
            f"model.frontend = {config.frontend!r}: transformers reads the waveform only: "
            "export a model with the waveform front end"
        )
    if config.pos_conv_depth == 1:
        return "hubert"
    if config.conv_norm == "layer" and config.norm == "post":
        return "data2vec-audio"
    raise UserError(
        f"model.conv_norm = {config.conv_norm!r}, model.norm = {config.norm!r} with "
        f"model.pos_conv_depth = {config.pos_conv_depth}: transformers has no such model "
        "(Data2VecAudio: layer, post; Hubert: depth 1)"
    )


def config_to_transformers(config: EncoderConfig) -> dict[str, Any]:
    """Keyword arguments of Data2VecAudioConfig or HubertConfig for our configuration."""
    kwargs: dict[str, Any] = {
        "hidden_size": config.dim,
        "intermediate_size": config.ffn_dim,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "hidden_act": "gelu",
        "feat_extract_activation": "gelu",
        "conv_dim": [config.conv_dim] * len(KERNELS),
        "conv_kernel": list(KERNELS),
        "conv_stride": list(STRIDES),
        "conv_bias": config.conv_bias,
        "num_conv_pos_embedding_groups": config.pos_conv_groups,
        "hidden_dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "feat_proj_dropout": config.dropout_input,
        "layerdrop": config.layerdrop,
        "layer_norm_eps": 1e-5,
        "apply_spec_augment": False,
    }
    if architecture(config) == "hubert":
        kwargs |= {
            "num_conv_pos_embeddings": config.pos_conv_width,
            "feat_extract_norm": config.conv_norm,
            "do_stable_layer_norm": config.norm == "pre",
        }
    else:
        kwargs |= {
            "num_conv_pos_embeddings": config.pos_conv_depth,
            "conv_pos_kernel_size": max(3, config.pos_conv_width // config.pos_conv_depth),
        }
    return kwargs


def config_from_transformers(config: Mapping[str, Any]) -> EncoderConfig:
    """Our configuration of a transformers `config.json` (as a dict, with `model_type`).

    `mask_pos_conv` is off: an imported model saw padding the way transformers treats it.

    Raises:
        UserError: the model is of another kind, or differs where ours is fixed.
    """
    kind = config.get("model_type")
    if kind not in ("data2vec-audio", "hubert"):
        raise UserError(f"model_type = {kind!r}: expected data2vec-audio or hubert")
    if lacks := [key for key in (*_NEEDED, *_NEEDED_OF[kind]) if key not in config]:
        raise UserError(f"lacks {', '.join(lacks)}: give the config.json that came with the model")
    fixed = {
        "hidden_act": "gelu",
        "feat_extract_activation": "gelu",
        "conv_kernel": list(KERNELS),
        "conv_stride": list(STRIDES),
        "feat_proj_layer_norm": True,
        "conv_pos_batch_norm": False,
        "layer_norm_eps": 1e-5,
    }
    for key, expected in fixed.items():
        value = config.get(key, expected)
        if (list(value) if isinstance(value, tuple) else value) != expected:
            raise UserError(f"{key} = {value!r}: expected {expected!r}: no encoder of ours does it")
    dims = set(config["conv_dim"])
    if len(dims) != 1:
        raise UserError(f"conv_dim = {config['conv_dim']}: expected one width for all convolutions")
    hubert = kind == "hubert"
    depth = 1 if hubert else config["num_conv_pos_embeddings"]
    width = config["num_conv_pos_embeddings"] if hubert else config["conv_pos_kernel_size"] * depth
    return EncoderConfig(
        conv_dim=dims.pop(),
        conv_norm=config["feat_extract_norm"] if hubert else "layer",
        conv_bias=config["conv_bias"],
        dim=config["hidden_size"],
        ffn_dim=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        norm="pre" if hubert and config["do_stable_layer_norm"] else "post",
        pos_conv_depth=depth,
        pos_conv_width=width,
        pos_conv_groups=config["num_conv_pos_embedding_groups"],
        mask_pos_conv=False,
        dropout=config["hidden_dropout"],
        attention_dropout=config["attention_dropout"],
        activation_dropout=config["activation_dropout"],
        dropout_input=config["feat_proj_dropout"],
        layerdrop=config["layerdrop"],
    )


def state_to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of Data2VecAudioModel or HubertModel from that of our `Encoder`.

    Args:
        state: the encoder's own names, without the `encoder.` of a system.

    Raises:
        UserError: a weight that transformers has no name for.
    """
    theirs: dict[str, Tensor] = {}
    for name, value in state.items():
        qkv = _QKV.fullmatch(name)
        if qkv:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                key = f"encoder.layers.{qkv[1]}.attention.{letter}_proj.{qkv[2]}"
                theirs[key] = part.clone()
            continue
        renamed = rename(name, _NAMES)
        if renamed is None:
            raise UserError(f"{name}: transformers has no name for this weight")
        theirs[renamed] = value
    return theirs


def state_from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict of our `Encoder` from that of Data2VecAudioModel or HubertModel.

    Args:
        state: the model's own names, without a `hubert.` or `data2vec_audio.` in front.

    Raises:
        UserError: a weight our encoder has no name for, or a query without its key or value.
    """
    back = {theirs: ours for ours, theirs in _NAMES.items()}
    ours: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        part = _PART.fullmatch(name)
        if part:
            key = f"context.blocks.{part[1]}.attention.qkv.{part[3]}"
            parts.setdefault(key, {})[part[2]] = value
            continue
        renamed = rename(name, back)
        if renamed is None:
            raise UserError(f"{name}: our encoder has no name for this weight")
        ours[renamed] = value
    for key, found in parts.items():
        if set(found) != set("qkv"):
            raise UserError(f"{key}: needs q, k and v, the state has {', '.join(sorted(found))}")
        ours[key] = torch.cat([found["q"], found["k"], found["v"]])
    return ours
