"""Conversion pairs: which utterance is to be said in whose voice, given what of it.

One line a conversion, `<source-utt> <target-speaker> <ref-utt,ref-utt,...>`; the references are
utterances of the target with other texts than the source's.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pylib.corpus.atomic import write_text
from pylib.corpus.errors import UserError
from pylib.corpus.tables import invert, names_some, read_lines


@dataclass(frozen=True, slots=True)
class Pair:
    """One conversion: `source` (utterance) to the voice of `target`, known by `references`."""

    source: str
    target: str
    references: tuple[str, ...]


@dataclass(frozen=True)
class PairOptions:
    """How many of what.

    Attributes:
        sources: speakers to convert from.
        targets: speakers to convert to.
        utterances: source utterances of each pair of speakers.
        references: utterances that tell the target's voice, at most.
        seed: of the draw.
    """

    sources: int = 10
    targets: int = 10
    utterances: int = 4
    references: int = 10
    seed: int = 1

    def __post_init__(self) -> None:
        """Raises UserError on a number below 1."""
        for name in ("sources", "targets", "utterances", "references"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} {getattr(self, name)}: must be at least 1: raise it")


@dataclass(frozen=True)
class PairList:
    """Pairs and what a reader of the results should know about them."""

    pairs: tuple[Pair, ...]
    lone_speakers: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()


def balanced(speakers: Iterable[str], gender: Mapping[str, str], seed: str) -> list[str]:
    """All speakers in random order, the genders taking turns as long as there are both."""
    rng = random.Random(seed)
    groups: dict[str, list[str]] = {}
    for spk in sorted(speakers):
        groups.setdefault(gender.get(spk, "?"), []).append(spk)
    queues = [groups[name] for name in sorted(groups)]
    for queue in queues:
        rng.shuffle(queue)
    order = []
    while any(queues):
        order += [queue.pop() for queue in queues if queue]
    return order


def _roles(order: list[str], options: PairOptions) -> tuple[list[str], list[str], list[str]]:
    """(sources, targets, notices): of different speakers where there are enough of them."""
    if len(order) >= options.sources + options.targets:
        # speakers that follow each other differ in gender: whole pairs go to either side
        half = [order[place : place + 2] for place in range(0, len(order), 2)]
        sources = [spk for pair in half[0::2] for spk in pair]
        targets = [spk for pair in half[1::2] for spk in pair]
        rest = sources[options.sources :] + targets[options.targets :]
        sources, targets = sources[: options.sources], targets[: options.targets]
        sources += [rest.pop() for _ in range(options.sources - len(sources))]
        targets += [rest.pop() for _ in range(options.targets - len(targets))]
        return sources, targets, []
    sources, targets = order[: options.sources], order[: options.targets]
    notice = (
        f"{len(order)} speakers for {options.sources} sources and {options.targets} targets: "
        f"{len(sources)} sources and {len(targets)} targets, the same speakers in both roles"
    )
    return sources, targets, [notice]


def make_pairs(
    utt2spk: Mapping[str, str],
    gender: Mapping[str, str] | None = None,
    text: Mapping[str, str] | None = None,
    options: PairOptions | None = None,
) -> PairList:
    """Draw conversions between speakers, each source speaker with the same utterances throughout.

    Args:
        utt2spk: utterance -> speaker.
        gender: speaker -> `m` or `f`; both roles get as many of either as there are.
        text: utterance -> words: no reference has the words of the source; None: not known.
        options: how many.

    Raises:
        UserError: fewer than two speakers with two utterances, or no pair with a reference.
    """
    options = options or PairOptions()
    spk2utt = invert(utt2spk)
    lone = tuple(spk for spk, utts in spk2utt.items() if len(utts) < 2)
    usable = [spk for spk in spk2utt if spk not in lone]
    if len(usable) < 2:
        raise UserError(
            f"pairs: {len(usable)} speaker(s) with two utterances of {len(spk2utt)}: two speakers "
            "are needed, take a larger set"
        )
    seed = f"pairs {options.seed}"
    sources, targets, notices = _roles(balanced(usable, gender or {}, seed), options)
    pairs, without = [], 0
    for source in sorted(sources):
        utts = random.Random(f"{seed} from {source}").sample(
            spk2utt[source], min(options.utterances, len(spk2utt[source]))
        )
        for target in sorted(set(targets) - {source}):
            offered = list(spk2utt[target])
            random.Random(f"{seed} to {target}").shuffle(offered)
            for utt in sorted(utts):
                words = None if text is None else text[utt]
                fitting = [r for r in offered if text is None or text[r] != words]
                chosen = tuple(sorted(fitting[: options.references]))
                if chosen:
                    pairs.append(Pair(utt, target, chosen))
                without += not chosen
    if without:
        notices.append(f"{without} conversions left out: the target has no utterance of other text")
    if not pairs:
        raise UserError("pairs: no target has an utterance of another text: take a larger set")
    fewest = min(len(pair.references) for pair in pairs)
    if fewest < options.references:
        notices.append(f"{fewest} references at the least, {options.references} asked for")
    return PairList(tuple(pairs), lone, tuple(notices))


def format_pairs(pairs: Iterable[Pair]) -> str:
    """The lines of a pairs file."""
    return "".join(f"{p.source} {p.target} {','.join(p.references)}\n" for p in pairs)


def write_pairs(path: str | os.PathLike[str], pairs: Iterable[Pair]) -> None:
    """Write a pairs file atomically.

    Raises:
        UserError: a reference id with a comma in it.
    """
    listed = list(pairs)
    comma = [ref for pair in listed for ref in pair.references if "," in ref]
    if comma:
        raise UserError(f"{os.fspath(path)}: comma in utterance id '{comma[0]}': rename it")
    write_text(path, format_pairs(listed))


def read_pairs(
    path: str | os.PathLike[str], utt2spk: Mapping[str, str] | None = None
) -> list[Pair]:
    """Read a pairs file, in file order.

    Args:
        path: the file.
        utt2spk: utterance -> speaker of the data; None checks nothing against it.

    Raises:
        UserError: a missing or empty file, a line of another form, a conversion twice, unknown
            utterances or speakers, references that are not the target's, or the target's own
            utterance as source.
    """
    where = os.fspath(path)
    pairs: list[Pair] = []
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(read_lines(where), 1):
        fields = line.split()
        references = tuple(fields[2].split(",")) if len(fields) == 3 else ()
        if not references or not all(references):
            raise UserError(
                f"{where}:{number}: '{line[:60]}' is not `<source-utt> <target-speaker> "
                "<ref-utt,ref-utt,...>`: make it with steps/make_pairs.sh"
            )
        key = (fields[0], fields[1])
        if key in seen:
            raise UserError(f"{where}:{number}: the pair of line {seen[key]} again: remove one")
        seen[key] = number
        pairs.append(Pair(fields[0], fields[1], references))
    if not pairs:
        raise UserError(f"{where}: holds no pair: make it with steps/make_pairs.sh")
    if utt2spk is not None:
        _check_known(where, pairs, utt2spk)
    return pairs


def _check_known(where: str, pairs: list[Pair], utt2spk: Mapping[str, str]) -> None:
    named = {utt for pair in pairs for utt in (pair.source, *pair.references)}
    unknown = named - utt2spk.keys()
    if unknown:
        raise UserError(
            f"{where}: names utterances {names_some(unknown)} that the data does not have: give "
            "the data that the pairs were made of, or make them again"
        )
    for number, pair in enumerate(pairs, 1):
        if utt2spk[pair.source] == pair.target:
            raise UserError(
                f"{where}:{number}: '{pair.source}' is of its target '{pair.target}': remove it"
            )
        foreign = [ref for ref in pair.references if utt2spk[ref] != pair.target]
        if foreign:
            raise UserError(
                f"{where}:{number}: reference '{foreign[0]}' is of '{utt2spk[foreign[0]]}', not of "
                f"'{pair.target}': make the pairs again"
            )
