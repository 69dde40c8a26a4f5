"""Ways to hear and see a test set: modalities and noises, and the names of what is made of each.

Importable without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pylib.corpus.errors import UserError
from pylib.features.noise import Condition

MODALITIES: dict[str, tuple[str, ...]] = {
    "av": ("audio", "video"),
    "a": ("audio",),
    "v": ("video",),
}
METHODS = ("beam", "greedy")


@dataclass(frozen=True)
class Variant:
    """One way to hear and see a set."""

    condition: Condition
    modality: str

    def name(self, data: str) -> str:
        """`decode_test_babble_-5_av` of a data directory named test."""
        return f"decode_{data}{self.condition.suffix}_{self.modality}"

    def record(self, data: str, more: Mapping[str, Any]) -> dict[str, Any]:
        """decode.json; `decode` is the modality, `set` names the noise too."""
        return {
            "decode": self.modality,
            "set": data + self.condition.suffix,
            "data_set": data,
            "condition": str(self.condition),
            **more,
            "lm": None,
        }


def parse_modalities(text: str) -> list[str]:
    """Names of MODALITIES in `text`, each once. UserError: none, or an unknown one."""
    names = list(dict.fromkeys(text.split()))
    if not names:
        raise UserError(f"--modalities: none given: some of {', '.join(MODALITIES)}")
    for name in names:
        if name not in MODALITIES:
            raise UserError(f"--modalities {name}: expected some of {', '.join(MODALITIES)}")
    return names


def parse_conditions(text: str) -> list[Condition]:
    """Conditions in `text`, each once. UserError: none, or not one."""
    found = list(dict.fromkeys(Condition.parse(word) for word in text.split()))
    if not found:
        raise UserError("--conditions: none given: clean, babble:0 ...")
    return found


def variants_of(conditions: Sequence[Condition], modalities: Sequence[str]) -> list[Variant]:
    """All pairs, in the order given; pictures alone are the same in every noise: clean, once."""
    pairs = [
        Variant(condition if "audio" in MODALITIES[modality] else Condition(), modality)
        for condition in conditions
        for modality in modalities
    ]
    return list(dict.fromkeys(pairs))
