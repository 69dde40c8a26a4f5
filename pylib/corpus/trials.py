"""Speaker verification trials: drawn once from a seed, written, read back and checked.

One line a trial, `<enrolment-utt> <test-utt> target|nontarget same|cross|unknown`; the last field
is whether the two speakers' genders agree.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from pylib.corpus.atomic import write_text
from pylib.corpus.errors import UserError
from pylib.corpus.tables import invert, names_some, read_lines

GENDERS = ("same", "cross", "unknown")
_CHUNK = re.compile(r"-c[0-9]{2,}$")  # as steps/clean_audio.sh names chunks
_KINDS = {"target": True, "nontarget": False}


@dataclass(frozen=True, slots=True)
class Trial:
    """Are `enrol` and `test` of one speaker (`target`)? `gender` is one of GENDERS."""

    enrol: str
    test: str
    target: bool
    gender: str


@dataclass(frozen=True)
class TrialList:
    """Trials and what was left out of them.

    Attributes:
        trials: in order of enrolment, then test utterance.
        lone_speakers: speakers left out, having fewer than two usable utterances.
        same_text: utterances left out because another one of the list has their text.
        same_recording: trials left out because they are between chunks of one recording.
    """

    trials: tuple[Trial, ...]
    lone_speakers: tuple[str, ...] = ()
    same_text: int = 0
    same_recording: int = 0


def recording_of(utt: str) -> str:
    """Recording that an utterance is a chunk of (`<recording>-c01`), or the utterance itself."""
    return _CHUNK.sub("", utt)


def draw_utterances(
    spk2utt: Mapping[str, Iterable[str]],
    text: Mapping[str, str] | None,
    per_speaker: int,
    seed: int,
) -> tuple[dict[str, list[str]], int]:
    """Up to `per_speaker` utterances of each speaker, no text twice in the whole.

    Returns:
        (speaker -> sorted utterances, number of utterances passed over for their text).
    """
    used: set[str] = set()
    passed = 0
    drawn: dict[str, list[str]] = {}
    for spk in sorted(spk2utt):
        utts = sorted(spk2utt[spk])
        random.Random(f"trials {seed} {spk}").shuffle(utts)
        chosen: list[str] = []
        for utt in utts:
            if len(chosen) == per_speaker:
                break
            words = "" if text is None else text[utt]
            if words and words in used:
                passed += 1
                continue
            used.add(words)
            chosen.append(utt)
        drawn[spk] = sorted(chosen)
    return drawn, passed


def make_trials(
    utt2spk: Mapping[str, str],
    gender: Mapping[str, str] | None = None,
    text: Mapping[str, str] | None = None,
    per_speaker: int = 20,
    seed: int = 1,
) -> TrialList:
    """All pairs of up to `per_speaker` utterances of each speaker, no two of the same text.

    Chunks of one recording are not tried against each other: they share more than the speaker.

    Args:
        utt2spk: utterance -> speaker.
        gender: speaker -> `m` or `f`; speakers that are not in it give trials of gender `unknown`.
        text: utterance -> words; None where they are not known.
        per_speaker: at most so many utterances of a speaker.
        seed: of the draw.

    Raises:
        UserError: fewer than two speakers with two utterances, no two recordings of one speaker,
            or `per_speaker` below 2.
    """
    if per_speaker < 2:
        raise UserError(f"--per-speaker {per_speaker}: at least 2 give a target trial: raise it")
    drawn, passed = draw_utterances(invert(utt2spk), text, per_speaker, seed)
    lone = tuple(spk for spk, utts in drawn.items() if len(utts) < 2)
    kept = [(utt, spk) for spk, utts in drawn.items() if len(utts) >= 2 for utt in utts]
    if len({spk for _, spk in kept}) < 2:
        raise UserError(
            f"trials: {len(drawn) - len(lone)} speaker(s) with two utterances of {len(drawn)}: two "
            "speakers are needed, take a larger set"
        )
    kept.sort()
    known = gender or {}

    def agreement(first: str, second: str) -> str:
        if first not in known or second not in known:
            return "unknown"
        return "same" if known[first] == known[second] else "cross"

    trials = tuple(
        Trial(enrol, test, spk == other, agreement(spk, other))
        for place, (enrol, spk) in enumerate(kept)
        for test, other in kept[place + 1 :]
        if recording_of(enrol) != recording_of(test)
    )
    if not any(trial.target for trial in trials):
        raise UserError(
            "trials: every speaker has one recording, and its chunks share room and day: take a "
            "set with two recordings of a speaker"
        )
    together = len(kept) * (len(kept) - 1) // 2 - len(trials)
    return TrialList(trials, lone, passed, together)


def format_trials(trials: Iterable[Trial]) -> str:
    """The lines of a trials file."""
    return "".join(
        f"{t.enrol} {t.test} {'target' if t.target else 'nontarget'} {t.gender}\n" for t in trials
    )


def write_trials(path: str | os.PathLike[str], trials: Iterable[Trial]) -> None:
    """Write a trials file atomically."""
    write_text(path, format_trials(trials))


def read_trials(
    path: str | os.PathLike[str], known: Collection[str] | Mapping[str, str] | None = None
) -> list[Trial]:
    """Read a trials file, in file order.

    Args:
        path: the file.
        known: utterances that a trial may name; a mapping utterance -> speaker also has target and
            nontarget checked against it. None checks neither.

    Raises:
        UserError: a missing or empty file, a line of another form, a trial twice or of an
            utterance with itself, no target or no nontarget trial, a target trial of two speakers
            or a nontarget trial of one, or utterances that are not `known`.
    """
    where = os.fspath(path)
    trials: list[Trial] = []
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(read_lines(where), 1):
        fields = line.split()
        if len(fields) != 4 or fields[2] not in _KINDS or fields[3] not in GENDERS:
            raise UserError(
                f"{where}:{number}: '{line[:60]}' is not `<utt> <utt> target|nontarget "
                "same|cross|unknown`: make it with steps/make_trials.sh"
            )
        first, second = sorted(fields[:2])
        if first == second:
            raise UserError(f"{where}:{number}: '{first}' against itself: remove the line")
        if (first, second) in seen:
            raise UserError(
                f"{where}:{number}: the trial of line {seen[first, second]} again: remove one"
            )
        seen[first, second] = number
        trials.append(Trial(fields[0], fields[1], _KINDS[fields[2]], fields[3]))
    targets = sum(trial.target for trial in trials)
    if targets in (0, len(trials)):
        raise UserError(
            f"{where}: {targets} target and {len(trials) - targets} nontarget trials: both kinds "
            "are needed, make it with steps/make_trials.sh"
        )
    _check_known(where, trials, known)
    return trials


def _check_known(
    where: str, trials: list[Trial], known: Collection[str] | Mapping[str, str] | None
) -> None:
    if known is None:
        return
    named = {utt for trial in trials for utt in (trial.enrol, trial.test)}
    unknown = [utt for utt in named if utt not in known]
    if unknown:
        raise UserError(
            f"{where}: names utterances {names_some(unknown)} that the data does not have: give "
            "the data that the trials were made of, or make them again"
        )
    if not isinstance(known, Mapping):
        return
    for number, trial in enumerate(trials, 1):
        same = known[trial.enrol] == known[trial.test]
        if same != trial.target:
            raise UserError(
                f"{where}:{number}: '{trial.enrol}' and '{trial.test}' are of "
                f"{'one speaker' if same else 'two speakers'} by utt2spk, the line says "
                f"{'target' if trial.target else 'nontarget'}: make the trials again"
            )
