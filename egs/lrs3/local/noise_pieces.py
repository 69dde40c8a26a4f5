"""Which pieces of noise there are and of which part: planned before any of them is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pylib.corpus.audio import audio_info
from pylib.corpus.datadir import SEGMENT_OVERSHOOT, DataDir
from pylib.corpus.errors import UserError

RATE = 16000
PARTS = ("train", "valid", "test")
MANY = 30  # recordings: with fewer, a tenth of them would be too few to test with
MIN_BABBLES, MAX_BABBLES = 100, 10_000
TALKER_SECONDS = 1.0  # a shorter recording is no talker of a babble


@dataclass(frozen=True)
class Stretch:
    """Samples `start` to `start + count` of a file; `whole` where that is all of it."""

    path: str
    start: int
    count: int
    whole: bool = False


@dataclass(frozen=True)
class Piece:
    """One noise.

    Attributes:
        id: unique within its category and part.
        category: `babble`, `music`, `natural` or `speech`.
        part: `train`, `valid` or `test`.
        stretches: what it is made of: added together for `babble`, else one after the other.
    """

    id: str
    category: str
    part: str
    stretches: tuple[Stretch, ...]

    @property
    def ready(self) -> bool:
        """Whether it lies in a file of its own already."""
        return self.category != "babble" and len(self.stretches) == 1 and self.stretches[0].whole

    def seconds(self, babble: float) -> float:
        """Length; of a babble `babble`."""
        return babble if self.category == "babble" else sum(s.count for s in self.stretches) / RATE


@dataclass
class Plan:
    """All pieces, what was left out by reason, and what the user should know."""

    pieces: list[Piece] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def leave_out(self, why: str) -> None:
        self.left_out[why] = self.left_out.get(why, 0) + 1


@dataclass(frozen=True)
class Options:
    """As prepare_noise.sh documents them."""

    seed: int = 1
    talkers: int = 30
    seconds: float = 10.0
    min_seconds: float = 3.0
    max_hours: float = 60.0

    def rng(self, *key: int) -> np.random.Generator:
        """A generator of its own for each use."""
        return np.random.default_rng([self.seed, *key])


# A piece in the making: its name and what it is made of, and whose (recording or speaker).
Draft = tuple[str, tuple[Stretch, ...], str]


def cut(path: str, start: int, count: int, options: Options, least: float) -> list[Stretch]:
    """A stretch as it is, or in pieces of `options.seconds`; none shorter than `least` seconds."""
    size, out = round(options.seconds * RATE), []
    for first in range(0, count, size):
        length = min(size, count - first)
        if length >= least * RATE:
            out.append(Stretch(path, start + first, length, start == 0 and length == count))
    return out


def scan_musan(folder: Path, least: float, options: Options, plan: Plan) -> list[Draft]:
    """Pieces of all wav and flac files below a folder of MUSAN, in order of name."""
    drafts: list[Draft] = []
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".wav", ".flac"))
    for path in found:
        try:
            count, rate, channels = audio_info(path)
        except UserError:
            plan.leave_out("not readable")
            continue
        if rate != RATE or channels != 1:
            plan.leave_out("not 16 kHz mono")
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        name = "_".join(name.replace("/", "-").split())
        pieces = cut(str(path), 0, count, options, least)
        if not pieces:
            plan.leave_out(f"{folder.name} shorter than {least:g} s")
        single = len(pieces) == 1
        drafts += [
            (name if single else f"{name}-{i:03d}", (piece,), name)
            for i, piece in enumerate(pieces)
        ]
    return drafts


def scan_speech(data: DataDir, options: Options) -> list[Draft]:
    """Pieces of the utterances of one speaker each: joined up to `min_seconds`, cut if longer."""
    drafts: list[Draft] = []
    samples = data.utt2num_samples if (data.path / "utt2num_samples").is_file() else None
    for speaker, utts in data.spk2utt.items():
        parts: list[Stretch] = []
        made: list[tuple[Stretch, ...]] = []
        for utt in utts:
            path, segment = data.wav_of(utt)
            if segment is not None:
                first, stop = segment.samples(RATE)
                # A segment may end a little after its recording.
                count = stop - first - round(SEGMENT_OVERSHOOT * RATE)
            else:
                first, count = 0, samples[utt] if samples else int(data.utt2dur[utt] * RATE)
            parts += cut(path, first, count, options, 0.1)
            if sum(part.count for part in parts) >= options.min_seconds * RATE:
                made += _join(parts, options)
                parts = []
        if parts and not made:
            made.append(tuple(parts))
        drafts += [(f"{speaker}-{i:04d}", piece, speaker) for i, piece in enumerate(made)]
    return drafts


def _join(parts: Sequence[Stretch], options: Options) -> list[tuple[Stretch, ...]]:
    """Long parts by themselves, short ones together."""
    least = options.min_seconds * RATE
    out: list[tuple[Stretch, ...]] = [(part,) for part in parts if part.count >= least]
    short = tuple(part for part in parts if part.count < least)
    if short and (not out or sum(part.count for part in short) >= least):
        out.append(short)
    return out


def shares(category: str, owners: int) -> tuple[float, float]:
    """Of valid and test: a fifth of the speakers, a tenth of many recordings."""
    return (0.2, 0.2) if category == "speech" or owners < MANY else (0.1, 0.1)


def split(
    drafts: Sequence[Draft], category: str, options: Options, plan: Plan
) -> list[list[Draft]]:
    """Drafts of train, valid and test: no recording or speaker is in two of them.

    Raises:
        UserError: fewer than 3 pieces.
    """
    rng = options.rng(1, len(category), sum(category.encode()))
    owners = sorted({draft[2] for draft in drafts})
    by_piece = len(owners) < len(PARTS)
    if by_piece:
        owners = sorted(draft[0] for draft in drafts)
        what = "speakers" if category == "speech" else "recordings"
        plan.notices.append(f"{category}: fewer than 3 {what}: the parts share them")
    if len(owners) < len(PARTS):
        raise UserError(
            f"{category}: {len(drafts)} pieces of noise, at least 3 are needed (train, valid, "
            "test): give more audio, or shorter pieces (--seconds, --min)"
        )
    order = [owners[i] for i in rng.permutation(len(owners))]
    valid, test = (max(1, round(share * len(order))) for share in shares(category, len(order)))
    part_of = {
        name: 2 if i < test else 1 if i < test + valid else 0 for i, name in enumerate(order)
    }
    parts: list[list[Draft]] = [[], [], []]
    for draft in drafts:
        parts[part_of[draft[0] if by_piece else draft[2]]].append(draft)
    return parts


def limit(drafts: list[Draft], hours: float, rng: np.random.Generator) -> list[Draft]:
    """At most so many hours of drafts, chosen at random, in their order."""
    left = hours * 3600 * RATE
    chosen: list[int] = []
    for index in rng.permutation(len(drafts)):
        left -= sum(stretch.count for stretch in drafts[index][1])
        if left < 0 and chosen:
            break
        chosen.append(int(index))
    return [drafts[i] for i in sorted(chosen)]


def babbles(parts: Sequence[list[Draft]], options: Options, plan: Plan) -> list[Piece]:
    """Mixtures of each part: as much babble as there is speech, but 100 to 10,000 in all."""
    total = sum(s.count for drafts in parts for _, stretches, _ in drafts for s in stretches)
    most = min(MAX_BABBLES, options.max_hours * 3600 / options.seconds)
    wanted = min(most, max(MIN_BABBLES, total / RATE / options.seconds))
    pieces = []
    for number, (part, drafts) in enumerate(zip(PARTS, parts, strict=True)):
        rng = options.rng(2, number)
        single = [stretch for _, stretches, _ in drafts for stretch in stretches]
        if len(single) < options.talkers:
            plan.notices.append(
                f"babble, {part}: {options.talkers} voices of {len(single)} recordings"
            )
        share = 0.8 if part == "train" else 0.1
        for index in range(max(1, round(share * wanted))):
            again = len(single) < options.talkers
            chosen = rng.choice(len(single), options.talkers, replace=again)
            stretches = tuple(single[i] for i in chosen)
            pieces.append(Piece(f"babble-{part}-{index:05d}", "babble", part, stretches))
    return pieces


def plan_noise(data: DataDir, musan: Path | None, options: Options) -> Plan:
    """All pieces of a noise directory.

    Args:
        data: of the speech that interferes; of the babble too without MUSAN.
        musan: tree with folders music, noise and speech; those that are there are used.
        options: see `Options`.

    Raises:
        UserError: no such tree or none of its folders; too little of something.
    """
    plan = Plan()
    speech = split(scan_speech(data, options), "speech", options, plan)
    sources: dict[str, list[list[Draft]]] = {"speech": speech}
    talkers = speech
    if musan is not None:
        folders = {"music": "music", "natural": "noise", "babble": "speech"}
        there = {key: musan / name for key, name in folders.items() if (musan / name).is_dir()}
        if not there:
            raise UserError(f"{musan}: no folder music, noise or speech: is it a MUSAN tree?")
        for category, folder in there.items():
            least = TALKER_SECONDS if category == "babble" else options.min_seconds
            found = split(scan_musan(folder, least, options, plan), category, options, plan)
            if category == "babble":
                talkers = found
            else:
                sources[category] = found
    plan.pieces += babbles(talkers, options, plan)
    for category, parts in sorted(sources.items()):
        parted = shares(category, len({owner for drafts in parts for _, _, owner in drafts}))
        hours = [options.max_hours * share for share in (1 - sum(parted), *parted)]
        for number, (part, drafts) in enumerate(zip(PARTS, parts, strict=True)):
            kept = limit(drafts, hours[number], options.rng(3, number))
            plan.pieces += [Piece(name, category, part, made) for name, made, _ in kept]
    return plan
