"""Write the log-probabilities of a CTC checkpoint for a data directory."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, add_places, each, pairs, parts
from pylib.corpus.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from pylib.training.inputs import InputReader


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dump_logprobs", description=__doc__)
    parser.add_argument("checkpoint")
    add_places(parser, "out", "directory of its log-probabilities")
    parser.add_argument("--batch-seconds", type=float, default=160.0, help="padded audio a batch")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    add_parts(parser)
    return parser


def _computer(system: Any, reader: InputReader, device: str) -> Any:
    """Function from utterances to their log-probabilities [(T, V)]."""
    import torch

    from pylib.nn.batch import Batch

    @torch.inference_mode()
    def compute(utts: Sequence[str]) -> list[np.ndarray]:
        inputs, lengths = reader.read_padded(utts)
        batch = Batch(torch.from_numpy(inputs), torch.from_numpy(lengths), utts=tuple(utts)).to(
            device
        )
        log_probs, frames = system.log_probs(batch)
        values = log_probs.float().cpu().numpy()
        return [values[row, : int(count)] for row, count in enumerate(frames)]

    return compute


def main(argv: list[str]) -> int:
    """Make one shard, join shards, or both; see `--help`."""
    parser = _parser()
    args = parser.parse_args(argv)
    from pylib.corpus.atomic import sha256_file
    from pylib.corpus.datadir import DataDir
    from pylib.decoding.logprobs import dump_batches, merge_dump, plan_batches
    from pylib.decoding.tokens import Tokens
    from pylib.training.checkpoint import load_system
    from pylib.training.inputs import InputReader

    system, config, payload = load_system(args.checkpoint, args.device)
    if config.system != "ctc":
        raise UserError(
            f"{args.checkpoint}: a {config.system} model has no letters: fine-tune it first"
        )
    index, shards, merge = parts(args)

    def dump(place: Path, out: Path) -> None:
        data = DataDir.load(place)
        reading = config.reading
        reader = InputReader(data, config.encoder, reading.normalise, features=reading.features)
        lengths = {utt: reader.lengths[utt] for utt in data.utts}
        usable = {utt: n for utt, n in lengths.items() if reader.frames(n) > 0}
        too_short = sorted(lengths.keys() - usable.keys())
        out.mkdir(parents=True, exist_ok=True)
        if index:
            count = dump_batches(
                out,
                plan_batches(usable, int(args.batch_seconds * reader.rate)),
                _computer(system, reader, args.device),
                index,
                shards,
                lambda done, total: print(f"batch {done}/{total}"),
            )
            print(f"{place}, shard {index}/{shards}: {count} utterances")
        if merge:
            meta = {
                "checkpoint": {
                    "path": args.checkpoint,
                    "sha256": sha256_file(args.checkpoint),
                    "update": payload.get("update"),
                },
                "data": os.fspath(place),
                "frame_rate": reader.frame_rate,
            }
            tokens = Tokens(tuple(payload["vocab"]))
            record = merge_dump(out, shards, sorted(usable), too_short, tokens, meta)
            print(f"{out}/logprobs.scp: {len(usable)} of {record['utterances']} utterances")
            if too_short:
                print(f"without a single frame (their hypothesis is empty): {' '.join(too_short)}")

    each(pairs(parser, args.places), dump)
    return 0


if __name__ == "__main__":
    run(main)
