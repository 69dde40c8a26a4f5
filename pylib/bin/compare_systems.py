"""Is system B better than system A? A paired test on two score files of one set."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="compare_systems", description=__doc__)
    parser.add_argument("a", type=Path, help="wer.json or cer.json of the baseline")
    parser.add_argument("b", type=Path, help="wer.json or cer.json of the other system")
    parser.add_argument("--out", type=Path, help="also write the numbers as JSON")
    args = parser.parse_args(argv)
    from pylib.corpus.atomic import write_json
    from pylib.scoring.score_files import read_score
    from pylib.scoring.significance import compare

    content_a, score_a = read_score(args.a)
    content_b, score_b = read_score(args.b)
    result = compare(score_a, score_b)
    names = [f"{c['system']} (seed {c['seed']})" for c in (content_a, content_b)]
    measure = content_a["measure"].upper()
    print(f"{measure} on {content_a['set']}, {result.utterances} utterances; lower is better")
    print(f"A {names[0]:<30} {result.rate_a:6.2f} %")
    print(f"B {names[1]:<30} {result.rate_b:6.2f} %")
    relative = f", relative {result.relative:+.1f} %" if result.relative is not None else ""
    print(
        f"B - A {result.difference:+.2f} [ {result.low:+.2f}, {result.high:+.2f} ]{relative} "
        f"(95 %, {result.resamples} draws of {result.groups} {result.over})"
    )
    print(
        f"p = {result.p_bootstrap:.4f} (bootstrap), {result.p_matched:.4f} (matched pairs); "
        f"B makes fewer errors in {100 * result.p_improved:.1f} % of the draws"
    )
    if args.out:
        write_json(
            args.out,
            {"a": str(args.a), "b": str(args.b), "measure": content_a["measure"], **asdict(result)},
        )
    return 0


if __name__ == "__main__":
    run(main)
