"""A model's log-probabilities on disk: batches planned by length, whatever jobs share them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pylib.corpus.ark import ArkWriter, concat_scps
from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.decoding.search import FORMAT
from pylib.decoding.tokens import Tokens, write_tokens

LogProbFunction = Callable[[Sequence[str]], list[np.ndarray]]


def plan_batches(lengths: Mapping[str, int], batch_units: int) -> list[list[str]]:
    """Utterances in batches of at most batch_units padded input units, longest first.

    A function of lengths and batch_units alone, so that the outputs do not depend on how many
    jobs share the batches. An utterance longer than batch_units is a batch of its own.
    """
    if batch_units < 1:
        raise UserError(f"batch of {batch_units} input units: give more --batch-seconds")
    batches: list[list[str]] = []
    longest = 0
    for utt in sorted(lengths, key=lambda u: (-lengths[u], u)):
        if not batches or (len(batches[-1]) + 1) * longest > batch_units:
            batches.append([])
            longest = lengths[utt]
        batches[-1].append(utt)
    return batches


def dump_batches(
    directory: Path,
    batches: Sequence[Sequence[str]],
    compute: LogProbFunction,
    shard: int,
    shards: int,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write one shard's ark and scp: every shards-th batch; returns how many utterances.

    compute: utterances of a batch -> their (T, V) natural log-probabilities, float32.
    UserError: NaN, or rows that are no distributions (their exponentials must sum to 1).
    """
    ark = directory / f"logprobs.{shard}.ark"
    done = 0
    mine = batches[shard - 1 :: shards]
    with ArkWriter(ark, ark.with_suffix(".scp")) as writer:
        for number, batch in enumerate(mine, 1):
            for utt, matrix in zip(batch, compute(batch), strict=True):
                _check(utt, matrix)
                writer.write(utt, matrix)
                done += 1
            if progress is not None:
                progress(number, len(mine))
    return done


def _check(utt: str, matrix: np.ndarray) -> None:
    if not matrix.size or np.isnan(matrix).any():
        raise UserError(
            f"{utt}: log-probabilities of shape {matrix.shape} are empty or contain NaN: "
            "the model has diverged, use an earlier checkpoint"
        )
    sums = np.exp(matrix.astype(np.float64)).sum(axis=1)
    if np.abs(sums - 1.0).max() > 1e-3:
        raise UserError(
            f"{utt}: rows do not sum to 1 (off by {np.abs(sums - 1).max():.2g}): "
            "they are not log-probabilities of a softmax"
        )


def merge_dump(
    directory: Path,
    shards: int,
    utts: Sequence[str],
    too_short: Sequence[str],
    tokens: Tokens,
    meta: Mapping[str, Any],
) -> dict[str, Any]:
    """Join the shards' scps, write tokens.txt, and logprobs.json last; returns its content."""
    parts = [directory / f"logprobs.{shard}.scp" for shard in range(1, shards + 1)]
    scp = directory / "logprobs.scp"
    concat_scps(parts, scp)
    found = {line.split(" ", 1)[0] for line in scp.read_text(encoding="utf-8").splitlines()}
    if found != set(utts):
        raise UserError(
            f"{scp}: {len(found)} utterances, {len(utts)} expected: the shards are of another "
            "data directory or job count: remove the directory and dump again"
        )
    write_tokens(directory / "tokens.txt", tokens)
    content = {
        **meta,
        "format": FORMAT,
        "blank": tokens.blank,
        "utterances": len(utts) + len(too_short),
        "too_short": sorted(too_short),
    }
    write_json(directory / "logprobs.json", json.loads(json.dumps(content)))
    return content
