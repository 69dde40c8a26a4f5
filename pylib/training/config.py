"""Configuration: TOML files -> frozen dataclasses.

A file may build on others (`extends = "base.toml"` or a list of which a later one overrides an
earlier one, relative to the file that says so); `--set section.key=value` overrides all.
Unknown keys, wrong types and cycles are errors that name the file and the line.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from pylib.corpus.errors import UserError
from pylib.nn.av_encoder import AVModelConfig
from pylib.nn.av_masks import AVMaskConfig
from pylib.nn.encoder import EncoderConfig
from pylib.nn.masks import MaskConfig
from pylib.systems.ctc import CTCConfig
from pylib.systems.fhvae import FHVAEConfig, ObjectiveConfig
from pylib.systems.mt4ssl import TargetsConfig
from pylib.systems.phone2unit import Phone2UnitConfig
from pylib.systems.seq2seq import Seq2SeqConfig
from pylib.systems.vatlm import UnitsConfig
from pylib.training.av_settings import AVDataConfig, MixtureConfig
from pylib.training.config_file import parse_override, read_flat
from pylib.training.phone_data import PhoneDataConfig
from pylib.training.segment_settings import SegmentsConfig
from pylib.training.settings import DataConfig, OptimConfig, RunConfig, added_keys, neutral_keys

# Sections each system reads; systems of speech share the last four, audio-visual ones AV_SHARED,
# all the last two.
SHARED: dict[str, type] = {
    "model": EncoderConfig,
    "data": DataConfig,
    "optim": OptimConfig,
    "run": RunConfig,
}
AV_SHARED: dict[str, type] = {
    "av_model": AVModelConfig,
    "av_data": AVDataConfig,
    "optim": OptimConfig,
    "run": RunConfig,
}
SYSTEMS: dict[str, dict[str, type]] = {
    "mt4ssl": {"targets": TargetsConfig, "mask": MaskConfig, **SHARED},
    "ctc": {"ctc": CTCConfig, **SHARED},
    "fhvae": {
        "fhvae": FHVAEConfig,
        "objective": ObjectiveConfig,
        "segments": SegmentsConfig,
        "optim": OptimConfig,
        "run": RunConfig,
    },
    "vatlm": {
        "units": UnitsConfig,
        "av_mask": AVMaskConfig,
        "mixture": MixtureConfig,
        **AV_SHARED,
    },
    "seq2seq": {"seq2seq": Seq2SeqConfig, **AV_SHARED},
    "phone2unit": {
        "phone2unit": Phone2UnitConfig,
        "phone_data": PhoneDataConfig,
        "optim": OptimConfig,
        "run": RunConfig,
    },
}
SECTIONS: dict[str, type] = {name: cls for part in SYSTEMS.values() for name, cls in part.items()}


@dataclass(frozen=True)
class TrainConfig:
    """The resolved configuration of a run. Sections the system does not read are None."""

    system: str
    optim: OptimConfig
    run: RunConfig
    model: EncoderConfig | None = None
    data: DataConfig | None = None
    targets: TargetsConfig | None = None
    mask: MaskConfig | None = None
    ctc: CTCConfig | None = None
    fhvae: FHVAEConfig | None = None
    objective: ObjectiveConfig | None = None
    segments: SegmentsConfig | None = None
    av_model: AVModelConfig | None = None
    av_data: AVDataConfig | None = None
    units: UnitsConfig | None = None
    av_mask: AVMaskConfig | None = None
    mixture: MixtureConfig | None = None
    seq2seq: Seq2SeqConfig | None = None
    phone2unit: Phone2UnitConfig | None = None
    phone_data: PhoneDataConfig | None = None

    @property
    def encoder(self) -> EncoderConfig:
        """[model] of a system that has an encoder."""
        assert self.model is not None, self.system
        return self.model

    @property
    def reading(self) -> DataConfig:
        """[data] of a system that reads whole utterances."""
        assert self.data is not None, self.system
        return self.data

    @property
    def prefetch(self) -> int:
        """Batches prepared ahead of the loop."""
        of = self.data or self.segments or self.av_data or self.phone_data
        assert of is not None, self.system
        return of.prefetch

    def as_dict(self) -> dict[str, Any]:
        """Plain dict of JSON types: {"system": ..., section: {key: value}}."""
        result: dict[str, Any] = {"system": self.system}
        for name in SYSTEMS[self.system]:
            section = getattr(self, name)
            result[name] = {
                item.name: _plain(getattr(section, item.name)) for item in fields(section)
            }
        return result

    def identity(self) -> dict[str, Any]:
        """`as_dict` without the keys that cannot change the trained weights."""
        result = self.as_dict()
        for name, cls in SYSTEMS[self.system].items():
            for key in neutral_keys(cls):
                del result[name][key]
            for key, default in added_keys(cls).items():
                if result[name][key] == _plain(default):
                    del result[name][key]
        return result

    def hash(self) -> str:
        """sha256 of `identity()`: two runs of equal hash train the same weights."""
        return hashlib.sha256(_canonical(self.identity()).encode()).hexdigest()


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration, and which of its keys somebody wrote down (`section.key` -> where)."""

    config: TrainConfig
    origins: Mapping[str, str]


def load_config(
    path: str | Path | Sequence[str | Path] | None, overrides: Sequence[str] = ()
) -> LoadedConfig:
    """Read TOML configuration files and apply `section.key=value` overrides.

    path: the file, or several of which a later one overrides an earlier one, as if it extended
        them; None = defaults and overrides only.
    Raises UserError naming file, line and key.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    inherited: set[str] = set()
    paths = [path] if isinstance(path, str | Path) else list(path or ())
    for one in paths:
        more, where, handed_down = read_flat(Path(one))
        inherited = (inherited | set(values) | handed_down) - (set(more) - handed_down)
        values |= more
        origins |= where
    for text in overrides:
        key, value = parse_override(text)
        values[key] = value
        origins[key] = f"--set {key}"
        inherited.discard(key)
    return LoadedConfig(_build(values, origins, inherited), origins)


def from_dict(resolved: Mapping[str, Any], where: str) -> TrainConfig:
    """Rebuild the configuration that `TrainConfig.as_dict` gave (a checkpoint carries it).

    where: named in errors. Unknown keys are errors: such a checkpoint is of a newer version.
    """
    if not isinstance(resolved, Mapping):
        raise UserError(f"{where}: its configuration is no table of sections: train again")
    values = {"system": resolved.get("system")}
    for name, section in resolved.items():
        if name != "system" and not isinstance(section, Mapping):
            raise UserError(f"{where}: section {name!r} of its configuration: train again")
        if name != "system":
            values.update({f"{name}.{key}": value for key, value in section.items()})
    return _build(values, dict.fromkeys(values, where), set())


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Keys at which two nested dicts of settings differ, as `section.key: old -> new` lines."""
    lines = []
    for key in sorted(first.keys() | second.keys()):
        old, new = first.get(key), second.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            lines += [f"{key}.{line}" for line in differences(old, new)]
        elif old != new:
            lines.append(f"{key}: {json.dumps(old)} -> {json.dumps(new)}")
    return lines


def _build(
    values: Mapping[str, Any], origins: Mapping[str, str], inherited: set[str]
) -> TrainConfig:
    """Check flat values against the dataclasses and make the configuration."""
    system = values.get("system", "mt4ssl")
    if not isinstance(system, str) or system not in SYSTEMS:
        where = origins.get("system", "system")
        raise UserError(f"{where}: system: no system {system!r}: one of {', '.join(SYSTEMS)}")
    used = SYSTEMS[system]
    collected: dict[str, dict[str, Any]] = {name: {} for name in used}
    for full, value in values.items():
        if full == "system":
            continue
        name, _, key = full.partition(".")
        _check_key(name, key, origins[full])
        checked = _check_type(full, SECTIONS[name], key, value, origins[full])
        if name in used:
            collected[name][key] = checked
        elif full not in inherited:
            raise UserError(
                f"{origins[full]}: {full}: system {system!r} has no section [{name}]: "
                f"its sections are {', '.join(used)}"
            )
    sections: dict[str, Any] = {}
    for name, cls in used.items():
        try:
            sections[name] = cls(**collected[name])
        except (ValueError, UserError) as error:
            told = [origins[f"{name}.{key}"] for key in collected[name]]
            # a line of a file, or a checkpoint; what comes from the command line names itself
            files = {at.rpartition(":")[0] or at for at in told if not at.startswith("--set")}
            where = ", ".join(sorted(files)) or "configuration"
            raise UserError(f"{where}: [{name}]: {error}") from None
    return TrainConfig(system=system, **sections)


def _check_key(name: str, key: str, where: str) -> None:
    if name not in SECTIONS:
        near = _nearest(name, ["system", "extends", *SECTIONS])
        raise UserError(f"{where}: unknown section or key {name!r}{near}")
    if not key:
        raise UserError(f"{where}: {name} is a section: write [{name}] and its keys below")
    names = [item.name for item in fields(SECTIONS[name])]
    if key not in names:
        elsewhere = [s for s, cls in SECTIONS.items() if key in {f.name for f in fields(cls)}]
        near = (
            f": did you mean {elsewhere[0]}.{key}?"
            if elsewhere
            else _nearest(key, names, f"{name}.")
        )
        raise UserError(f"{where}: unknown key {name}.{key}{near}")


def _nearest(word: str, candidates: Sequence[str], prefix: str = "") -> str:
    found = difflib.get_close_matches(word, candidates, n=1, cutoff=0.0)
    return f": did you mean {prefix}{found[0]}?" if found else ""


def _check_type(full: str, cls: type, key: str, value: Any, where: str) -> Any:
    """The value in the type of its field. An int may stand for a float, nothing else bends."""
    expected = typing.get_type_hints(cls)[key]
    try:
        return _coerce(expected, value)
    except TypeError as error:
        raise UserError(f"{where}: {full} = {json.dumps(value, default=str)}: {error}") from None


def _coerce(expected: Any, value: Any) -> Any:
    origin, args = typing.get_origin(expected), typing.get_args(expected)
    if origin is typing.Literal:
        if value not in args or isinstance(value, bool):
            raise TypeError(f"expected one of {', '.join(map(str, args))}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        remaining = [item for item in args if item is not type(None)]
        return _coerce(remaining[0], value)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            if args[-1] is not Ellipsis or not isinstance(value, int | float):
                raise TypeError("expected a list")
            value = [value]  # a number may stand for a list of it alone
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) != len(value):
            raise TypeError(f"expected a list of {len(kinds)} values")
        return tuple(_coerce(kind, item) for kind, item in zip(kinds, value, strict=True))
    if type(value) is int and abs(value) >= 1 << 63:
        raise TypeError("expected a number of 64 bits")
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not expected:
        raise TypeError(f"expected {_NAMES.get(expected, expected)}")
    if expected is float and not math.isfinite(value):
        raise TypeError("expected a finite number")
    return value


_NAMES = {float: "a number", int: "a whole number", bool: "true or false", str: "a string"}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        raise TypeError("settings are one level deep")
    return list(value) if isinstance(value, tuple) else value


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def field_default(cls: type, key: str) -> Any:
    """Default of a settings field; raises KeyError for one without."""
    for item in fields(cls):
        if item.name == key and item.default is not MISSING:
            return item.default
    raise KeyError(f"{cls.__name__}.{key} has no default")
