"""Estimate an n-gram language model from text, or register a given one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pylib.bin.entry import run
from pylib.corpus.atomic import write_json
from pylib.corpus.tables import read_table


def _report_perplexity(lm_dir: Path, dev_text: Path) -> None:
    from pylib.decoding.lm_dir import arpa_vocabulary, read_lm_info, text_perplexity

    info, model = read_lm_info(lm_dir)
    sentences = [words for text in read_table(dev_text).values() if (words := text.split())]
    known = arpa_vocabulary(model) if info.ngrams else None
    record = text_perplexity(model, sentences, known)
    write_json(lm_dir / "perplexity.json", {"text": str(dev_text), **record})
    oov = f", {record['oov']} words unknown" if known is not None else ""
    print(f"{dev_text}: perplexity {record['perplexity']:.1f} over {record['tokens']} tokens{oov}")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make_lm", description=__doc__)
    parser.add_argument("text", help="one sentence a line, plain or gzip; not read with --given")
    parser.add_argument("lm_dir", type=Path)
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument(
        "--tool",
        default="auto",
        choices=("auto", "lmplz", "python"),
        help="auto: KenLM's lmplz when it is on PATH, else the built-in Kneser-Ney",
    )
    parser.add_argument("--memory", default="50%", help="memory of lmplz (its -S)")
    parser.add_argument("--given", help="a ready ARPA (plain or gzip) or KenLM binary to use")
    parser.add_argument("--dev-text", type=Path, help="Kaldi text of a dev set: print perplexity")
    args = parser.parse_args(argv)
    from pylib.decoding.lm_dir import make_lm, register_given

    if args.given:
        args.lm_dir.mkdir(parents=True, exist_ok=True)
        info = register_given(args.given, args.lm_dir)
    else:
        info = make_lm(args.text, args.lm_dir, args.order, args.tool, args.memory)
    counts = " ".join(map(str, info.ngrams)) if info.ngrams else "not told by a KenLM binary"
    print(f"{args.lm_dir}/lm.json: order {info.order}, n-grams {counts}, made by {info.made_by}")
    if info.fallback_orders:
        print(
            f"make_lm: warning: orders {info.fallback_orders}: too few counts for Kneser-Ney "
            "discounts, 0.5/1/1.5 taken (a larger text mends it)",
            file=sys.stderr,
        )
    if args.dev_text:
        _report_perplexity(args.lm_dir, args.dev_text)
    return 0


if __name__ == "__main__":
    run(main)
