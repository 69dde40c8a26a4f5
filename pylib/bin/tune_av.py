"""Choose length penalty and CTC weight on a development set; writes tuned.json."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pylib.bin.av_args import (
    TUNED_FORMAT,
    DecodeInputs,
    add_search_options,
    given_options,
    open_sources,
)
from pylib.bin.entry import run
from pylib.corpus.errors import UserError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tune_av", description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("data", help="development data directory, with text")
    parser.add_argument("out", type=Path, help="the tuned.json to write")
    parser.add_argument("--modalities", default="av", help="some of av, a, v: each by itself")
    add_search_options(parser)
    parser.add_argument("--max-utts", type=int, default=0, help="an even subset; 0 = all")
    parser.add_argument("--normaliser", default="librispeech")
    parser.add_argument("--force-set", action="store_true", help="tune on a set not named dev")
    parser.set_defaults(conditions="clean", noise="", seed=1)
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


def _tune(
    args: argparse.Namespace, inputs: DecodeInputs, refs: dict[str, list[str]], modality: str
) -> dict[str, Any]:
    """The row of tuned.json of one modality."""
    from pylib.decoding import av_tune
    from pylib.decoding.attention_search import SearchOptions
    from pylib.decoding.av_decode import usable_and_empty, with_model_weight
    from pylib.decoding.logprobs import plan_batches
    from pylib.scoring.normalise import get_normaliser

    started = time.monotonic()
    given = given_options(args)
    options = with_model_weight(SearchOptions(**given), inputs.model, args.checkpoint)
    frames = inputs.sources.frames
    usable, _ = usable_and_empty({utt: frames[utt] for utt in refs})
    batches = plan_batches(usable, int(args.batch_seconds * 25))
    weights: tuple[float, ...] = av_tune.ctc_weights(inputs.model)
    if "ctc_weight" in given:
        weights = (options.ctc_weight,)
    penalties = av_tune.LENGTH_PENALTIES
    if "length_penalty" in given:
        penalties = (options.length_penalty,)
    found = av_tune.search_all(
        inputs.model, inputs.sources, batches, modality, weights, options, args.device
    )
    normaliser = get_normaliser(args.normaliser)
    trials = av_tune.evaluate(found, refs, inputs.pieces, normaliser.apply, penalties)
    chosen = min(trials, key=av_tune.Trial.rank)
    print(f"{modality}: WER % on {inputs.name}\n{av_tune.format_table(trials, chosen)}", end="")
    print(
        f"{modality}: length penalty {chosen.length_penalty}, CTC weight {chosen.ctc_weight}: "
        f"WER {chosen.wer:.2f} % ({len(refs)} utterances, {time.monotonic() - started:.1f} s)"
    )
    best = replace(options, length_penalty=chosen.length_penalty, ctc_weight=chosen.ctc_weight)
    return {
        "set": inputs.name,
        "data": args.data,
        "utterances": len(refs),
        "words": chosen.words,
        "wer": round(chosen.wer, 4),
        "options": best.as_dict(),
        "normaliser": normaliser.label,
        "trials": [{**asdict(t), "wer": round(t.wer, 4)} for t in trials],
    }


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    from pylib.corpus.atomic import sha256_file, write_json
    from pylib.decoding.tune import check_dev_set

    check_dev_set(Path(args.data).resolve().name, args.force_set)
    refs = _references(args)
    inputs = open_sources(args)
    rows = {modality: _tune(args, inputs, refs, modality) for modality in inputs.modalities}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(
        args.out,
        {
            "format": TUNED_FORMAT,
            "checkpoint": {"path": args.checkpoint, "sha256": sha256_file(args.checkpoint)},
            "modalities": rows,
        },
    )
    print(args.out)
    return 0


if __name__ == "__main__":
    run(main)
