"""fairseq's pre-training checkpoints of HuBERT, data2vec-audio and MT4SSL, in and out.

Which model it is follows from its heads: `label_embs_concat` is HuBERT's, `final_proj_hubert` is
MT4SSL's, `final_proj` alone data2vec's. Classes are numbered from 4 on in fairseq, after the four
special entries of its dictionaries; those rows are taken away, or put back as zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.interop.fairseq_config import (
    encoder_from_fairseq,
    mask_from_fairseq,
    sections,
    targets_from_fairseq,
    to_fairseq_config,
)
from pylib.interop.files import plain, tensors
from pylib.interop.model import Model, encoder_part, shapes
from pylib.interop.names import State, require_fit, translate
from pylib.interop.transformers import state_from_transformers, state_to_transformers
from pylib.nn.encoder import EncoderConfig

SPECIALS = 4  # <s>, <pad>, </s>, <unk>
TEACHER = "_ema"
# fairseq -> transformers. `#` stands for a layer number.
_NAMES = {
    "feature_extractor.conv_layers.#.0.": "feature_extractor.conv_layers.#.conv.",
    "layer_norm.": "feature_projection.layer_norm.",
    "post_extract_proj.": "feature_projection.projection.",
    "mask_emb": "masked_spec_embed",
    "encoder.pos_conv.#.0.": "encoder.pos_conv_embed.layers.#.conv.",
    "encoder.pos_conv.0.bias": "encoder.pos_conv_embed.conv.bias",
    "encoder.pos_conv.0.weight_g": (
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0"
    ),
    "encoder.pos_conv.0.weight_v": (
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1"
    ),
    "encoder.layer_norm.": "encoder.layer_norm.",
    "encoder.layers.#.self_attn.": "encoder.layers.#.attention.",
    "encoder.layers.#.self_attn_layer_norm.": "encoder.layers.#.layer_norm.",
    "encoder.layers.#.final_layer_norm.": "encoder.layers.#.final_layer_norm.",
    "encoder.layers.#.fc1.": "encoder.layers.#.feed_forward.intermediate_dense.",
    "encoder.layers.#.fc2.": "encoder.layers.#.feed_forward.output_dense.",
}
_CONV_NORM = {
    "layer": "feature_extractor.conv_layers.#.2.1.",
    "group": "feature_extractor.conv_layers.#.2.",
}
# ours -> fairseq
_HEADS = {
    "hubert": {
        "offline_head.projection.": "final_proj.",
        "offline_head.embeddings": "label_embs_concat",
    },
    "data2vec": {"online_head.": "final_proj."},
    "mt4ssl": {"online_head.": "final_proj.", "offline_head.": "final_proj_hubert."},
    "": {},
}
_CLASSES = ("label_embs_concat", "final_proj_hubert.weight", "final_proj_hubert.bias")


def _table(conv_norm: str) -> dict[str, str]:
    return _NAMES | {_CONV_NORM[conv_norm]: "feature_extractor.conv_layers.#.layer_norm."}


def from_fairseq(payload: Mapping[str, Any], where: str, normalise: bool | None = None) -> Model:
    """The model of a checkpoint, which `files.read_torch` gave.

    Args:
        payload: with "model" and "cfg" or "args".
        where: the file.
        normalise: whether it reads normalised waveforms; by default what the task says.

    Raises:
        UserError: names or shapes that do not fit, settings that ours cannot be.
    """
    settings = {key: plain(payload.get(key)) for key in ("cfg", "args")}
    model, task, criterion = sections(settings)
    given = dict(payload["model"])
    average = given.pop(TEACHER, None)
    state, notes = _with_whole_head(tensors(given, where), model)
    heads = _heads_of(state)
    if heads == "hubert" and len(sets := task.get("labels") or [""]) > 1:
        raise UserError(
            f"{where}: is of {len(sets)} sets of labels: no head of ours has more than one: "
            "remove label_embs_concat and final_proj, which keeps the encoder"
        )
    classes = state[_CLASSES[0 if heads == "hubert" else 1]] if _classed(heads) else None
    if classes is not None and (classes.dim() != 2 or classes.shape[0] < SPECIALS + 2):
        raise UserError(
            f"{where}: classes of shape {tuple(classes.shape)}: expected {SPECIALS} special rows "
            "and two or more of labels"
        )
    encoder = encoder_from_fairseq(model)
    targets = None
    if heads:
        rows, width = (SPECIALS, 0) if classes is None else classes.shape
        targets = targets_from_fairseq(heads, model, criterion, rows - SPECIALS, width)
    meta = shapes(encoder, targets, sum(value.numel() for value in state.values()), where)
    expected = to_fairseq_names(meta, encoder, heads)
    require_fit(expected, state, where)
    student, own = _split(state, heads)
    weights = state_from_transformers(translate(student, _table(encoder.conv_norm), "transformers"))
    if any(name.startswith("teacher.") for name in meta):
        taught, more = _teacher(average, weights, encoder)
        own, notes = own | taught, notes + more
    says = bool(task.get("normalize", encoder.conv_norm == "layer"))
    return Model(
        encoder=encoder,
        weights=weights,
        name=heads or _named(model),
        normalise=says if normalise is None else normalise,
        targets=targets,
        heads=own,
        mask=mask_from_fairseq(heads, model),
        notes=notes,
    )


def _with_whole_head(state: State, model: Mapping[str, Any]) -> tuple[State, tuple[str, ...]]:
    """The state without HuBERT's projection where its code embeddings are missing."""
    halves = ("final_proj.weight", "final_proj.bias")
    if _named(model) != "hubert" or "label_embs_concat" in state or halves[0] not in state:
        return state, ()
    kept = {name: value for name, value in state.items() if name not in halves}
    return kept, ("has no code embeddings (label_embs_concat): final_proj is left behind",)


def _heads_of(state: State) -> str:
    """hubert, mt4ssl or data2vec by the heads that are there, empty without any."""
    if "label_embs_concat" in state:
        return "hubert"
    if "final_proj_hubert.weight" in state:
        return "mt4ssl"
    return "data2vec" if "final_proj.weight" in state else ""


def _classed(heads: str) -> bool:
    return heads in ("hubert", "mt4ssl")


def _named(model: Mapping[str, Any]) -> str:
    return "hubert" if "hubert" in str(model.get("_name", model.get("arch"))) else "data2vec"


def _split(state: State, heads: str) -> tuple[State, State]:
    """The encoder's weights under fairseq's names, and those of heads under ours, raw classes."""
    back = {theirs: ours for ours, theirs in _HEADS[heads].items()}
    theirs = {name: value for name, value in state.items() if name.startswith(tuple(back))}
    own = {
        name: value[SPECIALS:].clone() if name in _CLASSES else value
        for name, value in theirs.items()
    }
    rest = {name: value for name, value in state.items() if name not in theirs}
    return rest, translate(own, back, "a head of ours")


def _teacher(average: Any, student: State, encoder: EncoderConfig) -> tuple[State, tuple[str, ...]]:
    """The teacher's weights; the student's where the file holds another average than ours.

    fairseq averages the Transformer alone or the whole model; only the first is our teacher. Its
    positions are the student's in both programs, whatever the file kept.
    """
    made = {f"teacher.{k}": v for k, v in student.items() if k.startswith("context.")}
    copied = ("has no teacher that ours can be: it begins as the student's copy",)
    if not isinstance(average, Mapping) or not all(map(torch.is_tensor, average.values())):
        return made, copied
    named = {f"encoder.{name}": value.float() for name, value in average.items()}
    kept = {k: v for k, v in named.items() if not k.startswith("encoder.pos_conv.")}
    try:
        theirs = translate(kept, _table(encoder.conv_norm), "transformers")
        taught = {f"teacher.{k}": v for k, v in state_from_transformers(theirs).items()}
    except UserError:
        return made, copied
    own = {k: v.shape for k, v in made.items() if not k.startswith("teacher.context.pos_conv.")}
    if own != {name: value.shape for name, value in taught.items()}:
        return made, copied
    return made | taught, ()


def to_fairseq_names(state: State, encoder: EncoderConfig, heads: str) -> State:
    """Weights of `MT4SSL` under fairseq's names, without the teacher, special rows put in.

    Args:
        heads: hubert, data2vec, mt4ssl, or empty without heads.
    """
    back = {theirs: ours for ours, theirs in _table(encoder.conv_norm).items()}
    named = translate(state_to_transformers(encoder_part(state)), back, "fairseq")
    table = _HEADS[heads]
    own = {k: v for k, v in state.items() if k.startswith(("offline_head.", "online_head."))}
    theirs = translate(own, table, "fairseq") if table else {}
    return named | {k: _specials(v) if k in _CLASSES else v for k, v in theirs.items()}


def _specials(value: Tensor) -> Tensor:
    return torch.cat([value.new_zeros(SPECIALS, *value.shape[1:]), value])


def to_fairseq(model: Model) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A checkpoint's "model" and "cfg" as plain values, and what the user should know.

    Raises:
        UserError: filter banks; heads that no model of fairseq has.
    """
    heads = _heads_named(model)
    if (heads or model.name) == "hubert" and model.encoder.conv_dim == model.encoder.dim:
        raise UserError(
            f"model.conv_dim = model.dim = {model.encoder.dim}: fairseq's HuBERT has no projection "
            "then: convert to transformers"
        )
    cfg = to_fairseq_config(
        heads or model.name, model.encoder, model.targets, model.mask, model.normalise
    )
    state = {f"encoder.{name}": value for name, value in model.weights.items()} | model.heads
    named: dict[str, Any] = dict(to_fairseq_names(state, model.encoder, heads))
    teacher = {k.removeprefix("teacher."): v for k, v in state.items() if k.startswith("teacher.")}
    if teacher:
        back = {theirs: ours for ours, theirs in _table(model.encoder.conv_norm).items()}
        theirs = translate(state_to_transformers(teacher), back, "fairseq")
        named[TEACHER] = {k.removeprefix("encoder."): v for k, v in theirs.items()}
    note = "holds weights and their settings: no optimizer, no dictionaries, nothing to go on from"
    return {"args": None, "cfg": cfg, "model": named}, (note,)


def _heads_named(model: Model) -> str:
    if model.targets is None or not model.heads:
        return ""
    offline = model.targets.offline_weight > 0
    online = model.targets.online_weight > 0
    cosine = model.targets.offline_head == "cosine"
    if offline and online and not cosine:
        return "mt4ssl"
    if online and not offline:
        return "data2vec"
    if offline and cosine and not online:
        return "hubert"
    raise UserError(
        f"targets.offline_head = {model.targets.offline_head!r}, targets.online_weight = "
        f"{model.targets.online_weight}: no model of fairseq has these heads: convert to "
        "transformers, which keeps the encoder alone"
    )
