"""Converts a list of pairs, in shards, and makes a data directory of what comes out.

Each shard writes `<out>/wav/<name>.wav` and, when all of its are there, `<out>/parts/<i>.json`
with a digest of everything that decides the sound. `commit` joins the parts of the present digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pylib.conversion import world
from pylib.conversion.methods import COPIES, LATENT_METHODS, METHODS, Converted, Converter, Request
from pylib.conversion.requests import plan
from pylib.conversion.voices import Voices
from pylib.corpus.ark import ArkWriter, concat_scps, portable_path
from pylib.corpus.atomic import sha256_file, write_json
from pylib.corpus.audio import write_audio
from pylib.corpus.datadir import DataDir, format_seconds
from pylib.corpus.derived import describe, digest, input_bytes, shard_slice
from pylib.corpus.errors import UserError
from pylib.corpus.layout import data_files
from pylib.corpus.progress import Progress
from pylib.corpus.tables import invert, names_some, read_table, write_table

if TYPE_CHECKING:  # torch only where sound is made: to join shards and to refuse takes no 3 s more
    from pylib.conversion.latents import Model

Samples = npt.NDArray[np.float32]

VOCODERS = ("griffinlim", "world")
_PEAK = 0.99  # of the samples; louder ones are made quieter as a whole


@dataclass(frozen=True)
class ConversionStage:
    """Conversions of one pairs list by one method.

    Attributes:
        data: data directory with features and audio of sources and references.
        pairs: the list.
        out: data directory to be made.
        method: of `pylib.conversion.methods`.
        vocoder: griffinlim or world.
        checkpoint: of the model; empty for methods without one.
        feats: name of the features for methods without a model (a model names its own).
        system: name in tables; empty: that of the checkpoint, or of the method.
        iterations: of Griffin-Lim.
        seed: of Griffin-Lim's first phases.
        dump: whether converted features are kept (`<out>/converted.scp`).
        device: where the model runs.
        examples: conversions on the listening page.
        jobs: number of shards.
    """

    data: Path
    pairs: Path
    out: Path
    method: str = "shift"
    vocoder: str = "griffinlim"
    checkpoint: str = ""
    feats: str = "logmel"
    system: str = ""
    iterations: int = 60
    seed: int = 0
    dump: bool = False
    device: str = "cpu"
    examples: int = 6
    jobs: int = 1

    def __post_init__(self) -> None:
        for name, known in (("method", METHODS), ("vocoder", VOCODERS)):
            if getattr(self, name) not in known:
                raise UserError(f"--{name} {getattr(self, name)}: use {', '.join(known)}")
        if self.method in LATENT_METHODS and not self.checkpoint:
            raise UserError(f"--method {self.method}: needs a trained model: give --checkpoint")
        if self.iterations < 1:
            raise UserError(f"--iterations {self.iterations}: at least 1 is needed")
        if self.out.resolve() == self.data.resolve():
            raise UserError(f"{self.out}: is the data that is converted: name another directory")

    @cached_property
    def requests(self) -> list[Request]:
        """What is to be converted, by name."""
        return plan(DataDir.load(self.data), self.pairs, self.method)

    @cached_property
    def _model(self) -> Model | None:
        if self.method not in LATENT_METHODS:
            return None
        from pylib.conversion.latents import load_model

        return load_model(self.checkpoint, self.device)

    @cached_property
    def info(self) -> dict[str, Any]:
        """What `convert.json` says."""
        model = self._model
        about = model.provenance if model else {}
        return {
            "method": self.method,
            "vocoder": self.vocoder,
            "system": self.system or about.get("system_name") or self.method,
            "seed": about.get("seed"),
            "preset": about.get("preset"),
            "checkpoint": self.checkpoint if model else None,
            "checkpoint_sha256": sha256_file(self.checkpoint) if model else None,
            "features": model.stem if model else self.feats,
            "iterations": self.iterations if self.vocoder == "griffinlim" else None,
            "phase_seed": self.seed if self.vocoder == "griffinlim" else None,
            "data": str(self.data),
            "pairs": str(self.pairs),
            "pairs_sha256": sha256_file(self.pairs),
            "conversions": len(self.requests),
        }

    @cached_property
    def _digest(self) -> str:
        feats = self.info["features"]
        names = (f"{feats}.scp", f"{feats}.json", "wav.scp", "segments", "utt2spk", "text")
        inputs = input_bytes(self.data / name for name in names)
        return digest(describe({**self.info, "dump": self.dump, "jobs": self.jobs}), *inputs)

    def make_shard(self, index: int) -> int:
        """Convert part `index` (from 1); returns how many conversions that were.

        Raises:
            UserError: unusable input; what was made of the shard is not counted as done.
        """
        part = shard_slice(self.requests, index, self.jobs)
        done = self.out / "parts" / f"{index}.json"
        done.unlink(missing_ok=True)
        model, feats = self._model, self.info["features"]
        voices = Voices(self.data, feats)
        if model is not None:
            model.check(voices.meta, str(self.data / f"{feats}.json"))
        converter = Converter(self.method, voices, model.voices if model else None)
        vocoder = Vocoder(self, voices)
        progress = Progress(f"{self.method} of {self.pairs}, shard {index}/{self.jobs}")
        made: dict[str, Converted] = {}
        lengths: dict[str, int] = {}
        for number, request in enumerate(part, 1):
            converted = converter(request)
            samples = vocoder(request, converted, converter.known(request))
            write_audio(self._wav(request.name), samples, voices.config.rate)
            lengths[request.name] = len(samples)
            if self.dump:
                made[request.name] = converted
            progress(number, len(part))
        if self.dump:
            self._dump(index, made)
        content = {"digest": self._digest, "rate": voices.config.rate, "samples": lengths}
        write_json(done, content)
        return len(part)

    def _dump(self, index: int, made: Mapping[str, Converted]) -> None:
        base = self.out / "parts" / f"converted.{index}"
        with ArkWriter(f"{base}.ark", f"{base}.scp", count=len(made)) as writer:
            for name, converted in made.items():
                writer.write(name, converted.features)

    def _wav(self, name: str) -> Path:
        return self.out / "wav" / f"{name}.wav"

    def commit(self) -> int:
        """Join the shards into a data directory; returns the number of conversions.

        Raises:
            UserError: a shard is missing or was made otherwise.
        """
        data = DataDir.load(self.data)
        rate, samples = 0, dict[str, int]()
        for index in range(1, self.jobs + 1):
            part = self._part(index)
            rate = part["rate"]
            samples.update(part["samples"])
        wanted = {request.name for request in self.requests}
        lacks = {name for name in wanted if name not in samples or not self._wav(name).is_file()}
        if lacks:
            raise UserError(f"{self.out}: {names_some(lacks)} not made: run the step again")
        # What described an earlier conversion goes first, and wav.scp first of that.
        for name in sorted(data_files(self.out), key=lambda name: name != "wav.scp"):
            (self.out / name).unlink()
        for path in (self.out / "wav").glob("*.wav"):
            if path.stem not in wanted:
                path.unlink()
        self._write_tables(data, rate, samples)
        self._write_page(data)
        write_json(self.out / "convert.json", self.info)
        return len(wanted)

    def _part(self, index: int) -> dict[str, Any]:
        path = self.out / "parts" / f"{index}.json"
        try:
            part = dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            part = {}
        if part.get("digest") != self._digest:
            raise UserError(
                f"{path}: shard {index}/{self.jobs} is missing: its job failed or was made from "
                "other inputs, run the step again"
            )
        return part

    def _write_tables(self, data: DataDir, rate: int, samples: Mapping[str, int]) -> None:
        out = self.out
        names = [request.name for request in self.requests]
        utt2spk = {request.name: request.target for request in self.requests}
        tables: dict[str, Mapping[str, object]] = {
            "utt2spk": utt2spk,
            "spk2utt": {spk: " ".join(utts) for spk, utts in invert(utt2spk).items()},
            "source": {request.name: request.source for request in self.requests},
            "carrier": {request.name: request.carrier for request in self.requests},
            "target_refs": {request.name: " ".join(request.refs) for request in self.requests},
            "utt2num_samples": {name: samples[name] for name in names},
            "utt2dur": {name: format_seconds(samples[name] / rate) for name in names},
        }
        if data.text is not None:
            tables["text"] = {r.name: data.text[r.carrier] for r in self.requests}
        gender = self.data / "spk2gender"
        if gender.is_file():
            known = read_table(gender, fields=2)
            if set(utt2spk.values()) <= known.keys():
                tables["spk2gender"] = {spk: known[spk] for spk in sorted(set(utt2spk.values()))}
        tables["wav.scp"] = {name: portable_path(self._wav(name)) for name in names}
        for name, table in tables.items():
            write_table(out / name, table)
        if self.dump:
            parts = [out / "parts" / f"converted.{i}.scp" for i in range(1, self.jobs + 1)]
            write_json(out / "converted.json", Voices(self.data, self.info["features"]).meta)
            concat_scps(parts, out / "converted.scp")

    def _write_page(self, data: DataDir) -> None:
        if not self.examples:
            return
        from pylib.conversion.page import examples, write_page

        info = self.info
        origin = f", system {info['system']}" if info["checkpoint"] else ""
        about = (
            f"{len(self.requests)} conversions of {self.data}: method {self.method}, vocoder "
            f"{self.vocoder}{origin}. The target is heard with other words."
        )
        shown = examples(self.requests, self.examples)
        page, wavs = self.out / "index.html", self.out / "wav"
        write_page(page, data, wavs, shown, f"{info['system']}: {self.method}", about)


class Vocoder:
    """Turns converted features into samples.

    Args:
        stage: which vocoder, and its settings.
        voices: utterances whose pitch and envelope WORLD starts from.
    """

    def __init__(self, stage: ConversionStage, voices: Voices) -> None:
        from pylib.conversion.griffinlim import GriffinLim

        self._stage, self._voices = stage, voices
        self._search = GriffinLim(voices.config, stage.iterations)

    def __call__(self, request: Request, made: Converted, known: tuple[str, ...]) -> Samples:
        """Samples float32 (N,), no louder than 0.99.

        Args:
            request: what is converted.
            made: its features.
            known: utterances that tell the pitch of the source.
        """
        if self._stage.vocoder == "griffinlim":
            name = f"{self._stage.seed} {request.carrier}".encode()
            phase = int.from_bytes(hashlib.sha256(name).digest()[:6], "big")
            samples = self._search(made.features, phase)
        else:
            samples = self._world(request, made, known)
        peak = float(np.abs(samples).max(initial=0.0))
        return samples if peak <= _PEAK else (samples * (_PEAK / peak)).astype(np.float32)

    def _world(self, request: Request, made: Converted, known: tuple[str, ...]) -> Samples:
        analysis = self._voices.analysis(request.carrier)
        if self._stage.method not in COPIES:
            pitches = self._voices.pitch(known), self._voices.pitch(request.refs)
            analysis = world.move_pitch(analysis, *pitches)
            difference = made.features - made.baseline
            analysis = world.change_envelope(analysis, difference, self._voices.config)
        return world.synthesise(analysis)
