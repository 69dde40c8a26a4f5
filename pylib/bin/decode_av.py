"""Decode a fine-tuned audio-visual model: one shard, or the merge of all shards."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylib.bin.av_args import DecodeInputs, add_search_options, open_sources, options_for
from pylib.bin.entry import run
from pylib.corpus.errors import UserError

if TYPE_CHECKING:
    from pylib.decoding.variants import Variant


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="decode_av", description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("data", help="data directory: which utterances")
    parser.add_argument("out", type=Path, help="gets decode_<set>[_<noise>_<snr>]_<modality>/")
    parser.add_argument("--pictures", help="data directory of the mouths, where it is another")
    parser.add_argument("--modalities", default="av a v", help="some of av, a, v")
    parser.add_argument("--conditions", default="clean", help="clean, <noise>:<SNR> ...")
    parser.add_argument("--noise", default="", help="directory of noise, for other than clean")
    parser.add_argument("--method", choices=("beam", "greedy"), default="beam")
    parser.add_argument("--tuned", help="tuned.json of steps/tune_av.sh")
    parser.add_argument("--seed", type=int, default=1, help="which noise an utterance gets")
    add_search_options(parser)
    parser.add_argument("--shard", default="1/1", help="which shard, N/M")
    parser.add_argument("--merge", type=int, metavar="M", help="join M finished shards instead")
    parser.add_argument("--list", action="store_true", help="print the directories and stop")
    return parser


def _decode(args: argparse.Namespace, inputs: DecodeInputs, shard: int, shards: int) -> int:
    """Decode every shards-th batch in all variants."""
    from pylib.decoding.av_decode import batches_of, decode_batch, usable_and_empty
    from pylib.decoding.search import write_part

    started = time.monotonic()
    usable, empty = usable_and_empty(inputs.sources.frames)
    unseen = inputs.sources.unseen
    batches = batches_of(usable, unseen, int(args.batch_seconds * 25))[shard - 1 :: shards]
    found: dict[Variant, dict[str, str]] = {
        v: {u: "" for u in empty if shard == 1 and not (v.modality == "v" and u in unseen)}
        for v in inputs.variants
    }
    for number, batch in enumerate(batches, 1):
        made = decode_batch(
            inputs.model,
            inputs.sources,
            batch,
            inputs.variants,
            inputs.options,
            inputs.pieces,
            args.method,
            args.device,
        )
        for variant, hypotheses in made.items():
            found[variant].update(hypotheses)
        print(f"batch {number}/{len(batches)}: {time.monotonic() - started:.1f} s", flush=True)
    more = {"too_short": empty, **_record(args, inputs)}
    for variant, hypotheses in found.items():
        directory = args.out / variant.name(inputs.name)
        directory.mkdir(parents=True, exist_ok=True)
        record = variant.record(inputs.name, more | _record_of_variant(args, inputs, variant))
        in_order = dict(sorted(hypotheses.items()))
        write_part(directory, shard, shards, in_order, started, record)
        for utt, text in in_order.items():
            print(f"{variant.condition} {variant.modality} {utt} {text}")
    return 0


def _record(args: argparse.Namespace, inputs: DecodeInputs) -> dict[str, Any]:
    """What decode.json says of all variants."""
    from pylib.corpus.atomic import sha256_file

    checkpoint = {
        "path": args.checkpoint,
        "sha256": sha256_file(args.checkpoint),
        "update": inputs.payload.get("update"),
    }
    return {"data": args.data, "checkpoint": checkpoint, "method": args.method}


def _record_of_variant(
    args: argparse.Namespace, inputs: DecodeInputs, variant: Variant
) -> dict[str, Any]:
    """What it says of one."""
    beam = args.method == "beam"
    noise = None
    if not variant.condition.clean:
        assert inputs.sources.noise is not None
        identity = inputs.sources.noise.identity
        noise = {"path": args.noise, "identity": identity, "seed": args.seed}
    return {
        "options": inputs.options[variant.modality].as_dict() if beam else None,
        "tuned": inputs.tuned.get(variant.modality) if beam else None,
        "noise": noise,
        # av reads them from sound alone; of v all their words count as deleted.
        "no_pictures": sorted(inputs.sources.unseen) if variant.modality != "a" else [],
    }


def _variants(args: argparse.Namespace) -> tuple[str, list[Variant]]:
    """(name of the set, its variants), without the model."""
    from pylib.decoding.variants import parse_conditions, parse_modalities, variants_of

    name = Path(args.data).resolve().name
    conditions = parse_conditions(args.conditions)
    return name, variants_of(conditions, parse_modalities(args.modalities))


def _merge(args: argparse.Namespace, shards: int) -> int:
    """Join the shards of each variant: hyp, then decode.json."""
    from pylib.corpus.atomic import write_json
    from pylib.corpus.tables import read_table, table_path, write_table
    from pylib.decoding.search import join_parts, part_record, remove_parts

    name, variants = _variants(args)
    utts = sorted(read_table(table_path(args.data, "utt2spk"), fields=2))
    for variant in variants:
        directory = args.out / variant.name(name)
        record = part_record(directory, shards)
        unseen = set(record["no_pictures"])
        readable = [u for u in utts if variant.modality != "v" or u not in unseen]
        merged, seconds = join_parts(directory, shards, readable)
        record |= {"utterances": len(merged), "empty": sum(not t for t in merged.values())}
        write_table(directory / "hyp", dict(sorted(merged.items())))
        write_json(directory / "decode.json", record)
        remove_parts(directory, shards)
        print(
            f"{directory}/hyp: {len(merged)} utterances ({record['empty']} empty), "
            f"{seconds:.1f} s for all variants"
        )
        if unseen:
            how = "no hypothesis" if variant.modality == "v" else "decoded from sound alone"
            print(f"{directory}: {len(unseen)} of {len(utts)} have no mouth: {how}")
    return 0


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    try:
        shard, shards = (int(number) for number in args.shard.split("/"))
        if not 1 <= shard <= shards:
            raise ValueError
    except ValueError:
        raise UserError(f"--shard {args.shard}: expected N/M, for example 2/8") from None
    if args.list:
        name, variants = _variants(args)
        for variant in variants:
            print(args.out / variant.name(name))
        return 0
    if args.merge is not None:
        return _merge(args, args.merge)
    inputs = open_sources(args)
    inputs.options, inputs.tuned = options_for(args, inputs)
    if args.method == "greedy" and inputs.model.ctc_head is None:
        raise UserError(
            f"{args.checkpoint}: has no CTC head (seq2seq.ctc_weight = 0): --method greedy reads "
            "CTC's best path, use --method beam"
        )
    return _decode(args, inputs, shard, shards)


if __name__ == "__main__":
    run(main)
