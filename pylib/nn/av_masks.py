"""What a masked-prediction system hides from an audio-visual encoder, as functions of a generator.

Masks of the streams are drawn independently and the loss is on their union (spans: at least two
a row, starts without replacement, overlap allowed). Masked pictures are replaced by other
pictures of the same clip, masked sound by a learned vector. A masked piece of phones is widened
to whole phones; an output frame counts as masked only if all seven phones that the
down-sampling convolutions see at 100 Hz are hidden.
Whole streams are hidden too ("modality dropout"), where a row has at least two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.nn.masks import cut_to_fewest
from pylib.nn.modal_batch import ModalBatch

RATE = 4  # phone frames to a frame of the encoder
SEEN = 3  # phone frames that output t sees to either side of 4 t


@dataclass(frozen=True)
class AVMaskConfig:
    """What is hidden in pre-training. The defaults are VATLM's, and ours where it has none."""

    audio_prob: float = 0.8  # expected share of audio frames if spans did not overlap
    audio_length: int = 10  # frames of an audio span, 400 ms
    video_prob: float = 0.3  # the same of video
    video_length: int = 10
    text_prob: float = 0.4  # the same of phones, in text alone and beside audio
    text_length: int = 10  # frames at 25 Hz: 40 phone frames
    min_spans: int = 2  # spans that a row has at least, where it is long enough
    mask_phones: bool = True  # false: phones beside audio stay clean, as in the released VATLM
    equalise: str = "none"  # none | batch_min: cut every row to the batch's smallest count
    modality_dropout: float = 0.5  # chance that one of two streams is hidden whole
    audio_dropout: float = 0.5  # then the chance that it is audio
    dropout_per: str = "utterance"  # utterance | batch: one draw for all rows, as released

    def __post_init__(self) -> None:
        for name in ("audio", "video", "text"):
            prob = getattr(self, f"{name}_prob")
            if not 0.0 <= prob < 1.0:
                raise UserError(f"av_mask.{name}_prob = {prob}: expected at least 0 and below 1")
            length = getattr(self, f"{name}_length")
            if length < 1:
                raise UserError(f"av_mask.{name}_length = {length}: expected at least 1 frame")
        if self.min_spans < 1:
            raise UserError(f"av_mask.min_spans = {self.min_spans}: expected at least 1")
        for name in ("modality_dropout", "audio_dropout"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise UserError(f"av_mask.{name} = {value}: expected 0 to 1")
        for name, allowed in (
            ("equalise", ("none", "batch_min")),
            ("dropout_per", ("utterance", "batch")),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise UserError(f"av_mask.{name} = {value!r}: expected one of {', '.join(allowed)}")


@dataclass(frozen=True)
class Hide:
    """What the encoder must not see of a batch. All tensors on the CPU; None hides nothing.

    Attributes:
        audio: (B, T) bool, frames replaced by the mask vector.
        shown: (B, T) int64, the picture of the same clip that is seen at t, -1 for a blank one.
        phones: (B, 4 * T) bool, phone frames replaced by the phones' mask vector.
        fused: (B, T) bool, frames replaced after fusion (feature masking).
        keep_audio, keep_video, keep_phone: (B,) bool, rows whose stream is there at all.
    """

    audio: Tensor | None = None
    shown: Tensor | None = None
    phones: Tensor | None = None
    fused: Tensor | None = None
    keep_audio: Tensor | None = None
    keep_video: Tensor | None = None
    keep_phone: Tensor | None = None


def spans(
    lengths: Tensor,
    prob: float,
    length: int,
    min_spans: int,
    generator: torch.Generator,
    width: int,
) -> Tensor:
    """Mask of spans (B, width) bool, True where masked; the last frame of a row never is.

    A row of T frames gets max(min_spans, floor(prob * T / length + u)) spans, u ~ U[0, 1), their
    starts drawn without replacement from [0, T - length). In a row shorter than three spans the
    spans are a third of it, so that something is left to predict from whatever its length; a
    row of one frame is masked.

    Args:
        lengths: (B,) int64 on the CPU.
        prob, length, min_spans: see `AVMaskConfig`.
        generator: CPU generator.
    """
    size = torch.minimum(torch.full_like(lengths, length), (lengths + 2) // 3)
    u = torch.rand(len(lengths), generator=generator, dtype=torch.float64)
    count = (prob * lengths / size + u).floor().long().clamp_min(min_spans)
    choices = (lengths - size).clamp_min(1)
    keys = torch.rand(len(lengths), width, generator=generator)
    column = torch.arange(width)
    keys.masked_fill_(column >= choices[:, None], 2.0)
    starts = keys.argsort(dim=1)
    drawn = (column < torch.minimum(count, choices)[:, None]).to(torch.int32)
    change = torch.zeros(len(lengths), width + length + 1, dtype=torch.int32)
    change.scatter_add_(1, starts, drawn)
    change.scatter_add_(1, starts + size[:, None], -drawn)
    return (change.cumsum(1)[:, :width] > 0) & (column < lengths[:, None])


def imposters(mask: Tensor, lengths: Tensor, generator: torch.Generator) -> Tensor:
    """Which picture of the same clip is seen at each frame, as (B, T) int64.

    A masked run [s, e) of n frames shows n frames of the clip that start at a frame drawn
    uniformly from those outside [s - n, e), the last frame repeated where the clip ends. Where
    there is no such start it shows the clip from its first frame, stopping before s; where the
    whole clip is masked, -1.

    Args:
        mask: (B, T) bool on the CPU, nothing beyond the lengths.
    """
    rows, width = mask.shape
    shown = torch.arange(width).repeat(rows, 1)
    edges = torch.nn.functional.pad(mask.to(torch.int8), (1, 1)).diff(dim=1)
    row, start = (edges == 1).nonzero(as_tuple=True)
    end = (edges == -1).nonzero(as_tuple=True)[1]
    size, total = end - start, lengths[row]
    before = (start - size).clamp_min(0)
    after = total - end
    u = torch.rand(len(row), generator=generator, dtype=torch.float64)
    pick = (u * (before + after)).long()
    first = torch.where(pick < before, pick, pick - before + end)
    last = total - 1
    stuck = before + after == 0
    first = torch.where(stuck, torch.where(start > 0, 0, -1), first)
    last = torch.where(stuck, start - 1, last)  # -1 where the run starts at 0
    which = torch.repeat_interleave(torch.arange(len(row)), size)
    inside = torch.arange(len(which)) - (size.cumsum(0) - size)[which]
    shown[row[which], start[which] + inside] = torch.minimum(first[which] + inside, last[which])
    return shown


def phone_mask(mask: Tensor, phones: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Phone frames to hide so that the frames of `mask` cannot be guessed from a piece of a phone.

    Args:
        mask: (B, T) bool on the CPU, frames at 25 Hz to hide.
        phones: (B, 4 * T) int64 on the CPU.
        lengths: (B,) int64 on the CPU, frames at 25 Hz.

    Returns:
        hidden (B, 4 * T) bool: all that the frames of `mask` see, widened to whole phones (runs
        of one symbol) unless that would hide the whole row;
        masked (B, T) bool: the frames that see hidden phones only; contains `mask`.
    """
    rows, width = mask.shape
    valid = torch.arange(RATE * width) < RATE * lengths[:, None]
    fine = mask.repeat_interleave(RATE, 1)
    hidden = fine.clone()
    for shift in range(1, SEEN + 1):
        hidden[:, :-shift] |= fine[:, shift:] if width else fine[:, :0]
    hidden &= valid
    new = torch.ones_like(hidden)
    new[:, 1:] = phones[:, 1:] != phones[:, :-1]
    run = new.flatten().cumsum(0) - 1
    touched = torch.zeros(int(run[-1]) + 1, dtype=torch.bool)
    touched[run[hidden.flatten()]] = True
    wide = touched[run].view_as(hidden) & valid
    whole = (wide | ~valid).all(1, keepdim=True)
    hidden = torch.where(whole, hidden, wide)
    # Beyond the row the convolutions see zeros, which tell nothing.
    known = ~hidden & valid
    seen = torch.nn.functional.pad(known, (SEEN, 0)).unfold(1, 2 * SEEN + 1, RATE)
    masked = ~seen.any(2) & (torch.arange(width) < lengths[:, None])
    return hidden, masked


def draw_hide(
    batch: ModalBatch, config: AVMaskConfig, by_input: bool, generator: torch.Generator
) -> tuple[Hide, Tensor]:
    """What is hidden of one micro-batch, and the frames (B, T) bool whose units are predicted.

    Only streams that are there are masked, and only where two are there can one be hidden whole.

    Args:
        batch: on any device; lengths are on the CPU.
        config: how much.
        by_input: mask every stream by itself; otherwise hide fused frames, drawn once.
        generator: CPU generator; the result is a function of its state and the batch alone.
    """
    keep = _modality_dropout(batch, config, generator)
    if not by_input:
        kind = "text" if batch.audio is None and batch.video is None else "audio"
        fused = _stream_mask(batch, config, kind, generator)
        return Hide(fused=fused, **keep), fused
    union = torch.zeros(len(batch), batch.frames, dtype=torch.bool)
    found: dict[str, Tensor] = {}
    if batch.video is not None and config.video_prob > 0:
        mask = _stream_mask(batch, config, "video", generator)
        found["shown"] = imposters(mask, batch.lengths, generator)
        union |= mask
    if batch.audio is not None and config.audio_prob > 0:
        found["audio"] = _stream_mask(batch, config, "audio", generator)
        union |= found["audio"]
    text = batch.audio is None or config.mask_phones
    if batch.phones is not None and text and config.text_prob > 0:
        mask = _stream_mask(batch, config, "text", generator)
        phones = batch.phones if batch.cpu_phones is None else batch.cpu_phones
        found["phones"], mask = phone_mask(mask, phones.cpu(), batch.lengths)
        union |= mask
    return Hide(**found, **keep), union


def _stream_mask(
    batch: ModalBatch, config: AVMaskConfig, name: str, generator: torch.Generator
) -> Tensor:
    mask = spans(
        batch.lengths,
        getattr(config, f"{name}_prob"),
        getattr(config, f"{name}_length"),
        config.min_spans,
        generator,
        batch.frames,
    )
    return cut_to_fewest(mask, generator) if config.equalise == "batch_min" else mask


def _modality_dropout(
    batch: ModalBatch, config: AVMaskConfig, generator: torch.Generator
) -> dict[str, Tensor]:
    """keep_audio and keep_video or keep_phone, where audio has company; else nothing."""
    if config.modality_dropout == 0 or batch.audio is None:
        return {}
    other = "keep_video" if batch.video is not None else "keep_phone"
    if batch.video is None and batch.phones is None:
        return {}
    rows = len(batch) if config.dropout_per == "utterance" else 1
    u = torch.rand(2, rows, generator=generator).expand(2, len(batch))
    one = u[0] < config.modality_dropout
    audio = u[1] < config.audio_dropout
    return {"keep_audio": ~(one & audio), other: ~(one & ~audio)}
