"""What each part of a LibriSpeech tree is used for: pre-training, labels, dev, test.

A full tree has its own dev and test subsets. A partial one may lack them, or may have transcripts
only in a test subset; then the transcribed utterances are dealt to the missing roles, reader by
reader, and a notice says so. Names of dealt sets end in `_part`: they are no published test sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from splits import Pool, carve, draw_split, find_librilight, librilight_split
from tree import Subset

from pylib.corpus.errors import UserError


@dataclass
class Source:
    """A subset after its audio has been checked.

    Attributes:
        subset: name such as `train-clean-100`.
        is_train: whether it is one of the training subsets.
        seconds: utterance -> duration, of the utterances that can be used.
        text: utterance -> transcript, of those of them that have one.
    """

    subset: str
    is_train: bool
    seconds: dict[str, float]
    text: dict[str, str]


@dataclass
class Roles:
    """Set name -> utterances, with what the sets are for.

    Attributes:
        sets: name -> sorted utterances.
        train, labelled: names of the pre-training and of the labelled set.
        dev, test: names of the sets to choose and to score on.
        partial: whether a role had to be dealt from another subset.
        split_source: where the labelled split comes from.
        notices: lines that every reader of the results should see.
    """

    sets: dict[str, list[str]] = field(default_factory=dict)
    train: str = "train"
    labelled: str = ""
    dev: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    partial: bool = False
    split_source: str = ""
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class SplitOptions:
    """How the labelled split is found.

    Attributes:
        split: 10m, 1h, 10h, 100h or 960h.
        fold: which of the six 10-minute sets.
        seed: of draws.
        librilight: the user's Libri-Light download, or None.
        listed: utterances that the corpus itself lists as labelled (built-in corpus), or None.
    """

    split: str = "10m"
    fold: int = 0
    seed: int = 1
    librilight: str | None = None
    listed: tuple[str, ...] | None = None


def source_of(subset: Subset, seconds: Mapping[str, float]) -> Source:
    """A subset restricted to the utterances in `seconds`."""
    text = {utt: subset.text[utt] for utt in seconds if utt in subset.text}
    return Source(subset.name, subset.is_train, dict(seconds), text)


def _deal(sources: list[Source], roles: Roles, seed: int) -> dict[str, dict[str, str]]:
    """Fill the missing ones of labelled, dev and test; returns transcripts by role.

    Dev and test subsets that the tree has keep their own names. Utterances dealt from a training
    subset to dev or test leave it.
    """
    labelled = {u: t for s in sources if s.is_train for u, t in s.text.items()}
    dev = [s for s in sources if s.subset.startswith("dev") and s.text]
    test = [s for s in sources if s.subset.startswith("test") and s.text]
    missing = [r for r, have in (("train", labelled), ("dev", dev), ("test", test)) if not have]
    if not missing:
        return {}
    # Training transcripts give; else the dev subsets, or the test subsets where they are alone.
    donors = [s for s in sources if s.is_train and s.text] or dev or test
    if not donors:
        raise UserError(
            "the corpus has no transcript at all (*.trans.txt): unpack transcribed subsets as well"
        )
    kind = "train" if donors[0].is_train else donors[0].subset.partition("-")[0]
    keep = [role for role in ("train", "dev", "test") if role in missing or role == kind]
    shares = {role: 0.6 if role == "train" else 0.2 for role in keep}
    if kind == "train":
        shares = {role: 0.1 if role != "train" else 0.8 for role in keep}
    text = {u: t for s in donors for u, t in s.text.items()}
    dealt = carve(text, shares, seed)
    readers = {role: {u.partition("-")[0] for u in utts} for role, utts in dealt.items()}
    shared = any(readers[a] & readers[b] for a in keep for b in keep if a < b)
    names = ", ".join(s.subset for s in donors)
    roles.partial = True
    roles.notices.append(
        f"no transcribed {' and no '.join(missing)} subset: the {len(text)} transcribed utterances "
        f"of {names} were dealt to "
        + ", ".join(f"{r} ({len(dealt[r])} of {len(readers[r])} readers)" for r in keep)
        + (", READERS SHARED" if shared else ", no reader in two of them")
        + ": small-data figures, not comparable with published ones"
    )
    return {role: {utt: text[utt] for utt in utts} for role, utts in dealt.items()}


def _labelled_split(
    sources: list[Source],
    text: Mapping[str, str],
    options: SplitOptions,
    sex: Mapping[str, str],
    roles: Roles,
) -> list[str]:
    """Utterances of the labelled split, out of the transcribed training utterances `text`."""
    origin = {u: s for s in sources for u in s.text if u in text}
    split = options.split
    if split == "960h":
        roles.split_source = "all transcribed training utterances"
        return sorted(text)
    if options.listed is not None:
        if split != "10m":
            raise UserError(
                f"--split {split}: the built-in corpus has 10m (its list of labelled utterances) "
                "and 960h (all of it): choose one of them"
            )
        gone = sorted(set(options.listed) - set(text))
        if gone:
            raise UserError(f"labelled.txt: {gone[0]} is not in the corpus: make it again")
        roles.split_source = "the built-in corpus's own list"
        return sorted(options.listed)
    if split == "100h":
        roles.split_source = "train-clean-100"
        utts = sorted(u for u, s in origin.items() if s.subset == "train-clean-100")
        if not utts:
            raise UserError(
                "--split 100h: train-clean-100 has no transcripts: choose another split"
            )
        return utts
    if options.librilight is not None:
        found = librilight_split(
            find_librilight(Path(options.librilight)), split, options.fold, text
        )
    else:
        seconds = {u: s.seconds[u] for u, s in origin.items()}
        quality = {u: "clean" if "clean" in s.subset else "other" for u, s in origin.items()}
        found = draw_split(Pool(seconds, quality, sex), split, options.fold, options.seed)
    roles.split_source = found.source
    roles.notices.extend(found.notices)
    return list(found.utts)


def assign_roles(sources: list[Source], options: SplitOptions, sex: Mapping[str, str]) -> Roles:
    """Decide what each utterance is for.

    Raises:
        UserError: no training or no transcribed utterance, or a split that cannot be had.
    """
    roles = Roles(labelled=f"train_{options.split}")
    dealt = _deal(sources, roles, options.seed)
    held_out = {utt for role in ("dev", "test") for utt in dealt.get(role, ())}
    train = sorted(u for s in sources if s.is_train for u in s.seconds if u not in held_out)
    if "train" in dealt and not any(s.is_train and s.text for s in sources):
        # Labels from a dev or test subset: too few to draw from, all are used.
        labelled = sorted(dealt["train"])
        roles.split_source = "all transcribed utterances that were dealt to training"
        if not train:
            train = labelled
            roles.notices.append(
                "no training subset: pre-training on the labelled utterances alone"
            )
    else:
        text = {u: t for s in sources if s.is_train for u, t in s.text.items()}
        text = {u: t for u, t in text.items() if u not in held_out}
        labelled = _labelled_split(sources, text, options, sex, roles)
    roles.sets[roles.train] = train
    roles.sets[roles.labelled] = labelled
    for role, names in (("dev", roles.dev), ("test", roles.test)):
        if role in dealt:
            names.append(f"{role}_part")
            roles.sets[names[-1]] = sorted(dealt[role])
            continue
        for source in sources:
            if source.subset.startswith(role) and source.text:
                names.append(source.subset.replace("-", "_"))
                roles.sets[names[-1]] = sorted(source.text)
    return roles
