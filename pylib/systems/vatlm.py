"""VATLM: masked prediction of one set of units from video, audio, phones or a pair of them.

Source: arXiv 2211.11275; with two streams it is AV-HuBERT (arXiv 2201.02184). A micro-batch
holds one kind of data (`pylib.nn.modal_batch.KINDS`); all kinds share the encoder, the head and
the normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.corpus.errors import UserError
from pylib.nn.av_encoder import AVEncoder, AVModelConfig, Streams
from pylib.nn.av_masks import AVMaskConfig, draw_hide
from pylib.nn.heads import CosineHead
from pylib.nn.loss import CollapseError, LossOutput, Metrics, histogram, number
from pylib.nn.masks import MaskedRows
from pylib.nn.modal_batch import KINDS, ModalBatch
from pylib.nn.norms import send

ONE_LABEL = 100  # frames that cannot all have one label unless something is wrong
SPECIALS = 4  # bos, pad, eos, unk lead the classes, as published; never a target


@dataclass(frozen=True)
class UnitsConfig:
    """What is predicted at hidden frames, and how the kinds of data weigh."""

    clusters: int = 2000  # K; ids 0..K-1; the head has K + 4 classes
    cosine_dim: int = 256  # width of the unit embeddings
    temperature: float = 0.1  # of the cosines
    masked_weight: float = 1.0  # weight of cross-entropy at hidden frames
    unmasked_weight: float = 0.0  # the same at the others; AV-HuBERT Large 1
    feature_penalty: float = 10.0  # times the mean square of the streams before fusion
    # global_sum: over all hidden frames, so that kinds weigh by their frames, as published;
    # per_type_mean: every micro-batch counts the same.
    loss_norm: str = "global_sum"
    videoaudio_weight: float = 1.0  # factor on the loss of this kind of data
    audiotext_weight: float = 1.0
    onlytext_weight: float = 1.0
    onlyaudio_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.clusters < 2:
            raise UserError(f"units.clusters = {self.clusters}: expected at least 2")
        if self.cosine_dim < 1:
            raise UserError(f"units.cosine_dim = {self.cosine_dim}: expected at least 1")
        if self.temperature <= 0:
            raise UserError(f"units.temperature = {self.temperature}: expected above 0")
        if self.loss_norm not in ("global_sum", "per_type_mean"):
            raise UserError(
                f"units.loss_norm = {self.loss_norm!r}: expected global_sum or per_type_mean"
            )
        weights = ("masked_weight", "unmasked_weight", "feature_penalty")
        for name in (*weights, *(f"{kind}_weight" for kind in KINDS)):
            if getattr(self, name) < 0:
                raise UserError(f"units.{name} = {getattr(self, name)}: expected 0 or more")
        if self.masked_weight == 0 and self.unmasked_weight == 0:
            raise UserError(
                "units.masked_weight = units.unmasked_weight = 0: nothing to predict: set one"
            )

    def weight(self, kind: str) -> float:
        """Factor on the loss of a kind of data."""
        return getattr(self, f"{kind}_weight")


class VATLM(nn.Module):
    """Pre-training on units at 25 Hz.

    Args:
        model: the encoder.
        units: what is predicted.
        mask: what is hidden.
    """

    def __init__(self, model: AVModelConfig, units: UnitsConfig, mask: AVMaskConfig) -> None:
        super().__init__()
        if model.masking == "feature" and mask.audio_prob != mask.video_prob:
            raise UserError(
                f"av_mask.audio_prob = {mask.audio_prob}, av_mask.video_prob = "
                f"{mask.video_prob}: av_model.masking = feature hides one set of frames of all "
                "streams: set both to the same"
            )
        self.units = units
        self.mask_config = mask
        self.update = 0
        self.encoder = AVEncoder(model)
        self.head = CosineHead(
            model.dim, units.clusters + SPECIALS, units.cosine_dim, units.temperature
        )

    def forward(self, batch: ModalBatch, generator: torch.Generator) -> LossOutput:
        """Loss of one micro-batch.

        loss_sum = weight of the kind * (masked_weight * sum CE at hidden frames +
        unmasked_weight * sum CE at the others + feature_penalty * mean square * count), in
        float32; count = frames in the sums with a weight above 0. With per_type_mean both are
        divided by count.

        Args:
            batch: streams with labels.
            generator: CPU generator that decides masks and hidden streams.

        Raises:
            ValueError: labels missing, of another length than the frames, out of range, or all
                the same; a stream that the model does not have.
        """
        labels = self._labels(batch)
        device = batch.device
        by_input = self.encoder.config.masking == "input"
        hide, hidden = draw_hide(batch, self.mask_config, by_input, generator)
        if not bool(hidden.any()):
            raise ValueError(
                f"{batch.name(0)}: nothing is hidden of {batch.kind} data: set av_mask.audio_prob, "
                "av_mask.video_prob or av_mask.text_prob above 0"
            )
        wanted = hidden
        if self.units.unmasked_weight > 0:
            wanted = torch.arange(batch.frames) < batch.lengths[:, None]
        rows = MaskedRows.of(wanted, device)
        streams = self.encoder.front(batch, hide)
        fused = self.encoder.fuse(streams, None if hide.fused is None else send(hide.fused, device))
        context = self.encoder.context(fused, streams.padding, index=rows.index)
        logits = self.head(rows.unpack(context))
        targets = labels.flatten().index_select(0, rows.flat) + SPECIALS
        weights = self._weights(send(hidden[wanted], device))
        return self._total(batch, streams, logits, targets, weights)

    def _labels(self, batch: ModalBatch) -> Tensor:
        if batch.labels is None:
            raise ValueError(f"{batch.name(0)}: masked prediction needs labels, there are none")
        seen = batch.labels if batch.cpu_labels is None else batch.cpu_labels
        check_labels(seen, batch, self.units.clusters)
        return batch.labels

    def _weights(self, hidden: Tensor) -> Tensor:
        """Weight of each predicted frame's cross-entropy (M,) for hidden (M,) bool."""
        high, low = self.units.masked_weight, self.units.unmasked_weight
        return torch.where(hidden, high, low)

    def _total(
        self, batch: ModalBatch, streams: Streams, logits: Tensor, targets: Tensor, weights: Tensor
    ) -> LossOutput:
        """The loss from logits (M, V), classes (M,) and their weights (M,)."""
        with torch.autocast(logits.device.type, enabled=False):
            # Half precision cannot hold the sum.
            each = F.cross_entropy(logits.float(), targets, reduction="none")
        counted = (weights > 0).float()
        count = counted.sum()
        loss = (each * weights).sum()
        metrics: Metrics = {}
        penalty = self.encoder.mean_square(streams) * count
        if self.units.feature_penalty > 0:
            loss = loss + self.units.feature_penalty * penalty
        loss = loss * self.units.weight(batch.kind)
        with torch.no_grad():
            best = logits.argmax(1)
            right = ((best == targets) * counted).sum()
            ce = (each * counted).sum()
            frames = number(float(batch.lengths.sum()), logits.device)
            metrics["ce"] = (ce, count)
            metrics["accuracy"] = (right, count)
            classes = self.units.clusters + SPECIALS
            metrics["label_units"] = (histogram(targets, classes), count)
            metrics["pred_units"] = (histogram(best, classes), count)
            metrics["feature_penalty"] = (penalty.detach(), count)
            metrics["masked"] = (count, frames)
            # Always the same names: processes that hold other kinds of data add up with this one.
            for kind in self.kinds:
                here = float(kind == batch.kind)
                metrics[f"ce_{kind}"] = (ce * here, count * here)
                metrics[f"accuracy_{kind}"] = (right * here, count * here)
        if self.units.loss_norm == "per_type_mean":
            loss, count = loss / count, torch.ones_like(count)
        return LossOutput(loss, count, {"loss": (loss.detach(), count), **metrics})

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of data that this model can read."""
        text = "phone" in self.encoder.config.streams
        return tuple(kind for kind in KINDS if text or not kind.endswith("text"))

    def after_update(self, update: int) -> None:
        """Count the optimiser's steps, this one included; nothing else changes."""
        self.update = update

    def health(self, numbers: Mapping[str, float], update: int | None = None) -> None:
        """Stop a run whose loss is not finite.

        Args:
            numbers: `summarise` of metrics added over micro-batches and processes.
            update: updates done; by default what `after_update` was told last.

        Raises:
            CollapseError: loss, ce or feature_penalty is not finite.
        """
        update = self.update if update is None else update
        for name in ("loss", "ce", "feature_penalty"):
            if name in numbers and not math.isfinite(numbers[name]):
                raise CollapseError(
                    f"{name} is {numbers[name]} at update {update}: lower optim.lr, lengthen the "
                    "warm-up or set optim.clip_norm"
                )


def check_labels(labels: Tensor, batch: ModalBatch, clusters: int) -> None:
    """Refuse labels that would train in silence on something else.

    Args:
        labels: (B, T) int64, -1 beyond each row's frames.
        clusters: K.

    Raises:
        ValueError: naming the utterance and the rule.
    """
    if labels.shape[1] != batch.frames:
        raise ValueError(
            f"{batch.name(0)}: labels have {labels.shape[1]} frames, the batch {batch.frames}: "
            "labels of another rate: dump them again at 25 Hz"
        )
    valid = torch.arange(batch.frames) < batch.lengths[:, None]
    valid = valid.to(labels.device)
    wrong = (labels >= 0) != valid
    if bool(wrong.any()):
        row = int(wrong.any(1).nonzero()[0])
        raise ValueError(
            f"{batch.name(row)}: {int((labels[row] >= 0).sum())} labels for "
            f"{int(batch.lengths[row])} frames: dump the labels again at 25 Hz"
        )
    if int(labels.max()) >= clusters:
        row = int((labels >= clusters).any(1).nonzero()[0])
        raise ValueError(
            f"{batch.name(row)}: label {int(labels[row].max())}, but units.clusters = {clusters}: "
            "the labels come from another k-means"
        )
    first = labels[0, 0]
    if int(valid.sum()) > ONE_LABEL and bool(((labels == first) | ~valid).all()):
        raise ValueError(
            f"{batch.name(0)} and the rest of its batch have one label only, {int(first)}: "
            "check the k-means and the label files"
        )
