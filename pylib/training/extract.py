"""Features of any layer of any checkpoint: for the second iteration's k-means, probes, dumps.

One utterance at a time: without padding, features do not depend on what else is in a batch nor
on how the work is split over jobs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pylib.corpus.atomic import sha256_file
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.nn.batch import Batch
from pylib.nn.encoder import Encoder
from pylib.training.checkpoint import load_system
from pylib.training.config import TrainConfig
from pylib.training.inputs import InputReader
from pylib.training.layers import Layers, Matrix

Loaded = tuple[nn.Module, TrainConfig, dict[str, Any]]

LAYER_CONVENTION = (
    "0 = input of the first block (positions added); l = output of block l with its closing "
    "LayerNorm (post-norm), hidden_states[l] in transformers"
)


class LayerExtractor(Layers):
    """Reads a data directory through the encoder of a checkpoint.

    Attributes:
        encoder: in evaluation mode, on `device`.
        rate: frames a second.
        layers: number of blocks; layers 0 .. layers can be asked for.
        utts: utterances of the data directory.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        data: str | os.PathLike[str],
        device: str = "cpu",
        loaded: Loaded | None = None,
    ) -> None:
        """
        Args:
            checkpoint: pre-trained or fine-tuned.
            data: data directory; filter-bank models need its `feats.scp`.
            device: `cpu`, `cuda` or `auto`.
            loaded: what `load_system` gave for the checkpoint, where that is known.

        Raises:
            UserError: unreadable checkpoint, missing features, no such device.
        """
        self.device = pick_device(device)
        system, config, _ = loaded or load_system(Path(checkpoint), self.device)
        if config.av_model is not None:
            raise UserError(f"{checkpoint}: is audio-visual: a model of speech is asked for")
        if config.model is None:
            raise UserError(
                f"{checkpoint}: a {config.system} model has no layers to read: use "
                "steps/dump_latents.sh"
            )
        encoder = system.encoder
        assert isinstance(encoder, Encoder)
        self.encoder, self._config = encoder, config
        self._checkpoint = Path(checkpoint)
        self.layers = config.encoder.layers
        self.rate = float(encoder.frame_rate)
        self._open(Path(data))

    def _open(self, data: Path) -> None:
        config = self._config
        self._reader = InputReader(
            DataDir.load(data),
            config.encoder,
            config.reading.normalise,
            features=config.reading.features,
        )
        self.utts = self._reader.data.utts

    @property
    def tables(self) -> list[str]:
        """Tables of the data directory that decide the features."""
        more = ["feats.scp"] if self._config.encoder.frontend == "fbank" else []
        return ["wav.scp", "segments", "utt2spk", *more]

    def stem(self, layer: int) -> str:
        """Name of the features of a layer."""
        return f"hidden{layer}"

    def meta(self, layer: int) -> dict[str, Any]:
        """Description of the features of a layer: everything that decides what the numbers mean."""
        self.require_layer(layer)
        model = self._config.encoder
        return {
            "kind": "hidden",
            "dim": model.dim,
            "rate": self.rate,
            "align": "start" if model.frontend == "waveform" else "centre",
            "layer": layer,
            "layer_convention": LAYER_CONVENTION,
            "checkpoint": os.fspath(self._checkpoint),
            "checkpoint_sha256": sha256_file(self._checkpoint),
            "system": self._config.system,
            "frontend": model.frontend,
            "input_normalised": self._config.reading.normalise,
        }

    def read(self, utt: str, layer: int) -> Matrix:
        """Features (T, D) float32 of one layer of an utterance.

        Raises:
            UserError: unreadable or too short audio; values that are not finite.
        """
        self.require_layer(layer)
        with torch.inference_mode():
            hidden, _ = self.encoder.extract(self._batch(utt), layer)
        return self._matrix(hidden, utt, layer)

    def read_layers(self, utt: str, layers: Sequence[int]) -> list[Matrix]:
        """Features (T, D) of several layers of an utterance, from one forward pass."""
        batch = self._batch(utt)
        return self._collect(utt, layers, lambda last: self.encoder.extract(batch, last)[0])

    def _batch(self, utt: str) -> Batch:
        frames = self._reader.frames(self._reader.lengths[utt])
        if frames < 1:
            raise UserError(
                f"utterance '{utt}': {self._reader.lengths[utt]} samples or filter-bank frames are "
                "too short for one frame of the model: leave it out (steps/subset_data_dir.sh)"
            )
        value = torch.from_numpy(self._reader.read(utt))[None]
        batch = Batch(inputs=value, input_lengths=torch.tensor([value.shape[1]]), utts=(utt,))
        return batch.to(self.device)


def pick_device(name: str) -> str:
    """`cpu`, `cuda`, or for `auto` whichever there is.

    Raises:
        UserError: `cuda` without a usable one.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {name}: unknown: use auto, cpu or cuda")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UserError("--device cuda: no CUDA device is usable here: use --device cpu")
    return "cuda" if available and name != "cpu" else "cpu"


def run_identity(
    checkpoint: str | os.PathLike[str], system: str = "", seed: int | None = None
) -> tuple[str, int]:
    """System and seed for report rows, from `run.json` beside the checkpoint unless given.

    Raises:
        UserError: not given and not recorded there.
    """
    path = Path(checkpoint).parent / "run.json"
    if system and seed is not None:
        return system, seed
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        return system or str(info["system"]), int(info["seed"]) if seed is None else seed
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: does not say system and seed of the run ({error!r}): give --system and --seed"
        ) from error
