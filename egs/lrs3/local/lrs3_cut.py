"""Clips cut in pieces, their sound extracted: one shard of many, and the shards joined."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrs3_tree import Clip, Loss

from pylib.corpus.atomic import require_free_space, sync_files, write_json
from pylib.corpus.audio import write_audio
from pylib.corpus.clips import (
    RATE,
    SAMPLES_PER_FRAME,
    ClipRules,
    Unusable,
    check_length,
    frames_of,
    load_clip,
    split_at_pauses,
)
from pylib.corpus.errors import UserError
from pylib.corpus.progress import Progress

_BYTES_PER_CLIP = 150_000  # of flac, of a piece of five seconds


@dataclass(frozen=True)
class Made:
    """A piece that is ready.

    Attributes:
        utt: utterance id.
        part, spk, ident: of its clip.
        video: path of the file.
        wav: path of its sound.
        first, frames: of the video, 25 a second.
        text: words in capitals; empty where there are none.
        resampled: what was irregular about the frames; empty where nothing was.
        skewed: how far apart the lengths of sound and video were; empty for a frame or less.
    """

    utt: str
    part: str
    spk: str
    ident: str
    video: str
    wav: str
    first: int
    frames: int
    text: str
    resampled: str
    skewed: str = ""


def plan(clip: Clip) -> dict[str, Any]:
    """What is done with a clip: its pieces in seconds, each with its words."""
    pieces = [{"utt": clip.utt, "begin": 0.0, "end": None, "text": clip.text}]
    found = split_at_pauses(clip.words) if clip.part == "pretrain" else []
    if len(found) > 1:
        pieces = [
            {
                "utt": f"{clip.utt}_{number:03d}",
                "begin": piece.begin,
                "end": piece.end,
                "text": " ".join(piece.words),
            }
            for number, piece in enumerate(found)
        ]
    return {
        "part": clip.part,
        "spk": clip.spk,
        "ident": clip.ident,
        "path": clip.path,
        "pieces": pieces,
    }


def digest(plans: list[dict[str, Any]], rules: ClipRules) -> str:
    """Of what decides the pieces: a shard of another corpus or option is not joined."""
    text = json.dumps([plans, dataclasses.asdict(rules)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _shard(data: Path, index: int, jobs: int) -> Path:
    return data / "local" / "shards" / f"cut.{index}-{jobs}.json"


def cut_clip(row: dict[str, Any], data: Path, rules: ClipRules) -> tuple[list[Made], list[Loss]]:
    """Write the sound of a clip's pieces; the pieces made and those left out."""
    try:
        loaded = load_clip(row["path"], rules)
    except Unusable as error:
        return [], [Loss(piece["utt"], error.kind, error.what) for piece in row["pieces"]]
    made, losses = [], []
    for piece in row["pieces"]:
        first, end = frames_of(piece["begin"], piece["end"], loaded.frames)
        try:
            check_length(end - first, rules, limit=row["part"] != "test")
        except Unusable as error:
            losses.append(Loss(piece["utt"], error.kind, f"{row['path']}: {error.what}"))
            continue
        wav = data / "audio" / row["part"] / row["spk"] / f"{piece['utt']}.flac"
        samples = loaded.samples[first * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]
        write_audio(wav, samples, RATE, flush=False)
        about = {name: row[name] for name in ("part", "spk", "ident")}
        made.append(
            Made(
                piece["utt"],
                **about,
                video=row["path"],
                wav=str(wav),
                first=first,
                frames=end - first,
                text=piece["text"],
                resampled=loaded.resampled,
                skewed=loaded.skewed,
            )
        )
    return made, losses


def make_shard(
    plans: list[dict[str, Any]], data: Path, rules: ClipRules, index: int, jobs: int
) -> int:
    """Cut every `jobs`-th clip from number `index` (from 1) on; returns the pieces made."""
    part = plans[index - 1 :: jobs]
    require_free_space(data, sum(len(row["pieces"]) for row in part) * _BYTES_PER_CLIP)
    progress: Callable[[int, int], None] = Progress(f"cutting, shard {index}/{jobs}", "clips")
    made: list[Made] = []
    losses: list[Loss] = []
    for done, row in enumerate(part, 1):
        good, bad = cut_clip(row, data, rules)
        made += good
        losses += bad
        progress(done, len(part))
    sync_files(piece.wav for piece in made)
    write_json(
        _shard(data, index, jobs),
        {
            "digest": digest(plans, rules),
            "made": [dataclasses.asdict(piece) for piece in made],
            "losses": [dataclasses.astuple(loss) for loss in losses],
        },
    )
    return len(made)


def join_shards(
    plans: list[dict[str, Any]], data: Path, rules: ClipRules, jobs: int
) -> tuple[list[Made], list[Loss]]:
    """All pieces, sorted by utterance, and all losses.

    Raises:
        UserError: a shard is missing or of something else.
    """
    made: list[Made] = []
    losses: list[Loss] = []
    wanted = digest(plans, rules)
    for index in range(1, jobs + 1):
        path = _shard(data, index, jobs)
        if not path.is_file():
            raise UserError(f"{path}: no such file: the job of shard {index} failed, see its log")
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["digest"] != wanted:
            raise UserError(f"{path}: is of another corpus or of other options: run it again")
        made += [Made(**row) for row in found["made"]]
        losses += [Loss(*row) for row in found["losses"]]
    return sorted(made, key=lambda piece: piece.utt), sorted(losses, key=lambda loss: loss.item)
