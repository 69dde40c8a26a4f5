"""Equal error rate and minimum detection cost of scored trials, by a sweep over all thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EqualError:
    """Where misses and false alarms are equally frequent.

    Attributes:
        eer: percent.
        threshold: score at or above which a trial is accepted there.
    """

    eer: float
    threshold: float


@dataclass(frozen=True)
class DetectionCost:
    """Price of errors, NIST's; the defaults are those of its recent evaluations.

    Attributes:
        prior: probability of a target.
        miss: cost of a miss.
        alarm: cost of a false alarm.
    """

    prior: float = 0.01
    miss: float = 1.0
    alarm: float = 1.0


class Sweep:
    """Trials in order of score; error rates of every threshold, under any weights of the trials.

    A threshold is one of the K different scores (accept what is at or above it) or above them all,
    so trials of one score are decided alike and tied scores need no convention.
    """

    def __init__(self, scores: npt.ArrayLike, target: npt.ArrayLike) -> None:
        """
        Args:
            scores: (M,) of the trials, higher = more likely a target.
            target: (M,) bool.

        Raises:
            UserError: no target, no nontarget, or scores that are not finite.
        """
        values = np.asarray(scores, dtype=np.float64)
        is_target = np.asarray(target, dtype=bool)
        if not is_target.any() or is_target.all():
            raise UserError(
                f"{int(is_target.sum())} target and {int((~is_target).sum())} nontarget trials: "
                "an error rate needs both kinds: make a list with more speakers or utterances"
            )
        if not np.isfinite(values).all():
            raise UserError(
                f"{int((~np.isfinite(values)).sum())} scores of trials are NaN or infinite: look "
                "at the vectors that they come from"
            )
        self.thresholds, place = np.unique(values, return_inverse=True)
        self._target = np.flatnonzero(is_target)
        self._other = np.flatnonzero(~is_target)
        self._places = place[self._target], place[self._other]

    def rates(self, weights: Floats | None = None) -> tuple[Floats, Floats]:
        """Miss and false-alarm rates (K + 1,) from the lowest threshold to above all scores.

        Args:
            weights: (M,) of the trials, None = all the same. Both kinds need a positive sum.
        """
        miss, alarm = (
            np.bincount(
                places,
                weights=None if weights is None else weights[chosen],
                minlength=len(self.thresholds),
            ).cumsum()
            for places, chosen in zip(self._places, (self._target, self._other), strict=True)
        )
        miss, alarm = (np.concatenate(([0.0], total / total[-1])) for total in (miss, alarm))
        return miss, 1.0 - alarm

    def crossing(self, miss: Floats, alarm: Floats) -> EqualError:
        """Where two rates of `rates` meet, linear between neighbouring thresholds."""
        gap = miss - alarm  # rises from -1 to 1
        upper = int(np.searchsorted(gap, 0.0))
        lower = upper - 1
        share = -gap[lower] / (gap[upper] - gap[lower])
        eer = miss[lower] + share * (miss[upper] - miss[lower])
        low = self.thresholds[lower]
        if upper < len(self.thresholds):
            high = self.thresholds[upper]
        else:
            high = np.nextafter(low, np.inf)
        return EqualError(float(100.0 * eer), float(low + share * (high - low)))

    def equal_error(self, weights: Floats | None = None) -> EqualError:
        """Where misses and false alarms are equally frequent."""
        return self.crossing(*self.rates(weights))

    def min_dcf(self, cost: DetectionCost | None = None, weights: Floats | None = None) -> float:
        """Least cost of any threshold, see `least_cost`."""
        return least_cost(*self.rates(weights), cost)


def least_cost(miss: Floats, alarm: Floats, cost: DetectionCost | None = None) -> float:
    """Least cost over that of accepting nothing or everything; at most 1.

    Args:
        miss, alarm: (K + 1,) rates at all thresholds.
        cost: of each.
    """
    cost = cost or DetectionCost()
    missed, alarmed = cost.miss * cost.prior, cost.alarm * (1.0 - cost.prior)
    return float((missed * miss + alarmed * alarm).min() / min(missed, alarmed))


def equal_error(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> EqualError:
    """Equal error rate of two sets of scores.

    Args:
        target: (N,) scores of same-speaker trials.
        nontarget: (M,) of the others.

    Raises:
        UserError: either is empty, or scores that are not finite.
    """
    return _both(target, nontarget).equal_error()


def min_dcf(
    target: npt.ArrayLike, nontarget: npt.ArrayLike, cost: DetectionCost | None = None
) -> float:
    """Minimum normalised detection cost of two sets of scores; arguments as `equal_error`."""
    return _both(target, nontarget).min_dcf(cost)


def _both(target: npt.ArrayLike, nontarget: npt.ArrayLike) -> Sweep:
    first = np.asarray(target, dtype=np.float64).ravel()
    second = np.asarray(nontarget, dtype=np.float64).ravel()
    return Sweep(np.concatenate((first, second)), np.arange(len(first) + len(second)) < len(first))
