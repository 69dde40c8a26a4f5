"""Make a data directory consistent by dropping what does not fit: `fix_data_dir.sh`.

Kaldi's verb shrinks a test set to nothing without a word; here the loss is limited, every dropped
key is listed with its cause, and the files as they were are kept.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pylib.corpus.atomic import atomic_dir, atomic_path, write_text
from pylib.corpus.datadir import SEGMENT_OVERSHOOT, check_speaker_order
from pylib.corpus.errors import UserError
from pylib.corpus.layout import FIELDS, data_files, key_of
from pylib.corpus.tables import Table, format_table, invert, parse_number, scan_table

# Filtered to the utterances that are left, without a say in which these are (as in Kaldi).
FOLLOWERS = ("vad.scp", "utt2uniq", "utt2warp")
# Never below these fractions of a set may be lost by default.
TEST_PREFIXES = ("test", "dev")
DEFAULT_MAX_DROP = 0.05


@dataclass
class Plan:
    """What fixing would do.

    Attributes:
        path: the data directory.
        total: utterances named by utt2spk, text, and segments or wav.scp, together.
        kept: those that stay, sorted.
        dropped: utterance -> cause.
        notes: other losses: lines of derived files, recordings, repairs of the form.
        files: file name -> text to write; only files that change.
    """

    path: Path
    total: int = 0
    kept: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


def default_max_drop(path: str | os.PathLike[str]) -> float:
    """Largest fraction of utterances that may go: 0 for sets named test* or dev*, else 0.05."""
    name = Path(os.path.abspath(path)).name
    return 0.0 if name.startswith(TEST_PREFIXES) else DEFAULT_MAX_DROP


class _Fixer:
    def __init__(
        self,
        path: Path,
        utt_extra: Iterable[str],
        spk_extra: Iterable[str],
        allow_empty_text: bool,
    ) -> None:
        self.plan = Plan(path)
        self.extra = tuple(utt_extra)
        self.allow_empty_text = allow_empty_text
        names = [name for name in data_files(path) if name != "spk2utt"]
        self.kinds = {name: key_of(name, self.extra, tuple(spk_extra)) for name in names}
        self.tables: dict[str, dict[str, str]] = {}
        for name, kind in self.kinds.items():
            if kind in ("utt", "spk", "reco"):
                self.tables[name] = self._read(name, kind)

    def _read(self, name: str, kind: str) -> dict[str, str]:
        """Rows that can be used; a line that cannot is dropped with its cause."""
        table = scan_table(self.plan.path / name, FIELDS.get(name))
        rows = dict(table.rows)
        bad: dict[int, str] = {}
        for defect in table.defects:
            if defect.rule in ("utf8", "fields"):
                bad[defect.line] = f"{name}:{defect.line}: {defect.what}"
            elif defect.rule == "no-key" and table.values[defect.line - 1]:
                self.plan.notes.append(f"{name}:{defect.line}: a line without a key is dropped")
            elif defect.rule == "duplicate-key":
                self._duplicate(table, defect.line, bad)
            elif defect.rule != "no-key":
                self.plan.notes.append(f"{name}:{defect.line}: {defect.rule} is repaired")
        for line, cause in bad.items():
            key = table.keys[line - 1]
            rows.pop(key, None)
            if kind == "utt":
                self.plan.dropped.setdefault(key, cause)
            else:
                self.plan.notes.append(f"{cause}; '{key}' is dropped")
        return rows

    def _duplicate(self, table: Table, line: int, bad: dict[int, str]) -> None:
        key, value = table.keys[line - 1], table.values[line - 1]
        name = Path(table.path).name
        if table.rows[key] == value:
            self.plan.notes.append(f"{name}:{line}: a repeated line of '{key}' is dropped")
        else:
            bad[line] = f"{name}:{line}: two different lines of one key (line {table.line(key)})"

    def drop(self, utt: str, cause: str) -> None:
        self.plan.dropped.setdefault(utt, cause)

    def universe(self) -> set[str]:
        """Utterances that the primary files name."""
        primary = ["utt2spk", "text", "segments" if "segments" in self.tables else "wav.scp"]
        named = set(self.plan.dropped)
        for name in primary:
            named.update(self.tables.get(name, ()))
        return named

    def check_values(self) -> None:
        """Drop utterances whose own line in some file makes no sense."""
        if not self.allow_empty_text:
            for utt, text in self.tables.get("text", {}).items():
                if not text:
                    self.drop(utt, "text: no words (--allow-empty-text keeps it)")
        for name in ("utt2dur", "utt2num_frames", "utt2num_samples"):
            for utt, value in self.tables.get(name, {}).items():
                if not _is_positive(value, integer=name != "utt2dur"):
                    self.drop(utt, f"{name}: '{value}' is not a number above 0")
        self._check_recordings()

    def _check_recordings(self) -> None:
        wav = self.tables.get("wav.scp")
        segments = self.tables.get("segments")
        if wav is None:
            return
        bad = {reco: cause for reco, path in wav.items() if (cause := _bad_audio(path))}
        for reco in bad:
            wav.pop(reco)
        if segments is None:
            for reco, cause in bad.items():
                self.drop(reco, cause)
            return
        self.plan.notes += [f"wav.scp: '{reco}' is dropped, {cause}" for reco, cause in bad.items()]
        lengths = self.tables.get("reco2dur", {})
        for utt, value in segments.items():
            cause = _bad_segment(value, wav, lengths)
            if cause:
                self.drop(utt, f"segments: {cause}")

    def intersect(self) -> list[str]:
        """Utterances in every file that counts, with causes for the others."""
        names = [
            name
            for name in self.tables
            if self.kinds[name] == "utt" and name not in FOLLOWERS and name not in self.extra
        ]
        if "segments" not in self.tables and "wav.scp" in self.tables:
            names.append("wav.scp")
        names.sort(key=lambda name: (name != "utt2spk", name))
        everything = self.universe()
        for name in names:
            table = self.tables[name]
            for utt in sorted(everything - table.keys()):
                self.drop(utt, f"not in {name}")
        for name, kind in self.kinds.items():
            if kind == "spk":
                self._require_speakers(name)
        return sorted(everything - self.plan.dropped.keys())

    def _require_speakers(self, name: str) -> None:
        for utt, spk in self.tables["utt2spk"].items():
            if spk not in self.tables[name]:
                self.drop(utt, f"speaker '{spk}' not in {name}")

    def rewrite(self) -> None:
        """Fill `plan.files` with every file whose text changes."""
        kept = dict.fromkeys(self.plan.kept)
        utt2spk = {utt: self.tables["utt2spk"][utt] for utt in kept}
        speakers = invert(utt2spk)
        segments = self.tables.get("segments")
        recos: Mapping[str, object] = kept
        if segments is not None:
            recos = {segments[utt].split()[0]: None for utt in kept}
        wanted: dict[str, Mapping[str, object]] = {"utt": kept, "spk": speakers, "reco": recos}
        for name, table in self.tables.items():
            keys = wanted[self.kinds[name]]
            gone = [key for key in table if key not in keys and key not in self.plan.dropped]
            rows = {key: value for key, value in table.items() if key in keys}
            if gone:
                note = f"{name}: {len(gone)} other lines are dropped, the first is '{min(gone)}'"
                self.plan.notes.append(note)
            self._change(name, format_table(rows, str(self.plan.path / name)))
        spk2utt = {spk: " ".join(utts) for spk, utts in speakers.items()}
        self._change("spk2utt", format_table(spk2utt, str(self.plan.path / "spk2utt")))
        for name, kind in self.kinds.items():
            if kind == "nist" and name != "glm":
                self._filter_nist(name, set(kept).union(recos))

    def _filter_nist(self, name: str, keys: set[str]) -> None:
        files = self.tables.get("reco2file_and_channel", {})
        keys = keys.union(value.split()[0] for reco, value in files.items() if reco in keys)
        text = (self.plan.path / name).read_text(encoding="utf-8", errors="replace")
        lines = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
        kept = [li for li in lines if li.startswith(";;") or li.split(None, 1)[0] in keys]
        if len(kept) < len(lines):
            self.plan.notes.append(f"{name}: {len(lines) - len(kept)} lines are dropped")
        self._change(name, "".join(f"{line}\n" for line in kept))

    def _change(self, name: str, text: str) -> None:
        path = self.plan.path / name
        if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
            self.plan.files[name] = text


def _is_positive(value: str, integer: bool) -> bool:
    try:
        return (parse_number(value, int) if integer else parse_number(value, float)) > 0
    except ValueError:
        return False


def _bad_audio(path: str) -> str:
    """Why a wav.scp entry cannot be used; empty for a good one."""
    if not path:
        return "wav.scp: no path"
    if path[-1] == "|" or path[0] in "|-":
        return "wav.scp: a shell pipe"
    return "" if os.path.isfile(path) else f"wav.scp: {path} does not exist"


def _bad_segment(value: str, wav: Mapping[str, str], lengths: Mapping[str, str]) -> str:
    reco, begin, end = value.split()
    if reco not in wav:
        return f"recording '{reco}' not in wav.scp"
    try:
        first, last = parse_number(begin, float), parse_number(end, float)
        length = parse_number(lengths[reco], float) if reco in lengths else last
    except ValueError:
        return f"times {begin} {end}"
    if not 0 <= first < last:
        return f"times {begin} {end}"
    if last > length + SEGMENT_OVERSHOOT:
        return f"ends at {end} s, its recording at {lengths[reco]} s"
    return ""


def plan_fix(
    path: str | os.PathLike[str],
    utt_extra_files: Iterable[str] = (),
    spk_extra_files: Iterable[str] = (),
    allow_empty_text: bool = False,
) -> Plan:
    """Work out what `fix` would do, without touching anything.

    Args:
        path: the data directory.
        utt_extra_files: further files keyed by utterance, filtered only.
        spk_extra_files: further files keyed by speaker.
        allow_empty_text: keep utterances without words.

    Raises:
        UserError: no directory or utt2spk, nothing left, or utterances and speakers that cannot
            both be sorted.
    """
    folder = Path(path)
    if not (folder / "utt2spk").is_file():
        raise UserError(f"{folder / 'utt2spk'}: no such file: check the directory's name")
    fixer = _Fixer(folder, utt_extra_files, spk_extra_files, allow_empty_text)
    fixer.check_values()
    plan = fixer.plan
    plan.total = len(fixer.universe())
    plan.kept = fixer.intersect()
    fixer.rewrite()
    if plan.kept:
        utt2spk = fixer.tables["utt2spk"]
        check_speaker_order({utt: utt2spk[utt] for utt in plan.kept}, str(folder / "utt2spk"))
    return plan


def apply_fix(plan: Plan, max_drop: float) -> Path | None:
    """Carry out a plan: back up, list the losses, write.

    Args:
        plan: of `plan_fix`.
        max_drop: largest fraction of the utterances that may be dropped, 0 to 1.

    Returns:
        The backup directory, None when nothing had to change.

    Raises:
        UserError: more would be lost, or everything; nothing is written then.
    """
    lost = plan.total - len(plan.kept)
    if not plan.kept or lost > max_drop * plan.total + 1e-9:
        shown = [f"{utt}: {cause}" for utt, cause in sorted(plan.dropped.items())[:20]]
        more = [f"... and {lost - 20} more"] if lost > 20 else []
        raise UserError(
            "\n".join(
                [
                    f"{plan.path}: {lost} of {plan.total} utterances would be dropped, "
                    f"{max_drop:g} of them is the limit and nothing was changed: "
                    "mend the cause, or allow it with --max-drop",
                    *shown,
                    *more,
                ]
            )
        )
    if not plan.files:
        return None
    backup = next_backup(plan.path)
    with atomic_dir(backup) as temp:
        for name in data_files(plan.path):
            shutil.copy2(plan.path / name, temp / name)
    write_text(plan.path / f"fix_data_dir.{backup.name}.log", report(plan))
    with ExitStack() as stack:
        # All are written before the first is renamed: a full disk changes nothing.
        for name, text in plan.files.items():
            temp = stack.enter_context(atomic_path(plan.path / name))
            temp.write_bytes(text.encode("utf-8"))
    return backup


def next_backup(path: Path) -> Path:
    """The first unused `.backup/<n>` of a directory."""
    root = path / ".backup"
    numbers = [int(p.name) for p in root.iterdir() if p.name.isdigit()] if root.is_dir() else []
    return root / str(max(numbers, default=0) + 1)


def report(plan: Plan) -> str:
    """The list of losses: utterances by cause, then everything else."""
    lines = [f"kept {len(plan.kept)} utterances out of {plan.total}"]
    for cause, utt in sorted((cause, utt) for utt, cause in plan.dropped.items()):
        lines.append(f"dropped {utt}: {cause}")
    lines += [f"note {note}" for note in plan.notes]
    return "".join(f"{line}\n" for line in lines)
