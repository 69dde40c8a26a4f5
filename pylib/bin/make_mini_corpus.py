"""Make a built-in corpus (synthetic voices; LibriSpeech, VCTK or, with faces, LRS3 layout)."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from pylib.bin.entry import run
from pylib.corpus.mini.config import SIZES, with_overrides
from pylib.corpus.mini.vctk_config import VCTK_SIZES


def main(argv: list[str]) -> int:
    """Returns 0; raises UserError on a bad value or directory."""
    parser = argparse.ArgumentParser(prog="make_mini_corpus", description=__doc__)
    parser.add_argument("--layout", choices=("librispeech", "vctk", "lrs3"), default="librispeech")
    parser.add_argument("--size", choices=sorted(SIZES), default="easy")
    parser.add_argument("--seed", type=int, default=None, help="all randomness (default 1)")
    parser.add_argument("--nj", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change one value of the size, such as words=120; may be repeated or comma-separated",
    )
    parser.add_argument("corpus_dir", type=Path)
    arguments = parser.parse_args(argv)
    settings = [part for group in arguments.set for part in group.replace(",", " ").split()]
    if arguments.seed is not None:
        settings.append(f"seed={arguments.seed}")

    from pylib.corpus.progress import Progress

    started = time.monotonic()
    progress = Progress("built-in corpus", "speakers", every=5.0)
    place, jobs = arguments.corpus_dir, arguments.nj
    if arguments.layout == "vctk":
        from pylib.corpus.mini.vctk import build_vctk

        vctk = with_overrides(VCTK_SIZES[arguments.size], settings)
        summary = build_vctk(place, vctk, jobs, progress)
        what = f"the first {vctk.parallel} texts are read by all"
    elif arguments.layout == "lrs3":
        from pylib.corpus.mini.lrs3 import build_lrs3
        from pylib.corpus.mini.lrs3_config import LRS3_SIZES

        lrs3 = with_overrides(LRS3_SIZES[arguments.size], settings)
        summary = build_lrs3(place, lrs3, jobs, progress)
        what = f"{summary['text_lines']} lines of text"
    else:
        from pylib.corpus.mini.build import build_corpus

        summary = build_corpus(
            place, with_overrides(SIZES[arguments.size], settings), jobs, progress
        )
        what = f"{summary['labelled_minutes']} minutes labelled"
    for subset, row in summary["subsets"].items():  # type: ignore[attr-defined]
        print(
            f"{subset}: {row['minutes']:.1f} minutes, {row['utterances']} utterances, "
            f"{row['speakers']} speakers"
        )
    print(f"{place}: {what}, made in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    run(main)
