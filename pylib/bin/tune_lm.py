"""Choose LM weight and word score on a development set; writes tuned.json."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylib.bin.entry import run
from pylib.corpus.errors import UserError

if TYPE_CHECKING:
    from pylib.decoding.lexicon_beam import BeamOptions
    from pylib.decoding.tune import Evaluate, Point, Trial, TrialCache
    from pylib.decoding.tune_jobs import DevEvaluator


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tune_lm", description=__doc__)
    parser.add_argument("data", help="development data directory, with text")
    parser.add_argument("log_probs", help="its directory of steps/dump_logprobs.sh")
    parser.add_argument("lm_dir", type=Path)
    parser.add_argument("out", type=Path, help="the tuned.json to write")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    parser.add_argument("--beam", type=int, default=500)
    parser.add_argument("--coarse-beam", type=int, default=0, help="of the grid; 0 = a quarter")
    parser.add_argument("--beam-threshold", type=float, default=50.0)
    parser.add_argument("--beam-tokens", type=int, default=0)
    parser.add_argument("--sil-score", type=float, default=0.0)
    parser.add_argument("--max-trials", type=int, default=60)
    parser.add_argument("--max-utts", type=int, default=0, help="an even subset; 0 = all")
    parser.add_argument("--normaliser", default="librispeech")
    parser.add_argument("--force-set", action="store_true", help="tune on a set not named dev")
    return parser


def _references(args: argparse.Namespace) -> dict[str, list[str]]:
    from pylib.corpus.datadir import DataDir
    from pylib.scoring.normalise import get_normaliser

    data = DataDir.load(args.data)
    if data.text is None:
        raise UserError(f"{args.data}/text: missing: tuning needs transcripts")
    apply = get_normaliser(args.normaliser).apply
    utts = data.utts
    if 0 < args.max_utts < len(utts):
        step = len(utts) / args.max_utts
        utts = [utts[int(i * step)] for i in range(args.max_utts)]
    refs = {utt: apply(data.text[utt]) for utt in utts}
    if not any(refs.values()):
        raise UserError(f"{args.data}/text: no words: tuning needs transcripts")
    return refs


def _fingerprint(args: argparse.Namespace, refs: Any, options: BeamOptions) -> dict[str, Any]:
    from pylib.corpus.atomic import sha256_file
    from pylib.decoding.lm_dir import read_lm_info

    return {
        "refs": refs,
        "log_probs": sha256_file(Path(args.log_probs) / "logprobs.json"),
        "scp": sha256_file(Path(args.log_probs) / "logprobs.scp"),
        "lm": read_lm_info(args.lm_dir)[0].sha256,
        "lexicon": sha256_file(args.lm_dir / "lexicon.txt"),
        "options": {**options.as_dict(), "beam": None, "lm_weight": None, "word_score": None},
        "normaliser": args.normaliser,
    }


def _in_rounds(evaluator: DevEvaluator, cache: TrialCache, beam: int) -> Evaluate:
    """`evaluator` a few settings at a time, each round kept in the cache and told of."""
    from pylib.decoding.tune import Trial, cached

    started = time.monotonic()

    def decode(points: list[Point]) -> list[Trial]:
        trials: list[Trial] = []
        for begin in range(0, len(points), evaluator.nj):
            trials += evaluator.trials(points[begin : begin + evaluator.nj], beam)
            cache.add(trials)
            best = min(trials, key=Trial.rank)
            print(
                f"beam {beam}: {len(trials)} of {len(points)} settings, "
                f"{time.monotonic() - started:.1f} s; best of this round {best.wer:.2f} % at "
                f"lm weight {best.lm_weight} word score {best.word_score}"
            )
        return trials

    return cached(decode, cache, beam)


def _record(
    args: argparse.Namespace,
    options: BeamOptions,
    fingerprint: dict[str, Any],
    best: Trial,
    trials: list[Trial],
    coarse: list[Trial],
) -> dict[str, Any]:
    """tuned.json: the choice, what it was made with, every setting tried."""
    from pylib.decoding import tune
    from pylib.scoring.normalise import get_normaliser

    return {
        "format": "trivium.tuned/1",
        "set": Path(args.data).resolve().name,
        "data": args.data,
        "utterances": len(fingerprint["refs"]),
        "words": best.words,
        "wer": round(best.wer, 4),
        "options": tune.at_point(options, (best.lm_weight, best.word_score)).as_dict(),
        "lm_sha256": fingerprint["lm"],
        "lexicon_sha256": fingerprint["lexicon"],
        "normaliser": get_normaliser(args.normaliser).label,
        "at_edge": best.lm_weight == tune.LM_WEIGHT_RANGE[1]
        or best.word_score in tune.WORD_SCORE_RANGE,
        "trials": [{**asdict(t), "wer": round(t.wer, 4)} for t in (*coarse, *trials)],
    }


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    from pylib.corpus.atomic import write_json
    from pylib.decoding import tune
    from pylib.decoding.lexicon_beam import BeamOptions
    from pylib.decoding.search import LogProbs, make_beam
    from pylib.decoding.tune_jobs import DevEvaluator
    from pylib.scoring.normalise import get_normaliser

    name = Path(args.data).resolve().name
    tune.check_dev_set(name, args.force_set)
    refs = _references(args)
    log_probs = LogProbs.load(args.log_probs)
    log_probs.check_covers(sorted(refs))
    options = BeamOptions(
        beam=args.beam,
        beam_threshold=args.beam_threshold,
        beam_tokens=args.beam_tokens,
        sil_score=args.sil_score,
    )
    coarse_beam = args.coarse_beam or max(1, args.beam // 4)
    fingerprint = _fingerprint(args, refs, options)
    cache = tune.TrialCache(args.out.with_suffix(".cache.json"), fingerprint)
    beam = make_beam(args.lm_dir, log_probs.tokens)
    apply = get_normaliser(args.normaliser).apply
    with DevEvaluator(beam, log_probs, refs, apply, options, args.nj) as evaluator:
        evaluate, quick = (_in_rounds(evaluator, cache, b) for b in (args.beam, coarse_beam))
        best, trials, coarse = tune.search(quick, evaluate, args.max_trials)
    for made, beam_size in ((coarse, coarse_beam), (trials, args.beam)):
        print(f"WER % with beam {beam_size}:\n{tune.format_table(made, best)}", end="")
    content = _record(args, options, fingerprint, best, trials, coarse)
    write_json(args.out, content)
    if content["at_edge"]:
        print("tune_lm: the choice lies at the edge of the range searched", file=sys.stderr)
    print(
        f"{args.out}: lm weight {best.lm_weight}, word score {best.word_score}: "
        f"WER {best.wer:.2f} % on {name} ({len(refs)} utterances, "
        f"{len(trials) + len(coarse)} settings)"
    )
    return 0


if __name__ == "__main__":
    run(main)
