"""Which files a data directory holds, what their keys are, and how a part of it is cut out.

subset, split, copy and combine work on `Contents`, so that a new kind of file is taught once,
here. Every `<name>.scp` that is not listed is a table keyed by utterance (features of some layer,
labels), and every `<name>.json` describes one and is copied as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from pylib.corpus.datadir import COMMON_FILES, NIST_FILES, RECO_FILES, SPK_FILES, UTT_FILES
from pylib.corpus.errors import UserError
from pylib.corpus.tables import invert, names_some, read_table, table_path

# Number of fields of every line, key included, where it is fixed.
FIELDS = {
    "utt2spk": 2,
    "segments": 4,
    "reco2file_and_channel": 3,
    "utt2dur": 2,
    "reco2dur": 2,
    "utt2num_samples": 2,
    "utt2num_frames": 2,
    "utt2num_video": 2,
    "video_segments": 3,
    "utt2lang": 2,
    "utt2uniq": 2,
    "utt2warp": 2,
    "spk2warp": 2,
    "spk2gender": 2,
}


def key_of(name: str, utt_extra: Iterable[str] = (), spk_extra: Iterable[str] = ()) -> str:
    """What the first field of file `name` is: `utt`, `spk`, `reco`, `nist`, `common` or `unknown`.

    Args:
        name: file name within a data directory.
        utt_extra: further files keyed by utterance.
        spk_extra: further files keyed by speaker.
    """
    if name in spk_extra or name in SPK_FILES:
        return "spk"
    if name == "wav.scp" or name in RECO_FILES:
        return "reco"
    if name in NIST_FILES:
        return "nist"
    if name in utt_extra or name in UTT_FILES or name.endswith(".scp"):
        return "utt"
    if name in COMMON_FILES or name.endswith(".json"):
        return "common"
    return "unknown"


def data_files(directory: str | os.PathLike[str]) -> list[str]:
    """Names of the visible plain files of a data directory, sorted, without logs and backups."""
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if entry.is_file() and entry.name[0] != "."]
    return sorted(name for name in names if not name.endswith(("~", ".bak", ".log")))


class Tables(MutableMapping[str, dict[str, str]]):
    """Tables by file name that are made when they are asked for, each time anew, and not kept.

    A whole directory that is only copied is never in memory at once.
    """

    def __init__(self) -> None:
        self.makers: dict[str, Callable[[], dict[str, str]]] = {}

    def __getitem__(self, name: str) -> dict[str, str]:
        return self.makers[name]()

    def __setitem__(self, name: str, table: dict[str, str]) -> None:
        self.makers[name] = lambda: table

    def __delitem__(self, name: str) -> None:
        del self.makers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)

    def __contains__(self, name: object) -> bool:
        return name in self.makers


Group = MutableMapping[str, dict[str, str]]


@dataclass
class Contents:
    """All tables of a data directory, in memory or, of `Contents.open`, on disk.

    Attributes:
        path: where it was read, for messages.
        utt2spk: utterance -> speaker, sorted; primary for everything else.
        utt: file name -> table keyed by utterance, without utt2spk.
        spk: file name -> table keyed by speaker, without spk2utt.
        reco: file name -> table keyed by recording (utterance without `segments`).
        nist: file name -> lines of stm, ctm and the like.
        common: file name -> contents, the same for every part of the directory.
        unknown: names of files that are not understood.
    """

    path: str
    utt2spk: dict[str, str]
    utt: Group = field(default_factory=dict)
    spk: Group = field(default_factory=dict)
    reco: Group = field(default_factory=dict)
    nist: dict[str, list[str]] = field(default_factory=dict)
    common: dict[str, bytes] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, path: str | os.PathLike[str], extra_files: Iterable[str] = ()) -> Contents:
        """Read a data directory and refuse one whose tables disagree about the utterances.

        Args:
            path: the directory.
            extra_files: names of further files keyed by utterance.

        Raises:
            UserError: no such directory, a broken table, or keys that differ from utt2spk's.
        """
        out = cls.open(path, extra_files)
        # First: segments say which recordings there are, and are read once.
        out.utt = _sharing_keys(out.utt, out.utt2spk)
        out.spk = _sharing_keys(out.spk, out._speakers())
        out.reco = _sharing_keys(out.reco, out._recordings())
        return out

    @classmethod
    def open(cls, path: str | os.PathLike[str], extra_files: Iterable[str] = ()) -> Contents:
        """As `load`, but each table is read, and refused, when it is asked for, and not kept."""
        folder = Path(path)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such data directory: check the name")
        extra = tuple(extra_files)
        utt2spk = read_table(table_path(folder, "utt2spk"), fields=2)
        if not utt2spk:
            raise UserError(f"{folder / 'utt2spk'}: is empty: prepare the data again")
        utt, spk, reco = Tables(), Tables(), Tables()
        out = cls(str(folder), utt2spk, utt, spk, reco)
        for name in data_files(folder):
            kind = key_of(name, extra)
            if kind == "utt" and name != "utt2spk":
                utt.makers[name] = partial(out._read, name, lambda: utt2spk)
            elif kind == "spk" and name != "spk2utt":
                spk.makers[name] = partial(out._read, name, out._speakers)
            elif kind == "reco":
                reco.makers[name] = partial(out._read, name, out._recordings)
            elif kind == "nist" and name != "glm":
                out.nist[name] = _lines(folder / name)
            elif kind == "common" or name == "glm":
                out.common[name] = (folder / name).read_bytes()
            elif kind == "unknown":
                out.unknown.append(name)
        return out

    def _speakers(self) -> dict[str, str]:
        return dict.fromkeys(self.utt2spk.values(), "")

    def _recordings(self) -> dict[str, str]:
        return dict.fromkeys(self.recordings(self.utt2spk), "")

    def _read(self, name: str, keys: Callable[[], dict[str, str]]) -> dict[str, str]:
        """A table of the directory, its keys checked.

        Raises:
            UserError: it is broken, or its keys are others, with some of them.
        """
        table, wanted = read_table(Path(self.path) / name, FIELDS.get(name)), keys()
        if table.keys() == wanted.keys():
            return table
        lacks, extra = wanted.keys() - table.keys(), table.keys() - wanted.keys()
        what = f"lacks {names_some(lacks)}" if lacks else f"has {names_some(extra)} too"
        raise UserError(
            f"{self.path}/{name}: {what}: see steps/validate_data_dir.sh {self.path}, then "
            "steps/fix_data_dir.sh"
        )

    def recordings(self, utts: Iterable[str]) -> Iterator[str]:
        """Recording of each of `utts`, in their order, with repetitions."""
        segments = self.utt.get("segments")
        if segments is None:
            yield from utts
        else:
            for utt in utts:
                yield segments[utt].split(" ", 1)[0]

    def select(self, utts: Iterable[str]) -> Contents:
        """The part of the directory that describes `utts`; every file of it is kept."""
        chosen = sorted(utts)
        utt2spk = {utt: self.utt2spk[utt] for utt in chosen}
        speakers = sorted(set(utt2spk.values()))
        recos = sorted(set(self.recordings(chosen)))
        part = Contents(self.path, utt2spk, common=self.common, unknown=self.unknown)
        part.utt = {n: {utt: t[utt] for utt in chosen} for n, t in self.utt.items()}
        part.spk = {n: {spk: t[spk] for spk in speakers} for n, t in self.spk.items()}
        part.reco = {n: {reco: t[reco] for reco in recos} for n, t in self.reco.items()}
        names = set(chosen).union(recos)
        files = part.reco.get("reco2file_and_channel", {})
        names.update(value.split()[0] for value in files.values())
        part.nist = {
            n: [line for line in lines if line.startswith(";;") or line.split(None, 1)[0] in names]
            for n, lines in self.nist.items()
        }
        return part

    def names(self) -> list[str]:
        """Names of the files that `write` makes, spk2utt included."""
        groups = (self.utt, self.spk, self.reco, self.nist, self.common)
        return ["utt2spk", "spk2utt", *(name for group in groups for name in group)]

    def texts(self) -> Iterator[tuple[str, Iterable[bytes]]]:
        """File names and what to write, in pieces; spk2utt included."""
        yield "utt2spk", _pieces(self.utt2spk)
        yield "spk2utt", _pieces({s: " ".join(u) for s, u in invert(self.utt2spk).items()})
        for group in (self.utt, self.spk, self.reco):
            for name in group:
                yield name, _pieces(group[name])
        for name, lines in self.nist.items():
            yield name, ["".join(f"{line}\n" for line in lines).encode()]
        for name, data in self.common.items():
            yield name, [data]

    def write(self, directory: Path) -> None:
        """Write every file into an existing directory (one made by `atomic_dir`)."""
        for name, pieces in self.texts():
            with open(directory / name, "wb") as stream:
                stream.writelines(pieces)


def _sharing_keys(group: Group, keys: Iterable[str]) -> dict[str, dict[str, str]]:
    """All tables of a group, with one copy of the keys: half the memory of a large set."""
    return {name: {key: table[key] for key in keys} for name, table in group.items()}


def _pieces(table: Mapping[str, str], size: int = 10_000) -> Iterator[bytes]:
    """Sorted lines, some at a time: the whole text would be most of the memory of a verb."""
    keys = sorted(table)
    # Keys and values were read from tables, so they cannot hold line breaks.
    for first in range(0, len(keys), size):
        part = keys[first : first + size]
        values = map(table.__getitem__, part)
        lines = [f"{k} {v}\n" if v else f"{k}\n" for k, v in zip(part, values, strict=True)]
        yield "".join(lines).encode("utf-8")


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}): convert it") from error
    return [line for line in text.split("\n") if line.strip()]


def merge_keys(tables: Sequence[Mapping[str, str]], names: Sequence[str]) -> dict[str, str]:
    """Join tables with disjoint keys, sorted.

    Raises:
        UserError: a key in two of them, with both names.
    """
    merged: dict[str, str] = {}
    for position, table in enumerate(tables):
        twice = merged.keys() & table.keys()
        if twice:
            key = min(twice)
            first = next(names[i] for i in range(position) if key in tables[i])
            raise UserError(
                f"{names[position]}: key '{key}' is also in {first}: rename the utterances of one "
                "source, for example with steps/copy_data_dir.sh --utt-prefix"
            )
        merged.update(table)
    return dict(sorted(merged.items()))
