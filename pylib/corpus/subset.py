"""Parts of a data directory: `subset_data_dir.sh` with Kaldi's selections."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

from pylib.corpus.atomic import atomic_dir
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.tables import invert, names_some, parse_number

MODES = ("even", "random", "first", "last", "shortest", "speakers", "per-spk")


def evenly_spaced(total: int, count: int) -> list[int]:
    """Indices of `count` of `total` lines, spread through the file by repeated halving.

    The same lines as Kaldi's subset_scp.pl: the list is cut in two (the first half the shorter one
    when odd), half of the count (rounded down) is taken from the first, the rest from the second,
    and so on.
    """
    out: list[int] = []
    stack = [(0, total, count)]
    while stack:
        start, end, need = stack.pop()
        if need == 0:
            continue
        if end - start == 1:
            out.append(start)
            continue
        middle = start + (end - start) // 2
        stack.append((middle, end, need - need // 2))
        stack.append((start, middle, need // 2))
    return out


def _check_count(available: int, count: int, what: str) -> None:
    if count < 1:
        raise UserError(f"{count} {what} asked for: give a number of at least 1")
    if count > available:
        raise UserError(f"{count} {what} asked for, {available} available: ask for fewer")


def choose(contents: Contents, count: int, mode: str, seed: int = 0) -> list[str]:
    """Utterances of a subset.

    Args:
        contents: the whole.
        count: number of utterances; of utterances a speaker with `per-spk`; the least number of
            utterances with `speakers`.
        mode: `even` (spread through the sorted list), `random` (seeded shuffle), `first`, `last`,
            `shortest`, `speakers` (whole speakers in shuffled order until there are `count`
            utterances) or `per-spk` (evenly spaced within each speaker, fewer where it has fewer).
        seed: of the shuffles.

    Raises:
        UserError: more than there are, an unknown mode, or no durations for `shortest`.
    """
    utts = list(contents.utt2spk)
    if mode not in MODES:
        raise UserError(f"mode '{mode}': unknown: use one of {', '.join(MODES)}")
    if mode == "per-spk":
        _check_count(len(utts), count, "utterances a speaker")
        return [utt for some in invert(contents.utt2spk).values() for utt in _spread(some, count)]
    _check_count(len(utts), count, "utterances")
    if mode == "first":
        return utts[:count]
    if mode == "last":
        return utts[-count:]
    if mode == "shortest":
        length = _lengths(contents)
        return sorted(utts, key=lambda utt: (length[utt], utt))[:count]
    if mode == "speakers":
        speakers = invert(contents.utt2spk)
        order = list(speakers)
        random.Random(seed).shuffle(order)
        chosen: list[str] = []
        for spk in order:
            if len(chosen) >= count:
                break
            chosen += speakers[spk]
        return chosen
    if mode == "random":
        return random.Random(seed).sample(utts, count)
    return [utts[index] for index in evenly_spaced(len(utts), count)]


def _spread(utts: Sequence[str], count: int) -> list[str]:
    step = max(1, len(utts) // count)
    return list(utts[: step * count : step])


def _lengths(contents: Contents) -> dict[str, float]:
    for name in ("utt2num_frames", "utt2num_samples", "utt2dur"):
        if name not in contents.utt:
            continue
        lengths: dict[str, float] = {}
        for line, (utt, value) in enumerate(contents.utt[name].items(), 1):
            try:
                lengths[utt] = parse_number(value, float)
            except ValueError as error:
                fix = f"see steps/validate_data_dir.sh {contents.path}"
                raise UserError(f"{contents.path}/{name}:{line}: {error}: {fix}") from error
        return lengths
    raise UserError(
        f"{contents.path}: --shortest needs utt2num_frames, utt2num_samples or utt2dur: "
        f"run steps/get_utt2dur.sh {contents.path}"
    )


def of_speakers(contents: Contents, speakers: Sequence[str], where: str) -> list[str]:
    """Utterances of the listed speakers.

    Raises:
        UserError: a listed speaker that the directory has not.
    """
    known = set(contents.utt2spk.values())
    missing = set(speakers) - known
    if missing:
        raise UserError(
            f"{where}: speakers {names_some(missing)} are not in {contents.path}: correct the list"
        )
    wanted = set(speakers)
    return [utt for utt, spk in contents.utt2spk.items() if spk in wanted]


def of_list(contents: Contents, utts: Sequence[str], where: str) -> list[str]:
    """The listed utterances, sorted.

    Raises:
        UserError: a listed utterance that the directory has not.
    """
    missing = set(utts) - contents.utt2spk.keys()
    if missing:
        raise UserError(
            f"{where}: utterances {names_some(missing)} are not in {contents.path}: "
            "correct the list"
        )
    return sorted(utts)


def write_subset(
    contents: Contents, utts: Sequence[str], destination: str | os.PathLike[str]
) -> int:
    """Write the part of `contents` that describes `utts`; returns the number of utterances.

    Raises:
        UserError: no utterances, or the destination is the source.
    """
    where = os.fspath(destination)
    if not utts:
        raise UserError(f"{where}: no utterances were chosen: check the list")
    if os.path.realpath(where) == os.path.realpath(contents.path):
        raise UserError(f"{where}: is the source itself: name another directory")
    part = contents.select(utts)
    with atomic_dir(where) as temp:
        part.write(temp)
    return len(part.utt2spk)
