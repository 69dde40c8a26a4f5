"""From what the judges heard to rows: the measures of natural and of converted speech."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pylib.conversion.judge_files import Conversions, parallel_of, read, read_hearing
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some
from pylib.corpus.trials import read_trials
from pylib.scoring.conversion import (
    Estimate,
    acceptance,
    choose_enrolment,
    cosines,
    means,
    ratio,
    two_class_eer,
)
from pylib.scoring.eer import EqualError, equal_error

if TYPE_CHECKING:
    from pylib.conversion.judge_spoof import Example

Estimates = dict[str, Estimate]


@dataclass(frozen=True)
class NaturalTrials:
    """Trials of natural speech as the speaker encoder scores them.

    Attributes:
        scores: (M,) cosines.
        target, same_gender: (M,) bool.
        speakers: (M,) speaker of the enrolment utterance.
        vectors: utterance -> (256,).
        eer: over all trials, with its threshold.
    """

    scores: np.ndarray
    target: np.ndarray
    same_gender: np.ndarray
    speakers: list[str]
    vectors: dict[str, np.ndarray]
    eer: EqualError


def natural_trials(natural: DataDir, trials_file: str | Path) -> NaturalTrials:
    """Score a list of trials.

    Raises:
        UserError: utterances that the data directory does not have, only one kind of trial.
    """
    trials = read_trials(trials_file, natural.utt2spk)
    vectors = vectors_of(natural)
    scores = cosines(vectors, vectors, [(trial.enrol, trial.test) for trial in trials])
    target = np.array([trial.target for trial in trials])
    return NaturalTrials(
        scores,
        target,
        np.array([trial.gender == "same" for trial in trials]),
        [natural.utt2spk[trial.enrol] for trial in trials],
        vectors,
        equal_error(scores[target], scores[~target]),
    )


def vectors_of(data: DataDir) -> dict[str, np.ndarray]:
    """Vectors (256,) of the speaker encoder; the seconds of speech behind them are cut off."""
    return {utt: row[:-1] for utt, row in read_hearing(data, "speaker").items()}


def without_speech(data: DataDir, seconds: float) -> list[str]:
    """Utterances in which less than this much speech was found."""
    return [utt for utt, row in read_hearing(data, "speaker").items() if row[-1] < seconds]


def natural_eers(trials: NaturalTrials) -> Estimates:
    """EER over all trials, and over those of one gender where there are both kinds."""
    out = {}
    everything = np.ones(len(trials.scores), bool)
    for name, chosen in (("eer", everything), ("eer_same_gender", trials.same_gender)):
        kinds = (chosen & trials.target, chosen & ~trials.target)
        if all(kind.any() for kind in kinds):
            groups = tuple([trials.speakers[i] for i in np.flatnonzero(kind)] for kind in kinds)
            out[name] = two_class_eer(
                trials.scores[kinds[0]], trials.scores[kinds[1]], (groups[0], groups[1])
            )
    return out


def quality(data: DataDir) -> Estimates:
    """Means of the four scores of DNSMOS."""
    from pylib.conversion.judge_quality import SCORES

    rows = read_hearing(data, "quality")
    speakers = [data.utt2spk[utt] for utt in rows]
    table = np.array(list(rows.values()), dtype=np.float64)
    return {f"dnsmos_{name}": means(table[:, i], speakers) for i, name in enumerate(SCORES)}


def source_speakers(conversions: Conversions, natural: DataDir) -> dict[str, str]:
    """Converted utterance -> whose speech was converted.

    Raises:
        UserError: sources or targets that the natural data directory does not have.
    """
    lost = sorted(set(conversions.source.values()) - natural.utt2spk.keys())
    lost += sorted(set(conversions.data.spk2utt) - set(natural.spk2utt))
    if lost:
        raise UserError(
            f"{conversions.data.path}: made from {names_some(lost)}, not in {natural.path}: judge "
            "with the natural data directory that the pairs were drawn from"
        )
    return {utt: natural.utt2spk[source] for utt, source in conversions.source.items()}


def speaker_measures(
    conversions: Conversions, natural: DataDir, trials: NaturalTrials, threshold: float, enrol: int
) -> Estimates:
    """Acceptance as target and as source, and EER of genuine against converted.

    Every converted utterance is compared with up to `enrol` single natural utterances, as the
    trials that gave the threshold are pairs of single utterances.
    """
    data = conversions.data
    sources = source_speakers(conversions, natural)
    texts = data.text or {}
    banned = {
        utt: frozenset({*conversions.references[utt], conversions.source[utt]}) for utt in data.utts
    }
    vectors = vectors_of(data)
    out: Estimates = {}
    for name, speaker_of in (("acceptance", data.utt2spk), ("source_acceptance", sources)):
        pairs = choose_enrolment(
            {utt: texts.get(utt, "") for utt in data.utts},
            speaker_of, banned, natural.text, natural.utt2spk, enrol,
        )  # fmt: skip
        scores = cosines(vectors, trials.vectors, pairs)
        out[name] = acceptance(pairs, scores, threshold, data.utt2spk)
        if name == "acceptance":
            targets = set(data.utt2spk.values())
            chosen = [i for i in np.flatnonzero(trials.target) if trials.speakers[i] in targets]
            if not chosen:
                raise UserError(
                    "no genuine trial of any target speaker in the list of trials: make it from "
                    f"{natural.path} with steps/make_trials.sh"
                )
            groups = ([trials.speakers[i] for i in chosen], [data.utt2spk[a] for a, _ in pairs])
            out["eer_converted"] = two_class_eer(trials.scores[chosen], scores, groups)
    return out


def parallel_measures(conversions: Conversions, natural: DataDir) -> tuple[Estimates, int]:
    """MCD and F0 measures; how many utterances could not be compared for lack of speech."""
    from pylib.conversion.judge_parallel import NUMBERS

    rows = read_hearing(conversions.data, "parallel")
    if rows.keys() != parallel_of(conversions, natural).keys():
        raise UserError(
            f"{conversions.data.path}/judge_parallel.scp: of other utterances than the parallel "
            "readings there are now: judge again"
        )
    speakers = [conversions.data.utt2spk[utt] for utt in rows]
    table = np.array(list(rows.values()), dtype=np.float64)
    column = {name: table[:, i] for i, name in enumerate(NUMBERS)}
    found = {
        "mcd": ratio(column["mcd_sum"], column["pairs"], speakers),
        "f0_rmse": ratio(column["f0_square_sum"], column["f0_pairs"], speakers, np.sqrt),
        "f0_corr": ratio(column["corr"], column["corr_n"], speakers),
        "vuv_error": ratio(100 * column["vuv_errors"], column["pairs"], speakers),
    }
    kept = {name: value for name, value in found.items() if value is not None}
    return kept, int((column["pairs"] == 0).sum())


def examples(
    conversions: Conversions, speakers: Mapping[str, frozenset[str]], once: bool = False
) -> tuple[dict[str, Example], int]:
    """Features for the detector of every utterance; how many were silent or too short.

    Args:
        conversions: what is to be told apart.
        speakers: utterance -> whose voices are in it.
        once: copies of one recording (copy synthesis made for several pairs) count once.
    """
    from pylib.conversion.judge_spoof import Example, lfcc

    out: dict[str, Example] = {}
    seen: set[bytes] = set()
    silent = 0
    for utt in conversions.data.utts:
        samples = read(conversions.data, utt)
        key = hashlib.sha256(samples.tobytes()).digest()
        if once and key in seen:
            continue
        seen.add(key)
        try:
            out[utt] = Example(lfcc(samples), speakers[utt])
        except UserError:
            silent += 1
    return out, silent


def spoof_measures(
    conversions: Conversions,
    genuine: Conversions,
    more: list[Conversions],
    natural: DataDir,
    seed: int,
) -> tuple[Estimates, dict[str, Any]]:
    """EER of telling conversions from copy synthesis by a detector that knows no voice of them.

    Raises:
        UserError: `genuine` is no copy synthesis or of another vocoder; too few speakers.
    """
    from pylib.conversion.judge_spoof import cross_scores, halves

    method = genuine.info["method"]
    if method not in ("source", "target"):
        raise UserError(
            f"{genuine.data.path}: made by method '{method}': --bona-fide needs copy synthesis "
            "(steps/convert.sh --method source or target)"
        )
    if genuine.info["vocoder"] != conversions.info["vocoder"]:
        raise UserError(
            f"{genuine.data.path}: vocoder {genuine.info['vocoder']}, the conversions' is "
            f"{conversions.info['vocoder']}: a detector would only hear the vocoder, make the copy "
            "synthesis with the same one"
        )

    def voices(some: Conversions) -> dict[str, frozenset[str]]:
        sources = source_speakers(some, natural)
        return {utt: frozenset({sources[utt], some.data.utt2spk[utt]}) for utt in some.data.utts}

    sources = source_speakers(genuine, natural)
    owner = sources if method == "source" else genuine.data.utt2spk
    alone = {utt: frozenset({owner[utt]}) for utt in genuine.data.utts}
    bona, silent = examples(genuine, alone, once=True)
    fake, silent_too = examples(conversions, voices(conversions))
    others = [item for some in more for item in examples(some, voices(some))[0].values()]
    parts = halves(
        list(source_speakers(conversions, natural).values()), list(conversions.data.spk2utt)
    )
    scores = cross_scores(bona, fake, parts, others, seed)
    estimate = two_class_eer(
        np.array(list(scores[0].values())),
        np.array(list(scores[1].values())),
        ([owner[utt] for utt in scores[0]], [conversions.data.utt2spk[utt] for utt in scores[1]]),
    )
    details = {
        "genuine": len(scores[0]),
        "converted": len(scores[1]),
        "left_out_for_their_speakers": len(fake) - len(scores[1]),
        "silent": silent + silent_too,
        "other_systems": [str(some.data.path) for some in more],
    }
    return {"spoof_eer": estimate}, details
