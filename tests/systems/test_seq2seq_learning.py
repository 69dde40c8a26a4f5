"""Fine-tuning learns: one small model writes what it hears, what it sees, and what it does both."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pylib.decoding.attention_search import SearchOptions
from pylib.decoding.av_decode import find
from pylib.decoding.variants import MODALITIES
from pylib.nn.av_encoder import AVModelConfig
from pylib.nn.modal_batch import ModalBatch
from pylib.systems.seq2seq import Seq2Seq, Seq2SeqConfig

WORDS = 6
MODEL = AVModelConfig(
    streams=("audio", "video"), resnet_width=8, video_pool=4, dim=64, ffn_dim=128, layers=1,
    heads=4, pos_conv_width=8, pos_conv_groups=4, dropout=0.0, attention_dropout=0.0,
    layerdrop=0.0, dropout_input=0.0, feature_grad_mult=1.0,
)  # fmt: skip
SEQ = Seq2SeqConfig(
    decoder_layers=1, decoder_dim=64, decoder_ffn=128, decoder_heads=4, scale_embedding=True,
    ctc_weight=0.5, modality_dropout=0.5,
)  # fmt: skip


def sentences(count: int, sounds: Tensor, lips: Tensor, generator: torch.Generator) -> ModalBatch:
    """Sentences of 2 to 4 words; each word is 3 or 4 frames of its sound and its picture."""
    spoken, frames = [], []
    for _ in range(count):
        words = torch.randint(WORDS, (int(torch.randint(2, 5, (), generator=generator)),),
                              generator=generator)  # fmt: skip
        spoken.append(words)
        times = torch.randint(3, 5, (len(words),), generator=generator)
        frames.append(words.repeat_interleave(times))
    lengths = torch.tensor([len(f) for f in frames])
    ids = torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)
    noise = 0.5 * torch.randn(*ids.shape, 104, generator=generator)
    tokens = torch.nn.utils.rnn.pad_sequence([w + 4 for w in spoken], True, 1)
    return ModalBatch(
        "videoaudio", lengths, audio=sounds[ids] + noise, video=lips[ids], tokens=tokens,
        token_lengths=torch.tensor([len(w) for w in spoken]),
    )  # fmt: skip


@pytest.mark.slow
def test_one_model_hears_and_sees() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    sounds = torch.randn(WORDS, 104)
    coarse = torch.randint(0, 256, (WORDS, 4, 4), dtype=torch.uint8)
    lips = coarse.repeat_interleave(22, 1).repeat_interleave(22, 2)
    system = Seq2Seq(MODEL, SEQ, 4 + WORDS)
    updates = 300
    optimizer = torch.optim.AdamW(system.parameters(), betas=(0.9, 0.98))
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, (update + 1) / 20, 2 - 2 * update / updates)
        out = system(sentences(12, sounds, lips, generator), generator)
        (out.loss_sum / out.count).backward()
        torch.nn.utils.clip_grad_norm_(system.parameters(), 5.0)
        optimizer.step()
        optimizer.zero_grad()
    system.eval()
    given = sentences(40, sounds, lips, torch.Generator().manual_seed(2))
    counts = given.token_lengths.tolist()
    expected = [tuple(row[:n].tolist()) for row, n in zip(given.tokens, counts, strict=True)]
    with torch.inference_mode():
        streams = system.front(given)
        for modality, names in MODALITIES.items():
            memory = system.context(streams, names)
            for weight in (0.0, 0.3):
                found = find(system, memory, streams, SearchOptions(5, 1.0, weight))
                right = sum(h[0].tokens == e for h, e in zip(found, expected, strict=True))
                assert right >= (30 if weight else 24), (modality, weight, right)
