"""Find everything that is wrong with data directories (steps/validate_data_dir.sh)."""

from __future__ import annotations

import argparse
import sys

from pylib.bin.data_args import flag
from pylib.bin.entry import run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="validate_data_dir.sh", description=__doc__)
    parser.add_argument("data", nargs="+", help="data directories")
    flag(parser, "--no-feats", "features are not required and not looked at")
    flag(parser, "--no-text", "transcripts are not required and not looked at")
    flag(parser, "--no-wav", "audio is not required and not looked at")
    flag(parser, "--no-spk-sort", "speakers may sort otherwise than utterances")
    flag(parser, "--non-print", "control characters in transcripts are allowed")
    flag(parser, "--allow-empty-text", "utterances without words are allowed")
    flag(parser, "--allow-duplicate-audio", "two utterances may be the same audio")
    parser.add_argument("--check-audio", choices=("none", "header", "full"), default="none")
    parser.add_argument("--check-ark", choices=("none", "header", "full"), default="header")
    parser.add_argument("--rate", type=int, default=0, help="Hz that all audio must have, 0 = any")
    parser.add_argument("--nj", type=int, default=1, help="processes for --check-audio")
    parser.add_argument(
        "--disjoint",
        choices=("none", "speakers", "utterances"),
        default="none",
        help="what the directories must not share",
    )
    parser.add_argument("--json", default="", help="write what was found to this file")
    return parser


def main(argv: list[str]) -> int:
    """Print one line a defect to stderr; 1 if there are any."""
    args = _parser().parse_args(argv)

    from pylib.corpus.atomic import write_json
    from pylib.corpus.checker import Options
    from pylib.corpus.disjoint import check_disjoint
    from pylib.corpus.validate import validate

    names = Options.__dataclass_fields__
    options = Options(**{name: getattr(args, name) for name in names})
    summaries, failed = [], 0
    for path in args.data:
        report = validate(path, options)
        for warning in report.warnings:
            print(f"validate_data_dir.sh: warning: {warning}", file=sys.stderr)
        for defect in report.defects:
            print(defect, file=sys.stderr)
        for name, fact in report.facts.items():
            listed = ", ".join(f"{key} {value}" for key, value in fact.items())
            print(f"validate_data_dir.sh: {path}: {name}: {listed}")
        if report.defects:
            failed += len(report.defects)
            text = f"validate_data_dir.sh: error: {path}: {len(report.defects)} defects (above)"
            print(text, file=sys.stderr)
        else:
            print(f"validate_data_dir.sh: Successfully validated data-directory {path}")
        summaries.append(
            {
                "path": path,
                "utterances": report.utterances,
                "defects": [str(defect) for defect in report.defects],
                "warnings": report.warnings,
                "facts": report.facts,
            }
        )
    shared = [] if args.disjoint == "none" else check_disjoint(args.data, args.disjoint)
    for defect in shared:
        print(defect, file=sys.stderr)
    if args.json:
        write_json(args.json, {"sets": summaries, "shared": [str(defect) for defect in shared]})
    return 1 if failed or shared else 0


if __name__ == "__main__":
    run(main)
