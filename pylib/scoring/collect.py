"""What a report is made of, read from an experiment directory: score rows, runs, stages, curves."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylib.corpus import jsonfile
from pylib.corpus.errors import UserError
from pylib.scoring.score_files import FORMAT, ROW_FIELDS

Row = dict[str, Any]


@dataclass
class Collected:
    """Everything found below an experiment directory.

    rows: summary rows (ROW_FIELDS) in a fixed order; details: score file -> its details; runs:
    run.json of every training, with `dir`; stages: finished ledger records; curves: directory ->
    lines of metrics.jsonl; pictures: file of steps/analyse_modalities.sh -> its contents;
    left_out: score files of another preset.
    """

    rows: list[Row] = field(default_factory=list)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pictures: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def read_json(path: Path) -> Any:
    """Content of a JSON file; UserError names it."""
    return jsonfile.read_json(path, "make it again")


def check_row(row: Any, path: Path) -> Row:
    """The ten fields of a summary row, checked; other fields are dropped."""
    if not isinstance(row, dict):
        raise UserError(f"{path}: a result row is {type(row).__name__}, expected an object")
    missing = [name for name in ROW_FIELDS if name not in row]
    if missing:
        raise UserError(f"{path}: a result row lacks {', '.join(missing)}: make it again")
    kept = {name: row[name] for name in ROW_FIELDS}
    numbers = {"value": kept["value"], "low": kept["low"], "high": kept["high"]}
    for name, number in numbers.items():
        optional = name != "value"
        valid = isinstance(number, int | float) and math.isfinite(number)
        if not (valid or (optional and number is None)):
            raise UserError(f"{path}: {name} = {number!r}: expected a number")
    for name in ("system", "set", "measure", "decode", "file"):
        if not (isinstance(kept[name], str) or (name in ("decode", "set") and kept[name] is None)):
            raise UserError(f"{path}: {name} = {kept[name]!r}: expected text")
    return kept


def _rows_of(content: Any, path: Path) -> list[Row]:
    """Rows of a measurement file: one row, a list of rows, or {"results"|"rows": [...]}."""
    if isinstance(content, dict):
        for key in ("results", "rows"):
            if isinstance(content.get(key), list):
                content = content[key]
                break
        else:
            content = [content]
    return [check_row(row, path) for row in content]


def _sort_key(row: Row) -> tuple[Any, ...]:
    return tuple(str(row[name]) for name in ("measure", "set", "decode", "system", "seed", "file"))


def collect(exp: str | Path, preset: str | None = None) -> Collected:
    """Gather everything below `exp`; with a preset, scores of other presets are left out.

    UserError: a broken file, no score at all.
    """
    root = Path(exp)
    if not root.is_dir():
        raise UserError(f"{root}: no such experiment directory: run the recipe first")
    found = Collected()
    for path in sorted(root.glob("**/decode_*/scoring/[wc]er.json")):
        content = read_json(path)
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UserError(f"{path}: not a {FORMAT} file: score again with steps/score_wer.sh")
        row = check_row(content, path)
        # Where the directory lies now counts, should it have been moved after scoring.
        row["file"] = str(path)
        if not isinstance(content.get("details"), dict):
            raise UserError(f"{path}: has no details: score again with steps/score_wer.sh")
        own = content["details"].get("preset")
        if preset is not None and own is not None and own != preset:
            found.left_out.append(str(path))
            continue
        found.rows.append(row)
        found.details[row["file"]] = content["details"]
    for pattern in ("**/quality*.json", "**/probe*.json"):
        for path in sorted(root.glob(pattern)):
            if ".stages" in path.parts:  # the ledger's records are named after what they made
                continue
            content = read_json(path)
            found.rows.extend(_rows_of(content, path))
            if isinstance(content, dict) and isinstance(content.get("picture"), dict):
                found.pictures[str(path)] = content
    if not found.rows:
        raise UserError(f"{root}: no scores below: run steps/score_wer.sh first")
    found.rows.sort(key=_sort_key)
    found.runs = _runs(root)
    found.stages = _stages(root / ".stages")
    found.curves = {str(p.parent): _metrics(p) for p in sorted(root.glob("**/metrics.jsonl"))}
    return found


def _runs(root: Path) -> list[dict[str, Any]]:
    runs = []
    for path in sorted(root.glob("**/run.json")):
        content = read_json(path)
        if not isinstance(content, dict):
            raise UserError(f"{path}: not a JSON object: train again")
        runs.append({**content, "dir": str(path.parent)})
    return runs


def _stages(ledger: Path) -> list[dict[str, Any]]:
    """Finished stages in the order they were run."""
    records = [read_json(path) for path in sorted(ledger.glob("*.json"))]
    done = [r for r in records if isinstance(r, dict) and r.get("state") == "done" and "argv" in r]
    return sorted(done, key=lambda record: (record.get("start", 0.0), str(record.get("name"))))


def _metrics(path: Path) -> list[dict[str, Any]]:
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the line that a killed process was writing
        if isinstance(record, dict) and "update" in record:
            lines.append(record)
    return lines


def stage_seconds(stages: Iterable[dict[str, Any]]) -> float:
    """Sum of the wall times of the stages."""
    return float(sum(max(r.get("end", 0.0) - r.get("start", 0.0), 0.0) for r in stages))
