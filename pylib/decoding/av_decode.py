"""Decoding an audio-visual model: every modality, clean and in noise, from one pass over the data.

The pictures of a batch go through the visual front end once; each noise needs the audio front
end, and each pair of modality and noise the context network and a search.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.decoding.attention_search import Hypothesis, SearchOptions, Symbols, search
from pylib.decoding.greedy import collapse
from pylib.decoding.logprobs import plan_batches
from pylib.decoding.variants import MODALITIES, Variant
from pylib.features.noise import Condition, NoiseSet
from pylib.nn.av_encoder import Streams
from pylib.nn.modal_batch import ModalBatch
from pylib.systems.seq2seq import Seq2Seq
from pylib.units.subwords import BLANK, BOS, EOS, PAD, UNK, words_of

SYMBOLS = Symbols(EOS, BLANK, (BOS, PAD, UNK))


class Reader(Protocol):
    """What is asked of `pylib.training.av_reader.AVReader`."""

    utts: list[str]
    frames: dict[str, int]

    def batch(
        self,
        utts: Sequence[str],
        condition: Condition | None = None,
        noise_set: NoiseSet | None = None,
        seed: int = 1,
    ) -> ModalBatch: ...


@dataclass(frozen=True)
class Sources:
    """Where streams and noise come from.

    Attributes:
        audio, video: readers of that stream; None where no modality asks for it.
        noise: None where all is clean.
        seed: which noise.
        unseen: utterances that `video` does not have: sound and lips are their sound alone, and
            lips alone give nothing.
    """

    audio: Reader | None
    video: Reader | None
    noise: NoiseSet | None = None
    seed: int = 1
    unseen: frozenset[str] = frozenset()

    @property
    def frames(self) -> dict[str, int]:
        """Utterance -> frames at 25 Hz."""
        reader = self.audio or self.video
        assert reader is not None
        return reader.frames


def check_streams(model: Seq2Seq, modalities: Sequence[str], where: str = "checkpoint") -> None:
    """UserError for a modality whose streams the model does not read."""
    for name in modalities:
        lacking = set(MODALITIES[name]) - set(model.seq.modalities)
        if lacking:
            raise UserError(
                f"{where}: was not fine-tuned with {' and '.join(sorted(lacking))} "
                f"(seq2seq.modalities = {list(model.seq.modalities)}): drop {name} of --modalities"
            )


def with_model_weight(options: SearchOptions, model: Seq2Seq, where: str) -> SearchOptions:
    """The options that fit the heads a model has.

    Raises:
        UserError: a CTC weight for a model without CTC.
    """
    if model.decoder is None:
        return replace(options, ctc_weight=1.0)
    if options.ctc_weight > 0 and model.ctc_head is None:
        raise UserError(
            f"{where}: has no CTC head (seq2seq.ctc_weight = 0): decode with --ctc-weight 0"
        )
    return options


@torch.inference_mode()
def encode(
    model: Seq2Seq,
    sources: Sources,
    utts: Sequence[str],
    variants: Sequence[Variant],
    device: str = "cpu",
) -> Iterator[tuple[Variant, Tensor, Streams]]:
    """Encoder output (B, T, D) of a batch in every variant, by condition.

    A batch of utterances without pictures is read from sound alone, the video absent; variants
    without sound are left out then.

    Raises:
        ValueError: some of the batch have pictures, some have not.
    """
    unseen = sources.unseen.intersection(utts)
    if unseen and len(unseen) < len(utts):
        raise ValueError(f"{min(unseen)} has no pictures, others of its batch have")
    streams_of = {name: set(parts) - ({"video"} if unseen else set())
                  for name, parts in MODALITIES.items()}  # fmt: skip
    variants = [variant for variant in variants if streams_of[variant.modality]]
    asked = {name for variant in variants for name in streams_of[variant.modality]}
    video = None
    if "video" in asked:
        assert sources.video is not None
        batch = sources.video.batch(utts).to(device)
        video = model.encoder.front(batch, None, ("video",))
    for condition in dict.fromkeys(v.condition for v in variants):
        mine = [v for v in variants if v.condition == condition]
        audio = None
        if any("audio" in streams_of[v.modality] for v in mine):
            audio = _audio(model, sources, utts, condition, device)
        for variant in mine:
            parts: Collection[str] = streams_of[variant.modality]
            base = audio if "audio" in parts else video
            assert base is not None
            streams = base
            if "audio" in parts and "video" in parts:
                assert video is not None
                streams = replace(base, video=video.video)
            yield variant, model.context(streams), streams


def _audio(
    model: Seq2Seq, sources: Sources, utts: Sequence[str], condition: Condition, device: str
) -> Streams:
    assert sources.audio is not None
    if condition.clean:
        batch = sources.audio.batch(utts)
    else:
        batch = sources.audio.batch(utts, condition, sources.noise, sources.seed)
    return model.encoder.front(batch.to(device), None, ("audio",))


@torch.inference_mode()
def find(
    model: Seq2Seq, memory: Tensor, streams: Streams, options: SearchOptions
) -> list[list[Hypothesis]]:
    """Hypotheses of a batch of encoder output, the best of each utterance first."""
    log_probs = None
    if options.ctc_weight > 0:
        log_probs = model.ctc_log_probs(memory, streams.lengths)
    return search(
        model.decoder, memory, streams.lengths, streams.padding, options, SYMBOLS, log_probs
    )


@torch.inference_mode()
def find_greedy(model: Seq2Seq, memory: Tensor, streams: Streams) -> list[list[Hypothesis]]:
    """CTC's best path of each utterance."""
    log_probs = model.ctc_log_probs(memory, streams.lengths)
    value, path = (x.cpu() for x in log_probs.max(2))
    found = []
    for row, length in enumerate(streams.lengths.tolist()):
        tokens = [t for t in collapse(path[row, :length].tolist(), BLANK) if t > UNK]
        found.append([Hypothesis(tuple(tokens), float(value[row, :length].sum()))])
    return found


def decode_batch(
    model: Seq2Seq,
    sources: Sources,
    utts: Sequence[str],
    variants: Sequence[Variant],
    options: Mapping[str, SearchOptions],
    pieces: Sequence[str],
    method: str = "beam",
    device: str = "cpu",
) -> dict[Variant, dict[str, str]]:
    """Variant -> utterance -> words of one batch; see `encode` for one without pictures.

    Args:
        options: modality -> how to search.
        pieces: of the subword model.
        method: beam, or greedy (CTC's best path).
    """
    made: dict[Variant, dict[str, str]] = {}
    for variant, memory, streams in encode(model, sources, utts, variants, device):
        if method == "greedy":
            found = find_greedy(model, memory, streams)
        else:
            found = find(model, memory, streams, options[variant.modality])
        made[variant] = {
            utt: " ".join(words_of(pieces, hypotheses[0].tokens))
            for utt, hypotheses in zip(utts, found, strict=True)
        }
    return made


def batches_of(
    frames: Mapping[str, int], unseen: Collection[str], batch_frames: int
) -> list[list[str]]:
    """Batches of utterances with pictures, as if there were no others; then of those without."""
    seen = {utt: count for utt, count in frames.items() if utt not in unseen}
    heard = {utt: count for utt, count in frames.items() if utt in unseen}
    return [*plan_batches(seen, batch_frames), *plan_batches(heard, batch_frames)]


def usable_and_empty(frames: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """Utterances with a frame, and those without one (their hypothesis is empty)."""
    usable = {utt: count for utt, count in frames.items() if count > 0}
    return usable, sorted(frames.keys() - usable.keys())
