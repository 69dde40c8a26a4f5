"""The stage that aligns phones: texts to graphs, training, and phones of a data directory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pylib.corpus.atomic import atomic_path, sha256_file, write_json
from pylib.corpus.derived import Derived, input_bytes, shard_slice, write_shards
from pylib.corpus.errors import UserError
from pylib.corpus.jsonfile import read_object
from pylib.corpus.progress import Progress
from pylib.corpus.tables import names_some, read_numbers, read_table, table_path
from pylib.units.align_graph import CLASSES, STATES, UNITS
from pylib.units.align_hmm import Floats, Mixtures, Utterance, align, train
from pylib.units.labels import picture_frames
from pylib.units.phone_set import FRAMES, phone_ids, phones_meta
from pylib.units.pronounce import Oov, Pronouncer, Words, read_lexicon

Ids = npt.NDArray[np.int32]
_IDS = np.array(phone_ids(UNITS), dtype=np.int32)


class Features(Protocol):
    """What is aligned: `pylib.features.reader.FeatureReader`, normalised by speaker."""

    dim: int
    utts: list[str]

    def read(self, utt: str) -> Floats:
        """Features (F, D) of an utterance."""

    def num_frames(self, utt: str) -> int:
        """F of an utterance."""


@dataclass(frozen=True)
class AlignOptions:
    """How phones are aligned.

    Attributes:
        lexicon: a lexicon file; None = CMUdict.
        oov: `drop` or `g2p`, see `Pronouncer`.
        iterations: of Viterbi training.
        gaussians: of a class at most, a power of 2.
        train_minutes: speech that is trained on, drawn by the seed where there is more.
        seed: of that choice.
    """

    lexicon: Path | None = None
    oov: Oov = "g2p"
    iterations: int = 12
    gaussians: int = 4
    train_minutes: float = 120.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.train_minutes <= 0:
            raise UserError("--iterations and --train-minutes: expected above 0")
        if self.gaussians < 1 or self.gaussians & (self.gaussians - 1):
            raise UserError(f"--gaussians {self.gaussians}: a power of 2 expected")


class AlignStage:
    """Phones at 100 Hz of one data directory, from its `mfcc` and its text.

    Attributes:
        data: the data directory.
        ark_dir: where the arks go.
        hmm_dir: where the trained models lie.
        jobs: number of shards.
        words: utterance -> variants of each of its words; those without phones are not in it.
        left_out: utterances without: an unknown word, or an empty text.
    """

    def __init__(
        self,
        data: Path,
        features: Features,
        ark_dir: Path,
        hmm_dir: Path,
        options: AlignOptions,
        jobs: int = 1,
    ) -> None:
        self.data, self.ark_dir, self.hmm_dir = data, ark_dir, hmm_dir
        self.options, self.jobs = options, jobs
        text = read_table(table_path(data, "text"))
        self.pronouncer = Pronouncer(read_lexicon(options.lexicon), options.oov)
        self.features = features
        self.words: dict[str, Words] = {}
        self.left_out: list[str] = []
        for utt in self.features.utts:
            words = self.pronouncer.words(text.get(utt, ""))
            if words is None:
                self.left_out.append(utt)
            else:
                self.words[utt] = words
        if not self.words:
            raise UserError(
                f"{data}/text: no utterance has phones: is it English? is --lexicon the right one "
                "(or use --oov g2p)?"
            )

    @cached_property
    def frames(self) -> Mapping[str, int]:
        """Frames at 25 Hz of each utterance."""
        return frames_of(self.data)

    def utterance(self, utt: str) -> Utterance:
        """Features and graph of an utterance."""
        return Utterance.of(self.features.read(utt), self.words[utt])

    # ---- training

    def train(self) -> str:
        """Train on the set, or on a part of it, and write the models; returns what was done.

        Raises:
            UserError: unreadable features.
        """
        options, rng = self.options, np.random.default_rng([self.options.seed, 21])
        names = list(self.words)
        chosen, frames = [], 0
        for place in rng.permutation(len(names)):
            if frames >= options.train_minutes * 6000:
                break
            chosen.append(names[place])
            frames += self.features.num_frames(names[place])
        items = [self.utterance(utt) for utt in sorted(chosen)]
        models = train(items, options.iterations, options.gaussians, print)
        with atomic_path(self.hmm_dir / "mixtures.npz") as temp, open(temp, "wb") as stream:
            np.savez(stream, weights=models.weights, means=models.means, variances=models.variances)
        about = {
            "data": str(self.data),
            "utterances": len(items),
            "frames": frames,
            "iterations": options.iterations,
            "gaussians": options.gaussians,
            "units": list(UNITS),
            "states": STATES,
            "sha256": sha256_file(self.hmm_dir / "mixtures.npz"),
        }
        write_json(self.hmm_dir / "hmm.json", about)
        return f"{self.hmm_dir}: trained on {len(items)} utterances, {frames / 6000:.1f} minutes"

    @cached_property
    def models(self) -> tuple[Mixtures, str]:
        """The trained models and their sha256.

        Raises:
            UserError: missing, unfinished or of another version.
        """
        return load_models(self.hmm_dir, self.features.dim)

    # ---- alignment

    def _derived(self) -> list[Derived]:
        tables = ["mfcc.scp", "mfcc.json", "text", "utt2spk", "utt2num_samples", "utt2num_video"]
        lexicon = self.options.lexicon
        inputs = (
            *input_bytes(self.data / name for name in tables),
            self.models[1].encode(),
            self.options.oov.encode(),
            b"" if lexicon is None else sha256_file(lexicon).encode(),
        )
        return both(self.data, self.ark_dir, "alignment", inputs, self.jobs)

    def make_shard(self, index: int) -> None:
        """Align shard `index` (from 1) and write its arks."""
        names = list(self.words)
        part = list(shard_slice(names, index, self.jobs))
        models, _ = self.models
        made: dict[str, tuple[Ids, Ids]] = {}
        progress = Progress(f"phones of {self.data}, shard {index}/{self.jobs}")
        light = [len(self.words[utt]) * self.features.num_frames(utt) for utt in part]
        # Like lengths together, and no more features in memory than a few batches need.
        order = [part[place] for place in np.argsort(light, kind="stable")]
        short: list[str] = []
        for first in range(0, len(order), 512):
            some = order[first : first + 512]
            items = [self.utterance(utt) for utt in some]
            paths, hopeless = align(models, items)
            short += [some[place] for place in hopeless]
            for utt, item, path in zip(some, items, paths, strict=True):
                made[utt] = runs_of(item, path, FRAMES * self.frames[utt])
            progress(min(first + 512, len(order)), len(order))
        if short:
            print(
                f"{len(short)} utterances are too short for their text, their phones are equal "
                f"shares: {names_some(short)}"
            )
        write_shards(self._derived(), index, names, lambda utt: made[utt])

    def commit(self) -> str:
        """Join the shards; returns the lines to be printed."""
        for derived in reversed(self._derived()):
            frames = sum(derived.commit(list(self.words)).values())
        lines = [
            f"phones of {self.data}: {len(self.words)} utterances, {frames / 360000:.2f} h at "
            "100 Hz",
            self.pronouncer.report(),
        ]
        if self.left_out:
            lines.append(
                f"{len(self.left_out)} utterances have none (unknown words, no text): "
                f"{names_some(self.left_out)}: steps/fix_data_dir.sh {self.data} leaves them out, "
                "--oov g2p says unknown words by rule"
            )
        return "\n".join(line for line in lines if line)


def frames_of(data: Path) -> dict[str, int]:
    """Frames at 25 Hz of each utterance of a data directory with audio.

    Raises:
        UserError: the table of lengths is missing.
    """
    if (data / "utt2num_video").is_file():
        return read_numbers(data / "utt2num_video", int)
    samples = read_numbers(table_path(data, "utt2num_samples"), int)
    return {utt: picture_frames(count) for utt, count in samples.items()}


def load_models(folder: Path, dim: int) -> tuple[Mixtures, str]:
    """Trained models and the sha256 of their file.

    Raises:
        UserError: missing, unfinished, of another version or for features of another dimension.
    """
    name = folder / "hmm.json"
    about = read_object(name, "train again", "train first (steps/align_phones.sh)")
    sha256 = str(about.get("sha256"))
    file = folder / "mixtures.npz"
    if sha256_file(file) != sha256:
        raise UserError(f"{file}: is not the one that {name} describes: train again")
    with np.load(file, allow_pickle=False) as arrays:
        models = Mixtures(arrays["weights"], arrays["means"], arrays["variances"])
    if about.get("units") != list(UNITS) or models.means.shape[::2] != (CLASSES, dim):
        raise UserError(f"{file}: for other phones or features: train again")
    return models, sha256


def both(
    data: Path, ark_dir: Path, source: str, inputs: tuple[bytes, ...], jobs: int
) -> list[Derived]:
    """The two stems of a data directory: `phones`, and `phone_runs`, the length of each phone.

    The lengths tell apart two equal phones on either side of a word border.
    """
    meta = phones_meta(source=source)
    runs = {"kind": "phone_runs", "source": source}
    return [
        Derived(data, "phones", ark_dir, meta, inputs, jobs),
        Derived(data, "phone_runs", ark_dir, runs, inputs, jobs),
    ]


def runs_of(item: Utterance, path: npt.NDArray[np.int64], wanted: int) -> tuple[Ids, Ids]:
    """Phone ids (wanted,) and lengths of the phones, int32, from a path (F,) of states.

    Features end two frames before the audio; the last phone lasts to the end.
    """
    phones = item.graph.phone[path[:wanted]]
    phones = np.concatenate([phones, np.repeat(phones[-1:], wanted - len(phones))])
    borders = np.flatnonzero(np.diff(phones, prepend=-1))
    lengths = np.diff(borders, append=wanted)
    return _IDS[item.graph.models[phones]], lengths.astype(np.int32)
