"""Write the letter lexicon of a search from a list of words."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pylib.bin.entry import run
from pylib.corpus.atomic import sha256_file, write_json
from pylib.corpus.errors import UserError
from pylib.decoding.lexicon import read_words, spell, write_lexicon
from pylib.units.letters import BOUNDARY, SPECIALS, VOCABULARY


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make_lexicon", description=__doc__)
    parser.add_argument("words", help="text, vocabulary or pronunciation lexicon; plain or gzip")
    parser.add_argument("lm_dir", type=Path, help="writes lexicon.txt and lexicon.json here")
    parser.add_argument(
        "--column",
        choices=("all", "first", "text"),
        default="all",
        help="fields that are words: all, the first (a lexicon), all but the first (Kaldi text)",
    )
    args = parser.parse_args(argv)
    letters = [s for s in VOCABULARY if s not in SPECIALS and s != BOUNDARY]
    words = read_words(args.words, args.column)
    lexicon, refused = spell(words, letters)
    if not lexicon:
        raise UserError(
            f"{args.words}: none of its {len(words)} words is spelled with the model's letters "
            f"(upper case A-Z and the apostrophe); the first: {refused[0]!r}: normalise the list"
        )
    args.lm_dir.mkdir(parents=True, exist_ok=True)
    write_lexicon(args.lm_dir / "lexicon.txt", lexicon)
    record = {
        "source": args.words,
        "source_sha256": sha256_file(args.words),
        "column": args.column,
        "words": len(lexicon),
        "refused": len(refused),
        "refused_examples": refused[:20],
    }
    write_json(args.lm_dir / "lexicon.json", record)
    print(f"{args.lm_dir}/lexicon.txt: {len(lexicon)} words")
    if refused:
        shown = ", ".join(refused[:5])
        print(
            f"make_lexicon: {len(refused)} words left out, the letters cannot spell them: {shown}",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    run(main)
