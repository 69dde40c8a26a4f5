"""CTC fine-tuning on letters, from a pre-trained encoder or from random weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.corpus.errors import UserError
from pylib.nn.batch import Batch
from pylib.nn.dropout import Dropout, check_rate
from pylib.nn.encoder import Encoder, EncoderConfig, Projected
from pylib.nn.linear import Linear
from pylib.nn.loss import LossOutput, Metrics, number
from pylib.nn.masks import span_mask
from pylib.nn.norms import send
from pylib.units.letters import BLANK


@dataclass(frozen=True)
class CTCConfig:
    """Fine-tuning on top of the encoder; fairseq's names in brackets."""

    freeze_updates: int = 0  # updates in which only the head learns (freeze_finetune_updates)
    freeze_frontend: bool = True  # convolutions never learn (feature_grad_mult 0); false: scratch
    mask_prob: float = 0.65  # time mask while training, 0 for none (mask_prob)
    mask_length: int = 10  # frames of a time span (mask_length)
    channel_prob: float = 0.5  # channel mask while training, 0 for none (mask_channel_prob)
    channel_length: int = 64  # channels of a span (mask_channel_length)
    final_dropout: float = 0.0  # before the head (final_dropout)

    def __post_init__(self) -> None:
        if self.freeze_updates < 0:
            raise UserError(f"ctc.freeze_updates = {self.freeze_updates}: expected 0 or more")
        for name in ("mask_prob", "channel_prob", "final_dropout"):
            check_rate(f"ctc.{name}", getattr(self, name))
        for name in ("mask_length", "channel_length"):
            if getattr(self, name) < 1:
                raise UserError(f"ctc.{name} = {getattr(self, name)}: expected at least 1")


class CTC(nn.Module):
    """Encoder and one linear layer over letters, blank first.

    Args:
        model: the encoder, with fine-tuning's dropouts.
        ctc: masks and freezing.
        vocab_size: letters, 32 (`pylib.units.letters.VOCABULARY`).
    """

    def __init__(self, model: EncoderConfig, ctc: CTCConfig, vocab_size: int) -> None:
        super().__init__()
        if ctc.channel_prob > 0 and ctc.channel_length >= model.dim:
            raise UserError(
                f"ctc.channel_length = {ctc.channel_length}: a span covers all model.dim = "
                f"{model.dim} channels: shorten it"
            )
        if ctc.freeze_frontend:
            model = replace(model, feature_grad_mult=0.0)
        self.ctc = ctc
        self.encoder = Encoder(model)
        self.final_dropout = Dropout(ctc.final_dropout)
        self.head = Linear(model.dim, vocab_size)
        self.update = 0
        if ctc.freeze_frontend:
            self.encoder.frontend.requires_grad_(False)

    def set_update(self, update: int) -> None:
        """Tell how many updates are done: the encoder learns once `freeze_updates` are."""
        self.update = update

    @property
    def frozen(self) -> bool:
        """Whether only the head learns now."""
        return self.update < self.ctc.freeze_updates

    def forward(self, batch: Batch, generator: torch.Generator) -> LossOutput:
        """CTC loss of one micro-batch: loss_sum in nats over sentences, count = sentences.

        Args:
            batch: inputs with tokens (B, U) and token_lengths (B,).
            generator: CPU generator that decides the masks while training.

        Raises:
            ValueError: tokens missing or out of range, or an utterance without a frame.

        A sentence that its frames cannot spell (fewer frames than letters plus repeats) has no
        loss (zero_infinity); `metrics["too_long"]` is the share of such sentences.
        """
        if batch.tokens is None or batch.token_lengths is None:
            raise ValueError("CTC needs tokens, and the batch has none")
        if int(batch.token_lengths.min()) < 1:
            row = int(batch.token_lengths.argmin())
            raise ValueError(f"{batch.name(row)}: no token to learn: leave the utterance out")
        logits, made = self._logits(batch, generator)
        with torch.autocast(logits.device.type, enabled=False):
            log_probs = logits.float().log_softmax(2)
            # cuDNN's CTC takes other lengths and layouts and is not deterministic.
            with torch.backends.cudnn.flags(enabled=False):
                each = F.ctc_loss(
                    log_probs.transpose(0, 1),
                    batch.tokens,
                    made.lengths,
                    batch.token_lengths,
                    blank=BLANK,
                    reduction="none",
                    zero_infinity=True,
                )
            loss = each.sum()
        count = number(len(batch), loss.device)
        return LossOutput(loss, count, self._metrics(batch, made, log_probs, loss.detach()))

    def _logits(self, batch: Batch, generator: torch.Generator | None) -> tuple[Tensor, Projected]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            made = self.encoder.project(batch)
            hidden = self._masked(made, generator if self.training else None)
            hidden = self.encoder.context(hidden, made.padding)
        return self.head(self.final_dropout(hidden)), made

    def _masked(self, made: Projected, generator: torch.Generator | None) -> Tensor:
        """Projected features with spans of time and of channels hidden, while training."""
        ctc = self.ctc
        x, device = made.projected, made.projected.device
        time = None
        if generator is not None and ctc.mask_prob > 0:
            time = span_mask(
                made.lengths,
                ctc.mask_prob,
                ctc.mask_length,
                1,
                generator,
                width=x.shape[1],
                skip_full=True,
            )
            time = send(time, device)
        x = self.encoder.mask(x, time)
        if generator is not None and ctc.channel_prob > 0:
            channels = torch.full((x.shape[0],), x.shape[2])
            hidden = span_mask(
                channels, ctc.channel_prob, ctc.channel_length, 0, generator, skip_full=True
            )
            x = x.masked_fill(send(hidden, device).unsqueeze(1), 0.0)
        return x

    @torch.no_grad()
    def _metrics(self, batch: Batch, made: Projected, log_probs: Tensor, loss: Tensor) -> Metrics:
        assert batch.tokens is not None and batch.token_lengths is not None
        tokens, lengths = batch.tokens, batch.token_lengths
        ends = send(lengths, tokens.device)
        sentences = number(len(batch), loss.device)
        inside = torch.arange(1, tokens.shape[1], device=tokens.device)
        inside = inside < ends[:, None]
        repeats = ((tokens[:, 1:] == tokens[:, :-1]) & inside).sum(1)
        needed = ends + repeats
        too_long = (needed > send(made.lengths, tokens.device)).sum().float()
        blank = log_probs.argmax(2) == BLANK
        if made.padding is not None:
            blank = blank & ~made.padding
        frames = number(float(made.lengths.sum()), loss.device)
        return {
            "loss": (loss, sentences),
            "loss_per_token": (loss, number(float(lengths.sum()), loss.device)),
            "too_long": (too_long, sentences),
            "blank": (blank.sum().float(), frames),
        }

    @torch.no_grad()
    def log_probs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Letter log-probabilities without masks or dropout.

        Returns:
            (B, T, V) float32, blank certain on padded frames, and frame lengths (B,) on the CPU.

        Raises:
            RuntimeError: the module is in training mode.
        """
        if self.training:
            raise RuntimeError("log_probs: call eval() first")
        logits, made = self._logits(batch, None)
        log_probs = logits.float().log_softmax(2)
        if made.padding is not None:
            certain = torch.full_like(log_probs[0, 0], float("-inf"))
            certain[BLANK] = 0.0
            log_probs = torch.where(made.padding.unsqueeze(2), certain, log_probs)
        return log_probs, made.lengths

    def load_encoder_state(self, state: Mapping[str, Tensor]) -> None:
        """Take the encoder from the state dict of a pre-trained system.

        Args:
            state: its whole state dict; heads and teacher are left behind. The student is what
                is fine-tuned.

        Raises:
            UserError: a weight is missing, unknown or of another shape.
        """
        prefix = "encoder."
        given = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        own = self.encoder.state_dict()
        problems = [f"{k}: missing in the checkpoint" for k in own if k not in given]
        problems += [f"{k}: unknown to this encoder" for k in given if k not in own]
        problems += [
            f"{k}: {tuple(given[k].shape)} in the checkpoint, {tuple(v.shape)} here"
            for k, v in own.items()
            if k in given and given[k].shape != v.shape
        ]
        if problems:
            shown = "; ".join(problems[:5])
            rest = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
            raise UserError(
                f"encoder weights do not fit: {shown}{rest}: fine-tune with the [model] of the "
                "pre-training run"
            )
        self.encoder.load_state_dict(given)
