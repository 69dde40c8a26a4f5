"""Gather all scores below an experiment directory into a page, RESULTS.md and summary.json."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any

from pylib.bin.entry import run

ROOT = Path(__file__).resolve().parents[2]


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }


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
    args = parser.parse_args(argv)
    from pylib.corpus.atomic import write_text
    from pylib.jobs.environment import provenance
    from pylib.scoring.collect import collect
    from pylib.scoring.readme import fill_readme, format_markdown_table
    from pylib.scoring.report import ReportInfo, write_report
    from pylib.scoring.result_tables import error_table, format_text_table

    found = collect(args.exp, args.preset)
    info = ReportInfo(
        args.recipe, args.preset, args.corpus, args.wall, provenance(str(ROOT)), _machine()
    )
    summary = write_report(found, info, args.out)
    if args.results:
        write_text(args.results, (args.out / "RESULTS.md").read_text(encoding="utf-8"))
    if args.readme:
        commit = str(summary["revision"])[:12]
        head = f"WER in %, with 95 % intervals; preset `{args.preset}`, corpus {args.corpus}, "
        table = format_markdown_table(error_table(found.rows, "wer"))
        fill_readme(
            args.readme, f"{args.recipe}-{args.preset}", f"{head}revision {commit}.\n\n{table}"
        )
    if info.notice:
        print(info.notice)
    for measure in ("wer", "cer"):
        table = error_table(found.rows, measure)
        if table["lines"]:
            print(format_text_table(table), end="")
    for path in found.left_out:
        print(f"left out, of another preset: {path}")
    print(f"{args.out}/index.html, RESULTS.md, summary.json: {len(summary['results'])} results")
    return 0


if __name__ == "__main__":
    run(main)
