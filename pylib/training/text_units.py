"""The stage that makes a data directory of text alone: phones at 100 Hz, units at 25 Hz."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pylib.corpus.atomic import sha256_file
from pylib.corpus.derived import Derived, input_bytes, read_meta, shard_slice, write_shards
from pylib.corpus.errors import UserError
from pylib.corpus.progress import Progress
from pylib.corpus.tables import invert, names_some, read_table, table_path, write_table
from pylib.systems.phone2unit import Phone2Unit
from pylib.training import checkpoint
from pylib.training.extract import pick_device
from pylib.units.align_stage import both
from pylib.units.phone_set import FRAMES, PAD
from pylib.units.pronounce import Pronouncer, examples
from pylib.units.text_phones import Ids, TextOptions, TextPhones

RATE = 25
_CHUNK = 2048  # texts whose results are held at once
_BATCH_PHONES = 4000  # phones of a batch, padding included


@dataclass(frozen=True)
class UnitOptions:
    """How durations and units are made.

    Attributes:
        checkpoint: of phone2unit; None = drawn durations and no units.
        labels_of: data directory with the labels the model was trained on, for checkpoints that
            do not say which they were.
        scale: of durations.
        least: frames at 25 Hz of a phone at least.
        device: `cpu`, `cuda` or `auto`.
    """

    checkpoint: Path | None = None
    labels_of: Path | None = None
    scale: float = 1.0
    least: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.scale <= 0 or self.least < 0:
            raise UserError("--duration-scale: above 0, --min-duration: 0 or more expected")


class TextUnitStage:
    """Phones and units of the texts of one directory."""

    def __init__(
        self,
        source: Path,
        out: Path,
        ark_dir: Path,
        pronouncer: Pronouncer,
        text_options: TextOptions,
        options: UnitOptions,
        jobs: int = 1,
    ) -> None:
        """
        Args:
            source: directory with text and utt2spk.
            out: data directory to be made; not `source`.
            ark_dir: where the arks go.
            pronouncer: says the words.
            text_options: silences and their seed.
            options: durations and units.
            jobs: number of shards.

        Raises:
            UserError: missing tables, no text with phones, a checkpoint of another system.
        """
        if out.resolve() == source.resolve():
            raise UserError(f"{out}: is the directory the text is read from: choose another one")
        self.source, self.out, self.jobs, self.options = source, out, jobs, options
        self.pronouncer = pronouncer
        self.text = read_table(table_path(source, "text"))
        self.utt2spk = read_table(table_path(source, "utt2spk"), fields=2)
        if self.text.keys() != self.utt2spk.keys():
            odd = self.text.keys() ^ self.utt2spk.keys()
            raise UserError(
                f"{source}: text and utt2spk disagree about {names_some(odd)}: run "
                "steps/fix_data_dir.sh"
            )
        self.phones = TextPhones(self.text, pronouncer, text_options)
        self._system: Phone2Unit | None = None
        key = [repr((text_options, options.scale, options.least)).encode()]
        labels: Mapping[str, Any] | None = None
        if options.checkpoint is not None:
            self._system, labels = load_phone2unit(options.checkpoint, options.labels_of)
            self._system.to(pick_device(options.device))
            key.append(sha256_file(options.checkpoint).encode())
        inputs = (*input_bytes([source / "text"]), *key, self.phones.said())
        made = "text" if labels is None else "phone2unit"
        self.derived = both(out, ark_dir, made, inputs, jobs)
        if labels is not None:
            self.derived.append(Derived(out, "labels", ark_dir, labels, inputs, jobs))

    def make_shard(self, index: int) -> None:
        """Write the arks of shard `index` (from 1)."""
        part = list(shard_slice(self.phones.utts, index, self.jobs))
        place = {utt: number for number, utt in enumerate(part)}
        held: dict[str, tuple[Ids, ...]] = {}

        def make(utt: str) -> tuple[Ids, ...]:
            if utt not in held:
                held.clear()
                held.update(self._make(part[place[utt] : place[utt] + _CHUNK]))
            return held[utt]

        progress = Progress(f"units of {self.source}, shard {index}/{self.jobs}")
        write_shards(self.derived, index, self.phones.utts, make, progress=progress)

    def _make(self, utts: list[str]) -> dict[str, tuple[Ids, ...]]:
        phones = {utt: self.phones.phones(utt) for utt in utts}
        if self._system is None:
            drawn = {utt: self.phones.lengths(utt, ids) for utt, ids in phones.items()}
            return {utt: (np.repeat(phones[utt], drawn[utt]), drawn[utt]) for utt in utts}
        out: dict[str, tuple[Ids, ...]] = {}
        order = sorted(utts, key=lambda utt: len(phones[utt]))
        while order:
            count = max(1, _BATCH_PHONES // len(phones[order[min(len(order), 64) - 1]]))
            some, order = order[:count], order[count:]
            out.update(self._speak(self._system, {utt: phones[utt] for utt in some}))
        return out

    def _speak(self, system: Phone2Unit, phones: Mapping[str, Ids]) -> dict[str, tuple[Ids, ...]]:
        """Durations and units of one batch of texts."""
        lengths = torch.tensor([len(ids) for ids in phones.values()])
        padded = torch.full((len(phones), int(lengths.max())), PAD)
        for row, ids in enumerate(phones.values()):
            padded[row, : len(ids)] = torch.from_numpy(ids)
        padded = padded.to(system.head.weight.device)
        made = system.generate(padded, lengths, self.options.scale, self.options.least)
        units, frames, durations = (item.cpu().numpy().astype(np.int32) for item in made)
        out: dict[str, tuple[Ids, ...]] = {}
        for row, (utt, ids) in enumerate(phones.items()):
            runs = FRAMES * durations[row, : len(ids)]
            # A phone that lasts no frame is not there: runs have at least one.
            out[utt] = (np.repeat(ids, runs), runs[runs > 0], units[row, : frames[row]].copy())
        return out

    def commit(self) -> str:
        """Join the shards and write the tables; returns the lines to be printed."""
        utts = self.phones.utts
        self.out.mkdir(parents=True, exist_ok=True)
        if self._system is None:  # labels of an earlier call are of other durations
            for name in ("labels.scp", "labels.json"):
                (self.out / name).unlink(missing_ok=True)
        frames: dict[str, int] = {}
        for derived in reversed(self.derived):
            frames = derived.commit(utts)  # those of phones come last
        speakers = {utt: self.utt2spk[utt] for utt in utts}
        write_table(self.out / "text", {utt: self.text[utt] for utt in utts})
        write_table(self.out / "utt2num_frames", {u: n // FRAMES for u, n in frames.items()})
        spk2utt = {spk: " ".join(names) for spk, names in invert(speakers).items()}
        write_table(self.out / "spk2utt", spk2utt)
        write_table(self.out / "utt2spk", speakers)
        hours = sum(frames.values()) / (FRAMES * RATE) / 3600
        lines = [f"{self.out}: {len(utts)} texts, {hours:.2f} h", self.pronouncer.report()]
        if self.phones.left_out:
            count = len(self.phones.left_out)
            lines.append(
                f"{count} texts left out (unknown words, empty): {examples(self.phones.left_out)}"
            )
        if self._system is None:
            lines.append(
                f"{self.out}: drawn durations and no units: training on it needs --checkpoint of "
                "phone2unit"
            )
        return "\n".join(line for line in lines if line)


def load_phone2unit(path: Path, labels_of: Path | None) -> tuple[Phone2Unit, Mapping[str, Any]]:
    """A trained phone2unit and the description of its units.

    Args:
        path: the checkpoint.
        labels_of: data directory whose labels.json describes them; needed where the checkpoint
            does not, and must agree where it does.

    Raises:
        UserError: another system; no or another description.
    """
    system, _, payload = checkpoint.load_system(path)
    if not isinstance(system, Phone2Unit):
        raise UserError(
            f"{path}: is a checkpoint of {payload['system']}: one of phone2unit is needed"
        )
    meta = payload.get("labels")
    if labels_of is not None:
        other = read_meta(labels_of, "labels")
        if meta is not None and meta.get("sha256") != other.get("sha256"):
            raise UserError(
                f"{labels_of}/labels.json: is of another k-means than {path} was trained on: "
                "train phone2unit on these labels"
            )
        meta = other
    if meta is None:
        raise UserError(f"{path}: does not say which units it makes: give --labels-of")
    if meta.get("clusters") != system.config.clusters:
        raise UserError(
            f"{path}: makes {system.config.clusters} units, the labels have {meta.get('clusters')}"
        )
    return system, meta
