"""Several data directories in one (`combine_data.sh`), or one renamed (`copy_data_dir.sh`)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pylib.corpus.atomic import atomic_dir
from pylib.corpus.datadir import check_speaker_order, format_seconds
from pylib.corpus.errors import UserError
from pylib.corpus.fix import next_backup
from pylib.corpus.layout import Contents, Tables, data_files, merge_keys
from pylib.corpus.tables import MARK, parse_number


def load_sources(
    sources: Sequence[str | os.PathLike[str]],
    destination: str | os.PathLike[str],
    extra_files: Iterable[str] = (),
) -> list[Contents]:
    """Open all sources; their tables are read when they are written, into a directory beside.

    Raises:
        UserError: fewer than one source, the destination among them, one of them twice, or a
            source that is broken.
    """
    if not sources:
        raise UserError("no source directories: name at least one")
    real = [os.path.realpath(source) for source in sources]
    if os.path.realpath(destination) in real:
        raise UserError(
            f"{os.fspath(destination)}: is among the sources: name a new directory, and rename it "
            "afterwards if you must"
        )
    if len(set(real)) < len(real):
        raise UserError("one of the source directories is named twice: name each once")
    extra = tuple(extra_files)
    return [Contents.open(source, extra) for source in sources]


def _segments_of(part: Contents) -> dict[str, str]:
    """The segments of a source; without a file each recording is one, from 0 to its end."""
    if "segments" in part.utt:
        return part.utt["segments"]
    durations = part.utt.get("utt2dur")
    if durations is None:
        raise UserError(
            f"{part.path}: other sources have segments, so durations are needed here: "
            f"run steps/get_utt2dur.sh {part.path}"
        )
    try:
        return {
            u: f"{u} 0 {format_seconds(parse_number(dur, float))}" for u, dur in durations.items()
        }
    except ValueError as error:
        fix = f"run steps/get_utt2dur.sh {part.path}"
        raise UserError(f"{part.path}/utt2dur: not seconds ({error}): {fix}") from error


def _with_made_up(parts: list[Contents]) -> None:
    """Give every source the segments and utt2uniq that only some have."""
    if any("segments" in part.utt for part in parts):
        for part in parts:
            part.utt["segments"] = _segments_of(part)
    if any("utt2uniq" in part.utt for part in parts):
        for part in parts:
            part.utt.setdefault("utt2uniq", {utt: utt for utt in part.utt2spk})


def combine(parts: list[Contents], sort_check: bool = True) -> tuple[Contents, list[str]]:
    """Join data directories.

    Files that some sources lack are left out, with a note; `segments` and `utt2uniq` are made up.

    Args:
        parts: the sources.
        sort_check: whether utterance order and speaker order must agree.

    Returns:
        The whole, whose tables are read as they are asked for, and the notes.

    Raises:
        UserError: an utterance in two sources, or descriptions (`frame_shift`, `feats.json` ...)
            that contradict each other; as the whole is written, speakers' or recordings' lines
            that do, and all that `Contents.load` refuses.
    """
    names = [part.path for part in parts]
    utt2spk = merge_keys([part.utt2spk for part in parts], names)
    if sort_check:
        check_speaker_order(utt2spk, f"{' and '.join(f'{n}/utt2spk' for n in names)} combined")
    _with_made_up(parts)
    utt, spk, reco = Tables(), Tables(), Tables()
    whole = Contents("combined", utt2spk, utt, spk, reco)
    notes: list[str] = []
    for group in ("utt", "spk", "reco", "nist", "common"):
        tables = [getattr(part, group) for part in parts]
        for name in sorted(set().union(*tables)):
            having = [i for i, table in enumerate(tables) if name in table]
            if len(having) < len(parts):
                lacking = next(names[i] for i in range(len(parts)) if i not in having)
                notes.append(f"{name} is left out, {lacking} has none")
                continue
            where = [f"{path}/{name}" for path in names]
            if group == "utt":
                utt.makers[name] = partial(_merged, merge_keys, tables, name, where)
            elif group == "nist":
                whole.nist[name] = [line for lines in tables for line in lines[name]]
            elif group == "common":
                whole.common[name] = _same_bytes([table[name] for table in tables], where)
            else:
                made = {"spk": spk, "reco": reco}[group]
                made.makers[name] = partial(_merged, _merge_equal, tables, name, where)
    _drop_orphans(whole, notes)
    for part in parts:
        notes += [f"{part.path}/{name} is not understood and left out" for name in part.unknown]
    return whole, notes


def _merged(
    merge: Callable[[list[dict[str, str]], list[str]], dict[str, str]],
    groups: list[Mapping[str, dict[str, str]]],
    name: str,
    where: list[str],
) -> dict[str, str]:
    return merge([group[name] for group in groups], where)


def _drop_orphans(whole: Contents, notes: list[str]) -> None:
    """Leave out a description whose arks are left out, and the reverse."""
    for name in list(whole.common):
        stem = name.removesuffix(".json")
        if name.endswith(".json") and f"{stem}.scp" not in whole.utt:
            del whole.common[name]
            notes.append(f"{name} is left out with {stem}.scp")
    described = {note.split(" ", 1)[0] for note in notes}
    for name in list(whole.utt):
        if name.endswith(".scp") and f"{name.removesuffix('.scp')}.json" in described:
            del whole.utt[name]
            notes.append(f"{name} is left out, not all sources describe it")


def _same_bytes(values: Sequence[bytes], where: Sequence[str]) -> bytes:
    for value, name in zip(values, where, strict=True):
        if value.split() != values[0].split():
            raise UserError(
                f"{name}: differs from {where[0]}: these data cannot be mixed, make the features "
                "or labels of one source again, or remove them there"
            )
    return values[0]


def _merge_equal(tables: Sequence[dict[str, str]], where: Sequence[str]) -> dict[str, str]:
    """Join tables of speakers or recordings, which sources may share if their lines are equal."""
    merged: dict[str, str] = {}
    for table, name in zip(tables, where, strict=True):
        for key in merged.keys() & table.keys():
            if merged[key] != table[key]:
                raise UserError(
                    f"{name}: '{key} {table[key]}' contradicts '{key} {merged[key]}' of another "
                    "source: rename one of them, for example with steps/copy_data_dir.sh"
                )
        merged.update(table)
    return dict(sorted(merged.items()))


@dataclass(frozen=True)
class Renaming:
    """What to put before and behind the ids of speakers and utterances."""

    spk_prefix: str = ""
    utt_prefix: str = ""
    spk_suffix: str = ""
    utt_suffix: str = ""

    def utt(self, name: str) -> str:
        """New id of an utterance."""
        return f"{self.utt_prefix}{name}{self.utt_suffix}"

    def spk(self, name: str) -> str:
        """New id of a speaker."""
        return f"{self.spk_prefix}{name}{self.spk_suffix}"


def rename(contents: Contents, new: Renaming, sort_check: bool = True) -> Contents:
    """A data directory under other ids; recordings keep theirs where `segments` says which.

    Raises:
        UserError: an affix with white space; utterances that no longer sort as their speakers.
    """
    for affix in (new.spk_prefix, new.utt_prefix, new.spk_suffix, new.utt_suffix):
        if affix and affix.split() != [affix]:
            raise UserError(f"'{affix}': white space in a prefix or suffix: use letters, digits, -")
        if affix.startswith(MARK):
            raise UserError(f"{affix!r}: byte-order mark in a prefix: use letters, digits, -")
    utts = {utt: new.utt(utt) for utt in contents.utt2spk}
    spks = {spk: new.spk(spk) for spk in contents.utt2spk.values()}
    pairs = {utts[utt]: spks[spk] for utt, spk in contents.utt2spk.items()}
    out = Contents(contents.path, dict(sorted(pairs.items())), common=contents.common)
    out.utt = _renamed(contents.utt, utts)
    out.spk = _renamed(contents.spk, spks)
    keyed_by_reco = "segments" in contents.utt
    out.reco = contents.reco if keyed_by_reco else _renamed(contents.reco, utts)
    for name, lines in contents.nist.items():
        out.nist[name] = [_rename_line(line, contents, new, keyed_by_reco) for line in lines]
    out.unknown = contents.unknown
    if sort_check:
        check_speaker_order(out.utt2spk, f"{contents.path}/utt2spk after renaming")
    return out


def _renamed(group: Mapping[str, dict[str, str]], ids: Mapping[str, str]) -> Tables:
    def table(name: str) -> dict[str, str]:
        return {ids[key]: value for key, value in group[name].items()}

    out = Tables()
    out.makers = {name: partial(table, name) for name in group}
    return out


def _rename_line(line: str, contents: Contents, new: Renaming, keyed_by_reco: bool) -> str:
    key, blank, rest = line.partition(" ")
    if key in contents.utt2spk and not (keyed_by_reco and key in contents.reco.get("wav.scp", {})):
        return f"{new.utt(key)}{blank}{rest}"
    return line


def write_contents(contents: Contents, destination: str | os.PathLike[str]) -> Path | None:
    """Write `contents` as a directory; files only in a directory of that name go to its backup.

    Returns:
        The backup directory, None where there was nothing to keep.
    """
    final = Path(destination)
    fresh = set(contents.names())
    old = [name for name in data_files(final) if name not in fresh] if final.is_dir() else []
    with atomic_dir(final) as temp:
        contents.write(temp)
        if (final / ".backup").is_dir():
            shutil.copytree(final / ".backup", temp / ".backup")
        if not old:
            return None
        backup = next_backup(temp)
        backup.mkdir(parents=True)
        for name in old:
            shutil.copy2(final / name, backup / name)
    return final / ".backup" / backup.name
