"""Fine-tuning to words: losses in closed form, freezing, dropped streams, batches that add up."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylib.corpus.errors import UserError
from pylib.nn.av_encoder import AVModelConfig
from pylib.nn.loss import summarise
from pylib.nn.modal_batch import ModalBatch
from pylib.systems.seq2seq import Seq2Seq, Seq2SeqConfig, smoothed_cross_entropy, teacher_forcing
from pylib.units.subwords import BLANK, EOS, PAD

VOCAB = 12
MODEL = AVModelConfig(
    resnet_width=8, video_pool=4, dim=32, ffn_dim=48, layers=2, heads=4, pos_conv_width=8,
    pos_conv_groups=4, dropout=0.0, attention_dropout=0.0, layerdrop=0.0, dropout_input=0.0,
    feature_grad_mult=1.0,
)  # fmt: skip
SEQ = Seq2SeqConfig(
    decoder_layers=2, decoder_dim=24, decoder_ffn=40, decoder_heads=4, dropout=0.0,
    activation_dropout=0.0, ctc_weight=0.3,
)  # fmt: skip


def made(seq: Seq2SeqConfig = SEQ, model: AVModelConfig = MODEL) -> Seq2Seq:
    torch.manual_seed(1)
    return Seq2Seq(model, seq, VOCAB)


def batch(lengths: tuple[int, ...] = (9, 7, 4), seed: int = 2) -> ModalBatch:
    generator = torch.Generator().manual_seed(seed)
    rows, frames = len(lengths), max(lengths)
    counts = torch.tensor([2 + i % 2 for i in range(rows)])
    audio = torch.randn(rows, frames, 104, generator=generator)
    for row, length in enumerate(lengths):
        audio[row, length:] = 0.0
    tokens = torch.randint(4, VOCAB, (rows, 3), generator=generator)
    tokens = tokens.masked_fill(torch.arange(3) >= counts[:, None], PAD)
    video = torch.randint(0, 256, (rows, frames, 88, 88), generator=generator, dtype=torch.uint8)
    return ModalBatch(
        "videoaudio", torch.tensor(lengths), audio=audio, video=video, tokens=tokens,
        token_lengths=counts, utts=tuple(f"utt{i}" for i in range(rows)),
    )  # fmt: skip


def rows_of(given: ModalBatch, index: list[int]) -> ModalBatch:
    parts = {
        name: getattr(given, name)[index] for name in ("audio", "video", "tokens", "token_lengths")
    }
    width = int(given.lengths[index].max())
    parts |= {name: parts[name][:, :width] for name in ("audio", "video")}
    utts = tuple(given.utts[i] for i in index)
    return replace(given, lengths=given.lengths[index], utts=utts, **parts)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_label_smoothing_is_fairseqs() -> None:
    logits, targets = torch.randn(7, VOCAB), torch.tensor([4, 5, PAD, 11, 2, 4, PAD])
    expected = torch.zeros(())
    for row, target in zip(logits.log_softmax(1), targets.tolist(), strict=True):
        if target != PAD:
            share = torch.full((VOCAB,), 0.1 / (VOCAB - 1))
            share[target] = 0.9
            expected = expected - (share * row).sum()
    torch.testing.assert_close(smoothed_cross_entropy(logits, targets, 0.1), expected)
    plain = F.cross_entropy(logits, targets, reduction="sum", ignore_index=PAD)
    torch.testing.assert_close(smoothed_cross_entropy(logits, targets, 0.0), plain)


def test_inputs_begin_and_targets_end_with_the_end_of_sentence() -> None:
    given = batch((5, 5))
    given = replace(
        given,
        tokens=torch.tensor([[4, 5, 9], [6, 7, 8]]),  # what lies beyond a length is not read
        token_lengths=torch.tensor([2, 3]),
    )
    inputs, targets = teacher_forcing(given)
    assert inputs.tolist() == [[EOS, 4, 5, PAD], [EOS, 6, 7, 8]]
    assert targets.tolist() == [[4, 5, EOS, PAD], [6, 7, 8, EOS]]


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_loss_written_out(weight: float) -> None:
    system, given = made(replace(SEQ, ctc_weight=weight)).eval(), batch()
    memory, lengths = system.encoder(given)
    attention, ctc = torch.zeros(()), torch.zeros(())
    for row, (length, count) in enumerate(
        zip(given.lengths.tolist(), given.token_lengths.tolist(), strict=True)
    ):
        tokens = given.tokens[row, :count]
        one = memory[row : row + 1, :length]
        if system.decoder is not None:
            asked = torch.cat([torch.tensor([EOS]), tokens])[None]
            logits = system.decoder(asked, one, None)[0]
            wanted = torch.cat([tokens, torch.tensor([EOS])])
            attention = attention + smoothed_cross_entropy(logits, wanted, 0.1)
        if system.ctc_head is not None:
            log_probs = system.ctc_head(one).log_softmax(2).transpose(0, 1)
            sizes = torch.tensor([length]), torch.tensor([count])
            ctc = ctc + F.ctc_loss(log_probs, tokens[None], *sizes, BLANK, "sum")
    out = system(given, seeded())
    torch.testing.assert_close(
        out.loss_sum, (1 - weight) * attention + weight * ctc, atol=1e-4, rtol=1e-5
    )
    assert float(out.count) == 3
    numbers = summarise(out.metrics)
    assert numbers["loss"] == pytest.approx(out.loss_sum.item() / 3, rel=1e-5)
    assert (system.decoder is None) == (weight == 1.0)
    assert (system.ctc_head is None) == (weight == 0.0)
    assert numbers["accuracy"] <= 1.0
    assert torch.equal(lengths, given.lengths)


def test_accuracy_counts_tokens_and_ends() -> None:
    system, given = made(replace(SEQ, ctc_weight=0.0)).eval(), batch()
    assert system.decoder is not None
    memory, _ = system.encoder(given)
    inputs, targets = teacher_forcing(given)
    padding = torch.arange(9) >= given.lengths[:, None]
    best = system.decoder(inputs, memory, padding).argmax(2)
    known = targets != PAD
    right, count = system(given, seeded()).metrics["accuracy"]
    assert float(right) == float(((best == targets) & known).sum())
    assert float(count) == float(known.sum())


def test_pieces_that_frames_cannot_spell_have_no_ctc_loss() -> None:
    system = made(replace(SEQ, ctc_weight=1.0)).eval()
    given = replace(
        batch((3, 9)), tokens=torch.tensor([[5, 5, 5], [5, 6, 7]]),
        token_lengths=torch.tensor([3, 3]),
    )  # fmt: skip
    out = system(given, seeded())
    assert math.isfinite(float(out.loss_sum.detach()))
    assert summarise(out.metrics)["too_long"] == 0.5
    alone = system(rows_of(given, [0]), seeded())
    assert float(alone.loss_sum.detach()) == 0.0


def test_micro_batches_add_up_and_padding_changes_nothing() -> None:
    system, given = made().eval(), batch()
    system(given, seeded()).loss_sum.backward()
    whole = {n: p.grad.clone() for n, p in system.named_parameters() if p.grad is not None}
    system.zero_grad()
    for part in ([0], [1, 2]):
        system(rows_of(given, part), seeded()).loss_sum.backward()
    for name, value in system.named_parameters():
        if value.grad is not None:
            torch.testing.assert_close(value.grad, whole[name], atol=2e-4, rtol=1e-3, msg=name)


def norms(system: nn.Module) -> list[Tensor]:
    return [m.running_mean.clone() for m in system.modules() if hasattr(m, "running_mean")]


@pytest.mark.parametrize("hold", [True, False])
def test_frozen_encoder_has_no_gradient_and_its_norms_stand_still(hold: bool) -> None:
    system = made(replace(SEQ, freeze_updates=5, freeze_norms=hold)).train()
    before = norms(system)
    for update in (0, 4, 5):
        system.set_update(update)
        system.zero_grad()
        assert system.frozen == (update < 5)
        system(batch(), seeded()).loss_sum.backward()
        grads = [p.grad for p in system.encoder.parameters() if p.grad is not None]
        assert bool(grads) == (update == 5)
        assert system.decoder is not None and system.decoder.embedding.weight.grad is not None
        same = all(torch.equal(a, b) for a, b in zip(before, norms(system), strict=True))
        assert same == (hold and update < 5)
    system.eval()
    assert not any(m.training for m in system.modules())


def test_frozen_weights_do_not_depend_on_when_it_is_put_into_training() -> None:
    system = made(replace(SEQ, freeze_updates=5))
    system.train()
    assert not any(m.training for m in system.encoder.modules() if hasattr(m, "running_mean"))
    system.set_update(5)
    assert all(m.training for m in system.encoder.modules() if hasattr(m, "running_mean"))


@pytest.mark.parametrize("audio_dropout", [0.0, 1.0])
def test_a_dropped_stream_is_an_absent_one(audio_dropout: float) -> None:
    system = made(replace(SEQ, modality_dropout=1.0, audio_dropout=audio_dropout)).eval()
    given = batch()
    system.training = True  # draws, but norms and dropouts stay as in evaluation
    out = system(given, seeded())
    system.training = False
    absent = "audio" if audio_dropout else "video"
    # The same system told to read the other one only.
    system.seq = replace(system.seq, modalities=("video",) if absent == "audio" else ("audio",))
    expected = system(replace(given, **{absent: None}), seeded())
    torch.testing.assert_close(out.loss_sum, expected.loss_sum, atol=1e-4, rtol=1e-5)


def test_streams_are_dropped_for_each_row_by_itself_from_the_generator() -> None:
    system = made(replace(SEQ, modality_dropout=0.5, audio_dropout=0.25)).train()
    given = batch(tuple([2] * 400))
    first, second = (system._dropped(given, seeded()) for _ in range(2))
    assert first is not None and second is not None
    assert torch.equal(first.keep_audio, second.keep_audio)
    assert bool((first.keep_audio | first.keep_video).all())
    assert 1 - float(first.keep_audio.float().mean()) == pytest.approx(0.125, abs=0.05)
    assert 1 - float(first.keep_video.float().mean()) == pytest.approx(0.375, abs=0.07)
    assert system.eval()._dropped(given, seeded()) is None


def test_vatlms_phone_stream_stays_and_is_zeros() -> None:
    system, given = made().eval(), batch()
    assert system.encoder.config.streams == ("audio", "video", "phone")
    streams = system.front(given)
    assert streams.present == ("audio", "video")
    context = system.context(streams, ("video",))
    torch.testing.assert_close(context, system.encoder(given, {"video"})[0])


def test_ctc_log_probs_are_certain_of_the_blank_beyond_the_end() -> None:
    system, given = made().eval(), batch()
    memory, lengths = system.encoder(given)
    log_probs = system.ctc_log_probs(memory, lengths)
    torch.testing.assert_close(log_probs.exp().sum(2), torch.ones(3, 9))
    assert float(log_probs[2, 4:, BLANK].abs().max()) == 0.0
    with pytest.raises(ValueError, match="no CTC head"):
        made(replace(SEQ, ctc_weight=0.0)).ctc_log_probs(memory, lengths)


def test_missing_tokens_and_streams_are_told_of() -> None:
    system, given = made(), batch()
    with pytest.raises(ValueError, match="tokens"):
        system(replace(given, tokens=None, token_lengths=None), seeded())
    with pytest.raises(ValueError, match="utt1"):
        system(replace(given, token_lengths=torch.tensor([2, 0, 2])), seeded())
    with pytest.raises(ValueError, match="video"):
        system(replace(given, video=None), seeded())


@pytest.mark.parametrize(
    "wrong",
    [
        {"modalities": ("video", "audio")},
        {"modalities": ()},
        {"decoder_dim": 30},
        {"label_smoothing": 1.0},
        {"ctc_weight": 1.1},
        {"freeze_updates": -1},
        {"decoder_layers": 0},
    ],
)
def test_settings_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match="seq2seq"):
        replace(SEQ, **wrong)


def test_streams_the_encoder_lacks() -> None:
    with pytest.raises(UserError, match="video"):
        made(model=replace(MODEL, streams=("audio",)))
    assert made(
        replace(SEQ, modalities=("audio",)), replace(MODEL, streams=("audio",))
    ).front(replace(batch(), video=None)).present == ("audio",)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "seq", "count"),
    [
        (AVModelConfig(), Seq2SeqConfig(), 57_480_192),
        (
            AVModelConfig(dim=1024, ffn_dim=4096, layers=24, heads=16),
            Seq2SeqConfig(
                decoder_layers=9, decoder_dim=1024, decoder_ffn=4096, decoder_heads=8,
                ctc_weight=0.1,
            ),
            152_196_096,
        ),
    ],
)  # fmt: skip
def test_published_sizes_of_the_decoder(
    model: AVModelConfig, seq: Seq2SeqConfig, count: int
) -> None:
    with torch.device("meta"):
        system = Seq2Seq(model, seq, 1000)
    assert system.decoder is not None
    assert sum(p.numel() for p in system.decoder.parameters()) == count
