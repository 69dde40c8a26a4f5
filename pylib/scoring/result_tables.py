"""Tables of a report: error rates by system, decoding settings, paired comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from pylib.scoring.collect import Collected, Row
from pylib.scoring.measures import is_tabled
from pylib.scoring.modality_tables import MODALITIES, is_clean, is_guess, is_modal
from pylib.scoring.score_files import read_score
from pylib.scoring.significance import compare

ERROR_RATES = ("wer", "cer")
BASELINE = "scratch"
BASELINES = (BASELINE, "avhubert")  # what the others are compared with, in pairs


def _natural(value: Any) -> tuple[int, str]:
    """dev sets before others, then by name; None last."""
    text = "~" if value is None else str(value)
    return (0 if text.startswith("dev") else 1, text)


def run_of(row: Row) -> str:
    """Name of the training whose decoding a score file belongs to (exp/<run>/decode_*/...)."""
    parts = PurePath(row["file"]).parts
    return parts[-4] if len(parts) >= 4 else ""


def _systems(rows: Sequence[Row]) -> list[tuple[str, Any, str]]:
    """(system, seed, run) in reading order: the baseline last."""
    found = {(row["system"], row["seed"], run_of(row)) for row in rows}
    return sorted(found, key=lambda p: (p[0] == BASELINE, p[0], str(p[1]), p[2]))


def error_table(rows: Sequence[Row], measure: str) -> dict[str, Any]:
    """Matrix of one measure: columns (set, decode), one line a training, cells or None."""
    rows = [row for row in rows if row["measure"] == measure]
    columns = sorted(
        {(row["set"], row["decode"]) for row in rows},
        key=lambda c: (_natural(c[0]), str(c[1])),
    )
    at = {(row["system"], row["seed"], run_of(row), row["set"], row["decode"]): row for row in rows}
    lines = [
        {
            "system": system,
            "seed": seed,
            "run": run,
            "cells": [at.get((system, seed, run, *column)) for column in columns],
        }
        for system, seed, run in _systems(rows)
    ]
    return {"measure": measure, "columns": columns, "lines": lines}


def format_cell(row: Row | None, interval: bool = True) -> str:
    """`12.34 [11.20, 13.50]`, `-` for none."""
    if row is None:
        return "-"
    text = f"{row['value']:.2f}"
    if interval and row["low"] is not None and row["high"] is not None:
        text += f" [{row['low']:.2f}, {row['high']:.2f}]"
    return text


def format_text_table(table: dict[str, Any]) -> str:
    """An error table for a terminal."""
    header = [table["measure"].upper() + " %", "seed", "run"]
    header += [f"{name} {decode}" for name, decode in table["columns"]]
    body = [header]
    for line in table["lines"]:
        cells = [format_cell(cell) for cell in line["cells"]]
        seed = "-" if line["seed"] is None else str(line["seed"])
        body.append([line["system"], seed, line["run"], *cells])
    widths = [max(len(row[i]) for row in body) for i in range(len(header))]
    lines = []
    for row in body:
        first = row[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        lines.append("  ".join([first, *rest]).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join(lines) + "\n"


def other_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows that have no table of their own (PNMI, probes of layers ...)."""
    return [
        row
        for row in rows
        if row["measure"] not in ERROR_RATES and not is_tabled(row) and not is_modal(row)
    ]


def decode_settings(found: Collected) -> list[dict[str, Any]]:
    """One line per distinct decoding: options and which set chose them.

    In noise only the decodings that lack utterances: their options are those without noise.
    """
    lines = []
    for row in found.rows:
        if row["measure"] != "wer" or is_guess(row):  # nothing was decoded for a guess
            continue
        details = found.details[row["file"]]
        if not is_clean(row) and not details["missing"]:
            continue
        settings = details["settings"]
        options = settings.get("options") or {}
        tuned = settings.get("tuned")
        lm = settings.get("lm") or {}
        lines.append(
            {
                "row": row,
                "options": options,
                "chosen_on": f"{tuned['set']} (WER {tuned['wer']:.2f} there)" if tuned else None,
                "overridden": tuned.get("overridden", []) if tuned else [],
                "lm": lm.get("made_by") and f"order {lm.get('order')} ({lm['made_by']})",
                "empty": settings.get("empty", 0),
                "missing": details["missing"],
                "unseen": settings.get("no_pictures") or [],
                "sentences": details["sentences"],
                "errors": details["errors"],
                "interval_over": details["interval"]["over"],
                "normaliser": details["normaliser"],
            }
        )
    return lines


def _tuned_for(system: str) -> tuple[str, str]:
    """Name of a system and the modality that alone it was tuned for: `vatlm_v` -> vatlm, v."""
    name, _, modality = system.rpartition("_")
    return (name, modality) if name and modality in MODALITIES else (system, "")


def comparisons(found: Collected) -> list[dict[str, Any]]:
    """Every system against each baseline of the same set, decode and seed, by WER; without noise.

    A baseline is compared with those before it in `BASELINES`, not with those after it.
    """
    rows = [r for r in found.rows if r["measure"] == "wer" and is_clean(r) and not is_guess(r)]
    scores = {row["file"]: read_score(row["file"])[1] for row in rows}
    lines = []
    for number, baseline in enumerate(BASELINES, 1):
        for base in rows:
            name, modality = _tuned_for(base["system"])
            for row in rows if name == baseline else ():
                other, also = _tuned_for(row["system"])
                paired = all(row[key] == base[key] for key in ("set", "decode", "seed"))
                if other in BASELINES[:number] or also != modality or not paired:
                    continue
                result = compare(scores[base["file"]], scores[row["file"]])
                against = {"against": baseline, "row": row, "baseline": base}
                lines.append({**against, **asdict(result)})
    return lines
