"""From any of the formats to a `Model` and from it to any: what steps/convert_checkpoint.sh does.

`trivium` is not among them: the layer above reads and writes those (`pylib.training.checkpoint`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pylib.corpus.atomic import atomic_dir, atomic_path, require_free_space, write_json
from pylib.corpus.errors import UserError
from pylib.interop.fairseq import from_fairseq, to_fairseq
from pylib.interop.files import (
    plain,
    read_json,
    read_safetensors,
    read_torch,
    tensors,
    write_weights,
)
from pylib.interop.model import Model, encoder_part, fresh_mask_vector, shapes
from pylib.interop.names import State, require_fit
from pylib.interop.torchaudio import from_torchaudio, is_torchaudio, to_torchaudio
from pylib.interop.transformers import (
    architecture,
    config_from_transformers,
    config_to_transformers,
    state_from_transformers,
    state_to_transformers,
)

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_CLASSES = {"hubert": "HubertModel", "data2vec-audio": "Data2VecAudioModel"}
_NORMS = {"weight_g": "original0", "weight_v": "original1"}


@dataclass(frozen=True)
class Asked:
    """What a file does not say and the user may.

    Attributes:
        heads: attention heads, 0 = not told.
        norm: post, pre or auto.
        normalise: whether the model reads normalised waveforms; None = not told.
    """

    heads: int = 0
    norm: str = "auto"
    normalise: bool | None = None


def read_foreign(path: Path, kind: str, asked: Asked, payload: Any = None) -> Model:
    """The model of a directory or file.

    Args:
        path: what to read.
        kind: transformers, fairseq or torchaudio.
        asked: what the user told.
        payload: what `read_torch` gave for the file, where that is known.

    Raises:
        UserError: naming the file and what does not fit.
    """
    try:
        if kind == "transformers":
            return from_transformers(path, asked, payload)
        payload = read_torch(path) if payload is None else payload
        if kind == "fairseq":
            if not isinstance(payload, Mapping) or not isinstance(payload.get("model"), Mapping):
                raise UserError("no 'model' in it: expected a checkpoint of fairseq")
            return from_fairseq(payload, str(path), asked.normalise)
        state = tensors(payload, str(path))
        return from_torchaudio(state, str(path), asked.heads, asked.norm, asked.normalise)
    except UserError as error:
        told = str(error)
        raise UserError(told if told.startswith(str(path)) else f"{path}: {told}") from None
    except (TypeError, ValueError, RuntimeError, OverflowError, AttributeError) as error:
        raise UserError(
            f"{path}: its configuration makes no model ({error}): fetch it again"
        ) from None


def kind_of(path: Path, payload: Any) -> str:
    """Format of a directory (payload None) or of what a file of torch.save holds.

    Raises:
        UserError: none that is known.
    """
    if payload is None:
        return "transformers"
    if isinstance(payload, Mapping):
        if {"format", "system", "config", "model"} <= set(payload):
            return "trivium"
        if isinstance(payload.get("model"), Mapping):
            return "fairseq"
        if is_torchaudio({str(name): value for name, value in payload.items()}):
            return "torchaudio"
        if (path.parent / CONFIG).is_file():
            return "transformers"
    raise UserError(
        f"{path}: none of the formats: expected a checkpoint of Trivium or fairseq (weights under "
        "'model'), a state dict of torchaudio, or weights of transformers beside their config.json"
    )


def from_transformers(path: Path, asked: Asked, payload: Any = None) -> Model:
    """The encoder of a directory of transformers, or of a file of weights in one.

    Args:
        path: the directory or the file.
        asked: what the user told.
        payload: what `read_torch` gave for the file, where that is known.
    """
    folder = path if path.is_dir() else path.parent
    file = path
    if path.is_dir():
        found = [path / name for name in WEIGHTS if (path / name).is_file()]
        if not found:
            raise UserError(
                f"{path}: has neither {' nor '.join(WEIGHTS)}: give one file of weights"
            )
        file = found[0]
    config = read_json(folder / CONFIG)
    try:
        encoder = config_from_transformers(config)
    except UserError as error:
        raise UserError(f"{folder / CONFIG}: {error}") from None
    if file.suffix == ".safetensors":
        given, left = _own(read_safetensors(file))
    else:
        payload = read_torch(file) if payload is None else payload
        given, left = _own(tensors(payload, str(file)))
    notes = [f"left behind: {', '.join(left)}"] if left else []
    if "masked_spec_embed" not in given:
        given["masked_spec_embed"] = fresh_mask_vector(encoder.dim)
        notes.append("has no vector for masked frames: a new one was drawn")
    meta = shapes(encoder, None, sum(value.numel() for value in given.values()), str(file))
    require_fit(state_to_transformers(encoder_part(meta)), given, str(file))
    says = encoder.conv_norm == "layer"
    if (folder / PREPROCESSOR).is_file():
        says = bool(read_json(folder / PREPROCESSOR).get("do_normalize", says))
    return Model(
        encoder=encoder,
        weights=state_from_transformers(given),
        name="hubert" if config["model_type"] == "hubert" else "data2vec",
        normalise=says if asked.normalise is None else asked.normalise,
        notes=tuple(notes),
    )


def _own(state: State) -> tuple[State, list[str]]:
    """Weights of the bare model under their newest names, and names of heads left behind."""
    prefixes = ("hubert.", "data2vec_audio.")
    prefix = next((p for p in prefixes if any(name.startswith(p) for name in state)), "")
    made, left = {}, []
    for name, value in state.items():
        if not name.startswith(prefix):
            left.append(name)
            continue
        name = name.removeprefix(prefix)
        stem, _, last = name.rpartition(".")
        made[f"{stem}.parametrizations.weight.{_NORMS[last]}" if last in _NORMS else name] = value
    return made, left


def write_foreign(model: Model, kind: str, out: Path) -> tuple[str, ...]:
    """Write a model, whole or not at all; returns what the user should know.

    Args:
        model: what to write.
        kind: transformers (out is a directory), fairseq or torchaudio (a file).
        out: where; a directory of an earlier conversion is replaced, no other.

    Raises:
        UserError: what the format cannot represent, or something else is in the way.
    """
    if kind == "transformers":
        return _write_transformers(model, out)
    payload: Any
    payload, notes = to_fairseq(model) if kind == "fairseq" else to_torchaudio(model)
    with atomic_path(out) as temporary:
        torch.save(_saved(payload), temporary)
    return notes


def _saved(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _saved(item) for key, item in value.items()}
    return value.detach().contiguous() if torch.is_tensor(value) else plain(value)


def _write_transformers(model: Model, out: Path) -> tuple[str, ...]:
    kind = architecture(model.encoder)
    state = state_to_transformers(model.weights)
    if out.is_dir():
        others = sorted({item.name for item in out.iterdir()} - {CONFIG, PREPROCESSOR, *WEIGHTS})
        if others:
            raise UserError(f"{out}: has {', '.join(others[:4])}: give a new directory")
    require_free_space(out, sum(4 * value.numel() for value in state.values()))
    with atomic_dir(out) as folder:
        write_weights(folder, state)
        settings = config_to_transformers(model.encoder)
        write_json(
            folder / CONFIG,
            {**settings, "model_type": kind, "architectures": [_CLASSES[kind]]},
        )
        write_json(
            folder / PREPROCESSOR,
            {
                "feature_extractor_type": "Wav2Vec2FeatureExtractor",
                "feature_size": 1,
                "sampling_rate": 16000,
                "padding_value": 0.0,
                "do_normalize": model.normalise,
                # Group statistics over padding are not those of the speech.
                "return_attention_mask": model.encoder.conv_norm == "layer",
            },
        )
    notes = [_CLASSES[kind]]
    if model.heads:
        notes.append("heads and teacher are left behind")
    if model.encoder.mask_pos_conv:
        notes.append("padding leaks into speech there: give it utterances one by one")
    return tuple(notes)
