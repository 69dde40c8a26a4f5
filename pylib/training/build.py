"""Systems from configurations, and their start from the weights of another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from torch import nn

from pylib.corpus.errors import UserError
from pylib.nn.encoder import EncoderConfig
from pylib.systems.ctc import CTC
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


def build_system(config: TrainConfig, vocab_size: int = 0) -> CTC | MT4SSL:
    """The system of a configuration with fresh weights.

    vocab_size: outputs of a CTC head. Raises UserError for sizes that do not fit together.
    """
    try:
        if config.ctc is not None:
            return CTC(config.model, config.ctc, vocab_size)
        assert config.targets is not None and config.mask is not None
        return MT4SSL(config.model, config.targets, config.mask)
    except ValueError as error:
        raise UserError(f"configuration: {error}: correct [model]") from None


def adopt(loaded: LoadedConfig, payload: Mapping[str, Any], where: str) -> TrainConfig:
    """The configuration of a run that starts from a checkpoint's encoder.

    The architecture and `data.normalise` are the checkpoint's. A key that the new configuration
    writes down differently is an error, unless it is a regulariser (REGULARISERS); a regulariser
    nobody wrote down is the checkpoint's too.
    """
    config, source = loaded.config, from_dict(payload["config"], where)
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
    normalise = source.data.normalise
    if "data.normalise" in loaded.origins and config.data.normalise != normalise:
        origin = loaded.origins["data.normalise"]
        conflicts.append(f"{origin}: data.normalise = {not normalise}, {where} has {normalise}")
    if conflicts:
        raise UserError(
            "--init: the configuration contradicts the checkpoint: remove the keys\n"
            + "\n".join(conflicts)
        )
    return replace(
        config, model=EncoderConfig(**model), data=replace(config.data, normalise=normalise)
    )


def start_from(system: CTC | MT4SSL, payload: Mapping[str, Any], where: str) -> None:
    """Load the encoder of a checkpoint into a fresh system; heads stay as they are.

    A teacher begins again as a copy of the student (deep copy at update 0).
    """
    weights = checkpoint.encoder_weights(payload)
    if not weights:
        raise UserError(f"{where}: has no encoder: give a checkpoint of pre-training or CTC")
    checkpoint.restore(system.encoder, weights, where)
    if isinstance(system, MT4SSL) and system.teacher is not None:
        system.teacher.copy_from(system.encoder.context)


def parameters(system: nn.Module) -> int:
    """Trainable parameters."""
    return sum(item.numel() for item in system.parameters() if item.requires_grad)
