"""LRS3, LRS2 and VoxCeleb2 as they lie on disk.

LRS3: <corpus>/{pretrain,trainval,test}/<speaker>/<clip>.{mp4,txt}, pretrain may be missing
LRS2: <corpus>/{main,pretrain}/<speaker>/<clip>.{mp4,txt}, lists train.txt, val.txt, test.txt
VoxCeleb2: <corpus>/dev/mp4/<speaker>/<video>/<n>.mp4, no transcripts

A transcript begins with `Text:  WORDS`; where word times are known a table `WORD START END
ASDSCORE` follows, one word a line.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pylib.corpus.clips import Word
from pylib.corpus.errors import UserError

SETS = ("pretrain", "trainval", "test")
_HEADER = ["WORD", "START", "END"]  # of the table of word times
LISTS = {"train": "trainval", "val": "valid", "test": "test"}  # of LRS2
_MARK = re.compile(r"[{<\[][^}>\]]*[}>\]]")  # {NS}, <unk>, [laughter]


@dataclass(frozen=True)
class Loss:
    """One thing that cannot be used: `kind` is what losses are counted by."""

    item: str
    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.item} {self.kind} {self.what}"


@dataclass(frozen=True)
class Clip:
    """A video file of the corpus.

    Attributes:
        part: `pretrain`, `trainval`, `test` or `vox`.
        spk, name: directory and name: `<spk>/<name>` is the corpus's own id.
        path: of the video.
        text: words in capitals; empty where there are none.
        words: with their times, where the transcript has them.
    """

    part: str
    spk: str
    name: str
    path: str
    text: str = ""
    words: tuple[Word, ...] = ()

    @property
    def ident(self) -> str:
        """The corpus's own id."""
        return f"{self.spk}/{self.name}"

    @property
    def utt(self) -> str:
        """Utterance id: clips of pretrain and trainval may have the same name."""
        part = "pretrain-" if self.part == "pretrain" else ""
        return f"{self.spk}-{part}{self.name.replace('/', '-')}"


@dataclass
class Tree:
    """A scanned corpus.

    Attributes:
        root: directory that holds the parts.
        layout: `LRS3` or `LRS2`.
        clips: all that can be used, sorted by part and id.
        losses: all that was left out.
        valid: ids of the validation set that the corpus itself lists (LRS2); None for LRS3.
        notices: what a reader of results should know.
        dropped: tokens of transcripts that are no words, see `normalise`.
    """

    root: Path
    layout: str
    clips: list[Clip] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    valid: list[str] | None = None
    notices: list[str] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)

    def of(self, *parts: str) -> list[Clip]:
        """Clips of some parts."""
        return [clip for clip in self.clips if clip.part in parts]


def normalise(raw: str, dropped: Counter[str] | None = None) -> str:
    """Words in capitals, one blank between; marks such as {NS} go.

    Tokens without a letter or digit, such as a lone ' or --, go too: nobody says them. `dropped`
    counts them.
    """
    tokens = _MARK.sub(" ", raw.replace("\u2019", "'")).upper().split()
    words = [token for token in tokens if any(map(str.isalnum, token))]
    if dropped is not None and len(words) < len(tokens):
        dropped.update(token for token in tokens if not any(map(str.isalnum, token)))
    return " ".join(words)


def read_transcript(
    path: Path, dropped: Counter[str] | None = None
) -> tuple[str, tuple[Word, ...]]:
    """(text, words with times) of a transcript; no words where it has no table.

    `dropped` counts tokens of the text that are no words.

    Raises:
        UserError: no `Text:` line, a line of the table that is none, or words out of order.
    """
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    text = next((line[5:] for line in lines if line.startswith("Text:")), None)
    if text is None:
        raise UserError(f"{path}: has no line 'Text: ...': copy it again from the corpus")
    words: list[Word] = []
    table = next((i for i, line in enumerate(lines) if line.split()[:3] == _HEADER), len(lines))
    for number, line in enumerate(lines[table + 1 :], table + 2):
        fields = line.split()
        if not fields:
            break
        try:
            word = Word(normalise(fields[0]), float(fields[1]), float(fields[2]))
        except (IndexError, ValueError) as error:
            raise UserError(
                f"{path}:{number}: '{line[:60]}' is not `WORD START END SCORE`: copy it again"
            ) from error
        if not 0 <= word.start <= word.end or (words and word.start < words[-1].start):
            what = f"'{line[:60]}': times that do not grow"
            raise UserError(f"{path}:{number}: {what}: copy it again")
        if word.word:
            words.append(word)
    return normalise(text, dropped), tuple(words)


def find_corpus(path: Path) -> tuple[Path, str]:
    """(directory, layout): `path` itself, or lrs3, LRS3, lrs2, ... below it.

    Raises:
        UserError: neither corpus there.
    """
    for name in ("", "lrs3", "LRS3", "lrs3_v0.4", "lrs2", "LRS2", "mvlrs_v1"):
        place = path / name if name else path
        if (place / "trainval").is_dir() and (place / "test").is_dir():
            return place, "LRS3"
        if (place / "main").is_dir():
            return place, "LRS2"
    raise UserError(
        f"{path}: holds neither LRS3 (trainval, test) nor LRS2 (main): give the directory above "
        "them, or leave --corpus-dir out for the built-in corpus"
    )


def _videos(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """(speaker, clip, path) of <folder>/<speaker>/<clip>.mp4, sorted."""
    for spk in sorted(os.listdir(folder)):
        if (folder / spk).is_dir():
            names = sorted(os.listdir(folder / spk))
            yield from ((spk, n[:-4], folder / spk / n) for n in names if n.endswith(".mp4"))


def _scan_part(tree: Tree, folder: Path, part: str, listed: dict[str, str] | None = None) -> None:
    """Add the clips of a directory; with `listed` (id -> part) only those, in their parts."""
    seen = set()
    for spk, name, path in _videos(folder):
        where = part if listed is None else listed.get(f"{spk}/{name}", "")
        if not where:
            continue
        seen.add(f"{spk}/{name}")
        clip = Clip(where, spk, name, str(path))
        if any(c.isspace() for c in clip.utt):
            tree.losses.append(Loss(clip.utt.replace(" ", "_"), "file-name", f"{path}: a blank"))
            continue
        try:
            text, words = read_transcript(path.with_suffix(".txt"), tree.dropped)
        except FileNotFoundError:
            tree.losses.append(Loss(clip.utt, "no-text", f"{path.with_suffix('.txt')} is missing"))
            continue
        except UserError as error:
            tree.losses.append(Loss(clip.utt, "no-text", str(error)))
            continue
        if text:
            tree.clips.append(Clip(where, spk, name, str(path), text, words))
        else:
            tree.losses.append(Loss(clip.utt, "no-text", f"{path.with_suffix('.txt')} is empty"))
    for ident in sorted(listed.keys() - seen) if listed else ():
        tree.losses.append(Loss(ident.replace("/", "-"), "no-video", f"{folder}/{ident}.mp4"))


def read_ids(path: Path) -> list[str]:
    """Ids `<speaker>/<clip>` of a list: first field of each line, without set and ending.

    Raises:
        UserError: a missing or empty list.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of clips: check the path") from error
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise UserError(f"{path}: lists no clip: one <speaker>/<clip> a line is expected")
    return [re.sub(r"\.(mp4|txt|wav)$", "", name) for name in names]


def clip_ids(path: Path, depth: int = 2) -> list[str]:
    """The last `depth` parts of each id of a list: `trainval/x/00001.mp4` is `x/00001`."""
    return ["/".join(name.split("/")[-depth:]) for name in read_ids(path)]


def scan(path: Path) -> Tree:
    """Read a whole tree of LRS3 or LRS2.

    Raises:
        UserError: no such corpus, or no usable clip of trainval or test.
    """
    root, layout = find_corpus(path)
    tree = Tree(root, layout)
    if layout == "LRS3":
        for part in SETS:
            if (root / part).is_dir():
                _scan_part(tree, root / part, part)
    else:
        listed = {}
        for name, part in LISTS.items():
            ids = clip_ids(root / f"{name}.txt")
            if part == "valid":
                tree.valid, part = ids, "trainval"
            listed.update(dict.fromkeys(ids, part))
        _scan_part(tree, root / "main", "", listed)
        if (root / "pretrain").is_dir():
            _scan_part(tree, root / "pretrain", "pretrain")
    for part in ("trainval", "test"):
        if not tree.of(part):
            raise UserError(f"{root}: {part} has no usable clip: unpack the corpus again")
    if not tree.of("pretrain"):
        tree.notices.append(f"{root / 'pretrain'} is missing: pre-training uses trainval only")
    return tree


def scan_vox(path: Path, listed: Path | None) -> tuple[list[Clip], list[Loss]]:
    """Clips of VoxCeleb2: <path>/dev/mp4, <path>/mp4 or <path> hold the speakers.

    Args:
        path: the corpus.
        listed: list of ids `<speaker>/<video>/<n>` to use; None = all.

    Raises:
        UserError: no clip there.
    """
    places = (path / "dev" / "mp4", path / "mp4", path)
    folder = next((place for place in places if place.is_dir()), path)
    wanted = None if listed is None else set(clip_ids(listed, 3))
    clips, found = [], set()
    for spk in sorted(os.listdir(folder)) if folder.is_dir() else ():
        for name in sorted(folder.glob(f"{spk}/*/*.mp4")):
            ident = f"{spk}/{name.parent.name}/{name.stem}"
            if wanted is None or ident in wanted:
                found.add(ident)
                clips.append(Clip("vox", spk, f"{name.parent.name}/{name.stem}", str(name)))
    if not clips:
        raise UserError(f"{folder}: holds no <speaker>/<video>/<n>.mp4 (that is listed): check it")
    missing = sorted((wanted or set()) - found)
    return clips, [Loss(i.replace("/", "-"), "no-video", "is listed, not there") for i in missing]


def count_losses(losses: list[Loss]) -> dict[str, int]:
    """Kind -> number, sorted."""
    return dict(sorted(Counter(loss.kind for loss in losses).items()))
