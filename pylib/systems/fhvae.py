"""FHVAE (arXiv 1709.07902), scalable (1804.03201) and contrastive (2211.08191): one model.

A sequence (an utterance) is cut into segments x of T frames. z1 tells what is peculiar to the
segment, z2 what the segment shares with its sequence, whose mean mu2 is the s-vector. Names
follow the papers; the code published with the first of them swaps the indices. The three differ
in how they are trained only: `objective`, and how segments are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from pylib.corpus.errors import UserError
from pylib.nn.contrast import Contrast
from pylib.nn.gaussian import (
    Z2_VARIANCE,
    kl_normal,
    log_normal,
    row_log_probs,
    sample,
    sequence_mean,
    sequence_sums,
)
from pylib.nn.loss import CollapseError, LossOutput, number
from pylib.nn.norms import send
from pylib.nn.segment_nets import DenseDecoder, DenseEncoder, RecurrentDecoder, RecurrentEncoder
from pylib.nn.segments import SegmentBatch


@dataclass(frozen=True)
class FHVAEConfig:
    """The networks. Published: 2 LSTM layers of 256 (scalable), 1 of 256 (first), mlp 2 of 128."""

    feature_dim: int = 80  # F, channels of a frame
    segment: int = 20  # T, frames of a segment
    z1_dim: int = 32  # of the segment's latent
    z2_dim: int = 32  # of the sequence's latent
    encoder: Literal["lstm", "mlp"] = "lstm"  # all three networks; mlp reads the flat segment
    layers: int = 2  # of each network
    hidden: int = 256  # width of each layer
    x_logvar: tuple[float, float] = (-8.0, 8.0)  # log-variances of frames are clamped to these
    latent_logvar: tuple[float, float] = (-10.0, 4.0)  # and those of the latents to these

    def __post_init__(self) -> None:
        for name in ("feature_dim", "segment", "z1_dim", "z2_dim", "layers", "hidden"):
            if getattr(self, name) < 1:
                raise UserError(f"fhvae.{name} = {getattr(self, name)}: expected at least 1")
        for name in ("x_logvar", "latent_logvar"):
            low, high = getattr(self, name)
            if not low < high:
                raise UserError(f"fhvae.{name} = [{low}, {high}]: expected the lower bound first")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is maximised besides the segment bound, and when training is called sick."""

    alpha: float = 10.0  # weight of log q(sequence | z2 mean); published 0, 10
    # Rows of the table: one an utterance, or one a speaker (the control with labels alone).
    table: Literal["utterance", "speaker"] = "utterance"
    # The kinds of `pylib.nn.contrast.Contrast`.
    contrast: Literal[
        "none", "supcon", "supcon_utterance", "supcon_table", "ge2e", "nca", "triplet"
    ] = "none"
    contrast_weight: float = 10.0  # lambda
    temperature: float = 0.1  # of the cosines of the supcon kinds
    exclude_same_utterance: bool = False  # pairs of one utterance do not count (supcon,nca,triplet)
    contrast_warmup: int = 0  # updates in which the weight grows linearly from 0
    shuffle_speakers: bool = False  # control: labels permuted over utterances (by the data side)
    reset_moments: bool = True  # zero Adam's moments of table rows that get another sequence
    free_bits: float = 0.0  # nats each latent channel of a segment may cost without being pushed
    guard_after: int = 1000  # updates before the collapse guard looks
    min_kl_z1: float = 5.0  # nats: below, the content latent is not used
    min_kl_z2: float = 1.0  # nats: below, the sequence latent is not used

    def __post_init__(self) -> None:
        for name in ("alpha", "contrast_weight", "contrast_warmup", "free_bits", "guard_after"):
            if getattr(self, name) < 0:
                raise UserError(f"objective.{name} = {getattr(self, name)}: expected 0 or more")
        if self.temperature <= 0:
            raise UserError(f"objective.temperature = {self.temperature}: expected above 0")


class Latents(NamedTuple):
    """Posterior means and log-variances of segments: (N, D2), (N, D2), (N, D1), (N, D1)."""

    z2_mean: Tensor
    z2_logvar: Tensor
    z1_mean: Tensor
    z1_logvar: Tensor


class FHVAE(nn.Module):
    """Factorised hierarchical variational auto-encoder.

    Args:
        model: the networks.
        objective: the loss.
        rows: rows of the table of sequence means: training sequences, or the cached ones.

    Attributes:
        table: (rows, D2) parameter, the mean of each sequence.
        feature_mean, feature_std: (F,) buffers; 0 and 1 until `set_normalisation`.
        update: optimizer updates done.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, model: FHVAEConfig, objective: ObjectiveConfig, rows: int) -> None:
        super().__init__()
        self.model, self.objective, self.update = model, objective, 0
        width, d1, d2 = model.feature_dim, model.z1_dim, model.z2_dim
        inner, outer = model.latent_logvar, model.x_logvar
        size = (model.hidden, model.layers)
        self.z2_encoder: nn.Module
        self.z1_encoder: nn.Module
        self.decoder: nn.Module
        if model.encoder == "lstm":
            self.z2_encoder = RecurrentEncoder(width, 0, *size, d2, inner)
            self.z1_encoder = RecurrentEncoder(width, d2, *size, d1, inner)
            self.decoder = RecurrentDecoder(width, model.segment, *size, d1 + d2, outer)
        else:
            self.z2_encoder = DenseEncoder(width, model.segment, 0, *size, d2, inner)
            self.z1_encoder = DenseEncoder(width, model.segment, d2, *size, d1, inner)
            self.decoder = DenseDecoder(width, model.segment, *size, d1 + d2, outer)
        self.contrast = Contrast(
            objective.contrast, objective.temperature, objective.exclude_same_utterance
        )
        self.table = nn.Parameter(torch.randn(rows, d2))
        self.register_buffer("feature_mean", torch.zeros(width))
        self.register_buffer("feature_std", torch.ones(width))

    @torch.no_grad()
    def set_normalisation(self, mean: Tensor, std: Tensor) -> None:
        """Take the training set's mean and standard deviation (F,) of each channel."""
        for name, value in (("mean", mean), ("std", std)):
            value = torch.as_tensor(value)
            if value.shape != self.feature_mean.shape or not bool(value.isfinite().all()):
                raise UserError(
                    f"feature {name}: expected {len(self.feature_mean)} finite values, got "
                    f"{tuple(value.shape)}: compute them on the features that are trained on"
                )
            getattr(self, f"feature_{name}").copy_(value)
        self.feature_std.clamp_min_(1e-3)

    def set_update(self, update: int) -> None:
        """Tell how many updates are done: the contrastive term's warm-up follows them."""
        self.update = update

    # ---- training

    def forward(self, batch: SegmentBatch, generator: torch.Generator) -> LossOutput:
        """Loss of one micro-batch: loss_sum in nats over segments, count = segments.

        Training: -(bound + alpha * log q(row | z2 mean)) summed, + B * weight * contrastive term,
        with mu2 from the table. Evaluation: -bound, with mu2 in closed form from the batch, which
        holds whole sequences; log q and the contrastive term depend on the company and are left
        out.

        Args:
            batch: see SegmentBatch.
            generator: CPU generator of the noise of z2 and z1.

        Raises:
            ValueError: segments of another shape than configured, or a row the table lacks.
        """
        self._check(batch)
        frames = self._normalised(batch.segments)
        model, device = self.model, frames.device
        noise = torch.randn(len(batch), model.z2_dim + model.z1_dim, generator=generator)
        noise2, noise1 = send(noise, device).split([model.z2_dim, model.z1_dim], dim=1)
        q2 = self.z2_encoder(frames)
        z2 = sample(*q2, noise2)
        q1 = self.z1_encoder(frames, z2)
        z1 = sample(*q1, noise1)
        px = self.decoder(torch.cat([z1, z2], 1))
        sums: dict[str, Tensor] = {}
        with torch.autocast(device.type, enabled=False):
            sums["log_px"] = log_normal(frames, *px).sum()
            mu2 = self._sequence_means(batch, q2[0])
            loss = self._cost(batch, q1, q2, mu2, sums)
            if self.training:
                loss = loss + self._company(batch, q2[0], sums)
        sums["loss"] = loss
        count = number(len(batch), device)
        return LossOutput(loss, count, {k: (v.detach(), count) for k, v in sums.items()})

    def _check(self, batch: SegmentBatch) -> None:
        expected = (self.model.segment, self.model.feature_dim)
        if tuple(batch.segments.shape[1:]) != expected:
            raise ValueError(
                f"{batch.name(0)}: segments of {tuple(batch.segments.shape[1:])} frames and "
                f"channels, the model takes {expected}: features of another kind?"
            )

    def _normalised(self, segments: Tensor) -> Tensor:
        """(B, T, F) as stored -> (T, B, F) with the training set's mean 0 and deviation 1."""
        scale = self.feature_std.reciprocal()
        frames = segments.transpose(0, 1).contiguous()
        return torch.addcmul(-self.feature_mean * scale, frames, scale)

    def _sequence_means(self, batch: SegmentBatch, z2_mean: Tensor) -> Tensor:
        """mu2 of each segment's sequence, (B, D2)."""
        if self.training:
            return self.table[batch.sequences]
        means = sequence_mean(z2_mean, batch.sequences, len(batch))  # no more than B sequences
        return means[batch.sequences]

    def _cost(
        self,
        batch: SegmentBatch,
        q1: tuple[Tensor, Tensor],
        q2: tuple[Tensor, Tensor],
        mu2: Tensor,
        sums: dict[str, Tensor],
    ) -> Tensor:
        """Minus the bound, summed over segments; q1, q2: mean and log-variance of z1 and z2.

        With free bits the divergences count at least that much a channel, in the loss but not in
        the metrics.
        """
        each1, each2 = kl_normal(*q1), kl_normal(*q2, mu2, Z2_VARIANCE)
        prior = log_normal(mu2, 0.0, 0.0).sum(1)
        sums["kl_z1"], sums["kl_z2"] = each1.sum(), each2.sum()
        sums["log_pmu2"] = prior.sum()
        share = (prior / batch.counts).sum()
        sums["bound"] = sums["log_px"] - sums["kl_z1"] - sums["kl_z2"] + share
        sums["mu2_norm"] = torch.linalg.vector_norm(mu2.detach(), dim=1).sum()
        least = self.objective.free_bits
        if least == 0 or not self.training:
            return -sums["bound"]
        floored = each1.clamp_min(least).sum() + each2.clamp_min(least).sum()
        return floored - sums["log_px"] - share

    def _company(self, batch: SegmentBatch, z2_mean: Tensor, sums: dict[str, Tensor]) -> Tensor:
        """What depends on other sequences: the discriminative and the contrastive term."""
        alpha = self.objective.alpha
        with torch.set_grad_enabled(torch.is_grad_enabled() and alpha > 0):
            log_probs = row_log_probs(z2_mean, self.table)
            own = log_probs.gather(1, batch.sequences.unsqueeze(1)).sum()
        sums["log_q"] = own
        sums["row_accuracy"] = (log_probs.argmax(1) == batch.sequences).float().sum()
        cost = -alpha * own if alpha > 0 else own.new_zeros(())
        if self.objective.contrast == "none":
            return cost
        term, anchors = self.contrast(
            z2_mean, self.table, batch.sequences, batch.speakers, batch.utterances
        )
        sums["contrast"] = term * len(batch)
        sums["contrast_anchors"] = anchors.float()
        return cost + self.contrast_weight * sums["contrast"]

    @property
    def contrast_weight(self) -> float:
        """Weight of the contrastive term at this update."""
        warmup = self.objective.contrast_warmup
        grown = min(1.0, self.update / warmup) if warmup else 1.0
        return self.objective.contrast_weight * grown

    @torch.no_grad()
    def before_update(self, batches: Sequence[Any], optimizer: torch.optim.Optimizer) -> int:
        """Estimate table rows anew where a batch asks for it (hierarchical sampling).

        Each row becomes the closed-form mean of the segments given for it. By option Adam's
        moments of those rows are zeroed: the rows stand for other sequences now.

        Args:
            batches: SegmentBatch or (index, SegmentBatch), those of the next update. With several
                processes each must see the same `refresh`.
            optimizer: that has the table among its parameters.

        Returns:
            The number of rows changed.
        """
        changed = 0
        for item in batches:
            batch = item if isinstance(item, SegmentBatch) else item[1]
            if batch.refresh is not None:
                changed += self._refresh(batch, optimizer)
        return changed

    def _refresh(self, batch: SegmentBatch, optimizer: torch.optim.Optimizer) -> int:
        assert batch.refresh is not None
        total = torch.zeros_like(self.table)
        count = total.new_zeros(len(total))
        for rows, segments in batch.refresh:
            frames = self._normalised(segments.to(self.table.device))
            rows = rows.to(self.table.device)
            more, of = sequence_sums(self.z2_encoder(frames)[0], rows, len(total))
            total += more
            count += of
        seen = (count > 0).unsqueeze(1)
        made = total / (count + Z2_VARIANCE).unsqueeze(1)
        self.table.copy_(torch.where(seen, made, self.table))
        if self.objective.reset_moments:
            state = optimizer.state.get(self.table, {})
            for name in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
                if name in state:
                    state[name].masked_fill_(seen, 0.0)
        return int(seen.sum())

    # ---- use

    @torch.no_grad()
    def encode(self, segments: Tensor) -> Latents:
        """Posteriors of segments (N, T, F) as stored; z1's is given the mean of z2: no noise."""
        frames = self._normalised(segments)
        m2, lv2 = self.z2_encoder(frames)
        return Latents(m2, lv2, *self.z1_encoder(frames, m2))

    @torch.no_grad()
    def decode(self, z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (N, T, F) of features as stored, from z1 (N, D1) and z2 (N, D2)."""
        mean, logvar = self.decoder(torch.cat([z1, z2], 1))
        mean = mean * self.feature_std + self.feature_mean
        return mean.transpose(0, 1), (logvar + 2 * self.feature_std.log()).transpose(0, 1)

    @staticmethod
    def closed_form_mu2(z2_mean: Tensor, sequences: Tensor, n: int) -> Tensor:
        """s-vectors (n, D2) from z2 means (N, D2) and the sequence of each (N,) int64, 0..n-1."""
        return sequence_mean(z2_mean, sequences, n)

    def health(self, numbers: Mapping[str, float], update: int | None = None) -> None:
        """Stop a run that has lost a latent.

        Args:
            numbers: `summarise` of metrics added over micro-batches and processes.
            update: updates done; by default what `set_update` was told last.

        Raises:
            CollapseError: a term is not finite; or after `guard_after` updates a latent costs
                next to nothing, which is to say that it carries nothing; or no segment has
                another of its speaker, so that the contrastive term does nothing.
        """
        update = self.update if update is None else update
        for name in ("loss", "log_px", "kl_z1", "kl_z2", "log_q", "contrast"):
            if name in numbers and not math.isfinite(numbers[name]):
                raise CollapseError(
                    f"{name} is {numbers[name]} at update {update}: lower optim.lr or set "
                    "optim.clip_norm to 50"
                )
        if numbers.get("contrast_anchors") == 0.0:
            raise CollapseError(
                f"objective.contrast = {self.objective.contrast}, but up to update {update} no "
                "segment shared a batch with another of its speaker: raise segments.utterances"
            )
        if update <= self.objective.guard_after:
            return
        cures = {
            "kl_z1": "the content latent is not used: lower objective.contrast_weight and "
            "objective.alpha or set objective.free_bits to 0.1",
            "kl_z2": "the sequence latent is not used: raise objective.alpha, lower "
            "objective.contrast_weight or set objective.free_bits to 0.1",
        }
        for name, cure in cures.items():
            least = getattr(self.objective, f"min_{name}")
            if name in numbers and numbers[name] < least:
                raise CollapseError(
                    f"{name} is {numbers[name]:.2f} nats at update {update}, below "
                    f"objective.min_{name} = {least}: {cure}"
                )
