"""What a trained FHVAE says of utterances: frame-rate z1 and z2, and one vector an utterance.

Means everywhere, so that nothing depends on noise; one utterance at a time, so that nothing
depends on what else is computed nor on how the work is split over jobs.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pylib.corpus.ark import ArkReader, ArkWriter, as_float
from pylib.corpus.atomic import atomic_path, sha256_file, write_json
from pylib.corpus.derived import Derived, input_bytes, open_derived, write_shards
from pylib.corpus.errors import UserError
from pylib.corpus.fix import next_backup
from pylib.corpus.layout import Contents, data_files
from pylib.features.cmvn import identity
from pylib.features.reader import FeatureReader
from pylib.nn.gaussian import Z2_VARIANCE
from pylib.systems.fhvae import FHVAE
from pylib.training.checkpoint import load_system
from pylib.training.extract import pick_device
from pylib.training.segment_plan import segment_counts

Matrix = npt.NDArray[np.float32]

FRAMES, VECTORS = ("z1", "z2"), ("svector", "z1mean")
SPEAKERS = "spk_svector"
_BATCH = 4096  # windows that go through the model at once


@dataclass(frozen=True)
class Utterance:
    """Latents of an utterance of F frames.

    Attributes:
        z1: (F, 2 D1) mean and log-variance of z1 of the window around each frame.
        z2: (F, D2) mean of z2 of that window.
        svector: (D2,) closed-form sequence mean over segments at the shift of evaluation.
        z1mean: (D1,) the same form of z1: what of the voice leaks into the content.
    """

    z1: Matrix
    z2: Matrix
    svector: Matrix
    z1mean: Matrix


class LatentExtractor:
    """Reads a data directory through a checkpoint of fhvae.

    Attributes:
        utts: utterances with at least one segment.
        excluded: the others.
        features: name of the features that the model reads.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        data: str | os.PathLike[str],
        device: str = "cpu",
        frames: bool = True,
        hop: int = 1,
    ) -> None:
        """
        Args:
            checkpoint: of fhvae.
            data: data directory with the features that it was trained on.
            device: `cpu`, `cuda` or `auto`.
            frames: compute what is at frame rate too; without, only the segments of the vectors.
            hop: frames between the windows of what is at frame rate; published: 1. Frames between
                take the nearest window.

        Raises:
            UserError: another kind of checkpoint, missing features or other ones, no utterance
                long enough.
        """
        self.device = pick_device(device)
        system, config, payload = load_system(Path(checkpoint), self.device)
        if not isinstance(system, FHVAE) or config.segments is None:
            raise UserError(
                f"{os.fspath(checkpoint)}: a {config.system} model has no latents: give a "
                "checkpoint of fhvae (for layers of others: steps/dump_feats.sh)"
            )
        self.system, self.payload, self._checkpoint = system, payload, Path(checkpoint)
        self.features, self.shift = config.segments.features, config.segments.eval_shift
        self.segment, self.with_frames = config.fhvae.segment if config.fhvae else 0, frames
        if hop < 1 or self.shift % hop:
            raise UserError(
                f"--hop {hop}: must divide segments.eval_shift = {self.shift}: give 1, 2, 4 or 5"
            )
        self.hop = hop
        self._reader = FeatureReader(data, self.features)
        if identity(self._reader.meta) != identity(payload["features"]):
            raise UserError(
                f"{os.fspath(data)}/{self.features}.json: describes other features than "
                f"{os.fspath(checkpoint)} was trained on: make them alike"
            )
        self.lengths = {utt: self._reader.num_frames(utt) for utt in self._reader.utts}
        self.utts = [utt for utt in self._reader.utts if self.lengths[utt] >= self.segment]
        self.excluded = [utt for utt in self._reader.utts if self.lengths[utt] < self.segment]
        if not self.utts:
            raise UserError(
                f"{os.fspath(data)}: no utterance has a segment of {self.segment} frames: give "
                "longer ones"
            )

    @property
    def stems(self) -> tuple[str, ...]:
        """Names of what `arrays` gives."""
        return (*FRAMES, *VECTORS) if self.with_frames else VECTORS

    def arrays(self, utt: str) -> list[Matrix]:
        """What is written of an utterance, in the order of `stems`."""
        made = self.read(utt)
        return [getattr(made, stem) for stem in self.stems]

    def segments(self, utt: str) -> int:
        """Segments that the vectors of an utterance are taken over."""
        return int(segment_counts(np.array(self.lengths[utt]), self.segment, self.shift))

    def read(self, utt: str) -> Utterance:
        """Latents of an utterance; at frame rate they are empty without `frames`.

        Raises:
            UserError: unreadable or too short, or the model gives NaN or infinite values.
        """
        matrix = torch.from_numpy(self._reader.read(utt)).to(self.device)
        if len(matrix) < self.segment:
            raise UserError(f"utterance '{utt}': shorter than a segment: leave it out")
        step = self.hop if self.with_frames else self.shift
        windows = matrix.unfold(0, self.segment, step).transpose(1, 2)  # (W, T, F), a view
        parts = []
        with torch.inference_mode():
            for first in range(0, len(windows), _BATCH):
                made = self.system.encode(windows[first : first + _BATCH].contiguous())
                parts.append(torch.cat([made.z1_mean, made.z1_logvar, made.z2_mean], 1))
        values: Matrix = torch.cat(parts).float().cpu().numpy()
        if not np.isfinite(values).all():
            raise UserError(
                f"utterance '{utt}': {self._checkpoint} gives NaN or infinite latents: use an "
                "earlier checkpoint"
            )
        content = self.system.model.z1_dim
        chosen = values[:: self.shift // step]
        every = spread(values, self.segment, len(matrix), step)
        if not self.with_frames:
            every = every[:0]
        return Utterance(
            every[:, : 2 * content],
            every[:, 2 * content :],
            _closed_form(chosen[:, 2 * content :]),
            _closed_form(chosen[:, :content]),
        )

    def meta(self, stem: str) -> dict[str, Any]:
        """Description of what is written under `stem`."""
        model = self.system.model
        dims = {"z1": 2 * model.z1_dim, "z1mean": model.z1_dim}
        meta: dict[str, Any] = {"kind": stem, "dim": dims.get(stem, model.z2_dim)}
        if stem in FRAMES:
            meta |= {"rate": self._reader.rate, "align": "centre"}
            if self.hop > 1:
                meta["hop"] = self.hop
        else:
            meta["shift"] = self.shift
        return meta | {
            "segment": self.segment,
            "features": identity(self._reader.meta),
            "checkpoint_sha256": sha256_file(self._checkpoint),
        }

    def origin(self) -> dict[str, Any]:
        """What `latents.json` says."""
        about: Mapping[str, Any] = self.payload["provenance"]
        return {
            "system": about["system_name"],
            "seed": about["seed"],
            "preset": about["preset"],
            "checkpoint": os.fspath(self._checkpoint),
            "checkpoint_sha256": sha256_file(self._checkpoint),
            "update": self.payload["update"],
            "features": self.features,
            "stems": [*self.stems, SPEAKERS],
            "excluded": self.excluded,
        }


def spread(windows: Matrix, segment: int, frames: int, hop: int = 1) -> Matrix:
    """Rows of sliding windows, one every `hop` frames, for each of the frames: the nearest window.

    With hop 1 the first is repeated (segment - 1) // 2 times more, the last segment // 2 times: 9
    and 10 for 20 frames, as in `wnhsu/FactorizedHierarchicalVAE: src/datasets`.
    """
    place = (np.arange(frames) - (segment - 1) // 2 + hop // 2) // hop
    return windows[place.clip(0, len(windows) - 1)]


def _closed_form(means: Matrix) -> Matrix:
    """Sum of segments' means (N, D) / (N + 0.25): (D,) float32."""
    total = means.astype(np.float64).sum(0) / (len(means) + Z2_VARIANCE)
    return total.astype(np.float32)


def stages(extractor: LatentExtractor, source: Path, out: Path, jobs: int) -> list[Derived]:
    """What is made for the copy `out` of the data directory `source`, one entry a stem."""
    inputs = tuple(input_bytes([source / f"{extractor.features}.scp"]))
    return [
        Derived(out, stem, out / "arks", extractor.meta(stem), inputs, jobs)
        for stem in extractor.stems
    ]


def make_shard(
    extractor: LatentExtractor, stems: Sequence[Derived], index: int, progress: Any = None
) -> None:
    """Compute and write one shard of all stems."""
    write_shards(stems, index, extractor.utts, extractor.arrays, progress=progress)


def finish(
    extractor: LatentExtractor, stems: Sequence[Derived], source: Path, out: Path
) -> list[str]:
    """Join the shards into `out`, a copy of `source` without utterances that have no latents.

    Returns:
        Names of files of the source that are not understood and left out.

    Raises:
        UserError: a shard is missing, or the source is broken.
    """
    # Written last: a directory without it is not finished.
    (out / "latents.json").unlink(missing_ok=True)
    contents = Contents.load(source)
    part = contents.select(extractor.utts)
    ours = {f"{stem}{end}" for stem in (*FRAMES, *VECTORS, SPEAKERS) for end in (".scp", ".json")}
    fresh = set(part.names()) - {"latents.json", *ours}
    _clear(
        out, {*fresh, *(f"{item.stem}{end}" for item in stems for end in (".scp", ".json"))}, ours
    )
    for name, pieces in part.texts():
        if name in fresh:
            with atomic_path(out / name) as temp, open(temp, "wb") as stream:
                stream.writelines(pieces)
    for item in stems:
        item.commit(extractor.utts)
    _write_speakers(extractor, next(i for i in stems if i.stem == "svector"), part.utt2spk, out)
    write_json(out / "latents.json", extractor.origin())
    return contents.unknown


def _clear(out: Path, kept: Collection[str], ours: Collection[str]) -> None:
    """Remove latents that are not made again; what else does not belong goes to a backup."""
    old = [name for name in data_files(out) if name not in kept]
    foreign = [name for name in old if name not in ours]
    if foreign:
        backup = next_backup(out)
        backup.mkdir(parents=True)
        for name in foreign:
            (out / name).rename(backup / name)
    for name in set(old) - set(foreign):
        (out / name).unlink()


def _write_speakers(
    extractor: LatentExtractor, vectors: Derived, utt2spk: Mapping[str, str], out: Path
) -> None:
    """`spk_svector.scp`: the closed form over all segments of all utterances of each speaker."""
    sums: dict[str, npt.NDArray[np.float64]] = {}
    counts: dict[str, int] = {}
    _, table = open_derived(out, "svector")
    with ArkReader() as reader:
        for utt, rx in table.items():
            spk, count = utt2spk[utt], extractor.segments(utt)
            # An utterance's vector is its sum of means over (its segments + 0.25).
            total = as_float(reader.read(rx, utt), rx, utt) * np.float64(count + Z2_VARIANCE)
            sums[spk] = sums.get(spk, 0.0) + total
            counts[spk] = counts.get(spk, 0) + count
    write_json(out / f"{SPEAKERS}.json", extractor.meta(SPEAKERS))
    with ArkWriter(
        vectors.directory / "speakers.ark", out / f"{SPEAKERS}.scp", count=len(sums)
    ) as writer:
        for spk in sorted(sums):
            writer.write(spk, (sums[spk] / (counts[spk] + Z2_VARIANCE)).astype(np.float32))
