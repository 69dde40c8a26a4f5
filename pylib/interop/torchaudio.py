"""torchaudio's state dicts of HuBERT: Wav2Vec2Model (hubert_base ...) and HuBERTPretrainModel.

The encoder's names are those of transformers with other prefixes. A state dict says all sizes but
the number of attention heads and where the norms stand; both follow from the published sizes or
are asked for.
"""

from __future__ import annotations

from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.interop.model import Model, encoder_part, fresh_mask_vector, shapes
from pylib.interop.names import State, require_fit, translate
from pylib.interop.transformers import state_from_transformers, state_to_transformers
from pylib.nn.encoder import EncoderConfig
from pylib.nn.masks import MaskConfig
from pylib.systems.mt4ssl import TargetsConfig

MASK = "mask_generator.mask_embedding"
# transformers -> torchaudio
_NAMES = {
    "feature_extractor.": "feature_extractor.",
    "feature_projection.": "encoder.feature_projection.",
    "encoder.": "encoder.transformer.",
}
_HEADS = {
    "offline_head.projection.": "logit_generator.final_proj.",
    "offline_head.embeddings": "logit_generator.label_embeddings",
}
_PUBLISHED_HEADS = {768: 12, 1024: 16, 1280: 16}  # width -> heads of base, large, extra large
_POSITION = "encoder.transformer.pos_conv_embed.conv."


def is_torchaudio(state: State) -> bool:
    """Whether the names are torchaudio's."""
    return any("encoder.transformer." in name for name in state)


def from_torchaudio(
    state: State, where: str, heads: int = 0, norm: str = "auto", normalise: bool | None = None
) -> Model:
    """The model of a state dict.

    Args:
        state: weights as the file has them.
        where: the file.
        heads: attention heads, 0 = those of the published model of that width.
        norm: post, pre, or auto: pre where every convolution is normalised (large models).
        normalise: whether the waveform is; by default where every convolution is normalised.

    Raises:
        UserError: names or shapes that do not fit, or sizes that cannot be told.
    """
    pretrain = any(name.startswith("wav2vec2.") for name in state)
    notes: list[str] = []
    given = {name.removeprefix("wav2vec2."): value for name, value in _modern(state).items()}
    if not pretrain and any(name.startswith("aux.") for name in given):
        given = {name: value for name, value in given.items() if not name.startswith("aux.")}
        notes.append("the output layer (aux) is left behind")
    encoder = _sizes(given, where, heads, norm)
    if MASK not in given:
        given[MASK] = fresh_mask_vector(encoder.dim)
        notes.append("has no vector for masked frames: a new one was drawn")
    targets, mask = (_cosine(given, where), MaskConfig(prob=0.8, min_spans=2))
    meta = shapes(encoder, targets, sum(v.numel() for v in given.values()), where)
    require_fit(to_torchaudio_names(meta, encoder), given, where)
    own = {name: value for name, value in given.items() if name != MASK}
    back = {theirs: ours for ours, theirs in _HEADS.items()}
    cosine = {name: value for name, value in own.items() if name.startswith("logit_generator.")}
    inner = {name: value for name, value in own.items() if name not in cosine}
    table = {theirs: ours for ours, theirs in _NAMES.items()}
    theirs = translate(inner, table, "torchaudio") | {"masked_spec_embed": given[MASK]}
    return Model(
        encoder=encoder,
        weights=state_from_transformers(theirs),
        name="hubert",
        normalise=encoder.conv_norm == "layer" if normalise is None else normalise,
        targets=targets,
        heads=translate(cosine, back, "a head of ours") if cosine else {},
        mask=mask,
        notes=tuple(notes),
    )


def _modern(state: State) -> State:
    """The positional convolution's weight norm under its newer names."""
    table = {"weight_g": "original0", "weight_v": "original1"}
    made = {}
    for name, value in state.items():
        stem, _, last = name.rpartition(".")
        made[f"{stem}.parametrizations.weight.{table[last]}" if last in table else name] = value
    return made


def _shape(state: State, name: str, rank: int, where: str) -> tuple[int, ...]:
    if name not in state or state[name].dim() != rank:
        raise UserError(
            f"{where}: lacks {name} of {rank} dimensions: expected a HuBERT of torchaudio "
            "(hubert_base ..., hubert_pretrain_base ...)"
        )
    return tuple(state[name].shape)


def _sizes(state: State, where: str, heads: int, norm: str) -> EncoderConfig:
    """Sizes that the shapes tell, with the usual dropouts."""
    dim, part, width = _shape(state, _POSITION + "parametrizations.weight.original1", 3, where)
    first = _shape(state, "feature_extractor.conv_layers.0.conv.weight", 3, where)
    inner = "encoder.transformer.layers.0.feed_forward.intermediate_dense.weight"
    ffn, _ = _shape(state, inner, 2, where)
    conv_norm = "layer" if "feature_extractor.conv_layers.1.layer_norm.weight" in state else "group"
    heads = heads or _PUBLISHED_HEADS.get(dim, 0)
    if not heads:
        raise UserError(
            f"{where}: a state dict does not say how many attention heads a model of width {dim} "
            "has: give --heads"
        )
    blocks = {
        name.split(".")[3] for name in state if name.startswith("encoder.transformer.layers.")
    }
    return EncoderConfig(
        conv_dim=first[0],
        conv_norm=conv_norm,
        conv_bias="feature_extractor.conv_layers.0.conv.bias" in state,
        dim=dim,
        ffn_dim=ffn,
        layers=len(blocks),
        heads=heads,
        norm=("pre" if conv_norm == "layer" else "post") if norm == "auto" else norm,
        pos_conv_depth=1,
        pos_conv_width=width,
        pos_conv_groups=dim // max(part, 1),
        mask_pos_conv=False,
    )


def _cosine(state: State, where: str) -> TargetsConfig | None:
    """HuBERT's targets if the state has its head. No dictionary rows here: K embeddings."""
    if not any(name.startswith("logit_generator.") for name in state):
        return None
    clusters, width = _shape(state, "logit_generator.label_embeddings", 2, where)
    return TargetsConfig(
        clusters=clusters,
        offline_head="cosine",
        cosine_dim=width,
        feature_penalty=10.0,
        online_weight=0.0,
    )


def to_torchaudio_names(state: State, encoder: EncoderConfig) -> State:
    """Weights of `MT4SSL` under torchaudio's names, without the prefix of a whole model.

    Raises:
        UserError: a front end or a positional convolution that torchaudio does not have.
    """
    if encoder.frontend != "waveform":
        raise UserError(
            f"model.frontend = {encoder.frontend!r}: torchaudio's HuBERT reads the waveform only: "
            "convert a model with the waveform front end"
        )
    if encoder.pos_conv_depth != 1:
        raise UserError(
            f"model.pos_conv_depth = {encoder.pos_conv_depth}: torchaudio has HuBERT's single "
            "positional convolution only: convert to transformers"
        )
    theirs = state_to_transformers(encoder_part(state))
    mask: Tensor = theirs.pop("masked_spec_embed")
    cosine = {k: v for k, v in state.items() if k.startswith("offline_head.")}
    named = translate(theirs, _NAMES, "torchaudio") | {MASK: mask}
    return named | (translate(cosine, _HEADS, "torchaudio") if cosine else {})


def to_torchaudio(model: Model) -> tuple[State, tuple[str, ...]]:
    """State dict of HuBERTPretrainModel for a model with HuBERT's head, else of Wav2Vec2Model.

    Returns:
        The state dict, and what the user should know.

    Raises:
        UserError: see `to_torchaudio_names`.
    """
    cosine = model.targets is not None and model.targets.offline_head == "cosine"
    cosine = cosine and bool(model.heads)
    kept = {k: v for k, v in model.heads.items() if cosine and k.startswith("offline_head.")}
    state = {f"encoder.{name}": value for name, value in model.weights.items()} | kept
    named = to_torchaudio_names(state, model.encoder)
    size = f"{model.encoder.heads} attention heads, norms {model.encoder.norm}"
    if not cosine:
        del named[MASK]
        return named, (f"Wav2Vec2Model, {size}; the vector for masked frames is left behind",)
    outer = ("logit_generator.", "mask_generator.")
    made = {k if k.startswith(outer) else f"wav2vec2.{k}": v for k, v in named.items()}
    return made, (f"HuBERTPretrainModel, {size}",)
