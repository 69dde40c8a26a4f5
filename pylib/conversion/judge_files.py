"""What the judges heard, kept beside a data directory: one row of numbers an utterance.

`<data>/judge_speaker.scp`, `judge_quality.scp` and `judge_parallel.scp` with a json each, made by
parallel jobs (`pylib.corpus.derived`); arks lie in `<data>/judges`. What is there and still belongs
to the audio is not made again: natural speech is heard once for all systems.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import read_mat
from pylib.corpus.atomic import sha256_file
from pylib.corpus.datadir import DataDir
from pylib.corpus.derived import Derived, input_bytes, open_derived
from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some, read_table

RATE = 16000
KINDS = ("speaker", "quality", "parallel")
# What the numbers depend on besides the audio: raise it when a judge changes.
META: dict[str, dict[str, Any]] = {
    "speaker": {"judge": "Resemblyzer 0.1.4", "columns": "unit vector (256), seconds of speech"},
    "quality": {"judge": "DNSMOS of speechmos 0.0.1.1", "columns": "ovrl sig bak p808"},
    "parallel": {"judge": "WORLD mel-cepstra, order 39, alpha 0.42, no c0; DTW", "version": 1},
}


@dataclass(frozen=True)
class Conversions:
    """A data directory of converted speech.

    Attributes:
        data: its utterances; the speaker of each is the target.
        info: convert.json: method, vocoder, checkpoint, system, seed.
        source: converted utterance -> utterance that was converted.
        references: converted utterance -> natural utterances of the target that went into it.
    """

    data: DataDir
    info: Mapping[str, Any]
    source: Mapping[str, str]
    references: Mapping[str, tuple[str, ...]]

    @property
    def decode(self) -> str:
        """Name of the way of converting in rows: `shift/world`."""
        return f"{self.info['method']}/{self.info['vocoder']}"

    @property
    def system(self) -> str:
        """Name in rows: the trained system's, or the method's where none was used."""
        return str(self.info.get("system") or self.info["method"])


def load_conversions(path: str | os.PathLike[str]) -> Conversions:
    """Open what steps/convert.sh wrote.

    Raises:
        UserError: not such a directory, or tables that disagree.
    """
    directory = Path(path)
    data = DataDir.load(directory)
    try:
        info = json.loads((directory / "convert.json").read_text(encoding="utf-8"))
        lacks = {"method", "vocoder"} - set(info)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"{directory}/convert.json: not readable ({error}): a data directory that "
            "steps/convert.sh made is needed"
        ) from error
    if lacks:
        raise UserError(
            f"{directory}/convert.json: lacks {', '.join(sorted(lacks))}: convert again"
        )
    source = read_table(directory / "source", fields=2)
    references = {
        utt: tuple(re.split(r"[,\s]+", value.strip()))
        for utt, value in read_table(directory / "target_refs").items()
    }
    if (directory / "carrier").is_file():  # whose words are heard: with method target, its own
        for utt, heard in read_table(directory / "carrier", fields=2).items():
            if utt in references:
                references[utt] = (*references[utt], heard)
    for name, table in (("source", source), ("target_refs", references)):
        if table.keys() != set(data.utts):
            raise UserError(
                f"{directory}/{name}: has other utterances than utt2spk "
                f"({names_some(table.keys() ^ set(data.utts))}): convert again"
            )
    return Conversions(data, info, source, references)


def parallel_of(converted: Conversions, natural: DataDir) -> dict[str, str]:
    """Converted utterance -> the target speaker's own reading of the same words.

    The converted copy of the target's own recording has no other reading and compares with that
    recording (copy synthesis: what is left is the vocoder's doing).
    """
    readings = {}
    for utt in natural.utts:
        if natural.text is not None:
            readings.setdefault((natural.utt2spk[utt], natural.text[utt]), utt)
    texts = converted.data.text or {}
    pairs = {
        utt: readings.get((converted.data.utt2spk[utt], texts[utt]))
        for utt in converted.data.utts
        if utt in texts
    }
    return {utt: other for utt, other in pairs.items() if other is not None}


class Hearing:
    """One kind of judging of one data directory, in `jobs` parts."""

    def __init__(
        self, kind: str, data: DataDir, jobs: int, pairs: Mapping[str, str] | None = None,
        natural: DataDir | None = None, limit: int = 0,
    ) -> None:  # fmt: skip
        """
        Args:
            kind: of `KINDS`.
            data: what is judged.
            jobs: number of parts.
            pairs, natural: for `parallel`: utterance -> utterance of `natural`.
            limit: judge at most this many utterances, drawn by their names; 0 = all.
        """
        self.kind, self.data = kind, data
        self.pairs, self.natural = dict(pairs or {}), natural
        self.utts = sorted(self.pairs) if kind == "parallel" else list(data.utts)
        if 0 < limit < len(self.utts):
            drawn = sorted(self.utts, key=lambda utt: hashlib.sha256(utt.encode()).digest())
            self.utts = sorted(drawn[:limit])
        inputs = [*_audio_bytes(data, self.utts)]
        if natural is not None and kind == "parallel":
            inputs += [repr(sorted(self.pairs.items())).encode()]
            inputs += _audio_bytes(natural, sorted(set(self.pairs.values())))
        self.derived = Derived(
            data.path, f"judge_{kind}", data.path / "judges", META[kind], tuple(inputs), jobs
        )

    def is_done(self) -> bool:
        """Whether the scp is there and was made of this audio by this judge (in any parts)."""
        wanted = self.derived.directory.name.rpartition(".")[0]
        try:
            _, table = open_derived(self.data.path, self.derived.stem)
        except UserError:
            return False
        found = {Path(rx).parent.name.rpartition(".")[0] for rx in table.values()}
        return found == {wanted} and table.keys() == set(self.utts)

    def make_shard(self, index: int) -> int:
        """Judge part `index` (from 1); returns the number of utterances."""

        def progress(done: int, total: int) -> None:
            print(f"{self.kind} {done}/{total}", flush=True)

        return self.derived.write_shard(index, self.utts, self._judge(), progress=progress)

    def _judge(self) -> Callable[[str], npt.NDArray[np.float32]]:
        """Utterance -> (1, D)."""
        if self.kind == "speaker":
            from pylib.conversion.judge_speaker import SpeakerJudge

            embed = SpeakerJudge().embed
            return lambda utt: embed(read(self.data, utt))[None]
        if self.kind == "quality":
            from pylib.conversion.judge_quality import QualityJudge

            score = QualityJudge().score
            return lambda utt: score(read(self.data, utt))[None]
        from pylib.conversion.judge_parallel import NUMBERS, analyse, compare

        natural = self.natural
        assert natural is not None
        analysed = lru_cache(256)(lambda utt: analyse(read(natural, utt)))

        def both(utt: str) -> npt.NDArray[np.float32]:
            try:
                ours = analyse(read(self.data, utt))
            except UserError as error:  # of a failed conversion: counted later, as a row of zeros
                print(f"{utt}: {error}")
                return np.zeros((1, len(NUMBERS)), np.float32)
            return compare(ours, analysed(self.pairs[utt])).astype(np.float32)[None]

        return both


def read(data: DataDir, utt: str) -> npt.NDArray[np.float32]:
    """Samples of an utterance at 16 kHz, float32 (N,)."""
    return data.read_utt(utt, RATE, resample=True, mix=True)


def read_hearing(data: DataDir, kind: str) -> dict[str, npt.NDArray[np.float32]]:
    """What a judge said: utterance -> (D,).

    Raises:
        UserError: it was not made, or a row is missing.
    """
    _, table = open_derived(data.path, f"judge_{kind}")
    return {utt: read_mat(rx, utt)[0] for utt, rx in table.items()}


def _audio_bytes(data: DataDir, utts: list[str]) -> list[bytes]:
    """What tells one state of the audio from another: not its times, which differ when the same is
    made again, and with them the names of what was heard."""
    files = sorted({data.wav_of(utt)[0] for utt in utts})
    states = []
    for name in files:
        try:
            states.append(f"{name} {sha256_file(name)}")
        except UserError as error:
            raise UserError(f"{error}: named in {data.path}/wav.scp") from error
    return [
        *input_bytes(data.path / name for name in ("segments",)),
        "\n".join(utts).encode(),
        "\n".join(states).encode(),
    ]
