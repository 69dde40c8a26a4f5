"""MT4SSL: offline k-means targets and an online teacher's targets, jointly (arXiv 2211.07321).

Its parents are configurations of it: data2vec has offline_weight 0, HuBERT has online_weight 0
with the cosine head and HuBERT's front end, Off-TE is MT4SSL with online_weight 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.corpus.errors import UserError
from pylib.nn.batch import Batch
from pylib.nn.ema import Teacher, decay
from pylib.nn.encoder import Encoder, EncoderConfig, Projected
from pylib.nn.heads import CosineHead, LinearHead
from pylib.nn.linear import Linear
from pylib.nn.loss import CollapseError, LossOutput, Metrics, histogram, moments, number
from pylib.nn.masks import MaskConfig, MaskedRows, draw_mask


@dataclass(frozen=True)
class TargetsConfig:
    """What the student predicts at masked frames. fairseq's (or MT4SSL's) names in brackets."""

    offline_weight: float = 1.0  # weight of CE on k-means ids (loss_weights.classification)
    clusters: int = 500  # K; raw ids 0..K-1, no dictionary specials
    offline_head: str = "linear"  # linear: MT4SSL | cosine: HuBERT
    cosine_dim: int = 256  # width of HuBERT's code embeddings (final_dim)
    temperature: float = 0.1  # of HuBERT's cosines (logit_temp)
    feature_penalty: float = 0.0  # times mean(conv output^2); HuBERT 10 (loss_weights)
    online_weight: float = 1.0  # weight of the squared error (loss_weights.regression)
    teacher_layers: int = 8  # upper teacher layers averaged (average_top_k_layers)
    ema_start: float = 0.999  # tau at update 0 (ema_decay)
    ema_end: float = 0.9999  # tau from update ema_anneal on (ema_end_decay)
    ema_anneal: int = 30000  # updates (ema_anneal_end_step)
    guard_after: int = 5000  # updates before the collapse guard looks (hard-wired in fairseq)
    min_target_std: float = 0.1  # least spread of the targets (min_target_var)
    min_pred_std: float = 0.01  # least spread of the predictions (min_pred_var)

    def __post_init__(self) -> None:
        if self.offline_weight < 0 or self.online_weight < 0:
            raise UserError("targets.offline_weight, targets.online_weight: expected 0 or more")
        if self.offline_weight == 0 and self.online_weight == 0:
            raise UserError(
                "targets.offline_weight = targets.online_weight = 0: nothing to predict: set one"
            )
        if self.offline_head not in ("linear", "cosine"):
            raise UserError(
                f"targets.offline_head = {self.offline_head!r}: expected linear or cosine"
            )
        if self.clusters < 2:
            raise UserError(f"targets.clusters = {self.clusters}: expected at least 2")
        if self.temperature <= 0:
            raise UserError(f"targets.temperature = {self.temperature}: expected above 0")
        if not 0.0 <= self.ema_start <= self.ema_end <= 1.0:
            raise UserError(
                f"targets.ema_start = {self.ema_start}, targets.ema_end = {self.ema_end}: "
                "expected 0 <= ema_start <= ema_end <= 1"
            )


@dataclass(frozen=True)
class Judged(LossOutput):
    """What evaluation gives besides the loss, to judge the representation by.

    Attributes:
        gram: X^T X, (D, D) float64, of the student's last layer X (M, D) at the masked frames.
        units: (B, T) int64, unit predicted at each masked frame, -1 elsewhere; None without
            offline targets.
    """

    gram: Tensor = field(kw_only=True)
    units: Tensor | None = field(kw_only=True)


class MT4SSL(nn.Module):
    """Pre-training with offline targets, online targets or both.

    Args:
        model: the encoder.
        targets: what is predicted.
        mask: which frames are hidden.
    """

    def __init__(self, model: EncoderConfig, targets: TargetsConfig, mask: MaskConfig) -> None:
        super().__init__()
        self.targets = targets
        self.mask_config = mask
        self.update = 0
        self.encoder = Encoder(model)
        self.offline_head: nn.Module | None = None
        self.online_head: Linear | None = None
        self.teacher: Teacher | None = None
        if targets.offline_weight > 0:
            if targets.offline_head == "cosine":
                self.offline_head = CosineHead(
                    model.dim, targets.clusters, targets.cosine_dim, targets.temperature
                )
            else:
                self.offline_head = LinearHead(model.dim, targets.clusters)
        if targets.online_weight > 0:
            if not 1 <= targets.teacher_layers <= model.layers:
                raise UserError(
                    f"targets.teacher_layers = {targets.teacher_layers}: expected 1 to "
                    f"model.layers = {model.layers}"
                )
            self.online_head = Linear(model.dim, model.dim)
            self.teacher = Teacher(model.transformer(), targets.teacher_layers)
            self.teacher.copy_from(self.encoder.context)

    def forward(self, batch: Batch, generator: torch.Generator) -> LossOutput:
        """Loss of one micro-batch.

        loss_sum = w_ce * sum CE + w_mse * sum |prediction - target|^2 / sqrt(D)
        + penalty * count, over the masked frames, in float32; count = masked frames.

        Args:
            batch: inputs with labels (B, T), which offline targets need.
            generator: CPU generator that decides the mask.

        Returns:
            In evaluation mode a `Judged`.

        Raises:
            ValueError: labels missing, of another length than the frames, out of range, or all
                the same; an utterance too short for its mask.
        """
        made = self.encoder.project(batch)
        labels = self._labels(batch, made)
        width = made.projected.shape[1]
        drawn = draw_mask(made.lengths, self.mask_config, generator, width)
        rows = MaskedRows.of(drawn, made.projected.device)
        hidden = self.encoder.context(
            self.encoder.mask(made.projected, rows.mask), made.padding, index=rows.index
        )
        student = rows.unpack(hidden)
        count = number(rows.count, student.device)
        loss = torch.zeros((), device=student.device)
        metrics: Metrics = {}
        units = None
        if labels is not None:
            wanted = labels.flatten().index_select(0, rows.flat)
            term, units = self._offline(student, wanted, metrics)
            loss = loss + self.targets.offline_weight * term
        if self.teacher is not None:
            target = self.teacher.targets(made.projected, made.padding, made.lengths, rows.flat)
            loss = loss + self.targets.online_weight * self._online(student, target, metrics)
        loss = loss + self._penalty(made, count, metrics)
        metrics = {"loss": (loss.detach(), count), **metrics}
        metrics |= self._front_end_spread(made)
        metrics["masked"] = (count, number(float(made.lengths.sum()), count.device))
        if self.training:
            return LossOutput(loss, count, metrics)
        return _judged(LossOutput(loss, count, metrics), student, units, rows)

    def _labels(self, batch: Batch, made: Projected) -> Tensor | None:
        if self.offline_head is None:
            return None
        if batch.labels is None:
            raise ValueError("offline targets need labels, and the batch has none")
        seen = batch.labels if batch.cpu_labels is None else batch.cpu_labels
        check_labels(seen, made.lengths, made.projected.shape[1], self.targets.clusters, batch)
        return batch.labels

    def _offline(self, student: Tensor, labels: Tensor, metrics: Metrics) -> tuple[Tensor, Tensor]:
        """Sum of CE, and the predicted units (M,), for labels (M,)."""
        assert self.offline_head is not None
        logits = self.offline_head(student)
        with torch.autocast(student.device.type, enabled=False):
            # Half precision cannot hold the sum: 5,600 frames x 6.2 is 35,000.
            ce = F.cross_entropy(logits.float(), labels, reduction="sum")
        with torch.no_grad():
            best = logits.argmax(1)
            count = number(labels.shape[0], labels.device)
            clusters = self.targets.clusters
            metrics["ce"] = (ce.detach(), count)
            metrics["accuracy"] = ((best == labels).sum().float(), count)
            metrics["label_units"] = (histogram(labels, clusters), count)
            metrics["pred_units"] = (histogram(best, clusters), count)
        return ce, best

    def _online(self, student: Tensor, target: Tensor, metrics: Metrics) -> Tensor:
        assert self.online_head is not None
        prediction = self.online_head(student)
        with torch.autocast(student.device.type, enabled=False):
            prediction = prediction.float()
            scale = 1.0 / math.sqrt(prediction.shape[1])
            mse = F.mse_loss(prediction, target, reduction="sum") * scale
        count = number(target.shape[0], target.device)
        metrics["mse"] = (mse.detach(), count)
        metrics["target_moments"] = (moments(target), count)
        metrics["pred_moments"] = (moments(prediction), count)
        return mse

    def _penalty(self, made: Projected, count: Tensor, metrics: Metrics) -> Tensor:
        """HuBERT's mean(conv output^2), times the count because it is per step."""
        if self.targets.feature_penalty == 0:
            return count.new_zeros(())
        with torch.autocast(made.features.device.type, enabled=False):
            squares = made.features.float().square()
            if made.padding is None:
                penalty = squares.mean()
            else:
                valid = float(made.lengths.sum()) * squares.shape[2]
                penalty = squares.masked_fill(made.padding.unsqueeze(2), 0.0).sum() / valid
        metrics["feature_penalty"] = (penalty.detach() * count, count)
        return self.targets.feature_penalty * penalty * count

    @torch.no_grad()
    def _front_end_spread(self, made: Projected) -> Metrics:
        """Spread of the convolutions' output, which can collapse unseen by the rest."""
        waveform = self.encoder.config.frontend == "waveform"
        rows = (made.features if waveform else made.projected).detach()
        if made.padding is not None:
            rows = rows.masked_fill(made.padding.unsqueeze(2), 0.0)  # adds nothing to the sums
        count = number(float(made.lengths.sum()), rows.device)
        return {"conv_moments": (moments(rows.flatten(0, 1)), count)}

    def after_update(self, update: int) -> None:
        """Step the teacher. `update` counts the optimiser's steps, this one included."""
        self.update = update
        if self.teacher is not None:
            tau = decay(
                update, self.targets.ema_start, self.targets.ema_end, self.targets.ema_anneal
            )
            self.teacher.step(self.encoder.context, tau)

    def health(self, numbers: Mapping[str, float], update: int | None = None) -> None:
        """Stop a collapsed run.

        Args:
            numbers: `summarise` of metrics added over micro-batches and processes.
            update: updates done; by default what `after_update` was told last.

        Raises:
            CollapseError: a loss is not finite, or after `guard_after` updates the targets or
                the predictions have too little spread.
        """
        for name in ("loss", "ce", "mse"):
            if name in numbers and not math.isfinite(numbers[name]):
                raise CollapseError(
                    f"{name} is {numbers[name]} at update {self.update}: lower optim.lr, "
                    "lengthen the warm-up or set optim.clip_norm"
                )
        update = self.update if update is None else update
        if self.teacher is None or update <= self.targets.guard_after:
            return
        limits = {"target_std": self.targets.min_target_std, "pred_std": self.targets.min_pred_std}
        for name, least in limits.items():
            if name in numbers and numbers[name] < least:
                raise CollapseError(
                    f"{name} is {numbers[name]:.4f} at update {update}, below {least}: the "
                    "representation has collapsed: lower optim.lr or lengthen the warm-up, raise "
                    "targets.ema_start, shorten mask.length"
                )


@torch.no_grad()
def _judged(out: LossOutput, student: Tensor, units: Tensor | None, rows: MaskedRows) -> Judged:
    """Evaluation's result from student (M, D), predicted units (M,) and where they are."""
    # In half precision, or in TF32, the small singular values would be the rounding's.
    with torch.autocast(student.device.type, enabled=False):
        wide = student.double()
        gram = wide.T @ wide
    if units is not None:
        everywhere = units.new_full((rows.mask.numel(),), -1)
        units = everywhere.index_copy(0, rows.flat, units).view_as(rows.mask)
    return Judged(out.loss_sum, out.count, out.metrics, gram=gram, units=units)


def check_labels(labels: Tensor, lengths: Tensor, width: int, clusters: int, batch: Batch) -> None:
    """Refuse labels that would train in silence on something else.

    Args:
        labels: (B, T) int64, -1 beyond each row's frames.
        lengths: (B,) frames of the encoder.
        width: T of the encoder.
        clusters: K.
        batch: for utterance names.

    Raises:
        ValueError: naming the utterance and the rule.
    """
    if labels.shape[1] != width:
        raise ValueError(
            f"labels have {labels.shape[1]} frames, the encoder makes {width}: labels of another "
            "rate, or cropped differently: dump them again at the encoder's rate"
        )
    valid = torch.arange(width, device=labels.device) < lengths.to(labels.device)[:, None]
    wrong = (labels >= 0) != valid
    if bool(wrong.any()):
        row = int(wrong.any(1).nonzero()[0])
        raise ValueError(
            f"{batch.name(row)}: {int((labels[row] >= 0).sum())} labels for "
            f"{int(lengths[row])} frames: dump the labels again at the encoder's rate"
        )
    if int(labels.max()) >= clusters:
        row = int((labels >= clusters).any(1).nonzero()[0])
        raise ValueError(
            f"{batch.name(row)}: label {int(labels[row].max())}, but targets.clusters = "
            f"{clusters}: the labels come from another k-means"
        )
    first = labels[0, 0]
    if int(valid.sum()) > 1 and bool(((labels == first) | ~valid).all()):
        raise ValueError(
            f"{batch.name(0)} and the rest of its batch have one label only, {int(first)}: "
            "check the k-means and the label files"
        )
