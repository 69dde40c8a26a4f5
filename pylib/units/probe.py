"""Linear phone probe: how much about the phone a layer says to a linear classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pylib.nn.optimisers import LBFGS

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ProbeOptions:
    """Multinomial logistic regression by L-BFGS: convex, so neither seed nor step size matters."""

    iterations: int = 60
    decay: float = 1e-4  # weight of half the squared weights, biases left out


class LinearProbe:
    """Softmax regression on standardised features.

    Fitted on frames of training speakers, judged on frames of other speakers.
    """

    def __init__(self, features: Matrix, phones: npt.NDArray[np.int64], classes: int) -> None:
        """
        Args:
            features: (F, D) of the frames to fit.
            phones: (F,) ids in [0, classes).
            classes: number of phones.
        """
        self._mean = torch.from_numpy(features.mean(axis=0, dtype=np.float64)).float()
        deviation = torch.from_numpy(features.std(axis=0, dtype=np.float64)).float()
        self._scale = 1.0 / deviation.clamp_min(1e-5)
        self._x = self._standardise(features)
        self._y = torch.from_numpy(phones)
        self.weight = torch.zeros(features.shape[1], classes)
        self.bias = torch.zeros(classes)

    def _standardise(self, features: Matrix) -> Tensor:
        return (torch.from_numpy(features) - self._mean) * self._scale

    def fit(self, options: ProbeOptions | None = None) -> float:
        """Fit; returns the training loss (nats per frame, decay included)."""
        options = options or ProbeOptions()
        weight = self.weight.requires_grad_()
        bias = self.bias.requires_grad_()
        search = LBFGS(
            [weight, bias],
            max_iter=options.iterations,
            history_size=10,
            line_search_fn="strong_wolfe",
        )

        def loss() -> Tensor:
            search.zero_grad()
            value = torch.nn.functional.cross_entropy(self._x @ weight + bias, self._y)
            value = value + 0.5 * options.decay * weight.square().sum()
            value.backward()
            return value

        search.step(loss)
        with torch.no_grad():
            final = float(
                torch.nn.functional.cross_entropy(self._x @ weight + bias, self._y)
                + 0.5 * options.decay * weight.square().sum()
            )
        self.weight, self.bias = weight.detach(), bias.detach()
        return final

    def predict(self, features: Matrix) -> npt.NDArray[np.int64]:
        """Most likely phone (F,) of frames (F, D)."""
        with torch.no_grad():
            scores = self._standardise(features) @ self.weight + self.bias
        return scores.argmax(dim=1).numpy()


def accuracy_interval(
    correct: npt.NDArray[np.int64], total: npt.NDArray[np.int64], seed: int = 0, draws: int = 1000
) -> tuple[float, float, float]:
    """Accuracy with its 95 % interval by resampling speakers.

    Args:
        correct: (S,) frames right, of each speaker.
        total: (S,) frames, of each speaker.
        seed: of the resampling.
        draws: number of resamplings.

    Returns:
        (value, low, high); with one speaker the interval is the value alone.
    """
    value = float(correct.sum() / total.sum())
    if len(total) < 2:
        return value, value, value
    chosen = np.random.default_rng(seed).integers(len(total), size=(draws, len(total)))
    values = correct[chosen].sum(axis=1) / total[chosen].sum(axis=1)
    low, high = np.quantile(values, [0.025, 0.975])
    return value, float(low), float(high)
