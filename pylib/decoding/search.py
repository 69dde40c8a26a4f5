"""Decoding a data directory's log-probabilities in shards: hypotheses, their merge, decode.json."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pylib.corpus.ark import read_mat, read_scp
from pylib.corpus.atomic import sha256_file, write_json
from pylib.corpus.errors import UserError
from pylib.corpus.jsonfile import read_object
from pylib.corpus.tables import read_table, write_table
from pylib.decoding.greedy import greedy_words
from pylib.decoding.lexicon_beam import BeamOptions, LexiconBeam
from pylib.decoding.lm_dir import read_lm_info
from pylib.decoding.tokens import Tokens, read_tokens

FORMAT = "trivium.logprobs/1"
METHODS = ("greedy", "lm")


@dataclass(frozen=True)
class LogProbs:
    """A directory written by steps/dump_logprobs.sh.

    rx: utterance -> ark position of its (T, V) natural log-probabilities; too_short: utterances
    without a single frame (their hypothesis is empty); meta: logprobs.json.
    """

    path: Path
    rx: dict[str, str]
    tokens: Tokens
    too_short: frozenset[str]
    meta: dict[str, Any]

    @staticmethod
    def load(path: str | Path) -> LogProbs:
        directory = Path(path)
        file = directory / "logprobs.json"
        meta = read_object(file, "dump the log-probabilities again", "run steps/dump_logprobs.sh")
        if meta.get("format") != FORMAT:
            raise UserError(
                f"{file}: format {meta.get('format')!r}, expected {FORMAT!r}: dump again"
            )
        return LogProbs(
            directory,
            read_scp(directory / "logprobs.scp"),
            read_tokens(directory / "tokens.txt", meta["blank"]),
            frozenset(meta["too_short"]),
            meta,
        )

    def check_covers(self, utts: list[str]) -> None:
        """UserError when an utterance of the data directory has no log-probabilities."""
        absent = [u for u in utts if u not in self.rx and u not in self.too_short]
        if absent:
            raise UserError(
                f"{self.path}: no log-probabilities for {len(absent)} of {len(utts)} utterances "
                f"({', '.join(absent[:5])}{' ...' if len(absent) > 5 else ''}): "
                "dump them again from this data directory"
            )


@dataclass(frozen=True)
class DecodeSettings:
    """What decides a decoding; all of it is written into decode.json."""

    method: str
    beam: BeamOptions | None = None
    lm_dir: str | None = None
    tuned: dict[str, Any] | None = field(default=None)  # file, dev set and its WER

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UserError(f"--decode {self.method}: expected one of {', '.join(METHODS)}")
        if self.method == "lm" and (self.lm_dir is None or self.beam is None):
            raise UserError("--decode lm: --lm-dir is needed: make one with steps/make_lm.sh")


def settings_from_tuned(
    path: str | Path, overrides: dict[str, Any], lm_dir: str | Path
) -> tuple[BeamOptions, dict[str, Any]]:
    """(search options that tune_lm chose, record for decode.json); overrides win and are noted.

    UserError when they were chosen with another language model than lm_dir's.
    """
    try:
        tuned = read_object(path, "tune again", "run steps/tune_lm.sh on a dev set")
        chosen = BeamOptions(**tuned["options"])
        record = {
            "file": str(path),
            "set": tuned["set"],
            "wer": tuned["wer"],
            "lm_sha256": tuned["lm_sha256"],
            "overridden": sorted(overrides),
        }
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not written by steps/tune_lm.sh ({error}): tune again") from None
    own = read_lm_info(lm_dir)[0].sha256
    if record["lm_sha256"] != own:
        raise UserError(
            f"{path}: tuned with a language model of checksum {str(record['lm_sha256'])[:12]}, "
            f"{lm_dir} has {own[:12]}: tune again with this model"
        )
    return replace(chosen, **overrides), record


def make_beam(lm_dir: str | Path, tokens: Tokens) -> LexiconBeam:
    """The search over the lexicon and model of a language-model directory."""
    _, model = read_lm_info(lm_dir)
    return LexiconBeam(Path(lm_dir) / "lexicon.txt", model, tokens)


def shard_of(utts: list[str], shard: int, shards: int) -> list[str]:
    """Utterances of shard 1..shards: every shards-th, so that lengths spread evenly."""
    if not 1 <= shard <= shards:
        raise UserError(f"--shard {shard}/{shards}: the shard must lie in 1..{shards}")
    return utts[shard - 1 :: shards]


def decode_utterances(
    log_probs: LogProbs, utts: list[str], settings: DecodeSettings
) -> dict[str, str]:
    """Utterance -> hypothesis text ('' where nothing was found)."""
    beam, options = None, settings.beam or BeamOptions()
    if settings.method == "lm":
        assert settings.lm_dir is not None
        beam = make_beam(settings.lm_dir, log_probs.tokens)
    hypotheses: dict[str, str] = {}
    for utt in utts:
        if utt in log_probs.too_short:
            hypotheses[utt] = ""
            continue
        matrix = read_mat(log_probs.rx[utt])
        try:
            if beam is None:
                words = greedy_words(matrix, log_probs.tokens)
            else:
                words = beam.decode(matrix, options).words
        except UserError as error:
            raise UserError(f"{utt}: {error}") from None
        hypotheses[utt] = " ".join(words)
    return hypotheses


def write_part(
    directory: Path,
    shard: int,
    shards: int,
    hypotheses: dict[str, str],
    started: float,
    record: dict[str, Any] | None = None,
) -> None:
    """Write one shard's hypotheses under <decode-dir>/parts; `record` for who merges them."""
    write_table(directory / "parts" / f"hyp.{shard}of{shards}", hypotheses)
    write_json(
        directory / "parts" / f"hyp.{shard}of{shards}.json",
        {
            "seconds": round(time.monotonic() - started, 3),
            "utterances": len(hypotheses),
            "record": record,
        },
    )


def _part_names(shards: int) -> list[str]:
    return [f"hyp.{shard}of{shards}" for shard in range(1, shards + 1)]


def join_parts(directory: Path, shards: int, utts: list[str]) -> tuple[dict[str, str], float]:
    """(hypotheses of all shards, seconds of their searches together).

    UserError when the parts do not hold exactly the utterances of the data directory.
    """
    merged: dict[str, str] = {}
    seconds = 0.0
    for name in _part_names(shards):
        part = directory / "parts" / name
        rows = read_table(part)
        if merged.keys() & rows.keys():
            raise UserError(f"{part}: utterances of another shard: remove {part.parent} and decode")
        merged.update(rows)
        seconds += json.loads(part.with_name(f"{name}.json").read_text(encoding="utf-8"))["seconds"]
    if merged.keys() != set(utts):
        raise UserError(
            f"{directory}/parts: {len(merged)} hypotheses for {len(utts)} utterances: the parts "
            "are of another data directory: remove them and decode again"
        )
    return merged, seconds


def part_record(directory: Path, shards: int) -> dict[str, Any]:
    """The record that every shard wrote. UserError when they differ."""
    records = []
    for name in _part_names(shards):
        path = directory / "parts" / f"{name}.json"
        records.append(json.loads(path.read_text(encoding="utf-8"))["record"])
    if any(record != records[0] for record in records):
        raise UserError(
            f"{directory}/parts: the shards were decoded with different options: decode again"
        )
    return records[0]


def remove_parts(directory: Path, shards: int) -> None:
    """Remove what `join_parts` has joined."""
    for name in _part_names(shards):
        (directory / "parts" / name).unlink()
        (directory / "parts" / f"{name}.json").unlink()
    if not any((directory / "parts").iterdir()):
        (directory / "parts").rmdir()


def merge_parts(
    directory: Path,
    shards: int,
    log_probs: LogProbs,
    utts: list[str],
    settings: DecodeSettings,
    set_name: str,
) -> dict[str, Any]:
    """Join the shards into `hyp`, write decode.json last, remove the parts.

    Returns decode.json and `seconds`, the time of the search (which is kept out of the file: the
    same input gives the same bytes).
    """
    merged, seconds = join_parts(directory, shards, utts)
    record: dict[str, Any] = {
        "decode": settings.method,
        "set": set_name,
        "utterances": len(merged),
        "empty": sum(not text for text in merged.values()),
        "too_short": sorted(log_probs.too_short & merged.keys()),
        "log_probs": str(log_probs.path),
        "data": log_probs.meta["data"],
        "checkpoint": log_probs.meta["checkpoint"],
        "options": settings.beam.as_dict() if settings.beam else None,
        "tuned": settings.tuned,
        "lm": None,
    }
    if settings.lm_dir is not None and settings.method == "lm":
        info, model = read_lm_info(settings.lm_dir)
        lexicon = Path(settings.lm_dir) / "lexicon.txt"
        record["lm"] = {
            **asdict(info),
            "path": str(model),
            "lexicon": str(lexicon),
            "lexicon_sha256": sha256_file(lexicon),
        }
    write_table(directory / "hyp", merged)
    write_json(directory / "decode.json", record)
    remove_parts(directory, shards)
    return {**record, "seconds": seconds}
