"""Systems from configurations, and their start from the weights of another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from torch import nn

from pylib.corpus.errors import UserError
from pylib.nn.encoder import EncoderConfig
from pylib.systems.ctc import CTC
from pylib.systems.fhvae import FHVAE
from pylib.systems.mt4ssl import MT4SSL
from pylib.training import checkpoint
from pylib.training.config import LoadedConfig, TrainConfig, from_dict

# Fine-tuning may choose these anew; everything else of [model] is the shape of the weights.
REGULARISERS = (
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "layerdrop",
    "dropout_input",
    "dropout_features",
    "feature_grad_mult",
    "mask_pos_conv",
)


def build_system(config: TrainConfig, vocab_size: int = 0, rows: int = 0) -> CTC | MT4SSL | FHVAE:
    """The system of a configuration with fresh weights.

    vocab_size: outputs of a CTC head. rows: of FHVAE's table of sequence means.
    Raises UserError for sizes that do not fit together.
    """
    try:
        if config.fhvae is not None:
            assert config.objective is not None
            return FHVAE(config.fhvae, config.objective, rows)
        if config.ctc is not None:
            return CTC(config.encoder, config.ctc, vocab_size)
        assert config.targets is not None and config.mask is not None
        return MT4SSL(config.encoder, config.targets, config.mask)
    except ValueError as error:
        raise UserError(f"configuration: {error}: correct [model]") from None


def adopt(loaded: LoadedConfig, payload: Mapping[str, Any], where: str) -> TrainConfig:
    """The configuration of a run that starts from a checkpoint's encoder.

    The architecture, `data.normalise` and `data.features` are the checkpoint's. A key that the new
    configuration writes down differently is an error, unless it is a regulariser (REGULARISERS); a
    regulariser nobody wrote down is the checkpoint's too.
    """
    config, source = loaded.config, from_dict(payload["config"], where)
    if config.model is None or source.model is None:
        which = config.system if config.model is None else where
        raise UserError(f"--init: {which} has no encoder to start from or to give: leave it out")
    model: dict[str, Any] = {}
    conflicts = []
    for item in fields(EncoderConfig):
        old, new = getattr(source.model, item.name), getattr(config.model, item.name)
        written = f"model.{item.name}" in loaded.origins
        if written and item.name in REGULARISERS:
            model[item.name] = new
            continue
        if written and old != new:
            origin = loaded.origins[f"model.{item.name}"]
            conflicts.append(f"{origin}: model.{item.name} = {new!r}, {where} has {old!r}")
        model[item.name] = old
    inputs = {key: getattr(source.reading, key) for key in ("normalise", "features")}
    for key, old in inputs.items():
        new = getattr(config.reading, key)
        if f"data.{key}" in loaded.origins and new != old:
            origin = loaded.origins[f"data.{key}"]
            conflicts.append(f"{origin}: data.{key} = {new}, {where} has {old}")
    if conflicts:
        raise UserError(
            "--init: the configuration contradicts the checkpoint: remove the keys\n"
            + "\n".join(conflicts)
        )
    return replace(config, model=EncoderConfig(**model), data=replace(config.reading, **inputs))


def start_from(system: nn.Module, payload: Mapping[str, Any], where: str) -> None:
    """Load the encoder of a checkpoint into a fresh system; heads stay as they are.

    A teacher begins again as a copy of the student (deep copy at update 0).
    """
    weights = checkpoint.encoder_weights(payload)
    if not weights:
        raise UserError(f"{where}: has no encoder: give a checkpoint of pre-training or CTC")
    encoder = system.encoder
    assert isinstance(encoder, nn.Module)
    checkpoint.restore(encoder, weights, where)
    if isinstance(system, MT4SSL) and system.teacher is not None:
        system.teacher.copy_from(system.encoder.context)


def parameters(system: nn.Module) -> int:
    """Trainable parameters."""
    return sum(item.numel() for item in system.parameters() if item.requires_grad)
