"""Which speaker and which utterance of VCTK goes to which set.

Unseen speakers are those of conf/unseen_speakers.txt where the tree has them all, else drawn. The
utterances of seen speakers are dealt to train, dev and test by the hash of their id. Texts that all
speakers read are in the parallel set and nowhere else.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vctk_tree import Loss, Tree, number_of, speaker_of

from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_list

PARALLEL = 24  # VCTK's passages that all speakers read: 001 to 024
SHARE = 0.05  # of a seen speaker's utterances that go to dev, and to test


@dataclass
class Sets:
    """Set name -> sorted utterances (train, dev, test, unseen, parallel; none is empty).

    Attributes:
        unseen: speakers that training does not see.
        unseen_source: where their list comes from.
        notices: what a reader of results should know.
        losses: utterances that are in no set, and why.
    """

    sets: dict[str, list[str]] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    unseen_source: str = ""
    notices: list[str] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)


def draw_unseen(
    sex: Mapping[str, str],
    accent: Mapping[str, str],
    count: int,
    seed: int,
    given: Iterable[str] = (),
) -> list[str]:
    """`count` speakers, as many of either sex as of the other, spread over the accents.

    One at a time: of the sex that has fewer so far, of the accent whose share among the drawn is
    furthest below its share among all, a speaker at random.

    Args:
        sex: speaker -> `m` or `f` (anything else is a third group), of all speakers.
        accent: speaker -> accent; `Unknown` where it is not there.
        count: how many, `given` included.
        seed: of the draw.
        given: speakers that are in it anyway.
    """
    drawn = list(given)
    rng = random.Random(f"unseen {seed}")
    accents = {spk: accent.get(spk, "Unknown") for spk in sex}
    total = Counter(accents.values())
    while len(drawn) < count:
        free = sorted(set(sex) - set(drawn))
        have = Counter(sex[spk] for spk in drawn)
        least = min(sorted({sex[spk] for spk in free}), key=lambda s: have[s])
        free = [spk for spk in free if sex[spk] == least]
        taken = Counter(accents[spk] for spk in drawn)

        def lack(spk: str, taken: Counter[str] = taken) -> float:
            return total[accents[spk]] / len(sex) - taken[accents[spk]] / max(1, len(drawn))

        most = max(lack(spk) for spk in free)
        drawn.append(rng.choice([spk for spk in free if lack(spk) == most]))
    return sorted(drawn)


def choose_unseen(tree: Tree, listed: Path, explicit: bool, built_in: bool, seed: int) -> Sets:
    """The unseen speakers of a tree.

    Args:
        tree: what there is.
        listed: a list of speakers.
        explicit: whether the user gave it: then it must fit the tree.
        built_in: whether this is the built-in corpus, to which the committed list does not apply.
        seed: of the draw where the list is not used.

    Raises:
        UserError: an explicit list with speakers that the tree has not, or with all it has; a tree
            with one speaker.
    """
    speakers = sorted({speaker_of(utt) for utt in tree.wav})
    if len(speakers) < 2:
        raise UserError(
            f"{tree.root}: one speaker only: at least two are needed, one of them unseen"
        )
    wanted = read_list(listed)
    missing = sorted(set(wanted) - set(speakers))
    made = Sets()
    if explicit and missing:
        raise UserError(
            f"{listed}: speakers {', '.join(missing[:6])} are not in {tree.root}, or cannot be "
            "used: correct the list"
        )
    if explicit or (not missing and not built_in):
        if not set(speakers) - set(wanted):
            raise UserError(
                f"{listed}: holds all speakers of {tree.root}: none is left to train on"
            )
        made.unseen, made.unseen_source = sorted(wanted), str(listed)
        return made
    count = max(1, min(20, round(len(speakers) / 4)))
    sex = {spk: tree.sex.get(spk, "?") for spk in speakers}
    made.unseen = draw_unseen(sex, tree.accent, count, seed)
    made.unseen_source = f"drawn, {count} of {len(speakers)} speakers, seed {seed}"
    if not built_in:
        made.notices.append(
            f"{len(missing)} of the {len(wanted)} speakers of {listed.name} are not here: unseen "
            f"speakers were drawn ({', '.join(made.unseen)}): figures are not those of VCTK"
        )
    return made


def _hash(utt: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {utt}".encode()).hexdigest()


def deal(utts: Iterable[str], seed: int) -> dict[str, list[str]]:
    """Utterances of one seen speaker: those of the lowest hashes to test, then dev, the rest train.

    Each of test and dev gets 5 %, at least one of four or more utterances.
    """
    order = sorted(utts, key=lambda utt: _hash(utt, seed))
    count = max(1, round(SHARE * len(order))) if len(order) >= 4 else 0
    return {"test": order[:count], "dev": order[count : 2 * count], "train": order[2 * count :]}


def parallel_texts(tree: Tree, count: int) -> dict[int, str]:
    """Number -> the text that most speakers have under it, for numbers 1 to `count`.

    A number whose commonest text is said by one speaker only, or by as many as another one, has
    none.
    """
    if tree.text is None:
        return {}
    votes: dict[int, Counter[str]] = {}
    for utt, words in tree.text.items():
        if number_of(utt) <= count:
            votes.setdefault(number_of(utt), Counter())[words] += 1
    texts = {}
    for number, counter in sorted(votes.items()):
        ranked = counter.most_common(2)
        tie = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
        if ranked[0][1] >= 2 and not tie:
            texts[number] = ranked[0][0]
    return texts


def split_parallel(tree: Tree, made: Sets, count: int) -> tuple[list[str], list[str]]:
    """(utterances of the parallel set, the others); what fits neither is noted as lost."""
    texts = parallel_texts(tree, count)
    if tree.text is None:
        return [], sorted(tree.wav)
    shared = set(texts.values())
    parallel, rest = [], []
    for utt in sorted(tree.wav):
        words, number = tree.text[utt], number_of(utt)
        if number <= count:
            if texts.get(number) == words:
                parallel.append(utt)
            else:
                what = "differs from the other speakers' text of this number"
                made.losses.append(Loss("parallel-text-differs", utt, what))
        elif words in shared:
            what = "is a text of the parallel set under another number"
            made.losses.append(Loss("parallel-text-elsewhere", utt, what))
        else:
            rest.append(utt)
    return parallel, rest


def assign(tree: Tree, made: Sets, count: int, seed: int) -> None:
    """Fill `made.sets`.

    Raises:
        UserError: nothing is left to train on.
    """
    parallel, rest = split_parallel(tree, made, count)
    unseen = set(made.unseen)
    by_speaker: dict[str, list[str]] = {}
    for utt in rest:
        by_speaker.setdefault(speaker_of(utt), []).append(utt)
    sets: dict[str, list[str]] = {"train": [], "dev": [], "test": [], "unseen": []}
    for spk, utts in by_speaker.items():
        if spk in unseen:
            sets["unseen"] += utts
        else:
            for name, part in deal(utts, seed).items():
                sets[name] += part
    sets["parallel"] = parallel
    made.sets = {name: sorted(utts) for name, utts in sets.items() if utts}
    for name in ("train", "unseen"):
        if name not in made.sets:
            raise UserError(f"{tree.root}: no utterance is left for {name}: use more of the corpus")
    for name in ("dev", "test", "parallel"):
        if name not in made.sets:
            made.notices.append(f"no {name} set: no utterance for it")


def check_apart(tree: Tree, made: Sets, built_in: bool) -> None:
    """Refuse sets that share what they must not; count texts that train shares with the others.

    Raises:
        UserError: an utterance in two sets, a speaker in train and unseen, a parallel text
            elsewhere, or (built-in corpus) a text in two sets.
    """
    where: dict[str, str] = {}
    for name, utts in made.sets.items():
        for utt in utts:
            if utt in where:
                raise UserError(f"{utt}: in {where[utt]} and in {name}: report this")
            where[utt] = name
    both = {speaker_of(u) for u in made.sets["train"]} & {
        speaker_of(u) for u in made.sets["unseen"]
    }
    if both:
        raise UserError(f"speaker {min(both)}: in train and in unseen: correct the list of unseen")
    if tree.text is None:
        return
    texts = {name: {tree.text[utt] for utt in utts} for name, utts in made.sets.items()}
    for name in texts.keys() - {"parallel"}:
        if texts[name] & texts.get("parallel", set()):
            raise UserError(f"{name}: holds a text of the parallel set: report this")
    for name in ("dev", "test", "unseen"):
        shared = sum(tree.text[utt] in texts["train"] for utt in made.sets.get(name, ()))
        if shared and built_in:
            raise UserError(f"{name}: shares {shared} texts with train: make the corpus again")
        if shared:
            made.notices.append(
                f"{shared} of the {len(made.sets[name])} utterances of {name} have a text that "
                "train has too (VCTK's sentences are not all different)"
            )
