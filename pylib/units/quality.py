"""How well units fit phones: PNMI, purities, lengths; and how evenly they are used.

Definitions of [HuBERT IV-A] and fairseq's measure_teacher_quality. All work on a joint table: the
number of frames with phone p and unit k.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


def _entropy(probabilities: npt.NDArray[np.float64]) -> float:
    """Shannon entropy in nats; zero probabilities add nothing."""
    some = probabilities[probabilities > 0]
    return float(-(some * np.log(some)).sum())


def _joint(table: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    table = np.asarray(table, dtype=np.float64)
    if table.ndim != 2 or table.sum() <= 0 or (table < 0).any():
        raise ValueError(f"a joint table (phones, units) of counts expected, got {table.shape}")
    return table / table.sum()


def perplexity(counts: npt.NDArray[Any]) -> float:
    """exp(entropy) of unit counts (K,): K when all are used alike, 1 when one is."""
    total = counts.sum()
    return float(np.exp(_entropy(np.asarray(counts, dtype=np.float64) / total))) if total else 0.0


def joint_table(
    phones: npt.NDArray[np.integer], units: npt.NDArray[np.integer], num_phones: int, num_units: int
) -> Counts:
    """Count pairs.

    Args:
        phones: (F,) phone of each frame; frames with a negative phone are left out.
        units: (F,) unit of each frame.
        num_phones: P.
        num_units: K.

    Returns:
        int64 (P, K).
    """
    known = phones >= 0
    flat = phones[known].astype(np.int64) * num_units + units[known]
    return np.bincount(flat, minlength=num_phones * num_units).reshape(num_phones, num_units)


def pnmi(table: npt.NDArray[Any]) -> float:
    """Phone-normalised mutual information I(phone; unit) / H(phone) of a joint table (P, K).

    The share of the uncertainty about the phone that the unit removes, in [0, 1]; 0 when there is
    only one phone. Estimated from counts it comes out too high where frames are few for P x K
    cells: compare values of the same set and K.
    """
    joint = _joint(table)
    phone, unit = _entropy(joint.sum(axis=1)), _entropy(joint.sum(axis=0))
    if phone == 0:
        return 0.0
    return (phone + unit - _entropy(joint.reshape(-1))) / phone


def phone_purity(table: npt.NDArray[Any]) -> float:
    """Frame accuracy if each unit is taken for its most frequent phone."""
    return float(_joint(table).max(axis=0).sum())


def cluster_purity(table: npt.NDArray[Any]) -> float:
    """Frame accuracy if each phone is taken for its most frequent unit."""
    return float(_joint(table).max(axis=1).sum())


def mean_run(sequences: Sequence[npt.NDArray[np.integer]], rate: float) -> float:
    """Mean length in seconds of runs of the same id, over utterances of ids (T_i,) at `rate` Hz."""
    frames = sum(len(ids) for ids in sequences)
    runs = sum(1 + int((ids[1:] != ids[:-1]).sum()) for ids in sequences if len(ids))
    return frames / runs / rate if runs else 0.0


MEASURES = {"pnmi": pnmi, "phone_purity": phone_purity, "cluster_purity": cluster_purity}


def with_intervals(
    tables: Counts, seed: int = 0, draws: int = 1000
) -> dict[str, tuple[float, float, float]]:
    """Measures over all speakers with 95 % intervals by resampling speakers.

    The interval is the value +- 1.96 standard deviations of the resampled values. Percentiles would
    be off to one side: a table of fewer speakers is emptier, which raises information and purity.

    Args:
        tables: int64 (S, P, K), the joint table of each speaker.
        seed: of the resampling.
        draws: number of resamplings.

    Returns:
        measure -> (value, low, high), within [0, 1]. With one speaker all three are the value.
    """
    speakers, phones, units = tables.shape
    whole = tables.sum(axis=0)
    rng = np.random.default_rng(seed)
    flat = tables.reshape(speakers, -1).astype(np.float64)
    values: dict[str, list[float]] = {name: [] for name in MEASURES}
    for _ in range(draws if speakers > 1 else 0):
        weights = np.bincount(rng.integers(speakers, size=speakers), minlength=speakers)
        table = (weights @ flat).reshape(phones, units)
        for name, measure in MEASURES.items():
            values[name].append(measure(table))
    out = {}
    for name, measure in MEASURES.items():
        value = measure(whole)
        reach = 1.96 * float(np.std(values[name])) if values[name] else 0.0
        out[name] = (value, max(value - reach, 0.0), min(value + reach, 1.0))
    return out
