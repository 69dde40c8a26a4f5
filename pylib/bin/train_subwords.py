"""Learn the pieces of words that an attention decoder writes: spm.model, units.txt, spm.json."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run
from pylib.corpus.errors import UserError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="train_subwords", description=__doc__)
    parser.add_argument("source", type=Path, help="data directory, or text of one sentence a line")
    parser.add_argument("out", type=Path, help="directory to write")
    parser.add_argument("--vocab", type=int, default=1000, help="pieces at most, specials included")
    return parser


def _sentences(source: Path) -> list[str]:
    from pylib.corpus.tables import read_table
    from pylib.decoding.lexicon import open_text

    if source.is_dir():
        if not (source / "text").is_file():
            raise UserError(f"{source}/text: missing: pieces are learnt from transcripts")
        return list(read_table(source / "text").values())
    with open_text(source) as stream:
        return [line.rstrip("\n") for line in stream]


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    from pylib.corpus.atomic import atomic_path, write_json, write_text
    from pylib.units.subwords import SPECIALS, Subwords, train

    if args.vocab <= len(SPECIALS):
        raise UserError(f"--vocab {args.vocab}: expected more than {len(SPECIALS)}, such as 1000")
    sentences = _sentences(args.source)
    try:
        model = Subwords(train(sentences, args.vocab))
    except UserError as error:
        raise UserError(f"{args.source}: {error}") from None
    args.out.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.out / "spm.model") as temporary:
        Path(temporary).write_bytes(model.model)
    write_text(
        args.out / "units.txt", "".join(f"{piece} {i}\n" for i, piece in enumerate(model.pieces))
    )
    content = {
        "format": "trivium.subwords/1",
        "kind": "unigram",
        "asked": args.vocab,
        "pieces": len(model),
        "sentences": sum(bool(line.split()) for line in sentences),
        "source": str(args.source),
        "sha256": model.sha256,
    }
    write_json(args.out / "spm.json", content)
    print(f"{args.out}/spm.model: {len(model)} pieces of {content['sentences']} sentences")
    return 0


if __name__ == "__main__":
    run(main)
