"""A data directory whose recordings are made alike (`steps/clean_audio.sh`), in shards."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pylib.corpus.atomic import (
    atomic_dir,
    require_free_space,
    sync_files,
    write_json,
    write_text,
)
from pylib.corpus.audio import audio_info, write_audio
from pylib.corpus.clean import CleanConfig, Cleaned, clean
from pylib.corpus.datadir import DataDir, check_speaker_order, format_seconds
from pylib.corpus.derived import input_bytes, shard_slice
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.progress import Progress
from pylib.corpus.tables import parse_number, read_table

PHONES = "phones.ctm"


def read_ctm(path: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Utterance -> (start s, length s, name) in time order, of a `<utt> 1 <start> <length> <name>`.

    Raises:
        UserError: a line of another form, with its number.
    """
    found: dict[str, list[tuple[float, float, str]]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        try:
            utt, _, start, length, name = fields
            row = (parse_number(start, float), parse_number(length, float), name)
        except ValueError as error:
            raise UserError(
                f"{path}:{number}: '{line[:60]}' is not `<utt> 1 <start> <length> <name>`: "
                "prepare the data again"
            ) from error
        found.setdefault(utt, []).append(row)
    return found


def shift_phones(
    phones: Iterable[tuple[float, float, str]], offset: float, seconds: float
) -> list[tuple[float, float, str]]:
    """Phones of what is left after `offset` s were cut off and `seconds` kept.

    Phones that tile the whole still tile the part; what lies outside is gone.
    """
    kept = []
    for start, length, name in phones:
        first = max(0.0, round(start - offset, 4))
        last = min(round(seconds, 4), round(start + length - offset, 4))
        if last > first:
            kept.append((first, last - first, name))
    return kept


@dataclass(frozen=True)
class CleanStage:
    """Cleaning of one data directory.

    Attributes:
        data: data directory that is cleaned, with or without segments.
        out: data directory that is made.
        audio_dir: where its audio goes: <audio_dir>/<speaker>/<utterance>.flac.
        config: what is done.
        jobs: number of shards.
    """

    data: Path
    out: Path
    audio_dir: Path
    config: CleanConfig
    jobs: int = 1

    def __post_init__(self) -> None:
        """Raises UserError when the result would replace its source."""
        if os.path.realpath(self.data) == os.path.realpath(self.out):
            raise UserError(f"{self.out}: is the source itself: name another directory")

    @cached_property
    def source(self) -> DataDir:
        """The data directory, checked."""
        return DataDir.load(self.data)

    @cached_property
    def digest(self) -> str:
        """Of what decides the result: a shard of another one is not joined."""
        state = hashlib.sha256(json.dumps(dataclasses.asdict(self.config), sort_keys=True).encode())
        for block in input_bytes(self.data / name for name in ("wav.scp", "segments", "utt2spk")):
            state.update(block)
        return state.hexdigest()

    def _shard_path(self, index: int) -> Path:
        return self.audio_dir / "shards" / f"clean.{index}-{self.jobs}.json"

    def make_shard(self, index: int) -> int:
        """Clean shard `index` (from 1); returns the number of utterances written."""
        data = self.source
        part = shard_slice(data.utts, index, self.jobs)
        if (self.data / "utt2dur").is_file():
            seconds = sum(data.utt2dur[utt] for utt in part)
            require_free_space(self.audio_dir, int(seconds * self.config.rate * 2))
        progress = Progress(f"cleaning of {self.data}, shard {index}/{self.jobs}")
        made: dict[str, dict[str, Any]] = {}
        left_out: list[list[str]] = []
        written: list[Path] = []
        limited = 0
        for done, utt in enumerate(part, 1):
            result = self._clean(utt)
            limited += result.limited
            if result.kind:
                left_out.append([utt, result.kind, result.what])
            for number, (first, samples) in enumerate(result.pieces, 1):
                name = f"{utt}-c{number:02d}" if self.config.chunk else utt
                path = self.audio_dir / data.utt2spk[utt] / f"{name}.flac"
                write_audio(path, samples, self.config.rate, flush=False)
                written.append(path)
                made[name] = {"utt": utt, "first": first, "samples": len(samples)}
            progress(done, len(part))
        sync_files(written)
        write_json(
            self._shard_path(index),
            {"digest": self.digest, "made": made, "left_out": left_out, "limited": limited},
        )
        return len(made)

    def _clean(self, utt: str) -> Cleaned:
        """Read and clean one utterance; an unreadable one is left out and named."""
        try:
            path, _ = self.source.wav_of(utt)
            rate = audio_info(path)[1]
            samples = self.source.read_utt(utt, None, mix=True)
        except UserError as error:
            return Cleaned(kind="unreadable", what=str(error))
        return clean(samples, rate, self.config)

    def _read_shards(self) -> tuple[dict[str, dict[str, Any]], list[list[str]], int]:
        made: dict[str, dict[str, Any]] = {}
        left_out: list[list[str]] = []
        limited = 0
        for index in range(1, self.jobs + 1):
            path = self._shard_path(index)
            if not path.is_file():
                raise UserError(
                    f"{path}: no such file: the job of shard {index} failed, see its log"
                )
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["digest"] != self.digest:
                raise UserError(f"{path}: is of other data or options: run the step again")
            made.update(found["made"])
            left_out += found["left_out"]
            limited += found["limited"]
        return made, left_out, limited

    def commit(self) -> dict[str, Any]:
        """Join the shards: write the data directory and <audio_dir>/excluded.txt.

        Returns:
            What `<out>/clean.json` says.

        Raises:
            UserError: a shard is missing or of something else; nothing is left.
        """
        made, left_out, limited = self._read_shards()
        lines = "".join(f"{utt} {kind} {what}\n" for utt, kind, what in left_out)
        write_text(self.audio_dir / "excluded.txt", lines)
        if not made:
            raise UserError(
                f"{self.data}: nothing is left of its {len(self.source.utts)} utterances: see "
                f"{self.audio_dir / 'excluded.txt'}"
            )
        rate = self.config.rate
        summary: dict[str, Any] = {
            "config": dataclasses.asdict(self.config),
            "source": str(self.data),
            "utterances": len(made),
            "seconds": round(sum(row["samples"] for row in made.values()) / rate, 3),
            "excluded": dict(sorted(Counter(kind for _, kind, _ in left_out).items())),
            "limited_by_peak": limited,
        }
        contents = self._contents(made)
        contents.common["clean.json"] = (
            json.dumps(summary, indent=2, sort_keys=True) + "\n"
        ).encode()
        with atomic_dir(self.out) as temp:
            contents.write(temp)
        return summary

    def _contents(self, made: Mapping[str, Mapping[str, Any]]) -> Contents:
        """Tables of the new data directory."""
        data, rate = self.source, self.config.rate
        utt2spk = {name: data.utt2spk[made[name]["utt"]] for name in sorted(made)}
        check_speaker_order(utt2spk, f"{self.out}/utt2spk")
        out = Contents(str(self.out), utt2spk)
        out.reco["wav.scp"] = {
            name: f"{self.audio_dir}/{spk}/{name}.flac" for name, spk in utt2spk.items()
        }
        samples = {name: int(made[name]["samples"]) for name in utt2spk}
        out.utt["utt2num_samples"] = {name: str(count) for name, count in samples.items()}
        out.utt["utt2dur"] = {name: format_seconds(c / rate) for name, c in samples.items()}
        gender = self.data / "spk2gender"
        if gender.is_file():
            table = read_table(gender, 2)
            out.spk["spk2gender"] = {spk: table[spk] for spk in sorted(set(utt2spk.values()))}
        if self.config.chunk:
            return out  # what was said in a part is not known
        if data.text is not None:
            out.utt["text"] = {name: data.text[name] for name in utt2spk}
        if (self.data / PHONES).is_file():
            phones = read_ctm(self.data / PHONES)
            out.nist[PHONES] = [
                f"{name} 1 {start:.4f} {length:.4f} {phone}"
                for name in utt2spk
                for start, length, phone in shift_phones(
                    phones.get(name, ()), made[name]["first"] / rate, samples[name] / rate
                )
            ]
        return out
