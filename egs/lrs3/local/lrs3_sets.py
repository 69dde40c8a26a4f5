"""Which clip is in which set; the audio-visual data directories."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lrs3_cut import Made
from lrs3_tree import Clip, Tree, clip_ids, read_transcript

from pylib.corpus.atomic import write_text
from pylib.corpus.clean_dir import read_ctm, shift_phones
from pylib.corpus.clips import RATE, SAMPLES_PER_FRAME
from pylib.corpus.datadir import VIDEO_RATE, write_datadir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some

VALID = 1200  # clips of the validation set, at most
VALID_SHARE = 10  # one in so many of trainval, at most
#: Phones of a recording in time order: (start s, length s, name).
Phones = list[tuple[float, float, str]]


def choose_valid(tree: Tree, listed: Path | None, seed: int) -> tuple[list[str], str]:
    """(ids of the validation clips, where they come from); all of trainval.

    Listed ones, else those of the corpus itself (LRS2), else by a hash of the id: another machine
    or a part of the corpus draws the same.

    Raises:
        UserError: a list without a clip of trainval, or nothing left to train on.
    """
    trainval = [clip.ident for clip in tree.of("trainval")]
    given = clip_ids(listed) if listed else tree.valid
    if given is None:
        count = min(VALID, max(1, len(trainval) // VALID_SHARE))
        order = sorted(trainval, key=lambda i: hashlib.sha256(f"{seed} {i}".encode()).digest())
        valid, source = sorted(order[:count]), f"hash of the ids, seed {seed}"
    else:
        source = str(listed) if listed else f"{tree.root / 'val.txt'}"
        valid = sorted(set(given) & set(trainval))
        missing = set(given) - set(trainval)
        if missing:
            tree.notices.append(f"{source}: {names_some(missing)} are not usable clips of trainval")
    if not valid or len(valid) == len(trainval):
        raise UserError(
            f"{source}: {len(valid)} of the {len(trainval)} clips of trainval are for validation: "
            "list some of them as <speaker>/<clip>, not all"
        )
    return valid, source


def assign(made: Iterable[Made], valid: Iterable[str], labelled: str) -> dict[str, list[Made]]:
    """Set -> its pieces: pretrain, labelled, dev, test.

    Args:
        valid: ids of trainval that are dev.
        labelled: `30h` (trainval without dev) or `433h` (with pretrain).

    Raises:
        UserError: a set without any piece, or an utterance twice.
    """
    held_out = set(valid)
    sets: dict[str, list[Made]] = {"pretrain": [], "labelled": [], "dev": [], "test": []}
    seen: dict[str, str] = {}
    for piece in made:
        if piece.utt in seen:
            raise UserError(f"{piece.video}: has the id of {seen[piece.utt]}: rename one of them")
        seen[piece.utt] = piece.video
        if piece.part == "test":
            sets["test"].append(piece)
        elif piece.part == "trainval" and piece.ident in held_out:
            sets["dev"].append(piece)
        else:
            sets["pretrain"].append(piece)
            if piece.part == "trainval" or (piece.part == "pretrain" and labelled == "433h"):
                sets["labelled"].append(piece)
    for name, pieces in sets.items():
        if not pieces:
            raise UserError(f"{name}: no clip is left for it: see excluded.txt, mend the corpus")
    return sets


def check_apart(sets: Mapping[str, list[Made]], more: Iterable[str], built_in: bool) -> list[str]:
    """Notices of what the test set shares with training; refused in the built-in corpus.

    Args:
        more: sentences of the audio-text sets.

    Raises:
        UserError: the built-in corpus has a test speaker or sentence elsewhere.
    """
    train = [*sets["pretrain"], *sets["dev"]]
    said = {piece.text for piece in train if piece.text}.union(more)
    notices = []
    for what, known, found in (
        ("speaker", {p.spk for p in train}, {p.spk for p in sets["test"]}),
        ("sentence", said, {p.text for p in sets["test"]}),
    ):
        both = known & found
        if both and built_in:
            raise UserError(f"test: has {what} {min(both)!r} of training: make the corpus again")
        if both:
            notices.append(f"test shares {len(both)} of its {len(found)} {what}s with training")
    return notices


def built_in_phones(root: Path, names: Iterable[str]) -> dict[str, dict[str, Phones]]:
    """True phone times that stand beside the built-in corpus: set -> recording -> phones."""
    places = {name: root / "phones" / f"{name}.ctm" for name in names}
    return {name: read_ctm(path) for name, path in places.items() if path.is_file()}


def phone_lines(utt: str, phones: Phones, begin: float, seconds: float) -> list[str]:
    """CTM lines of the stretch of `seconds` s from `begin` on."""
    return [
        f"{utt} 1 {start:.4f} {length:.4f} {name}"
        for start, length, name in shift_phones(phones, begin, seconds)
    ]


def write_av_set(path: Path, pieces: list[Made], with_video: bool = True) -> None:
    """Write one data directory; without video it is one of audio and text.

    Utterances without words have an empty transcript where others have one.
    """
    samples = {piece.utt: piece.frames * SAMPLES_PER_FRAME for piece in pieces}
    extra: dict[str, Mapping[str, object]] = {}
    if with_video:
        extra["video.scp"] = {piece.utt: piece.video for piece in pieces}
        extra["utt2num_video"] = {piece.utt: piece.frames for piece in pieces}
        # Of whole files too: joined with a set that has pieces, the table must be there.
        extra["video_segments"] = {
            piece.utt: f"{piece.first} {piece.first + piece.frames}" for piece in pieces
        }
    texts = {piece.utt: piece.text for piece in pieces}
    write_datadir(
        path,
        wav={piece.utt: piece.wav for piece in pieces},
        utt2spk={piece.utt: piece.spk for piece in pieces},
        text=texts if any(texts.values()) else None,
        utt2dur={utt: count / RATE for utt, count in samples.items()},
        utt2num_samples=samples,
        extra=extra,
    )


def write_times(path: Path, pieces: list[Made], truth: Mapping[str, Mapping[str, Phones]]) -> None:
    """phones.ctm and words.ctm of the built-in corpus, if all pieces have their true times."""
    if not all(piece.ident in truth.get(piece.part, {}) for piece in pieces):
        return
    phones: list[str] = []
    words: list[str] = []
    for piece in pieces:
        begin, seconds = piece.first / VIDEO_RATE, piece.frames / VIDEO_RATE
        phones += phone_lines(piece.utt, truth[piece.part][piece.ident], begin, seconds)
        table = read_transcript(Path(piece.video).with_suffix(".txt"))[1]
        rows = [(w.start, w.end - w.start, w.word) for w in table]
        words += phone_lines(piece.utt, rows, begin, seconds)
    write_text(path / "phones.ctm", "\n".join(phones) + "\n")
    write_text(path / "words.ctm", "\n".join(words) + "\n")


def row_of(pieces: list[Made]) -> dict[str, Any]:
    """Counts of a set."""
    return {
        "utterances": len(pieces),
        "hours": round(sum(piece.frames for piece in pieces) / VIDEO_RATE / 3600, 4),
        "speakers": len({piece.spk for piece in pieces}),
        "transcribed": sum(bool(piece.text) for piece in pieces),
        "words": sum(len(piece.text.split()) for piece in pieces),
        "video": True,
    }


def clips_of(tree: Tree, vox: Iterable[Clip]) -> list[Clip]:
    """All clips in the order in which they are cut."""
    return sorted([*tree.clips, *vox], key=lambda clip: (clip.part, clip.ident))
