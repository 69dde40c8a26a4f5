"""Speaker verification with the vectors of utterances: cosine, centred, LDA; intervals."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some
from pylib.corpus.trials import Trial
from pylib.scoring.eer import DetectionCost, Sweep, least_cost
from pylib.scoring.latents import SUFFIXES, Latents, check_same_model
from pylib.scoring.lda import fit_lda
from pylib.scoring.significance import MIN_SPEAKERS, SEED

Matrix = npt.NDArray[np.float64]
Estimate = tuple[float, float | None, float | None]  # value and 95 % interval, where there is one


@dataclass(frozen=True)
class SvOptions:
    """How trials are scored.

    Attributes:
        lda_dim: directions of the LDA, at most speakers - 1.
        draws: of speakers, for the intervals.
        seed: of the drawing.
        cost: of minDCF.
    """

    lda_dim: int = 24
    draws: int = 1000
    seed: int = SEED
    cost: DetectionCost = DetectionCost()


@dataclass(frozen=True)
class TrialSet:
    """Trials as numbers.

    Attributes:
        enrol, test: (M,) rows of the matrix of vectors.
        first, second: (M,) speakers of the two.
        target: (M,) bool, the same speaker.
        same_gender: (M,) bool; False where the gender is not known.
        speakers: number of different speakers.
        dropped: trials left out because an utterance has no vector.
    """

    enrol: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    target: npt.NDArray[np.bool_]
    same_gender: npt.NDArray[np.bool_]
    speakers: int
    dropped: int


def index_trials(
    trials: Sequence[Trial], latents: Latents, where: str | os.PathLike[str]
) -> TrialSet:
    """Trials as rows of `latents`, without those of utterances that were left out as too short.

    Raises:
        UserError: an utterance that the set never had, a label that contradicts the speakers, or
            no trial left.
    """
    row = {utt: i for i, utt in enumerate(latents.utts)}
    named = {utt for trial in trials for utt in (trial.enrol, trial.test)}
    unknown = named - row.keys() - latents.without
    if unknown:
        raise UserError(
            f"{os.fspath(where)}: names utterances {names_some(unknown)} that "
            f"{latents.where.parent} does not have: use the list that was made for this set "
            "(steps/make_trials.sh)"
        )
    kept = [trial for trial in trials if trial.enrol in row and trial.test in row]
    if not kept:
        raise UserError(
            f"{os.fspath(where)}: no trial has vectors of both utterances in {latents.where}: use "
            "the list that was made for this set (steps/make_trials.sh)"
        )
    names = {name: i for i, name in enumerate(sorted(set(latents.speakers)))}
    speaker = np.array([names[name] for name in latents.speakers])
    enrol = np.array([row[trial.enrol] for trial in kept])
    test = np.array([row[trial.test] for trial in kept])
    target = np.array([trial.target for trial in kept], dtype=bool)
    gender = np.array([trial.gender == "same" for trial in kept], dtype=bool)
    first, second = speaker[enrol], speaker[test]
    for index in np.flatnonzero((first == second) != target)[:1]:
        said = "target" if kept[index].target else "nontarget"
        raise UserError(
            f"{os.fspath(where)}: '{kept[index].enrol}' and '{kept[index].test}' are called {said},"
            f" utt2spk of {latents.where.parent} says otherwise: make the list again from this set"
        )
    present = len(np.unique(np.concatenate((first, second))))
    return TrialSet(enrol, test, first, second, target, gender, present, len(trials) - len(kept))


def backends(train: Latents, options: SvOptions) -> dict[str, Callable[[Matrix], Matrix]]:
    """What is done to vectors before the cosine; everything fitted is fitted on `train`."""
    mean = train.matrix.mean(axis=0)
    projection = fit_lda(train.matrix, train.speakers, options.lda_dim)
    return {
        "cosine": lambda x: x,
        "centred": lambda x: x - mean,
        "lda": lambda x: (x - mean) @ projection,
    }


def cosine_scores(matrix: Matrix, trials: TrialSet) -> npt.NDArray[np.float64]:
    """Cosine (M,) of the two vectors of each trial; 0 where one is 0."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit = matrix / np.maximum(lengths, 1e-12)
    scores: npt.NDArray[np.float64] = np.einsum("md,md->m", unit[trials.enrol], unit[trials.test])
    return scores.round(12)  # equal vectors tie, whatever the rounding of their products


def speaker_weights(trials: TrialSet, times: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Weight (M,) of each trial when speaker s was drawn times[s] times.

    A speaker drawn twice counts as two speakers with the same recordings, each with its own target
    trials; trials between the two are left out.
    """
    product = times[trials.first] * times[trials.second]
    weights: npt.NDArray[np.float64] = np.where(trials.target, times[trials.first], product)
    return weights.astype(np.float64)


def _part(trials: TrialSet, chosen: npt.NDArray[np.bool_]) -> TrialSet:
    """The chosen trials."""
    first, second = trials.first[chosen], trials.second[chosen]
    return replace(
        trials,
        enrol=trials.enrol[chosen],
        test=trials.test[chosen],
        first=first,
        second=second,
        target=trials.target[chosen],
        same_gender=trials.same_gender[chosen],
        speakers=len(np.unique(np.concatenate((first, second)))),
    )


def _measure(
    scores: npt.NDArray[np.float64], trials: TrialSet, options: SvOptions
) -> dict[str, Estimate]:
    """EER (percent) and minDCF with 95 % intervals over speakers, None below three speakers."""
    sweep = Sweep(scores, trials.target)
    values = {"eer": sweep.equal_error().eer, "min_dcf": sweep.min_dcf(options.cost)}
    if trials.speakers < MIN_SPEAKERS:
        return {name: (value, None, None) for name, value in values.items()}
    rng = np.random.default_rng(options.seed)
    names, index = np.unique(np.concatenate((trials.first, trials.second)), return_inverse=True)
    drawn: dict[str, list[float]] = {"eer": [], "min_dcf": []}
    for _ in range(options.draws):
        chosen = np.zeros(int(names.max()) + 1, dtype=np.int64)
        chosen[names] = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)))
        weights = speaker_weights(trials, chosen)
        if not weights[trials.target].any() or not weights[~trials.target].any():
            continue  # one speaker only, or speakers without trials: no rate
        rates = sweep.rates(weights)
        drawn["eer"].append(sweep.crossing(*rates).eer)
        drawn["min_dcf"].append(least_cost(*rates, options.cost))
    found: dict[str, Estimate] = {}
    for name, value in values.items():
        if drawn[name]:
            low, high = np.percentile(drawn[name], [2.5, 97.5])
            found[name] = value, float(low), float(high)
        else:
            found[name] = value, None, None
    return found


def _measures(
    scores: npt.NDArray[np.float64], trials: TrialSet, options: SvOptions
) -> list[tuple[str, int, Estimate]]:
    """(measure, trials, value with interval): of all trials, and of those of one gender."""
    found = [
        (name, len(scores), estimate)
        for name, estimate in _measure(scores, trials, options).items()
    ]
    same = _part(trials, trials.same_gender)
    if same.target.any() and not same.target.all():
        estimate = _measure(scores[trials.same_gender], same, options)["eer"]
        found.append(("eer_same_gender", len(same.target), estimate))
    return found


def check_unseen(train: Latents, test: Latents) -> None:
    """UserError where a speaker of the trials was fitted on."""
    shared = set(train.speakers) & set(test.speakers)
    if shared:
        raise UserError(
            f"{test.where.parent}: {names_some(shared)} also in {train.where.parent}: verify "
            "speakers that nothing was fitted on"
        )


def verify(
    train: Latents,
    test: Latents,
    trials: Sequence[Trial],
    name: str,
    where: str | os.PathLike[str],
    file: str,
    options: SvOptions | None = None,
) -> dict[str, Any]:
    """EER, EER of same-gender trials and minDCF of each back-end.

    Args:
        train: vectors of training speakers: mean and LDA are fitted on them.
        test: vectors of the utterances of the trials, of other speakers.
        trials: pairs of utterances of `test`.
        name: `svector`, or `z1mean`, whose measures end in `_content`.
        where: file of the trials, for messages.
        file: where the result will be written, for the rows.
        options: see `SvOptions`.

    Returns:
        {"results": rows, "details": ...}.

    Raises:
        UserError: another model, shared speakers, or trials that do not fit the set.
    """
    options = options or SvOptions()
    check_same_model(train, test)
    check_unseen(train, test)
    chosen = index_trials(trials, test, where)
    identity = {"system": test.origin["system"], "seed": test.origin.get("seed"), "set": test.set}
    rows = []
    for backend, transform in backends(train, options).items():
        scores = cosine_scores(transform(test.matrix), chosen)
        for measure, count, (value, low, high) in _measures(scores, chosen, options):
            rows.append(
                {
                    **identity,
                    "measure": f"{measure}{SUFFIXES[name]}",
                    "decode": f"{name}/{backend}",
                    "value": value,
                    "low": low,
                    "high": high,
                    "n": count,
                    "file": file,
                }
            )
    details = {
        "latent": name,
        "fitted_on": os.fspath(train.where),
        "trials": os.fspath(where),
        "targets": int(chosen.target.sum()),
        "speakers": chosen.speakers,
        "same_gender_trials": int(chosen.same_gender.sum()),
        "dropped_trials": chosen.dropped,
        "options": asdict(options),
        "origin": test.origin,
    }
    return {"results": rows, "details": details}
