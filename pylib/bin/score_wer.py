"""Score decoded words: WER and CER with intervals, in Kaldi's formats and JSON."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pylib.bin.entry import run
from pylib.corpus.errors import UserError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="score_wer", description=__doc__)
    parser.add_argument("data", help="data directory with the reference text")
    parser.add_argument("decode_dir", type=Path, help="has hyp and decode.json; writes scoring/")
    parser.add_argument("--normaliser", default="librispeech", help="applied to both sides")
    parser.add_argument("--partial", action="store_true", help="missing hypotheses are no error")
    parser.add_argument("--system", help="for hypotheses without a run.json above")
    parser.add_argument("--seed", type=int, help="likewise")
    return parser


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    from pylib.corpus.datadir import DataDir
    from pylib.corpus.tables import read_table
    from pylib.scoring.html import write_alignments
    from pylib.scoring.kaldi_files import summary_lines
    from pylib.scoring.modality_tables import split_set
    from pylib.scoring.normalise import get_normaliser
    from pylib.scoring.score_files import read_origin, write_score
    from pylib.scoring.wer import score_set

    normaliser = get_normaliser(args.normaliser)
    data = DataDir.load(args.data)
    if data.text is None:
        raise UserError(f"{args.data}/text: missing: only a set with transcripts can be scored")
    origin = read_origin(args.decode_dir, args.system, args.seed)
    name = Path(data.path).resolve().name
    if name not in (origin.set, split_set(origin.set)[0]):  # with noise: test_babble_-5
        raise UserError(
            f"{args.decode_dir}: decoded from set {origin.set!r}, not {name!r}: "
            "score against the data directory that was decoded"
        )
    hyps = read_table(args.decode_dir / "hyp")
    scoring = args.decode_dir / "scoring"
    missing: list[str] = []
    for unit, label in (("char", "CER"), ("word", "WER")):
        try:
            score = score_set(data.text, hyps, data.utt2spk, normaliser, unit)
        except UserError as error:
            raise UserError(f"{args.decode_dir}/hyp against {args.data}/text: {error}") from None
        if unit == "word":
            write_alignments(scoring / "alignments.html", score, str(args.decode_dir))
        content = write_score(scoring, score, origin, normaliser)
        print(summary_lines(score, label), end="")
        print(f"95 % interval [ {content['low']:.2f}, {content['high']:.2f} ]")
        missing = score.missing
    # Lips cannot be read where no mouth was found: told by the decoding, and no fault of it.
    unseen = origin.settings.get("no_pictures") or []
    if unseen:
        how = "all their words counted as deleted" if missing else "read from sound alone"
        print(f"{len(unseen)} of {len(data.text)} clips have no mouth ({how}): {' '.join(unseen)}")
    missing = sorted(set(missing) - set(unseen))
    if missing:
        listed = "\n".join(f"  {utt}" for utt in missing)
        print(
            f"score_wer: {args.decode_dir}/hyp: {len(missing)} utterances have no hypothesis (all "
            f"their words counted as deleted; {scoring}/missing): decode them, or say --partial\n"
            f"{listed}",
            file=sys.stderr,
        )
        return 0 if args.partial else 1
    return 0


if __name__ == "__main__":
    run(main)
