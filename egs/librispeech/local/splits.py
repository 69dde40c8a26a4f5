"""Which utterances have labels: the Libri-Light splits of LibriSpeech.

With a Libri-Light download (librispeech_finetuning) its own lists are used. Without, a split is
drawn by the published rule (libri-light, data_preparation/rebuild_limited_train), with our seed, so
the utterances differ from the published ones:

  10 h   for each sex and each of train-clean-100 and train-other-500: readers in random order who
         have 20 to 30 minutes each are taken while 150 minutes are not exceeded (6 readers a cell)
  1 h    of each of these 24 readers the first utterances, until more than 150 s
  10 min of the 1 h, one reader a cell: fold i holds the i-th reader of each of the four cells

100 h is train-clean-100, 960 h everything.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tree import reader_of

from pylib.corpus.errors import UserError

SPLITS = ("10m", "1h", "10h", "100h", "960h")
FOLDS = 6
READER_MINUTES = (20.0, 30.0)
FOLD_READERS = 4  # of a 10-minute fold: one of each sex and subset
ONE_HOUR_READER_SECONDS = 150.0
_ORDERS = 1000


@dataclass
class Pool:
    """Utterances that have transcripts, to draw from.

    Attributes:
        seconds: utterance -> duration.
        quality: utterance -> `clean` or `other`, by its subset.
        sex: reader -> `m` or `f`.
    """

    seconds: Mapping[str, float]
    quality: Mapping[str, str]
    sex: Mapping[str, str]


@dataclass(frozen=True)
class Drawn:
    """Utterances of a split (sorted) and what a reader of the results should know."""

    utts: tuple[str, ...]
    source: str
    notices: tuple[str, ...] = ()


def find_librilight(path: Path) -> Path:
    """`path`, or `librispeech_finetuning` below it, whichever holds 1h and 9h.

    Raises:
        UserError: neither does.
    """
    for place in (path, path / "librispeech_finetuning"):
        if (place / "1h").is_dir() and (place / "9h").is_dir():
            return place
    raise UserError(
        f"{path}: holds no 1h and 9h directories: give Libri-Light's librispeech_finetuning, "
        "or leave --librilight out to have the split drawn"
    )


def librilight_split(path: Path, split: str, fold: int, known: Iterable[str]) -> Drawn:
    """The utterances of a split by the user's Libri-Light download.

    Args:
        path: librispeech_finetuning: 1h/{0..5}/{clean,other}/<reader>/<chapter>/*.flac, 9h/...
        split: 10m, 1h or 10h.
        fold: which of the six 10-minute sets.
        known: utterances of the corpus that have a transcript.

    Raises:
        UserError: an empty or missing directory, or utterances that the corpus lacks.
    """
    parts = {
        "10m": [f"1h/{fold}"],
        "1h": [f"1h/{i}" for i in range(FOLDS)],
        "10h": [*(f"1h/{i}" for i in range(FOLDS)), "9h"],
    }[split]
    utts: set[str] = set()
    for part in parts:
        found = {flac.stem for flac in (path / part).glob("*/*/*/*.flac")}
        if not found:
            raise UserError(f"{path / part}: holds no flac: unpack librispeech_finetuning again")
        utts |= found
    missing = sorted(utts - set(known))
    if missing:
        raise UserError(
            f"{path}: {len(missing)} of the {len(utts)} utterances of {split} have no transcript "
            f"in the corpus ({', '.join(missing[:3])} ...): unpack train-clean-100 and "
            "train-other-500 as well"
        )
    return Drawn(tuple(sorted(utts)), f"Libri-Light {'+'.join(parts)}")


def _by_reader(utts: Iterable[str]) -> dict[str, list[str]]:
    readers: dict[str, list[str]] = {}
    for utt in sorted(utts):
        readers.setdefault(reader_of(utt), []).append(utt)
    return readers


def _cells(pool: Pool) -> dict[str, dict[str, list[str]]]:
    """`m-clean`, `f-clean`, ... -> reader -> utterances, of the cells that hold any."""
    cells: dict[str, dict[str, list[str]]] = {}
    for reader, utts in _by_reader(pool.seconds).items():
        if reader not in pool.sex:
            raise UserError(
                f"reader {reader}: is not in SPEAKERS.TXT, which a balanced split needs: "
                "unpack it from the corpus"
            )
        cell = f"{pool.sex[reader]}-{pool.quality[utts[0]]}"
        cells.setdefault(cell, {})[reader] = utts
    return dict(sorted(cells.items()))


def _draw_readers(
    readers: Mapping[str, Sequence[str]], pool: Pool, count: int, rng: random.Random
) -> tuple[list[str], bool]:
    """`count` readers in random order, and whether the published rule could be kept.

    The rule is a budget (25 minutes a reader) filled in random order; orders that fill it with
    fewer readers are drawn again, because the published set has `count` of them.
    """
    low, high = (60 * minutes for minutes in READER_MINUTES)
    lengths = {reader: sum(pool.seconds[u] for u in readers[reader]) for reader in sorted(readers)}
    fitting = [reader for reader in lengths if low <= lengths[reader] <= high]
    for _ in range(_ORDERS if len(fitting) >= count else 0):
        taken, left = [], (low + high) / 2 * count
        for reader in rng.sample(fitting, len(fitting)):
            if lengths[reader] < left:
                taken.append(reader)
                left -= lengths[reader]
        if len(taken) >= count:
            return taken[:count], True
    # A small corpus: whoever there is, the longest ones first.
    return sorted(lengths, key=lambda reader: -lengths[reader])[:count], False


def draw_split(pool: Pool, split: str, fold: int, seed: int) -> Drawn:
    """Draw 10m, 1h or 10h by the published rule (module docstring).

    Where the corpus is too small for the rule (a cell without readers, or fewer than six readers of
    20 to 30 minutes in it) what there is is taken and a notice says so.

    Raises:
        UserError: no transcribed utterances, or readers of unknown sex.
    """
    cells = _cells(pool)
    if not cells:
        raise UserError("no transcribed training utterance: a labelled split cannot be drawn")
    notices: list[str] = []
    if len(cells) < 4:
        notices.append(f"only {', '.join(cells)} readers: not half clean, half other of each sex")
    rng = random.Random(f"librilight {seed}")
    chosen: list[str] = []
    relaxed = []
    in_fold = FOLD_READERS // len(cells)
    for cell, readers in cells.items():
        taken, kept = _draw_readers(readers, pool, FOLDS * in_fold, rng)
        if not kept:
            relaxed.append(f"{cell} ({len(taken)} readers)")
        if split == "10m":
            first = fold * in_fold % len(taken)
            taken = (taken[first:] + taken[:first])[:in_fold]
        for reader in taken:
            chosen += _first_utterances(readers[reader], pool, split)
    if relaxed:
        notices.append(
            f"too few readers of {READER_MINUTES[0]:g} to {READER_MINUTES[1]:g} minutes in "
            f"{', '.join(relaxed)}: took those with most speech"
        )
    return Drawn(tuple(sorted(chosen)), f"drawn by Libri-Light's rule, seed {seed}", tuple(notices))


def _first_utterances(utts: Sequence[str], pool: Pool, split: str) -> list[str]:
    """All utterances of a reader for 10h; for 1h and 10m the first ones until above 150 s."""
    if split == "10h":
        return list(utts)
    taken, spent = [], 0.0
    for utt in utts:
        if spent > ONE_HOUR_READER_SECONDS:
            break
        taken.append(utt)
        spent += pool.seconds[utt]
    return taken


def carve(utts: Iterable[str], shares: Mapping[str, float], seed: int) -> dict[str, list[str]]:
    """Deal utterances to roles, whole readers where there are enough of them.

    Args:
        utts: all utterances of the donor.
        shares: role -> share of the readers (or utterances); each role gets at least one.
        seed: of the shuffle.

    Returns:
        role -> sorted utterances. With fewer readers than roles the utterances are dealt instead,
        and readers are shared.

    Raises:
        UserError: fewer utterances than roles.
    """
    readers = _by_reader(utts)
    groups = list(readers.values())
    if len(groups) < len(shares):
        groups = [[utt] for reader in readers.values() for utt in reader]
    if len(groups) < len(shares):
        raise UserError(
            f"{len(groups)} transcribed utterances for {', '.join(shares)}: "
            "add transcribed subsets to the corpus"
        )
    random.Random(f"carve {seed}").shuffle(groups)
    roles = list(shares)
    counts = {role: max(1, int(shares[role] * len(groups))) for role in roles[1:]}
    while sum(counts.values()) >= len(groups):
        counts[max(counts, key=lambda role: counts[role])] -= 1
    dealt: dict[str, list[str]] = {}
    start = 0
    for role in roles[1:]:
        dealt[role] = sorted(u for group in groups[start : start + counts[role]] for u in group)
        start += counts[role]
    dealt[roles[0]] = sorted(utt for group in groups[start:] for utt in group)
    return dealt
