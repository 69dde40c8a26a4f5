"""LibriSpeech as it lies on disk: subsets, readers, chapters, transcripts.

<corpus>/SPEAKERS.TXT
<corpus>/<subset>/<reader>/<chapter>/<reader>-<chapter>-<nnnn>.flac
<corpus>/<subset>/<reader>/<chapter>/<reader>-<chapter>.trans.txt     lines `<utterance> WORDS`
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from pylib.corpus.errors import Defect, UserError

TRAIN = ("train-clean-100", "train-clean-360", "train-other-500")
DEV = ("dev-clean", "dev-other")
TEST = ("test-clean", "test-other")
SUBSETS = (*TRAIN, *DEV, *TEST)

_UTTERANCE = re.compile(r"([0-9]+)-([0-9]+)-[0-9]+")
_NOT_TEXT = re.compile(r"[^A-Z' ]")  # LibriSpeech's transcripts hold nothing else


@dataclass
class Subset:
    """One subset.

    Attributes:
        name: such as `dev-clean`.
        wav: utterance -> path of its flac.
        text: utterance -> transcript, of all transcripts that can be used.
        defects: what is wrong with transcripts and file names; every one of them costs an utterance
            its transcript or its place.
    """

    name: str
    wav: dict[str, str] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)

    @property
    def is_train(self) -> bool:
        return self.name in TRAIN


def reader_of(utt: str) -> str:
    """Reader (speaker) of an utterance id: its first field."""
    return utt.partition("-")[0]


def find_corpus(path: Path) -> Path:
    """The directory that holds the subsets: `path` itself, or `LibriSpeech` below it.

    Raises:
        UserError: neither holds a subset.
    """
    for place in (path, path / "LibriSpeech"):
        if any((place / name).is_dir() for name in SUBSETS):
            return place
    raise UserError(
        f"{path}: holds no LibriSpeech subset ({', '.join(SUBSETS)}): give the directory above "
        "train-clean-100, or fetch the corpus with local/download.sh"
    )


def _directories(path: Path, subset: Subset) -> list[Path]:
    """Numbered directories below `path`, by name; anything else but files is a defect."""
    found = []
    for entry in sorted(os.scandir(path), key=lambda item: item.name):
        if not entry.is_dir():
            continue
        if entry.name.isdigit():
            found.append(Path(entry.path))
        else:
            what = "is not a number"
            fix = "remove it, or rename it to the reader's or chapter's number"
            subset.defects.append(Defect(entry.path, 0, "directory-name", what, fix))
    return found


def _add_audio(subset: Subset, chapter: Path, names: list[str]) -> None:
    want = f"{chapter.parent.name}-{chapter.name}"
    for name in names:
        utt, path = name.removesuffix(".flac"), f"{chapter}/{name}"
        match = _UTTERANCE.fullmatch(utt)
        if match is None or f"{match[1]}-{match[2]}" != want:
            what = f"lies in the directory of {want}"
            fix = "name it <reader>-<chapter>-<number>.flac and put it where it belongs"
            subset.defects.append(Defect(path, 0, "file-name", what, fix))
        elif utt in subset.wav:
            what = f"utterance {utt} is also {subset.wav[utt]}"
            subset.defects.append(Defect(path, 0, "duplicate-utterance", what, "keep one of them"))
        else:
            subset.wav[utt] = path


def _add_transcripts(subset: Subset, path: str) -> None:
    """Read the trans.txt of a chapter whose audio is known; a line of no use is a defect."""
    defects, seen = subset.defects, subset.text
    lines = Path(path).read_bytes().split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    for number, raw in enumerate(lines, 1):
        try:
            line = raw.decode("ascii")
        except UnicodeDecodeError as error:
            what = f"byte 0x{raw[error.start]:02x} is not ASCII"
            defects.append(Defect(path, number, "transcript", what, "write A-Z, ' and blanks only"))
            continue
        if line.endswith("\r"):
            what, fix = "Windows line ending", f"sed -i 's/\\r$//' {path}"
            defects.append(Defect(path, number, "carriage-return", what, fix))
            continue
        utt, _, text = line.partition(" ")
        text = " ".join(text.split())
        bad = _NOT_TEXT.search(text)
        if not _UTTERANCE.fullmatch(utt) or not text or bad:
            what = f"character {bad[0]!r}" if bad else "not `<utterance> WORDS`"
            fix = "write A-Z, ' and blanks only, as LibriSpeech does"
            defects.append(Defect(path, number, "transcript", what, fix))
        elif utt in seen:
            what = f"a second transcript of {utt}"
            defects.append(Defect(path, number, "duplicate-utterance", what, "keep one of them"))
        elif utt not in subset.wav:
            what, fix = f"transcript of {utt} without audio", "unpack the subset again"
            defects.append(Defect(path, number, "no-audio", what, fix))
        else:
            seen[utt] = text


def scan_subset(corpus: Path, name: str) -> Subset:
    """All flacs and transcripts of one subset.

    Raises:
        UserError: the directory cannot be read or holds no flac.
    """
    subset = Subset(name)
    for reader in _directories(corpus / name, subset):
        for chapter in _directories(reader, subset):
            names = sorted(entry.name for entry in os.scandir(chapter))
            _add_audio(subset, chapter, [n for n in names if n.endswith(".flac")])
            for trans in (n for n in names if n.endswith(".trans.txt")):
                _add_transcripts(subset, f"{chapter}/{trans}")
    if not subset.wav:
        raise UserError(f"{corpus / name}: holds no flac: unpack the subset again, or remove it")
    return subset


def read_speakers(path: Path) -> dict[str, str]:
    """Sex of each reader by SPEAKERS.TXT: reader -> `m` or `f`.

    Raises:
        UserError: a line that is not `id | sex | subset | minutes | name`, or a reader twice.
    """
    sexes: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error}): unpack it again") from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(";"):
            continue
        fields = [part.strip() for part in line.split("|", 4)]  # a name may hold a pipe
        if len(fields) != 5 or not fields[0].isdigit() or fields[1] not in ("M", "F"):
            raise UserError(
                f"{path}:{number}: '{line[:60]}' is not `id | M or F | subset | minutes | name`: "
                "unpack the file again"
            )
        if fields[0] in sexes:
            raise UserError(f"{path}:{number}: reader {fields[0]} stands here twice: keep one line")
        sexes[fields[0]] = fields[1].lower()
    return sexes
