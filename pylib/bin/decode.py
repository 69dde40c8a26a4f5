"""Decode log-probabilities into words: one shard, or the merge of all shards."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from pylib.bin.entry import run
from pylib.corpus.errors import UserError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="decode", description=__doc__)
    parser.add_argument("data", help="data directory: which utterances")
    parser.add_argument("log_probs", help="directory of steps/dump_logprobs.sh")
    parser.add_argument("decode_dir", type=Path)
    parser.add_argument("--decode", choices=("greedy", "lm"), default="greedy")
    parser.add_argument("--lm-dir", help="lexicon.txt and lm.json (with --decode lm)")
    parser.add_argument("--tuned", help="tuned.json of steps/tune_lm.sh: all search options")
    parser.add_argument("--beam", type=int)
    parser.add_argument("--beam-threshold", type=float)
    parser.add_argument("--beam-tokens", type=int)
    parser.add_argument("--lm-weight", type=float)
    parser.add_argument("--word-score", type=float)
    parser.add_argument("--sil-score", type=float)
    parser.add_argument("--shard", default="1/1", help="which shard, N/M")
    parser.add_argument("--merge", type=int, metavar="M", help="join M finished shards instead")
    return parser


def _settings(args: argparse.Namespace) -> Any:
    from pylib.decoding.lexicon_beam import BeamOptions
    from pylib.decoding.search import DecodeSettings, settings_from_tuned

    names = ("beam", "beam_threshold", "beam_tokens", "lm_weight", "word_score", "sil_score")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.decode == "greedy":
        if given or args.tuned:
            raise UserError("--decode greedy takes no search options: drop them or use --decode lm")
        return DecodeSettings("greedy")
    if not args.lm_dir:
        raise UserError("--decode lm: --lm-dir is needed: make one with steps/make_lm.sh")
    if args.tuned:
        options, record = settings_from_tuned(args.tuned, given, args.lm_dir)
        return DecodeSettings("lm", options, args.lm_dir, record)
    return DecodeSettings("lm", BeamOptions(**given), args.lm_dir)


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    from pylib.corpus.datadir import DataDir
    from pylib.decoding.search import (
        LogProbs,
        decode_utterances,
        merge_parts,
        shard_of,
        write_part,
    )

    try:
        shard, shards = (int(number) for number in args.shard.split("/"))
    except ValueError:
        raise UserError(f"--shard {args.shard}: expected N/M, for example 2/8") from None
    settings = _settings(args)
    data = DataDir.load(args.data)
    log_probs = LogProbs.load(args.log_probs)
    log_probs.check_covers(data.utts)
    args.decode_dir.mkdir(parents=True, exist_ok=True)
    if args.merge is not None:
        name = Path(data.path).resolve().name
        record = merge_parts(args.decode_dir, args.merge, log_probs, data.utts, settings, name)
        print(
            f"{args.decode_dir}/hyp: {record['utterances']} utterances ({record['empty']} empty), "
            f"search {record['seconds']:.1f} s"
        )
        return 0
    started = time.monotonic()
    hypotheses = decode_utterances(log_probs, shard_of(data.utts, shard, shards), settings)
    write_part(args.decode_dir, shard, shards, hypotheses, started)
    for utt, text in hypotheses.items():
        print(f"{utt} {text}")
    return 0


if __name__ == "__main__":
    run(main)
