"""Closed-set speaker identification: which training speaker said an utterance."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some
from pylib.scoring.latents import SUFFIXES, Latents, check_same_model
from pylib.scoring.significance import MIN_SPEAKERS, SEED

DRAWS = 1000
ITERATIONS = 1000


def predict_speakers(train: Latents, test: Latents) -> list[str]:
    """Most likely training speaker of each test vector.

    Multinomial logistic regression on vectors standardised by the training set, with the usual
    unit penalty; convex, so there is neither a seed nor a step size.
    """
    from sklearn.linear_model import LogisticRegression

    mean, deviation = train.matrix.mean(axis=0), train.matrix.std(axis=0)
    scale = 1.0 / np.maximum(deviation, 1e-8)
    model = LogisticRegression(max_iter=ITERATIONS)
    model.fit((train.matrix - mean) * scale, train.speakers)
    return [str(name) for name in model.predict((test.matrix - mean) * scale)]


def _interval(
    right: npt.NDArray[np.bool_], speakers: npt.NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """95 % interval of the accuracy in percent by drawing speakers; None below three."""
    total = np.bincount(speakers)
    if len(total) < MIN_SPEAKERS:
        return None, None
    correct = np.bincount(speakers, weights=right)
    drawn = np.random.default_rng(SEED).integers(len(total), size=(DRAWS, len(total)))
    values = 100.0 * correct[drawn].sum(axis=1) / total[drawn].sum(axis=1)
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def check_closed_set(train: Latents, test: Latents) -> None:
    """UserError where an utterance was trained on, or a speaker was not."""
    shared = set(train.utts) & set(test.utts)
    if shared:
        raise UserError(
            f"{test.where.parent}: {names_some(shared)} also in {train.where.parent}: identify "
            "speakers by utterances that were not trained on"
        )
    new = set(test.speakers) - set(train.speakers)
    if new:
        raise UserError(
            f"{test.where.parent}: {names_some(new)} not in {train.where.parent}: only training "
            "speakers can be identified; verify the others with steps/score_sv.sh"
        )
    if len(set(train.speakers)) < 2:
        raise UserError(f"{train.where.parent}: one speaker only: nothing to tell apart")


def identify(train: Latents, test: Latents, name: str, file: str) -> list[dict[str, Any]]:
    """Row `sid_accuracy` (percent), with `_content` for the content latent.

    Args:
        train: vectors of the training speakers.
        test: vectors of other utterances of theirs.
        name: `svector` or `z1mean`.
        file: where the row will be written.

    Raises:
        UserError: another model, or sets that share utterances or are of other speakers.
    """
    check_same_model(train, test)
    check_closed_set(train, test)
    said = predict_speakers(train, test)
    right = np.array([one == two for one, two in zip(said, test.speakers, strict=True)])
    names = {speaker: i for i, speaker in enumerate(sorted(set(test.speakers)))}
    low, high = _interval(right, np.array([names[speaker] for speaker in test.speakers]))
    return [
        {
            "system": test.origin["system"],
            "seed": test.origin.get("seed"),
            "set": test.set,
            "measure": f"sid_accuracy{SUFFIXES[name]}",
            "decode": f"{name}/logistic",
            "value": float(100.0 * right.mean()),
            "low": low,
            "high": high,
            "n": len(right),
            "file": os.fspath(file),
        }
    ]
