"""VCTK as it lies on disk, in its two editions.

0.92: <corpus>/wav48_silence_trimmed/pXXX/pXXX_NNN_mic{1,2}.flac, ids `pXXX` in speaker-info.txt
0.80: <corpus>/wav48/pXXX/pXXX_NNN.wav, ids `XXX` in speaker-info.txt
both: <corpus>/txt/pXXX/pXXX_NNN.txt, one sentence; <corpus>/speaker-info.txt
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pylib.corpus.audio import audio_info
from pylib.corpus.datadir import Segment
from pylib.corpus.errors import UserError

AUDIO = {"0.92": "wav48_silence_trimmed", "0.80": "wav48"}
MICS = ("mic1", "mic2")
SILENCES = "vctk-silences.0.92.txt"  # of nii-yamagishilab/vctk-silence-labels, if it was put there
KEEP = 0.1  # s around what it calls speech
#: 0.80's speaker-info.txt has no line for p280; 0.92's has this one.
KNOWN = {"p280": ("f", "Unknown")}

_SPEAKER = re.compile(r"p[0-9]{3}")
_SEX = {"F": "f", "M": "m", "FEMALE": "f", "MALE": "m"}
_DASHES = re.compile(r"[-/\u2010-\u2015]")
_DROPPED = re.compile(r"[.,;:!?\"()\[\]\u201c\u201d\u2026]")
_QUOTES = re.compile(r"[`\u00b4\u2018\u2019]")
_NOT_TEXT = re.compile(r"[^A-Z' ]")


@dataclass(frozen=True)
class Loss:
    """One thing that cannot be used: `kind` is what losses are counted by."""

    kind: str
    item: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.item} {self.what}"


@dataclass
class Tree:
    """A scanned corpus.

    Attributes:
        root: the directory that holds `txt` and the audio.
        edition: `0.92` or `0.80`.
        wav: utterance -> path of its audio.
        text: utterance -> words in capitals, of every utterance of `wav`; None for a tree without
            transcripts.
        sex, accent: speaker -> `m` or `f`, and VCTK's name of the accent, where known.
        losses: all that was left out.
        notices: what a reader of results should know.
    """

    root: Path
    edition: str
    wav: dict[str, str] = field(default_factory=dict)
    text: dict[str, str] | None = None
    sex: dict[str, str] = field(default_factory=dict)
    accent: dict[str, str] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def lose(self, kind: str, item: str, what: str) -> None:
        """Note something that is left out."""
        self.losses.append(Loss(kind, item, what))

    def counts(self) -> str:
        """`3 no-audio, 1 no-transcript`; `none`."""
        kinds = Counter(loss.kind for loss in self.losses)
        return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"


def speaker_of(utt: str) -> str:
    """Speaker of an utterance id: what stands before `_`."""
    return utt.partition("_")[0]


def number_of(utt: str) -> int:
    """Number of an utterance id: 1 to 24 are the passages that all speakers read."""
    return int(utt.rpartition("_")[2])


def find_corpus(path: Path) -> tuple[Path, str]:
    """(directory, edition): `path` itself, or VCTK-Corpus-0.92 or VCTK-Corpus below it.

    Raises:
        UserError: no VCTK there.
    """
    for place in (path, path / "VCTK-Corpus-0.92", path / "VCTK-Corpus"):
        for edition, name in AUDIO.items():
            if (place / name).is_dir():
                return place, edition
    raise UserError(
        f"{path}: holds no VCTK ({' or '.join(AUDIO.values())}): give the directory above them, or "
        "fetch the corpus with local/download.sh"
    )


def normalise(raw: str) -> tuple[str, str]:
    """(words in capitals, what is wrong): VCTK's sentences as LibriSpeech writes them.

    Punctuation goes, hyphens part words, accents go; a digit or any other sign is wrong.
    """
    text = unicodedata.normalize("NFKD", _QUOTES.sub("'", raw))
    text = "".join(c for c in text if not unicodedata.combining(c)).upper()
    words = _DROPPED.sub(" ", _DASHES.sub(" ", text)).split()
    text = " ".join(word for word in (w.strip("'") for w in words) if word)
    if not text:
        return "", "is empty"
    bad = _NOT_TEXT.search(text)
    return text, f"has the character {bad[0]!r}" if bad else ""


def _speakers(tree: Tree, folder: Path) -> list[str]:
    """Speaker directories by name; s5 and whatever else is not pXXX is lost."""
    names = []
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        if not entry.is_dir():
            continue
        if _SPEAKER.fullmatch(entry.name):
            names.append(entry.name)
        else:
            tree.lose("speaker-id", entry.name, "is not p and three digits (VCTK's s5)")
    return names


def _scan_audio(tree: Tree, mic: str) -> None:
    """Fill `wav`; microphones other than `mic` are not looked at."""
    folder = tree.root / AUDIO[tree.edition]
    ending = f"_{mic}.flac" if tree.edition == "0.92" else ".wav"
    for spk in _speakers(tree, folder):
        pattern = re.compile(rf"({spk}_[0-9]{{3}}){re.escape(ending)}")
        found = 0
        for name in sorted(os.listdir(folder / spk)):
            match = pattern.fullmatch(name)
            if match:
                tree.wav[match[1]] = f"{folder}/{spk}/{name}"
                found += 1
            elif name.endswith(ending):
                tree.lose("file-name", f"{spk}/{name}", f"is not {spk}_NNN{ending}")
        if not found:
            tree.lose("no-audio-of-speaker", spk, f"has no *{ending}")
    if not tree.wav:
        raise UserError(
            f"{folder}: holds no pXXX/pXXX_NNN{ending}: unpack the corpus again, or choose another "
            "--mic"
        )


def _scan_text(tree: Tree) -> None:
    """Fill `text` and take utterances without a usable transcript out of `wav`."""
    folder = tree.root / "txt"
    if not folder.is_dir():
        tree.notices.append(
            f"{folder} is missing: no transcripts, no parallel set; utterances 001 to 024 are "
            "treated like any other"
        )
        return
    heard = {speaker_of(utt) for utt in tree.wav}
    text: dict[str, str] = {}
    for spk in sorted(heard):
        if not (folder / spk).is_dir():
            count = sum(speaker_of(utt) == spk for utt in tree.wav)
            tree.lose("no-transcripts-of-speaker", spk, f"{count} utterances (VCTK's p315)")
            continue
        for path in sorted((folder / spk).glob("*.txt")):
            if path.stem not in tree.wav:
                tree.lose("no-audio", path.stem, "has a transcript only")
                continue
            words, wrong = normalise(path.read_bytes().decode("utf-8", "replace"))
            if wrong:
                tree.lose("transcript", path.stem, f"{path} {wrong}")
            else:
                text[path.stem] = words
    told = {loss.item for loss in tree.losses}
    for utt in sorted(tree.wav.keys() - text.keys()):
        if utt not in told and speaker_of(utt) not in told:
            tree.lose("no-transcript", utt, tree.wav[utt])
    if not text:
        raise UserError(f"{folder}: no transcript of any utterance: unpack the corpus again")
    tree.text = text
    tree.wav = {utt: tree.wav[utt] for utt in sorted(text)}


def read_speaker_info(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """(sex, accent) of each speaker: `ID AGE GENDER ACCENTS REGION COMMENTS`, blanks between.

    Regions may be empty or hold blanks; ids are pXXX (0.92), XXX (0.80) or s5.

    Raises:
        UserError: a line without id, age and gender, or a speaker twice.
    """
    sex: dict[str, str] = {}
    accent: dict[str, str] = {}
    for number, line in enumerate(
        path.read_text(encoding="utf-8", errors="replace").splitlines(), 1
    ):
        fields = line.split()
        if not fields or fields[0].upper() == "ID":
            continue
        if len(fields) < 3 or fields[2].upper() not in _SEX:
            raise UserError(
                f"{path}:{number}: '{line[:60]}' is not `ID AGE GENDER ACCENTS REGION`: unpack the "
                "file again"
            )
        spk = f"p{fields[0]}" if fields[0].isdigit() else fields[0]
        if spk in sex:
            raise UserError(f"{path}:{number}: speaker {spk} stands here twice: keep one line")
        sex[spk] = _SEX[fields[2].upper()]
        accent[spk] = fields[3] if len(fields) > 3 and not fields[3].startswith("(") else "Unknown"
    return sex, accent


def _scan_speakers(tree: Tree) -> None:
    """Fill `sex` and `accent`."""
    path = tree.root / "speaker-info.txt"
    if not path.is_file():
        tree.notices.append(f"{path} is missing: no spk2gender, genders of trials are unknown")
        return
    tree.sex, tree.accent = read_speaker_info(path)
    for spk, (sex, accent) in KNOWN.items():
        if spk not in tree.sex:
            tree.sex[spk], tree.accent[spk] = sex, accent
    unknown = sorted({speaker_of(utt) for utt in tree.wav} - tree.sex.keys())
    if unknown:
        tree.notices.append(
            f"{path}: has no line for {', '.join(unknown)}: sets with them have no spk2gender"
        )


def read_silences(path: Path) -> dict[str, tuple[float, float]]:
    """Utterance -> (first, last) s of speech: lines `<utt> <start> <end>` of vctk-silence-labels.

    Raises:
        UserError: a line of another form.
    """
    spans: dict[str, tuple[float, float]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if len(fields) < 2:
            continue  # an utterance in which no speech was found
        try:
            utt, start, end = fields[0], float(fields[1]), float(fields[2])
        except (IndexError, ValueError) as error:
            raise UserError(
                f"{path}:{number}: '{line[:60]}' is not `<utt> <start> <end>`: fetch it again"
            ) from error
        if 0 <= start < end:
            spans[utt] = (start, end)
    return spans


def speech_segments(tree: Tree, utts: list[str]) -> dict[str, Segment] | None:
    """What of each recording is speech by SILENCES, 0.1 s kept around it; None without it."""
    path = tree.root / SILENCES
    if tree.edition != "0.92" or not path.is_file():
        return None
    spans = read_silences(path)
    segments = {}
    for utt in utts:
        try:
            count, rate, _ = audio_info(tree.wav[utt])
        except UserError:
            count, rate = 1, 1  # cleaning finds out what is wrong with it
        start, end = spans.get(utt, (0.0, count / rate))
        first, last = max(0.0, start - KEEP), min(count / rate, end + KEEP)
        segments[utt] = Segment(utt, first, last) if first < last else Segment(utt, 0, count / rate)
    known = sum(utt in spans for utt in utts)
    tree.notices.append(f"{path}: silence labels of {known} of {len(utts)} utterances were used")
    return segments


def scan(path: Path, mic: str) -> Tree:
    """Read a whole tree.

    Raises:
        UserError: no VCTK, no audio of this microphone, a broken speaker-info.txt.
    """
    root, edition = find_corpus(path)
    tree = Tree(root, edition)
    if edition == "0.80" and mic != "mic1":
        raise UserError(f"--mic {mic}: {root} is VCTK 0.80, which has one microphone: use mic1")
    _scan_audio(tree, mic)
    heard = {speaker_of(utt) for utt in tree.wav}
    for spk in ("p280", "p315") if mic == "mic2" else ():
        if spk not in heard and not any(loss.item == spk for loss in tree.losses):
            tree.lose("no-audio-of-speaker", spk, "mic2 files are unavailable")
    _scan_text(tree)
    _scan_speakers(tree)
    return tree
