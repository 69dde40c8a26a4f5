"""fairseq's configuration of HuBERT, data2vec-audio and MT4SSL as ours, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pylib.corpus.errors import UserError
from pylib.nn.conv_frontend import KERNELS, STRIDES
from pylib.nn.encoder import EncoderConfig
from pylib.nn.masks import MaskConfig
from pylib.systems.mt4ssl import TargetsConfig

Settings = Mapping[str, Any]

NAMES = {"hubert": "hubert", "data2vec": "data2vec_audio", "mt4ssl": "multi2vec_audio"}

# Ours -> theirs with their default, of what both have under some name.
_ENCODER: dict[str, tuple[str, Any]] = {
    "conv_bias": ("conv_bias", False),
    "feature_grad_mult": ("feature_grad_mult", 1.0),
    "dim": ("encoder_embed_dim", 768),
    "ffn_dim": ("encoder_ffn_embed_dim", 3072),
    "layers": ("encoder_layers", 12),
    "heads": ("encoder_attention_heads", 12),
    "pos_conv_depth": ("pos_conv_depth", 1),
    "pos_conv_width": ("conv_pos", 128),
    "pos_conv_groups": ("conv_pos_groups", 16),
    "dropout": ("dropout", 0.1),
    "attention_dropout": ("attention_dropout", 0.1),
    "activation_dropout": ("activation_dropout", 0.0),
    "layerdrop": ("encoder_layerdrop", 0.0),
    "dropout_input": ("dropout_input", 0.0),
    "dropout_features": ("dropout_features", 0.0),
}
_ONLINE: dict[str, tuple[str, Any]] = {
    "teacher_layers": ("average_top_k_layers", 8),
    "ema_start": ("ema_decay", 0.999),
    "ema_end": ("ema_end_decay", 0.9999),
    "ema_anneal": ("ema_anneal_end_step", 100000),
    "min_target_std": ("min_target_var", 0.1),
    "min_pred_std": ("min_pred_var", 0.01),
}
_FIXED = {
    "activation_fn": "gelu",
    "layer_type": "transformer",
    "conv_pos_batch_norm": False,
    "attn_type": "",
    "pos_enc_type": "abs",
}
_MODES = {"default": "group", "layer_norm": "layer"}
_DEFAULT_CONVS = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
_TRIPLE = r"\(\s*\d+\s*,\s*\d+\s*,\s*\d+\s*,?\s*\)"
_LIST = rf"\[\s*{_TRIPLE}\s*(?:,\s*{_TRIPLE}\s*)*,?\s*\]\s*(?:\*\s*\d{{1,2}}\s*)?"
_LISTS = re.compile(rf"\s*{_LIST}(?:\+\s*{_LIST})*")


def sections(payload: Settings) -> tuple[Settings, Settings, Settings]:
    """Settings of model, task and criterion of a checkpoint, of old (`args`) or new (`cfg`) form.

    Raises:
        UserError: it has neither.
    """
    config, arguments = payload.get("cfg"), payload.get("args")
    if isinstance(config, Mapping):
        model, *others = (config.get(name) for name in ("model", "task", "criterion"))
        task, criterion = (part if isinstance(part, Mapping) else {} for part in others)
        if isinstance(model, Mapping):
            return model, task, criterion
    if isinstance(arguments, Mapping):
        return arguments, arguments, arguments
    raise UserError(
        "has no configuration of a model under 'cfg' or 'args': give fairseq's own checkpoint"
    )


def encoder_from_fairseq(model: Settings) -> EncoderConfig:
    """Our encoder of fairseq's settings of a model.

    `mask_pos_conv` is off: the model saw padding the way fairseq treats it.

    Raises:
        UserError: settings that no encoder of ours computes.
    """
    for key, expected in _FIXED.items():
        value = model.get(key)
        if value not in (None, expected):
            raise UserError(f"{key} = {value!r}: expected {expected!r}: no encoder of ours does it")
    mode = model.get("extractor_mode", "default")
    if mode not in _MODES:
        raise UserError(f"extractor_mode = {mode!r}: expected one of {', '.join(_MODES)}")
    values: dict[str, Any] = {ours: model.get(*pair) for ours, pair in _ENCODER.items()}
    text = model.get("conv_feature_layers") or _DEFAULT_CONVS
    return EncoderConfig(
        conv_dim=_conv_dim(str(text)),
        conv_norm=_MODES[mode],
        norm="pre" if model.get("layer_norm_first") else "post",
        mask_pos_conv=False,
        **values,
    )


def _conv_dim(text: str) -> int:
    """Width of convolutions written as `[(512, 10, 5)] + [(512, 3, 2)] * 4 ...`; never executed."""
    layers: list[tuple[int, ...]] = []
    if len(text) < 1000 and _LISTS.fullmatch(text):
        for part in re.findall(_LIST, text):
            triples = re.findall(_TRIPLE, part)
            times = re.search(r"\*\s*(\d+)\s*$", part)
            found = [tuple(int(n) for n in re.findall(r"\d+", triple)) for triple in triples]
            layers += found * (int(times[1]) if times else 1)
    shape = [layer[1:] for layer in layers]
    if shape != list(zip(KERNELS, STRIDES, strict=True)) or len({x[0] for x in layers}) != 1:
        raise UserError(
            f"conv_feature_layers = {text[:200]!r}: expected seven of one width with kernels "
            f"{KERNELS} and strides {STRIDES}: no encoder of ours does it"
        )
    return layers[0][0]


def targets_from_fairseq(
    name: str, model: Settings, criterion: Settings, clusters: int, cosine_dim: int
) -> TargetsConfig:
    """Our targets of fairseq's settings.

    Args:
        name: hubert, data2vec or mt4ssl.
        model, criterion: fairseq's settings.
        clusters: K, without the special rows; unused for data2vec.
        cosine_dim: width of HuBERT's code embeddings; unused for the others.
    """
    weights = criterion.get("loss_weights")
    if name == "hubert":
        first = weights[0] if isinstance(weights, list) and weights else 0.0
        return TargetsConfig(
            clusters=clusters,
            offline_head="cosine",
            cosine_dim=cosine_dim,
            temperature=model.get("logit_temp", 0.1),
            feature_penalty=first,
            online_weight=0.0,
        )
    online = {}
    for ours, (theirs, default) in _ONLINE.items():
        value = model.get(theirs)  # may be a reference to another setting, never resolved
        online[ours] = value if isinstance(value, int | float) else default
    if name == "data2vec":
        return TargetsConfig(offline_weight=0.0, **online)
    given = weights if isinstance(weights, Mapping) else {}
    return TargetsConfig(
        clusters=clusters,
        offline_weight=given.get("classification", 1.0),
        online_weight=given.get("regression", 1.0),
        **online,
    )


def mask_from_fairseq(name: str, model: Settings) -> MaskConfig:
    """Our masks of fairseq's settings."""
    return MaskConfig(
        prob=model.get("mask_prob", 0.65),
        length=model.get("mask_length", 10),
        min_spans=2 if name == "hubert" else 1,  # no setting of fairseq's
        same_count=bool(model.get("require_same_masks", True)),
    )


def to_fairseq_config(
    name: str,
    encoder: EncoderConfig,
    targets: TargetsConfig | None,
    mask: MaskConfig,
    normalise: bool,
) -> dict[str, Any]:
    """What `cfg` of a fairseq checkpoint says of a model, its task and its criterion.

    Raises:
        UserError: filter banks, which fairseq's models do not read.
    """
    if encoder.frontend != "waveform":
        raise UserError(
            f"model.frontend = {encoder.frontend!r}: fairseq's models read the waveform only: "
            "convert a model with the waveform front end"
        )
    one = [f"[({encoder.conv_dim},{k},{s})]" for k, s in zip(KERNELS, STRIDES, strict=True)]
    modes = {ours: theirs for theirs, ours in _MODES.items()}
    model: dict[str, Any] = {
        "_name": NAMES.get(name, NAMES["hubert"]),
        "extractor_mode": modes[encoder.conv_norm],
        "conv_feature_layers": " + ".join(one),
        "layer_norm_first": encoder.norm == "pre",
        "activation_fn": "gelu",
        "mask_prob": mask.prob,
        "mask_length": mask.length,
        "require_same_masks": mask.same_count,
        **{theirs: getattr(encoder, ours) for ours, (theirs, _) in _ENCODER.items()},
    }
    criterion: dict[str, Any] = {}
    if targets is not None and name == "hubert":
        model |= {"final_dim": targets.cosine_dim, "logit_temp": targets.temperature}
        criterion = {"_name": "hubert", "loss_weights": [targets.feature_penalty]}
    elif targets is not None:
        model |= {theirs: getattr(targets, ours) for ours, (theirs, _) in _ONLINE.items()}
        both = {"classification": targets.offline_weight, "regression": targets.online_weight}
        criterion = {"_name": "model", "loss_weights": both if name == "mt4ssl" else {}}
    task = {"normalize": normalise, "sample_rate": 16000}
    return {"model": model, "task": task, "criterion": criterion}
