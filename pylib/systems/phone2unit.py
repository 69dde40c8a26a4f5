"""Phones to units, all frames at once: what text is given as targets where there is no audio.

A non-autoregressive network after FastSpeech 2 (arXiv 2006.04558) without pitch and energy, as
SpeechLM uses it: phone embedding, blocks over phones, durations, blocks over frames, units. Both
losses are means, so that durations are learned too; published, the one over units is a sum over
thousands of frames and the other a mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.corpus.errors import UserError
from pylib.nn.length_regulator import ConvStack, DurationPredictor, expand
from pylib.nn.linear import Linear
from pylib.nn.loss import LossOutput, Metrics, histogram, number
from pylib.nn.norms import padding_mask, send
from pylib.nn.phone_batch import PhoneBatch
from pylib.units.phone_set import PAD


@dataclass(frozen=True)
class Phone2UnitConfig:
    """The networks and the two losses. Defaults are those of SpeechLM's fast model."""

    clusters: int = 2000  # K, units
    phones: int = 46  # symbols, specials included
    dim: int = 256  # width
    encoder_layers: int = 4  # over phones
    decoder_layers: int = 4  # over frames
    heads: int = 2
    ffn_dim: int = 1024  # channels inside the convolutions of a layer
    kernel: int = 9  # frames of the first convolution of a layer
    dropout: float = 0.1
    duration_dim: int = 256  # channels of the duration predictor
    duration_kernel: int = 3
    duration_dropout: float = 0.5
    label_smoothing: float = 0.1  # share of the target spread over the other units
    duration_weight: float = 1.0  # of the duration loss, both losses being means

    def __post_init__(self) -> None:
        for name in ("clusters", "phones", "dim", "encoder_layers", "decoder_layers", "heads",
                     "ffn_dim", "kernel", "duration_dim", "duration_kernel"):  # fmt: skip
            if getattr(self, name) < 1:
                raise UserError(f"phone2unit.{name} = {getattr(self, name)}: expected at least 1")
        for name in ("dropout", "duration_dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"phone2unit.{name} = {getattr(self, name)}: expected [0, 1)")
        if self.duration_weight < 0:
            raise UserError(f"phone2unit.duration_weight = {self.duration_weight}: expected >= 0")
        if self.dim % self.heads:
            raise UserError(
                f"phone2unit.dim = {self.dim} does not divide by heads = {self.heads}: change one"
            )
        for name in ("kernel", "duration_kernel"):
            if getattr(self, name) % 2 == 0:
                raise UserError(f"phone2unit.{name} = {getattr(self, name)}: expected odd")


class Phone2Unit(nn.Module):
    """Units at 25 Hz and durations of phones.

    Args:
        config: the networks and the weight of the losses.
    """

    def __init__(self, config: Phone2UnitConfig) -> None:
        super().__init__()
        self.config = config
        size = (config.dim, config.heads, config.ffn_dim, config.kernel, config.dropout)
        self.embedding = nn.Embedding(config.phones, config.dim, padding_idx=PAD)
        self.encoder = ConvStack(config.encoder_layers, *size)
        self.durations = DurationPredictor(
            config.dim, config.duration_dim, config.duration_kernel, config.duration_dropout
        )
        self.decoder = ConvStack(config.decoder_layers, *size)
        self.head = Linear(config.dim, config.clusters)
        nn.init.normal_(self.embedding.weight, 0.0, config.dim**-0.5)
        with torch.no_grad():
            self.embedding.weight[PAD].zero_()

    def encode(self, phones: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Phones (B, P), lengths (B,) on the CPU -> hidden (B, P, D), log(duration + 1) (B, P)."""
        hidden = self.encoder(self.embedding(phones), lengths)
        return hidden, self.durations(hidden, lengths)

    def logits(self, hidden: Tensor, durations: Tensor, lengths: Tensor) -> Tensor:
        """Units' logits (B, T, K) of phones' hidden (B, P, D) that last `durations` (B, P)."""
        frames = expand(hidden, durations, int(lengths.max()))
        return self.head(self.decoder(frames, lengths))

    def forward(self, batch: PhoneBatch, generator: torch.Generator) -> LossOutput:
        """Cross-entropy of the units given true durations, plus squared error of log durations.

        loss_sum = (mean over frames + weight x mean over phones) x frames, count = frames: a mean
        of batch means weighted by frames.

        Args:
            batch: see PhoneBatch.
            generator: not used, all randomness is dropout's.

        Raises:
            ValueError: durations that do not add up to the frames, unknown phones or units.
        """
        self._check(batch)
        device = batch.phones.device
        hidden, log_durations = self.encode(batch.phones, batch.phone_lengths)
        logits = self.logits(hidden, batch.durations, batch.lengths)
        frames, phones = float(batch.lengths.sum()), float(batch.phone_lengths.sum())
        with torch.autocast(device.type, enabled=False):
            known = batch.labels >= 0
            labels = batch.labels[known]
            scores = logits[known].float()
            unit_loss = F.cross_entropy(
                scores, labels, reduction="sum", label_smoothing=self.config.label_smoothing
            )
            wanted = torch.log1p(batch.durations.float())
            square = (log_durations - wanted).square()
            hide = padding_mask(batch.phone_lengths, square.shape[1])
            if hide is not None:
                square = square.masked_fill(send(hide, device), 0.0)
            duration_loss = square.sum()
            weight = self.config.duration_weight * frames / phones
            loss = unit_loss + weight * duration_loss
        best = scores.detach().argmax(1)
        counts = number(frames, device), number(phones, device)
        metrics: Metrics = {
            "loss": (loss.detach(), counts[0]),
            "unit_loss": (unit_loss.detach(), counts[0]),
            "duration_loss": (duration_loss.detach(), counts[1]),
            "accuracy": ((best == labels).float().sum(), counts[0]),
            "label_units": (histogram(labels, self.config.clusters), counts[0]),
            "pred_units": (histogram(best, self.config.clusters), counts[0]),
        }
        return LossOutput(loss, counts[0], metrics)

    def _check(self, batch: PhoneBatch) -> None:
        if batch.phones.device.type == "cpu":
            sums = batch.durations.sum(1)
            for row in torch.nonzero(sums != batch.lengths).flatten().tolist():
                raise ValueError(
                    f"{batch.name(row)}: durations add up to {int(sums[row])} frames, there are "
                    f"{int(batch.lengths[row])} units: align the phones again"
                )
            if int(batch.phones.max()) >= self.config.phones:
                raise ValueError(f"phone id {int(batch.phones.max())}: not of this model's phones")
            if int(batch.labels.max()) >= self.config.clusters:
                raise ValueError(
                    f"unit {int(batch.labels.max())}: phone2unit.clusters = {self.config.clusters}"
                )

    @torch.no_grad()
    def generate(
        self, phones: Tensor, lengths: Tensor, scale: float = 1.0, least: int = 1
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Durations and units of phones.

        A phone lasts round(scale x (exp(log duration) - 1)) frames, `least` at least. A row whose
        phones would all last 0 frames gets one frame of its longest.

        Args:
            phones: (B, P) ids, PAD beyond a row's phones.
            lengths: (B,) phones of each row, on the CPU.
            scale: of durations: above 1 is slower speech.
            least: frames of a phone at least; 0 lets short ones vanish.

        Returns:
            units (B, T) int64, 0 beyond a row's frames; frames (B,) on the CPU; durations (B, P).
        """
        hidden, log_durations = self.encode(phones, lengths)
        exact = torch.expm1(log_durations) * scale
        durations = exact.round().clamp_min(least).long()
        hide = padding_mask(lengths, phones.shape[1])
        if hide is not None:
            hide = send(hide, phones.device)
            durations = durations.masked_fill(hide, 0)
            exact = exact.masked_fill(hide, float("-inf"))
        silent = durations.sum(1) == 0
        longest = F.one_hot(exact.argmax(1), phones.shape[1])
        durations = torch.where(silent.unsqueeze(1), longest, durations)
        frames = durations.sum(1).cpu()
        units = self.logits(hidden, durations, frames).argmax(2)
        beyond = padding_mask(frames, units.shape[1])
        if beyond is not None:
            units = units.masked_fill(send(beyond, units.device), 0)
        return units, frames, durations
