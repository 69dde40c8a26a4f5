"""Stops a sick run with its cause, and warns of one that is likely to be sick.

Reference bands: masked accuracy of HuBERT's first iteration .365 at 250k updates;
a loss that stays at 8-11 is sick, 2-4 is healthy. A rising data2vec loss is normal.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from torch import nn

from pylib.nn.loss import CollapseError

log = logging.getLogger("train")

_LEAST_CONV_STD = 1e-3  # the front end can collapse while targets and predictions look fine
_LEAST_UNITS = 1.5  # perplexity of predicted units: below, one unit is predicted for all


class TrainingStopped(Exception):
    """Training must not go on; the message is the cause. Checkpoints stay as they were."""


class Monitor:
    """Looks at every line of the log."""

    def __init__(self, system: nn.Module, guard_after: int) -> None:
        self.system, self.guard_after = system, guard_after
        self._told: set[str] = set()

    def check(self, numbers: Mapping[str, float], update: int) -> None:
        """Raise TrainingStopped on collapse or numbers that are not finite; warn once of signs."""
        for name in ("loss", "grad_norm"):
            if name in numbers and not math.isfinite(numbers[name]):
                raise TrainingStopped(f"update {update}: {name} is {numbers[name]}")
        health = getattr(self.system, "health", None)
        if health is not None:
            try:
                health(numbers)
            except CollapseError as error:
                raise TrainingStopped(str(error)) from None
        if update <= self.guard_after:
            return
        if numbers.get("conv_std", 1.0) < _LEAST_CONV_STD:
            self._warn("conv_std", f"front end's spread is {numbers['conv_std']:.2g}: collapsing?")
        if numbers.get("pred_perplexity", 9.0) < _LEAST_UNITS:
            self._warn("units", "one and the same unit is predicted nearly everywhere")
        if numbers.get("blank", 0.0) > 0.999:
            self._warn("blank", "nothing but blanks is predicted: learning rate or data at fault?")

    def _warn(self, key: str, text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            log.warning("health: %s", text)
