"""Drop what makes a data directory inconsistent, within limits (steps/fix_data_dir.sh)."""

from __future__ import annotations

import argparse
import sys

from pylib.bin.data_args import flag
from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Fix one data directory; see `--help`."""
    parser = argparse.ArgumentParser(prog="fix_data_dir.sh", description=__doc__)
    parser.add_argument("data", help="data directory")
    parser.add_argument("--utt-extra-files", default="", help="more files keyed by utterance")
    parser.add_argument("--spk-extra-files", default="", help="more files keyed by speaker")
    parser.add_argument(
        "--max-drop",
        default="",
        help="largest fraction of utterances to drop (default: 0 for test* and dev*, else 0.05)",
    )
    flag(parser, "--allow-empty-text", "keep utterances without words")
    args = parser.parse_args(argv)

    from pylib.corpus.errors import UserError
    from pylib.corpus.fix import apply_fix, default_max_drop, plan_fix

    try:
        max_drop = float(args.max_drop) if args.max_drop else default_max_drop(args.data)
    except ValueError:
        max_drop = -1.0
    if not 0 <= max_drop <= 1:
        raise UserError(f"--max-drop {args.max_drop}: a fraction from 0 to 1 is expected")
    plan = plan_fix(
        args.data,
        args.utt_extra_files.split(),
        args.spk_extra_files.split(),
        args.allow_empty_text,
    )
    backup = apply_fix(plan, max_drop)
    for note in plan.notes:
        print(f"fix_data_dir.sh: {note}", file=sys.stderr)
    if backup is not None:
        log = f"{args.data}/fix_data_dir.{backup.name}.log"
        print(f"fix_data_dir.sh: the files as they were are in {backup}, the losses in {log}")
    if len(plan.kept) == plan.total:
        print(f"fix_data_dir.sh: kept all {plan.total} utterances.")
    else:
        print(f"fix_data_dir.sh: kept {len(plan.kept)} utterances out of {plan.total}")
    return 0


if __name__ == "__main__":
    run(main)
