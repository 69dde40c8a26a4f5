"""State of one validation of a data directory: options, what was found, tables read once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylib.corpus.errors import Defect
from pylib.corpus.tables import Table, parse_number, scan_table

# Of one rule in one file, so many defects are listed; the rest is counted in one more line.
MAX_LISTED = 100
# Two durations of one utterance may differ by this much (seconds): rounding of a table.
DURATION_TOLERANCE = 0.02
# Frames and durations may differ by this much: windows that do not fit at the end.
FRAMES_TOLERANCE = 0.1


@dataclass(frozen=True)
class Options:
    """What to check; the names are those of validate_data_dir.sh."""

    no_feats: bool = False
    no_text: bool = False
    no_wav: bool = False
    no_spk_sort: bool = False
    non_print: bool = False
    allow_empty_text: bool = False
    allow_duplicate_audio: bool = False
    check_audio: str = "none"  # none, header or full
    check_ark: str = "header"  # none, header or full
    rate: int = 0  # Hz that the audio must have; 0 = all files alike
    nj: int = 1


@dataclass
class Report:
    """What was found.

    Attributes:
        path: the data directory.
        utterances: number of lines of utt2spk.
        defects: empty for a valid directory.
        warnings: what is allowed but suspicious.
        facts: numbers found on the way, such as cluster usage.
    """

    path: str
    utterances: int = 0
    defects: list[Defect] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


class Checker:
    """State of one validation: the directory, the utterances, what was found so far."""

    def __init__(self, path: str | os.PathLike[str], options: Options) -> None:
        self.path = Path(path)
        self.options = options
        self.report = Report(str(path))
        self.utt2spk: dict[str, str] = {}
        self.wav: dict[str, str] = {}
        self.segments: dict[str, tuple[str, float, float]] | None = None
        self.numbers: dict[str, dict[str, float]] = {}

    def add(self, name: str, line: int, rule: str, what: str, fix: str) -> None:
        """One defect of file `name`; line 0 = the whole file."""
        where = str(self.path / name) if name else str(self.path)
        self.report.defects.append(Defect(where, line, rule, what, fix))

    def add_all(self, name: str, rule: str, found: Sequence[tuple[int, str]], fix: str) -> None:
        """Defects (line, what) of one rule, at most `MAX_LISTED` of them listed."""
        for line, what in found[:MAX_LISTED]:
            self.add(name, line, rule, what, fix)
        if len(found) > MAX_LISTED:
            self.add(name, 0, rule, f"and {len(found) - MAX_LISTED} more like these", fix)

    def exists(self, name: str) -> bool:
        """Whether the directory has this file."""
        return (self.path / name).is_file()

    def table(self, name: str, fields: int | None = None) -> Table:
        """Read a table; what is wrong with its form goes to the report."""
        table = scan_table(self.path / name, fields)
        rules: dict[str, list[Defect]] = {}
        for defect in table.defects:
            rules.setdefault(defect.rule, []).append(defect)
        for rule, found in rules.items():
            self.add_all(name, rule, [(d.line, d.what) for d in found], found[0].fix)
        return table

    def same_keys(self, table: Table, name: str, wanted: Mapping[str, object], of: str) -> None:
        """Require the keys of `table` to be those of `wanted`, the table of file `of`."""
        if table.rows.keys() == wanted.keys():
            return
        order = {key: number for number, key in enumerate(wanted, 1)}
        lacks = sorted(wanted.keys() - table.rows.keys())
        extra = table.rows.keys() - wanted.keys()
        counts = f"{len(table.rows)} keys here, {len(wanted)} in {of}"
        found = [(0, f"no line for '{key}' ({of}, entry {order[key]}; {counts})") for key in lacks]
        self.add_all(name, "missing-key", found, "add it, or run steps/fix_data_dir.sh")
        lines = [(n, key) for n, key in enumerate(table.keys, 1) if key in extra]
        found = [(n, f"'{key}' is not in {of} ({counts})") for n, key in lines]
        self.add_all(name, "unknown-key", found, "remove it, or run steps/fix_data_dir.sh")

    def keep_numbers(self, name: str, table: Table, integer: bool) -> None:
        """Require positive numbers; keep them for the checks that compare files."""
        kept: dict[str, float] = {}
        found = []
        for line, (key, value) in enumerate(zip(table.keys, table.values, strict=True), 1):
            try:
                number = parse_number(value, int) if integer else parse_number(value, float)
            except ValueError:
                number = 0
            if number > 0:
                kept[key] = float(number)
            else:
                kind = "an integer" if integer else "a number"
                found.append((line, f"'{value}' of '{key}' is not {kind} above 0"))
        self.add_all(name, "number", found, "make this file again (steps/get_utt2dur.sh)")
        self.numbers[name] = kept
