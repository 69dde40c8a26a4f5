"""Stops a sick run with its cause, warns of one that may be sick, and says what others saw.

A rising data2vec loss is normal: its targets move.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from torch import nn

from pylib.nn.loss import CollapseError
from pylib.training.config import TrainConfig

log = logging.getLogger("train")

_LEAST_CONV_STD = 1e-3  # the front end can collapse while targets and predictions look fine
_LEAST_UNITS = 1.5  # perplexity of predicted units: below, one unit is predicted for all

# Public curves and tables of HuBERT Base on LibriSpeech 960 h, by the number of clusters: masked
# accuracies of a re-training (fairseq issue 4907) and of ESPnet's (pull request 4747); PNMI of
# k-means labels on 1 to 100 h of audio (HuBERT, arXiv 2106.07447, Table IV).
_HUBERT = {
    100: (
        "masked accuracy .365 at 250k updates, .390 at 400k (fairseq issue 4907); .442 at 150k, "
        ".46 at the end (ESPnet pull request 4747)",
        "PNMI of labels from 100 MFCC clusters .251 to .253",
    ),
    500: (
        "masked accuracy .383 at 250k updates, .417 at 400k (fairseq issue 4907)",
        "PNMI of labels from 500 clusters of the first iteration's layer 6 .680 to .686, from 500 "
        "MFCC clusters .283 to .287",
    ),
}
_HUBERT_MASK = 0.80  # share that it masks: less masked is easier


class TrainingStopped(Exception):
    """Training must not go on; the message is the cause. Checkpoints stay as they were."""


def bands(config: TrainConfig) -> list[str]:
    """What public runs of this kind showed, to be read beside the development set's measures.

    Only for what they were runs of: HuBERT's labels (100 MFCC clusters, or 500 of the first
    iteration) and a model of base size on waveforms. Other sizes and corpora have none.
    """
    model, targets, mask = config.model, config.targets, config.mask
    if model is None or targets is None or mask is None or targets.offline_weight == 0:
        return []
    if (model.frontend, model.dim, model.layers) != ("waveform", 768, 12):
        return []
    if targets.clusters not in _HUBERT:
        return []
    accuracy, labels = _HUBERT[targets.clusters]
    if abs(mask.prob - _HUBERT_MASK) > 1e-9:
        accuracy += f", all at mask.prob {_HUBERT_MASK:.2f}: at {mask.prob:.2f} expect more"
    # fairseq logs bits: log2(500) = 9 is chance. Fast-HuBERT's log is taken to be in bits, too.
    ce = "CE that stays at 8 to 11 bits (5.5 to 7.6 nats) is sick, 2 to 4 bits (1.4 to 2.8 nats) "
    return [
        f"HuBERT Base, LibriSpeech 960 h, {targets.clusters} clusters: {accuracy}",
        f"{labels}; falling accuracy at frames that are not masked is normal",
        f"{ce}healthy (Fast-HuBERT issue 6; nats here)",
    ]


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
