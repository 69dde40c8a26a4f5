"""Systems from configurations, and their start from the weights of another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from torch import nn

from pylib.corpus.errors import UserError
from pylib.systems.ctc import CTC
from pylib.systems.fhvae import FHVAE
from pylib.systems.mt4ssl import MT4SSL
from pylib.systems.phone2unit import Phone2Unit
from pylib.systems.seq2seq import Seq2Seq
from pylib.systems.vatlm import VATLM
from pylib.training import checkpoint
from pylib.training.config import LoadedConfig, TrainConfig, from_dict

# Fine-tuning may choose these anew; everything else of [model] or [av_model] is the shape of the
# weights.
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


def build_system(config: TrainConfig, vocab_size: int = 0, rows: int = 0) -> nn.Module:
    """The system of a configuration with fresh weights.

    vocab_size: outputs of a CTC head or a decoder. rows: of FHVAE's table of sequence means.
    Raises UserError for sizes that do not fit together.
    """
    try:
        if config.phone2unit is not None:
            return Phone2Unit(config.phone2unit)
        if config.av_model is not None:
            return _build_av(config, vocab_size)
        if config.fhvae is not None:
            assert config.objective is not None
            return FHVAE(config.fhvae, config.objective, rows)
        if config.ctc is not None:
            return CTC(config.encoder, config.ctc, vocab_size)
        assert config.targets is not None and config.mask is not None
        return MT4SSL(config.encoder, config.targets, config.mask)
    except ValueError as error:
        raise UserError(f"configuration: {error}: correct [model]") from None


def _build_av(config: TrainConfig, vocab_size: int) -> nn.Module:
    assert config.av_model is not None
    if config.seq2seq is not None:
        return Seq2Seq(config.av_model, config.seq2seq, vocab_size)
    assert config.units is not None and config.av_mask is not None
    return VATLM(config.av_model, config.units, config.av_mask)


def adopt(loaded: LoadedConfig, payload: Mapping[str, Any], where: str) -> TrainConfig:
    """The configuration of a run that starts from a checkpoint's encoder.

    The architecture, `data.normalise` and `data.features` are the checkpoint's. A key that the new
    configuration writes down differently is an error, unless it is a regulariser (REGULARISERS); a
    regulariser nobody wrote down is the checkpoint's too.
    """
    config, source = loaded.config, from_dict(payload["config"], where)
    section = "model" if config.av_model is None else "av_model"
    mine, its = getattr(config, section), getattr(source, section)
    if mine is None or its is None:
        which = config.system if mine is None else where
        raise UserError(
            f"--init: {which} has no encoder to start from or to give that fits {config.system}: "
            "leave it out"
        )
    model, conflicts = _adopt_section(loaded, section, mine, its, where)
    changes: dict[str, Any] = {section: model}
    if config.data is not None:
        inputs = {key: getattr(source.reading, key) for key in ("normalise", "features")}
        for key, old in inputs.items():
            new = getattr(config.reading, key)
            if f"data.{key}" in loaded.origins and new != old:
                origin = loaded.origins[f"data.{key}"]
                conflicts.append(f"{origin}: data.{key} = {new}, {where} has {old}")
        changes["data"] = replace(config.data, **inputs)
    if conflicts:
        raise UserError(
            "--init: the configuration contradicts the checkpoint: remove the keys\n"
            + "\n".join(conflicts)
        )
    return replace(config, **changes)


def _adopt_section(
    loaded: LoadedConfig, section: str, mine: Any, its: Any, where: str
) -> tuple[Any, list[str]]:
    """The shape of the checkpoint's encoder with regularisers written anew, and what clashes."""
    values: dict[str, Any] = {}
    conflicts = []
    for item in fields(its):
        old, new = getattr(its, item.name), getattr(mine, item.name)
        written = f"{section}.{item.name}" in loaded.origins
        if written and item.name in REGULARISERS:
            values[item.name] = new
            continue
        if written and old != new:
            origin = loaded.origins[f"{section}.{item.name}"]
            conflicts.append(f"{origin}: {section}.{item.name} = {new!r}, {where} has {old!r}")
        values[item.name] = old
    return type(its)(**values), conflicts


def start_from(system: nn.Module, payload: Mapping[str, Any], where: str) -> None:
    """Load the encoder of a checkpoint into a fresh system; heads stay as they are.

    A teacher begins again as a copy of the student (deep copy at update 0).
    """
    weights = checkpoint.encoder_weights(payload)
    if not weights:
        raise UserError(f"{where}: has no encoder: give one of pre-training or CTC")
    encoder = system.encoder
    assert isinstance(encoder, nn.Module)
    checkpoint.restore(encoder, weights, where)
    if isinstance(system, MT4SSL) and system.teacher is not None:
        system.teacher.copy_from(system.encoder.context)


def parameters(system: nn.Module) -> int:
    """Trainable parameters."""
    return sum(item.numel() for item in system.parameters() if item.requires_grad)
