"""Which files a data directory holds, what their keys are, and how a part of it is cut out.

subset, split, copy and combine work on `Contents`, so that a new kind of file is taught once,
here. Every `<name>.scp` that is not listed is a table keyed by utterance (features of some layer,
labels), and every `<name>.json` describes one and is copied as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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


@dataclass
class Contents:
    """All tables of a data directory, in memory.

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
    utt: dict[str, dict[str, str]] = field(default_factory=dict)
    spk: dict[str, dict[str, str]] = field(default_factory=dict)
    reco: dict[str, dict[str, str]] = field(default_factory=dict)
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
        folder = Path(path)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such data directory: check the name")
        extra = tuple(extra_files)
        out = cls(str(folder), read_table(table_path(folder, "utt2spk"), fields=2))
        if not out.utt2spk:
            raise UserError(f"{folder / 'utt2spk'}: is empty: prepare the data again")
        for name in data_files(folder):
            kind = key_of(name, extra)
            if kind == "utt" and name != "utt2spk":
                out.utt[name] = read_table(folder / name, FIELDS.get(name))
            elif kind == "spk" and name != "spk2utt":
                out.spk[name] = read_table(folder / name, FIELDS.get(name))
            elif kind == "reco":
                out.reco[name] = read_table(folder / name, FIELDS.get(name))
            elif kind == "nist" and name != "glm":
                out.nist[name] = _lines(folder / name)
            elif kind == "common" or name == "glm":
                out.common[name] = (folder / name).read_bytes()
            elif kind == "unknown":
                out.unknown.append(name)
        out.check()
        return out

    def check(self) -> None:
        """Refuse tables whose keys disagree.

        Raises:
            UserError: the first such file, with some of the keys.
        """
        self._check_group(self.utt, self.utt2spk)  # first: segments say which recordings there are
        self._check_group(self.spk, dict.fromkeys(self.utt2spk.values()))
        self._check_group(self.reco, dict.fromkeys(self.recordings(self.utt2spk)))

    def _check_group(self, group: dict[str, dict[str, str]], wanted: Mapping[str, object]) -> None:
        for name, table in group.items():
            if table.keys() == wanted.keys():
                # One copy of the keys for all tables: half the memory of a large set.
                group[name] = {key: table[key] for key in wanted}
                continue
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

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """File names and the bytes to write, spk2utt included."""
        yield "utt2spk", _table_bytes(self.utt2spk)
        yield (
            "spk2utt",
            "".join(f"{s} {' '.join(u)}\n" for s, u in invert(self.utt2spk).items()).encode(),
        )
        for group in (self.utt, self.spk, self.reco):
            for name, table in group.items():
                yield name, _table_bytes(table)
        for name, lines in self.nist.items():
            yield name, "".join(f"{line}\n" for line in lines).encode()
        yield from self.common.items()

    def write(self, directory: Path) -> None:
        """Write every file into an existing directory (one made by `atomic_dir`)."""
        for name, data in self.texts():
            (directory / name).write_bytes(data)


def _table_bytes(table: Mapping[str, str]) -> bytes:
    # Keys and values were read from tables, so they cannot hold line breaks.
    return "".join(
        [f"{key} {value}\n" if value else f"{key}\n" for key, value in sorted(table.items())]
    ).encode("utf-8")


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
