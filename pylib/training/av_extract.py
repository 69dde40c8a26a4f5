"""Features of any layer of an audio-visual checkpoint, from whichever streams are asked for.

One utterance at a time, as in `extract.py`: features do not depend on what else is in a batch.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch

from pylib.corpus.atomic import sha256_file
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table, table_path
from pylib.nn.av_encoder import AVEncoder
from pylib.nn.modal_batch import ModalBatch
from pylib.training.av_reader import RATE, AVReader
from pylib.training.checkpoint import load_system
from pylib.training.extract import LayerExtractor, Loaded, pick_device
from pylib.training.layers import Layers, Matrix

LAYER_CONVENTION = (
    "0 = input of the first block (positions added); l = output of block l without the network's "
    "closing LayerNorm, hidden_states[l] in transformers for l below the last"
)
# Letters of --modality; auto = audio and video, as far as the data directory has them.
MODALITIES: dict[str, tuple[str, ...]] = {
    "av": ("audio", "video"),
    "a": ("audio",),
    "v": ("video",),
    "p": ("phone",),
}
_FILES = {"audio": "logfbank", "video": "mouth", "phone": "phones"}


class AVLayerExtractor(Layers):
    """Reads a data directory through the encoder of a checkpoint of VATLM or seq2seq.

    Attributes:
        encoder: in evaluation mode, on `device`.
        rate: frames a second.
        layers: number of blocks; layers 0 .. layers can be asked for.
        utts: utterances of the data directory that are read.
        streams: what `read` reads.
        present: streams that both the data directory and the model have.
    """

    def __init__(
        self,
        checkpoint: str | os.PathLike[str],
        data: str | os.PathLike[str],
        device: str = "cpu",
        modality: str = "auto",
        loaded: Loaded | None = None,
        utts: Collection[str] | None = None,
    ) -> None:
        """
        Args:
            checkpoint: pre-trained or fine-tuned.
            data: data directory.
            device: `cpu`, `cuda` or `auto`.
            modality: `av`, `a`, `v`, `p` (phones), or `auto`: audio and video as far as the data
                directory has them. An absent stream is zeros after its extractor.
            loaded: what `load_system` gave for the checkpoint, where that is known.
            utts: the utterances of the data directory that are read; None = all.

        Raises:
            UserError: unreadable checkpoint, no such stream, no such device.
        """
        self.device = pick_device(device)
        system, config, _ = loaded or load_system(Path(checkpoint), self.device)
        if config.av_model is None:
            raise UserError(f"{checkpoint}: a {config.system} model is not audio-visual")
        if modality != "auto" and modality not in MODALITIES:
            raise UserError(f"--modality {modality}: unknown: use auto, {', '.join(MODALITIES)}")
        encoder = system.encoder
        assert isinstance(encoder, AVEncoder)
        self.encoder, self._config, self.modality = encoder, config, modality
        self._checkpoint = Path(checkpoint)
        self.layers = config.av_model.layers
        self.rate = float(RATE)
        self._wanted = utts
        self._open(Path(data))

    def _open(self, data: Path) -> None:
        assert self._config.av_model is not None
        self._data = data
        known = read_table(table_path(data, "utt2spk"), fields=2)
        self.utts = [utt for utt in known if self._wanted is None or utt in self._wanted]
        self._readers: dict[tuple[str, ...], AVReader] = {}
        self.present = tuple(
            name
            for name in self._config.av_model.streams
            if (data / f"{_FILES[name]}.json").is_file()
        )
        if self.modality == "auto":
            self.streams = tuple(name for name in self.present if name != "phone")
            for name, table in (("audio", "wav.scp"), ("video", "video.scp")):
                known = name in self._config.av_model.streams and (data / table).is_file()
                if known and name not in self.present:
                    raise UserError(
                        f"{data}: has {table} but no {_FILES[name]}.scp: make it first "
                        "(steps/make_feats.sh --kind logfbank, steps/make_mouth.sh), or say with "
                        "--modality what is to be read"
                    )
            if not self.streams:
                raise UserError(
                    f"{data}: neither logfbank.scp nor mouth.scp: run steps/make_feats.sh --kind "
                    "logfbank, steps/make_mouth.sh first"
                )
        else:
            self.streams = MODALITIES[self.modality]
        self._reader(self.streams)

    @property
    def tables(self) -> list[str]:
        """Tables of the data directory that decide the features."""
        stems = [f"{_FILES[name]}.scp" for name in self.streams]
        return [*stems, "utt2spk", "utt2num_video", "utt2num_samples"]

    def stem(self, layer: int) -> str:
        """Name of the features: `hidden6`, or `hidden6_a` where a part of the streams was asked
        for."""
        named = f"_{self.modality}" if self.modality not in ("auto", "av") else ""
        return f"hidden{layer}{named}"

    def meta(self, layer: int) -> dict[str, Any]:
        """Description of the features of a layer: the same for all data directories, with
        `auto` whatever streams they have."""
        self.require_layer(layer)
        assert self._config.av_model is not None
        return {
            "kind": "hidden",
            "dim": self._config.av_model.dim,
            "rate": self.rate,
            "align": "start",
            "layer": layer,
            "layer_convention": LAYER_CONVENTION,
            "checkpoint": os.fspath(self._checkpoint),
            "checkpoint_sha256": sha256_file(self._checkpoint),
            "system": self._config.system,
            "modality": self.modality,
        }

    def read(self, utt: str, layer: int) -> Matrix:
        """Features (T, D) float32 of one layer of an utterance at 25 Hz.

        Raises:
            UserError: unreadable or too short streams; values that are not finite.
        """
        self.require_layer(layer)
        with torch.inference_mode():
            hidden, _ = self.encoder.extract(self._batch(utt, self.streams), layer)
        return self._matrix(hidden, utt, layer)

    def read_layers(
        self, utt: str, layers: Sequence[int], modalities: Collection[str] | None = None
    ) -> list[Matrix]:
        """Features (T, D) of several layers of an utterance, from one forward pass.

        Args:
            utt: the utterance.
            layers: which.
            modalities: streams to read (`audio`, `video`, `phone`); by default `streams`.
        """
        streams = self.streams if modalities is None else tuple(modalities)
        batch = self._batch(utt, streams)
        return self._collect(utt, layers, lambda last: self.encoder.extract(batch, last)[0])

    def _reader(self, streams: Sequence[str]) -> AVReader:
        key = tuple(sorted(streams))
        if key not in self._readers:
            assert self._config.av_model is not None
            for name in key:
                if name not in self._config.av_model.streams:
                    raise UserError(
                        f"{self._checkpoint}: has no stream '{name}', its av_model.streams are "
                        f"{', '.join(self._config.av_model.streams)}: ask for another modality"
                    )
            self._readers[key] = AVReader(self._data, key, utts=self._wanted)
        return self._readers[key]

    def _batch(self, utt: str, streams: Sequence[str]) -> ModalBatch:
        return self._reader(streams).batch([utt]).to(self.device)


def open_extractor(
    checkpoint: str | os.PathLike[str],
    data: str | os.PathLike[str],
    device: str = "cpu",
    modality: str = "auto",
) -> LayerExtractor | AVLayerExtractor:
    """The extractor that fits the system of a checkpoint.

    Raises:
        UserError: as its constructor; a modality for a model of speech alone.
    """
    loaded = load_system(Path(checkpoint), pick_device(device))
    if loaded[1].av_model is not None:
        return AVLayerExtractor(checkpoint, data, device, modality, loaded)
    if modality != "auto":
        raise UserError(f"--modality {modality}: {checkpoint} is not audio-visual: leave it out")
    return LayerExtractor(checkpoint, data, device, loaded)
