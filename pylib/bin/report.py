"""Gather all scores below an experiment directory into a page, RESULTS.md and summary.json."""

from __future__ import annotations

import argparse
import glob
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylib.bin.entry import run
from pylib.corpus.errors import UserError

if TYPE_CHECKING:
    from pylib.scoring.collect import Collected

ROOT = Path(__file__).resolve().parents[2]


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }


def _readme_text(found: Collected, where: str) -> str:
    """Error rates; of latents, conversion and modalities the few measures that tell most."""
    from pylib.scoring.measure_tables import LEGEND, has_directions, key_table, markdown_table
    from pylib.scoring.modality_tables import has_modalities, modality_key_table
    from pylib.scoring.readme import format_markdown_table
    from pylib.scoring.result_tables import error_table

    if has_modalities(found.rows):
        table = markdown_table(modality_key_table(found.rows))
        return f"{LEGEND.split('.')[0]}; {where}.\n\n{table}"
    if has_directions(found.rows):
        table = markdown_table(key_table(found.rows, found.details))
        return f"{LEGEND.split('.')[0]}; {where}.\n\n{table}"
    table = format_markdown_table(error_table(found.rows, "wer"))
    return f"WER in %, with 95 % intervals; {where}.\n\n{table}"


def _print_tables(found: Collected) -> None:
    """Error rates, or all tables of latents and conversion, or of modalities."""
    from pylib.scoring.measure_tables import LEGEND, sections, text_table
    from pylib.scoring.modality_tables import modality_sections, phones_aligned
    from pylib.scoring.result_tables import error_table, format_text_table

    aligned = phones_aligned(found.pictures)
    chapters = modality_sections(found.rows, aligned) or sections(found.rows, found.details)
    if chapters:
        print(LEGEND)
        for section in chapters:
            print(f"\n{section.title.upper()}\n")
            print("\n".join(text_table(table) for table in section.tables), end="")
        return
    for measure in ("wer", "cer"):
        table = error_table(found.rows, measure)
        if table["lines"]:
            print(format_text_table(table), end="")


def _shown(patterns: list[str], about: str) -> list[Path]:
    """Directories of the patterns; of one system and method under several seeds the lowest seed.

    Raises:
        UserError: a name without a wildcard that is no directory with the file `about`.
    """
    from pylib.scoring.collect import read_json

    chosen: dict[tuple[str, str], tuple[int, Path]] = {}
    for pattern in patterns:
        paths = [Path(path) for path in sorted(glob.glob(pattern))] or [Path(pattern)]
        for path in paths:
            if not (path / about).is_file():
                if glob.has_magic(pattern):
                    continue
                raise UserError(f"{path}/{about}: missing: name a directory that has it")
            says = read_json(path / about)
            key = (str(says.get("system")), str(says.get("method")))
            seed = int(says.get("seed") or 0)
            if key not in chosen or seed < chosen[key][0]:
                chosen[key] = (seed, path)
    return [path for _, path in chosen.values()]


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="report", description=__doc__)
    parser.add_argument("exp", type=Path)
    parser.add_argument("out", type=Path, help="directory of the report, replaced as a whole")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--preset", required=True)
    parser.add_argument("--corpus", required=True, help="its name; 'built-in ...' is labelled so")
    parser.add_argument("--wall", type=float, help="seconds the recipe took; default: its stages")
    parser.add_argument("--results", type=Path, help="also write the results as this file")
    parser.add_argument("--readme", type=Path, help="also fill the table of results in this file")
    parser.add_argument("--latents", action="append", default=[], help="to draw; may be a pattern")
    parser.add_argument("--conversions", action="append", default=[], help="to play; likewise")
    parser.add_argument("--natural", type=Path, help="their sources (default: as they say)")
    parser.add_argument("--mouths", type=Path, help="data directory with mouths of a decoded set")
    args = parser.parse_args(argv)
    from pylib.corpus.atomic import write_text
    from pylib.jobs.environment import provenance
    from pylib.scoring.collect import collect
    from pylib.scoring.readme import fill_readme
    from pylib.scoring.report import Exhibits, ReportInfo, write_report

    found = collect(args.exp, args.preset)
    info = ReportInfo(
        args.recipe, args.preset, args.corpus, args.wall, provenance(str(ROOT)), _machine()
    )
    exhibits = Exhibits(
        _shown(args.latents, "latents.json"),
        _shown(args.conversions, "convert.json"),
        args.natural,
        args.mouths,
    )
    summary = write_report(found, info, args.out, exhibits)
    if args.results:
        write_text(args.results, (args.out / "RESULTS.md").read_text(encoding="utf-8"))
    if args.readme:
        where = f"preset `{args.preset}`, corpus {args.corpus}, revision "
        text = _readme_text(found, where + str(summary["revision"])[:12])
        fill_readme(args.readme, f"{args.recipe}-{args.preset}", text)
    if info.notice:
        print(info.notice)
    _print_tables(found)
    for path in found.left_out:
        print(f"left out, of another preset: {path}")
    print(f"{args.out}/index.html, RESULTS.md, summary.json: {len(summary['results'])} results")
    return 0


if __name__ == "__main__":
    run(main)
