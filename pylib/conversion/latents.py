"""A trained FHVAE as conversion uses it: utterances in, latents and features out, means everywhere.

The interface is NumPy; nothing is random.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pylib.conversion.overlap import HOP, cut_windows, overlap_add, slide, spread
from pylib.corpus.errors import UserError
from pylib.features.cmvn import identity
from pylib.systems.fhvae import FHVAE

Matrix = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float32]

_BATCH = 512  # segments that go through the model at once


@dataclass(frozen=True)
class Windows:
    """Latents of an utterance's overlapping windows.

    Attributes:
        z1: (S, D1) means, the content.
        z2: (S, D2) means, the voice.
        frames: of the utterance.
    """

    z1: Tensor
    z2: Tensor
    frames: int


class LatentVoices:
    """Encodes and decodes whole utterances.

    Args:
        system: a trained model, in evaluation mode.
        eval_shift: frames between the segments that an s-vector is taken over.
        device: where the model is.
    """

    def __init__(
        self, system: FHVAE, eval_shift: int = 20, device: str | torch.device = "cpu"
    ) -> None:
        self.system, self.eval_shift, self.device = system, eval_shift, device
        self.segment = system.model.segment

    def require(self, frames: Matrix, utt: str) -> None:
        """Refuse features that the model cannot take (UserError)."""
        if frames.shape[1] != self.system.model.feature_dim:
            raise UserError(
                f"utterance '{utt}': features of {frames.shape[1]} numbers, the model takes "
                f"{self.system.model.feature_dim}: convert the data that it was trained on"
            )
        if len(frames) < self.segment:
            raise UserError(
                f"utterance '{utt}': {len(frames)} frames, a segment has {self.segment}: "
                "leave it out of the pairs"
            )

    def segments(self, frames: Matrix) -> Tensor:
        """Means of z2 (N, D2) of the segments of an utterance (F, D) that its s-vector is of."""
        first = np.arange(0, len(frames) - self.segment + 1, self.eval_shift)
        return self._encode(frames[first[:, None] + np.arange(self.segment)])[1]

    def s_vector(self, utterances: Sequence[Tensor]) -> Tensor:
        """Sequence mean (D2,), in closed form, of the `segments` of one or more utterances.

        Several utterances of a speaker count as one sequence.
        """
        z2 = torch.cat(list(utterances))
        sequences = torch.zeros(len(z2), dtype=torch.int64, device=z2.device)
        mean: Tensor = self.system.closed_form_mu2(z2, sequences, 1)[0]
        return mean

    def windows(self, frames: Matrix, hop: int = HOP) -> Windows:
        """Latents of the overlapping windows of an utterance (F, D)."""
        z1, z2 = self._encode(cut_windows(frames, self.segment, hop))
        return Windows(z1, z2, len(frames))

    def decode(self, windows: Windows, hop: int = HOP) -> Matrix:
        """Features float32 (F, D), as stored, of windows: the decoder's means, overlap-added."""
        parts = []
        with torch.inference_mode():
            for first in range(0, len(windows.z1), _BATCH):
                part = slice(first, first + _BATCH)
                mean, _ = self.system.decode(windows.z1[part], windows.z2[part])
                parts.append(mean.float().cpu().numpy())
        return overlap_add(np.concatenate(parts), hop, windows.frames)

    def frame_contents(self, frames: Matrix) -> Matrix:
        """Content (F, D1) around every frame: mean of z1, the window sliding by one frame."""
        z1, _ = self._encode(slide(frames, self.segment))
        return spread(z1.float().cpu().numpy(), self.segment)

    def _encode(self, segments: Matrix) -> tuple[Tensor, Tensor]:
        """Means of z1 (S, D1) and z2 (S, D2) of segments (S, T, F)."""
        contents, voices = [], []
        with torch.inference_mode():
            for first in range(0, len(segments), _BATCH):
                part = torch.from_numpy(segments[first : first + _BATCH]).to(self.device)
                latents = self.system.encode(part)
                contents.append(latents.z1_mean)
                voices.append(latents.z2_mean)
        return torch.cat(contents), torch.cat(voices)


def shifted(windows: Windows, source: Tensor, target: Tensor) -> Windows:
    """z2 moved from the source's s-vector (D2,) to the target's; what varied in it goes on."""
    return replace(windows, z2=windows.z2 - source + target)


def replaced(windows: Windows, target: Tensor) -> Windows:
    """z2 of every window the target's s-vector (D2,)."""
    return replace(windows, z2=target.expand_as(windows.z2))


@dataclass(frozen=True)
class Model:
    """A model and what its checkpoint tells.

    Attributes:
        voices: the model.
        stem: name of the features it was trained on.
        features: what their json said; empty where the checkpoint does not tell.
        provenance: system_name, seed, preset ...
    """

    voices: LatentVoices
    stem: str
    features: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def check(self, meta: Mapping[str, Any], where: str) -> None:
        """Refuse features made otherwise than those of training (UserError)."""
        if not self.features or identity(self.features) == identity(meta):
            return
        raise UserError(
            f"{where}: made with other settings than the features that the model was trained on "
            f"({self.features.get('kind')}): make them again with steps/make_feats.sh"
        )


def load_model(path: str | os.PathLike[str], device: str = "cpu") -> Model:
    """The model of a checkpoint.

    Raises:
        UserError: unreadable, or a checkpoint of another kind of system.
    """
    from pylib.training.checkpoint import load_system

    system, config, payload = load_system(os.fspath(path), device)
    if not isinstance(system, FHVAE) or config.segments is None:
        raise UserError(
            f"{os.fspath(path)}: a {config.system} model does not convert voices: give a "
            "checkpoint of fhvae"
        )
    voices = LatentVoices(system, config.segments.eval_shift, device)
    about = [dict(payload.get(key) or {}) for key in ("features", "provenance")]
    return Model(voices, config.segments.features, *about)
