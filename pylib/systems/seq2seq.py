"""Fine-tuning to write words: an attention decoder, a CTC head, or both, over pieces of words.

Modality dropout in fine-tuning makes one checkpoint recognise sound, lips, or both.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.corpus.errors import UserError
from pylib.nn.av_encoder import AVEncoder, AVModelConfig, Streams
from pylib.nn.av_masks import Hide
from pylib.nn.decoder import Decoder, DecoderSize
from pylib.nn.dropout import Dropout, check_rate
from pylib.nn.linear import Linear
from pylib.nn.loss import LossOutput, Metrics, number
from pylib.nn.modal_batch import ModalBatch
from pylib.nn.norms import padding_mask, send
from pylib.units.subwords import BLANK, EOS, PAD, SPECIALS

MODALITIES = ("audio", "video")


@dataclass(frozen=True)
class Seq2SeqConfig:
    """Decoder, losses and what is frozen; the defaults are VATLM's base fine-tuning."""

    decoder_layers: int = 6  # blocks
    decoder_dim: int = 768  # width
    decoder_ffn: int = 3072  # width of the feed-forward layers
    decoder_heads: int = 4  # attention heads
    scale_embedding: bool = False  # times sqrt(decoder_dim): better where sentences are few
    dropout: float = 0.1  # after embeddings, attention and feed-forward of the decoder
    attention_dropout: float = 0.0  # on the decoder's attention weights
    activation_dropout: float = 0.1  # inside the decoder's feed-forward layers
    label_smoothing: float = 0.1  # probability moved from the right piece to the others
    ctc_weight: float = 0.0  # share of CTC in the loss; 1 = a CTC head and no decoder
    freeze_updates: int = 0  # updates in which the encoder does not learn
    freeze_norms: bool = True  # batch norms keep their statistics while frozen
    modalities: tuple[str, ...] = MODALITIES  # streams read: audio, video or both
    modality_dropout: float = 0.0  # chance that a training row with both streams loses one
    audio_dropout: float = 0.5  # chance that the one lost is the audio

    def __post_init__(self) -> None:
        object.__setattr__(self, "modalities", tuple(self.modalities))  # TOML and JSON have lists
        if self.modalities not in (("audio",), ("video",), MODALITIES):
            raise UserError(
                f"seq2seq.modalities = {list(self.modalities)}: expected ['audio'], ['video'] or "
                "['audio', 'video']"
            )
        for name in ("decoder_layers", "decoder_dim", "decoder_ffn", "decoder_heads"):
            if getattr(self, name) < 1:
                raise UserError(f"seq2seq.{name} = {getattr(self, name)}: expected at least 1")
        if self.decoder_dim % self.decoder_heads:
            raise UserError(
                f"seq2seq.decoder_dim = {self.decoder_dim}: not a multiple of "
                f"seq2seq.decoder_heads = {self.decoder_heads}: change one"
            )
        for name in ("dropout", "attention_dropout", "activation_dropout", "label_smoothing"):
            check_rate(f"seq2seq.{name}", getattr(self, name))
        for name in ("ctc_weight", "modality_dropout", "audio_dropout"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"seq2seq.{name} = {getattr(self, name)}: expected 0 to 1")
        if self.freeze_updates < 0:
            raise UserError(f"seq2seq.freeze_updates = {self.freeze_updates}: expected 0 or more")


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Sum over tokens of the cross-entropy with 1 - smoothing on the target.

    Args:
        logits: (M, V) float32.
        targets: (M,) int64, PAD where there is nothing to learn.
        smoothing: spread evenly over the V - 1 other tokens (fairseq's form).
    """
    classes = logits.shape[1]
    return F.cross_entropy(
        logits,
        targets,
        ignore_index=PAD,
        reduction="sum",
        label_smoothing=min(smoothing * classes / (classes - 1), 1.0),
    )


class Seq2Seq(nn.Module):
    """Audio-visual encoder with an attention decoder, a CTC head, or both.

    Args:
        model: the encoder, with fine-tuning's dropouts.
        seq: decoder and losses.
        vocab_size: pieces, specials included (`pylib.units.subwords.Subwords`).

    Attributes:
        decoder: None for a pure CTC model.
        ctc_head: None without CTC.
    """

    def __init__(self, model: AVModelConfig, seq: Seq2SeqConfig, vocab_size: int) -> None:
        super().__init__()
        lacking = [name for name in seq.modalities if name not in model.streams]
        if lacking:
            raise UserError(
                f"seq2seq.modalities has {', '.join(lacking)}, av_model.streams = "
                f"{list(model.streams)} has not: change one"
            )
        if vocab_size <= len(SPECIALS):
            raise UserError(f"{vocab_size} pieces: at least {len(SPECIALS) + 1} are needed")
        self.seq = seq
        self.vocab_size = vocab_size
        self.encoder = AVEncoder(model)
        self.decoder: Decoder | None = None
        self.ctc_head: Linear | None = None
        if seq.ctc_weight < 1.0:
            self.decoder = Decoder(
                DecoderSize(
                    vocab_size,
                    model.dim,
                    seq.decoder_dim,
                    seq.decoder_ffn,
                    seq.decoder_layers,
                    seq.decoder_heads,
                    seq.dropout,
                    seq.attention_dropout,
                    seq.activation_dropout,
                    seq.scale_embedding,
                )
            )
        self.final_dropout = Dropout(seq.dropout)
        if seq.ctc_weight > 0.0:
            self.ctc_head = Linear(model.dim, vocab_size)
        self.update = 0

    def set_update(self, update: int) -> None:
        """Tell how many updates are done: the encoder learns once `freeze_updates` are."""
        self.update = update
        self._hold_norms()

    @property
    def frozen(self) -> bool:
        """Whether the encoder stays as it is now."""
        return self.update < self.seq.freeze_updates

    def train(self, mode: bool = True) -> Seq2Seq:
        """As `nn.Module.train`, but batch norms stay as in evaluation while frozen."""
        super().train(mode)
        self._hold_norms()
        return self

    def _hold_norms(self) -> None:
        hold = self.frozen and self.seq.freeze_norms
        for module in self.encoder.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.training = self.training and not hold

    def forward(self, batch: ModalBatch, generator: torch.Generator) -> LossOutput:
        """Loss of one micro-batch: loss_sum in nats over sentences, count = sentences.

        loss_sum = (1 - ctc_weight) * sum of smoothed cross-entropies + ctc_weight * sum of CTC.

        Args:
            batch: streams with tokens (B, U) and token_lengths (B,).
            generator: CPU generator that decides which rows lose a stream while training.

        Raises:
            ValueError: no tokens, or a stream missing that the system reads.

        A sentence that its frames cannot spell (fewer frames than pieces plus repeats) has no CTC
        loss (zero_infinity); `metrics["too_long"]` is the share of such sentences.
        """
        if batch.tokens is None or batch.token_lengths is None:
            raise ValueError("seq2seq needs tokens, and the batch has none")
        if int(batch.token_lengths.min()) < 1:
            row = int(batch.token_lengths.argmin())
            raise ValueError(f"{batch.name(row)}: no token to learn: leave the utterance out")
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            streams = self.front(batch, self._dropped(batch, generator))
            memory = self.context(streams)
        metrics: Metrics = {}
        sentences = number(len(batch), memory.device)
        total = memory.new_zeros((), dtype=torch.float32)
        if self.decoder is not None:
            loss = self._attention_loss(batch, memory, streams, metrics)
            total = total + (1.0 - self.seq.ctc_weight) * loss
        if self.ctc_head is not None:
            loss = self._ctc_loss(batch, memory, streams, metrics)
            total = total + self.seq.ctc_weight * loss
        metrics["loss"] = (total.detach(), sentences)
        return LossOutput(total, sentences, metrics)

    def _dropped(self, batch: ModalBatch, generator: torch.Generator) -> Hide | None:
        """Which rows lose a stream."""
        seq = self.seq
        if not self.training or seq.modality_dropout == 0.0 or seq.modalities != MODALITIES:
            return None
        drawn = torch.rand(2, len(batch), generator=generator)
        loses, audio = drawn[0] < seq.modality_dropout, drawn[1] < seq.audio_dropout
        return Hide(keep_audio=~(loses & audio), keep_video=~(loses & ~audio))

    def front(self, batch: ModalBatch, hide: Hide | None = None) -> Streams:
        """Streams of the batch that the system reads, after their front ends.

        Raises:
            ValueError: one is missing in the batch.
        """
        return self.encoder.front(batch, hide, self.seq.modalities)

    def context(self, streams: Streams, modalities: Collection[str] | None = None) -> Tensor:
        """Encoder output (B, T, D), of some of the streams (all by default)."""
        if modalities is not None:
            streams = streams.only(modalities)
        return self.encoder.context(self.encoder.fuse(streams), streams.padding)

    def _attention_loss(
        self, batch: ModalBatch, memory: Tensor, streams: Streams, metrics: Metrics
    ) -> Tensor:
        assert self.decoder is not None
        inputs, targets = teacher_forcing(batch)
        logits = self.decoder(inputs, memory, streams.padding).flatten(0, 1)
        targets = targets.flatten()
        with torch.autocast(logits.device.type, enabled=False):
            logits = logits.float()
            loss = smoothed_cross_entropy(logits, targets, self.seq.label_smoothing)
        with torch.no_grad():
            assert batch.token_lengths is not None
            tokens = number(float(batch.token_lengths.sum()) + len(batch), logits.device)
            known = targets != PAD
            right = ((logits.argmax(1) == targets) & known).sum().float()
            metrics["att"] = (loss.detach(), number(len(batch), logits.device))
            metrics["accuracy"] = (right, tokens)
        return loss

    def _ctc_loss(
        self, batch: ModalBatch, memory: Tensor, streams: Streams, metrics: Metrics
    ) -> Tensor:
        assert self.ctc_head is not None
        assert batch.tokens is not None and batch.token_lengths is not None
        logits = self.ctc_head(self.final_dropout(memory))
        with torch.autocast(logits.device.type, enabled=False):
            log_probs = logits.float().log_softmax(2)
            # cuDNN's CTC takes other lengths and layouts and is not deterministic.
            with torch.backends.cudnn.flags(enabled=False):
                each = F.ctc_loss(
                    log_probs.transpose(0, 1),
                    batch.tokens,
                    streams.lengths,
                    batch.token_lengths,
                    blank=BLANK,
                    reduction="none",
                    zero_infinity=True,
                )
            loss = each.sum()
        with torch.no_grad():
            sentences = number(len(batch), loss.device)
            metrics["ctc"] = (loss.detach(), sentences)
            metrics["too_long"] = (_too_long(batch), sentences)
            if self.decoder is None and not self.training:
                metrics["accuracy"] = _piece_accuracy(batch, log_probs)
        return loss

    @torch.no_grad()
    def ctc_log_probs(self, memory: Tensor, lengths: Tensor) -> Tensor:
        """CTC's log-probabilities (B, T, V) float32 of encoder output; blank certain on padding.

        Raises:
            ValueError: the system has no CTC head.
        """
        if self.ctc_head is None:
            raise ValueError("the model has no CTC head: train it with seq2seq.ctc_weight above 0")
        log_probs = self.ctc_head(memory).float().log_softmax(2)
        padding = padding_mask(lengths, memory.shape[1])
        if padding is None:
            return log_probs
        certain = torch.full_like(log_probs[0, 0], float("-inf"))
        certain[BLANK] = 0.0
        return torch.where(send(padding, memory.device).unsqueeze(2), certain, log_probs)


def teacher_forcing(batch: ModalBatch) -> tuple[Tensor, Tensor]:
    """Decoder inputs and targets (B, U + 1): eos then the pieces; the pieces then eos."""
    assert batch.tokens is not None and batch.token_lengths is not None
    tokens = batch.tokens
    ends = send(batch.token_lengths, tokens.device)[:, None]
    place = torch.arange(tokens.shape[1], device=tokens.device)
    tokens = tokens.masked_fill(place >= ends, PAD)
    inputs = F.pad(tokens, (1, 0), value=EOS)
    targets = F.pad(tokens, (0, 1), value=PAD).scatter(1, ends, EOS)
    return inputs, targets


def _too_long(batch: ModalBatch) -> Tensor:
    """How many sentences have fewer frames than pieces plus repeats."""
    assert batch.tokens is not None and batch.token_lengths is not None
    tokens = batch.tokens
    ends = send(batch.token_lengths, tokens.device)
    inside = torch.arange(1, tokens.shape[1], device=tokens.device) < ends[:, None]
    needed = ends + ((tokens[:, 1:] == tokens[:, :-1]) & inside).sum(1)
    return (needed > send(batch.lengths, tokens.device)).sum().float()


def _piece_accuracy(batch: ModalBatch, log_probs: Tensor) -> tuple[Tensor, Tensor]:
    """Pieces minus edits of the best path, and pieces."""
    from rapidfuzz.distance import Levenshtein

    assert batch.tokens is not None and batch.token_lengths is not None
    best = log_probs.argmax(2).tolist()
    right = 0
    for row, (length, count) in enumerate(
        zip(batch.lengths.tolist(), batch.token_lengths.tolist(), strict=True)
    ):
        path = best[row][:length]
        made = [p for i, p in enumerate(path) if p != BLANK and (i == 0 or p != path[i - 1])]
        right += count - Levenshtein.distance(batch.tokens[row, :count].tolist(), made)
    device = log_probs.device
    return number(right, device), number(float(batch.token_lengths.sum()), device)
