"""The report: index.html, RESULTS.md and summary.json, generated from score files only."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylib.corpus.atomic import atomic_dir, write_json, write_text
from pylib.corpus.errors import UserError
from pylib.scoring.collect import Collected, Row, stage_seconds
from pylib.scoring.conversion_page import conversion_blocks
from pylib.scoring.curves import draw_curves
from pylib.scoring.embed import audio_uri
from pylib.scoring.html import alignment_view, render, worst
from pylib.scoring.measure_tables import LEGEND, markdown_table, sections
from pylib.scoring.modality_tables import (
    has_modalities,
    is_clean,
    is_guess,
    modality_sections,
    phones_aligned,
)
from pylib.scoring.mouths import modality_pictures, mouth_blocks, mouth_sheet
from pylib.scoring.noise_curves import draw_noise
from pylib.scoring.pictures import latent_picture
from pylib.scoring.result_tables import (
    comparisons,
    decode_settings,
    error_table,
    other_rows,
    run_of,
)
from pylib.scoring.score_files import read_score

FILES = frozenset({"index.html", "RESULTS.md", "summary.json"})
WORST = 5  # utterances whose alignments are shown of a set and system
PLAYERS = 3  # utterances with audio, a set
MAX_AUDIO_SECONDS = 20.0  # longer recordings would make the page heavy
SEARCH = ("length_penalty", "ctc_weight")  # of attention decoders, shown where there are any
SMALL_PRESETS = ("smoke", "mini", "small")


@dataclass(frozen=True)
class ReportInfo:
    """What the caller knows of a report; `environment` as pylib.jobs.environment gives it."""

    recipe: str
    preset: str
    corpus: str
    wall_s: float | None
    environment: dict[str, Any]
    machine: dict[str, Any]

    @property
    def revision(self) -> str:
        git = self.environment.get("git") or {}
        if not git.get("commit"):
            return "unknown"
        return str(git["commit"]) + ("-dirty" if git.get("dirty") else "")

    @property
    def built_in(self) -> bool:
        return self.corpus.startswith("built-in")

    @property
    def notice(self) -> str:
        """The sentence that stands above every table, '' for full-size runs on a real corpus."""
        if self.built_in:
            return (
                "Built-in corpus (synthetic speech): these numbers show that the recipe works and "
                "how its systems compare on this corpus. They cannot be compared with results on "
                "recorded speech."
            )
        if self.preset in SMALL_PRESETS:
            return (
                f"Preset {self.preset}: a small model and little data. These numbers cannot be "
                "compared with published ones."
            )
        return ""


@dataclass(frozen=True)
class Exhibits:
    """What is shown besides numbers.

    Attributes:
        latents: directories of steps/dump_latents.sh, drawn.
        conversions: directories of steps/convert.sh, some of each to be seen and heard.
        natural: data directory of their sources, by default the one they name.
        mouths: data directory with mouth pictures of a decoded set, some of it to be seen.
    """

    latents: Sequence[Path] = ()
    conversions: Sequence[Path] = ()
    natural: Path | None = None
    mouths: Path | None = None


def summary(found: Collected, info: ReportInfo) -> dict[str, Any]:
    """summary.json, one row a number; its shape is the same in every recipe and stays."""
    wall = info.wall_s if info.wall_s is not None else stage_seconds(found.stages)
    return {
        "recipe": info.recipe,
        "preset": info.preset,
        "corpus": info.corpus,
        "revision": info.revision,
        "wall_s": round(wall, 1),
        "results": found.rows,
    }


def _alignments(found: Collected) -> list[dict[str, Any]]:
    """Worst utterances of every set but development sets, for each system."""
    blocks = []
    for row in found.rows:
        if row["measure"] != "wer" or str(row["set"]).startswith("dev") or not is_clean(row):
            continue
        if is_guess(row):  # all of it is wrong, on purpose
            continue
        _, score = read_score(row["file"])
        shown = [alignment_view(u) for u in worst(score, WORST)]
        blocks.append({"row": row, "run": run_of(row), "utterances": shown})
    return blocks


def _players(found: Collected) -> list[dict[str, Any]]:
    """A few utterances of every test set: audio, reference, and what each system wrote."""
    from pylib.corpus.datadir import DataDir

    sets: dict[str, list[Row]] = {}
    for row in found.rows:
        shown = row["measure"] == "wer" and is_clean(row) and not is_guess(row)
        if shown and not str(row["set"]).startswith("dev"):
            sets.setdefault(row["set"], []).append(row)
    players = []
    for rows in sets.values():
        path = found.details[rows[0]["file"]]["settings"].get("data")
        if path is None or not Path(path).is_dir():
            continue  # the data has been removed since: the scores stand without it
        if (Path(path) / "convert.json").is_file():
            continue  # converted speech is heard beside its source
        data = DataDir.load(path)
        scores = {row["file"]: read_score(row["file"])[1] for row in rows}
        short = [u for u in data.utts if data.utt2dur[u] <= MAX_AUDIO_SECONDS]
        step = max(1, len(short) // PLAYERS)
        for utt in short[::step][:PLAYERS]:
            lines = []
            for row in rows:
                scored = next((u for u in scores[row["file"]].utterances if u.utt == utt), None)
                if scored is not None:
                    lines.append({"row": row, "run": run_of(row), "text": " ".join(scored.hyp)})
            players.append(
                {
                    "utt": utt,
                    "set": rows[0]["set"],
                    "audio": audio_uri(data.read_utt(utt, 16000), 16000),
                    "ref": (data.text or {}).get(utt, ""),
                    "lines": lines,
                }
            )
    return players


def _commands(found: Collected) -> list[dict[str, Any]]:
    """Commands of the ledger's stages; of the trainings where no ledger was kept."""
    if not found.stages:
        runs = [run for run in found.runs if run.get("argv")]
        return [
            {"name": r["dir"], "command": shlex.join(map(str, r["argv"])), "seconds": r["wall_s"]}
            for r in runs
        ]
    return [
        {
            "name": record.get("name"),
            "command": shlex.join(map(str, record["argv"])),
            "seconds": max(record.get("end", 0.0) - record.get("start", 0.0), 0.0),
        }
        for record in found.stages
    ]


def _runs(found: Collected) -> list[dict[str, Any]]:
    """Runs with every field that a table shows, None where run.json lacks it."""
    fields = ("system", "preset", "seed", "parameters", "updates", "audio_hours_seen", "wall_s")
    rows = []
    for run in found.runs:
        commit = run.get("commit")
        rows.append(
            {
                **{name: run.get(name) for name in fields},
                "dir": run["dir"],
                "commit": f"{commit[:12]}{' dirty' if run.get('dirty') else ''}" if commit else "-",
                "data": run.get("data"),
            }
        )
    return rows


def _context(found: Collected, info: ReportInfo) -> dict[str, Any]:
    # Error rates are among them, if any.
    aligned = phones_aligned(found.pictures)
    chapters = modality_sections(found.rows, aligned) or sections(found.rows, found.details)
    errors = () if chapters else ("wer", "cer")
    settings = decode_settings(found)
    return {
        "info": info,
        "summary": summary(found, info),
        "sections": chapters,
        "legend": LEGEND,
        "markdown_table": markdown_table,
        "tables": [t for m in errors if (t := error_table(found.rows, m))["lines"]],
        "others": other_rows(found.rows),
        "settings": settings,
        "search": [name for name in SEARCH if any(name in s["options"] for s in settings)],
        "comparisons": comparisons(found),
        "runs": _runs(found),
        "commands": _commands(found),
        "left_out": found.left_out,
    }


def write_report(
    found: Collected, info: ReportInfo, out: str | Path, exhibits: Exhibits | None = None
) -> dict[str, Any]:
    """Write index.html, RESULTS.md and summary.json as one directory; returns the summary.

    UserError when `out` holds files that are not a report's: the directory is replaced whole.
    """
    directory = Path(out)
    foreign = sorted({p.name for p in directory.iterdir()} - FILES) if directory.is_dir() else []
    if foreign:
        raise UserError(
            f"{directory}: holds {', '.join(foreign[:3])}, which is not of a report: "
            "choose a directory of its own"
        )
    exhibits = exhibits or Exhibits()
    context = _context(found, info)
    page = render(
        "report.html",
        **context,
        curves=draw_curves(found.curves),
        noise=draw_noise(found.rows) if has_modalities(found.rows) else "",
        alignments=_alignments(found),
        players=_players(found),
        pictures=[latent_picture(path) for path in exhibits.latents],
        conversions=conversion_blocks(exhibits.conversions, exhibits.natural),
        mouths=mouth_blocks(exhibits.mouths, found),
        sheet=mouth_sheet(exhibits.mouths),
        modalities=modality_pictures(found),
        environment=json.dumps(
            {**info.environment, "machine": info.machine}, indent=1, sort_keys=True
        ),
    )
    with atomic_dir(directory) as temporary:
        write_json(temporary / "summary.json", context["summary"])
        write_text(temporary / "RESULTS.md", results_text(context))
        write_text(temporary / "index.html", page)
    return context["summary"]


def results_text(context: dict[str, Any]) -> str:
    """RESULTS.md from the context of a report."""
    return render("results.md", **context)
