"""Phone2unit: its two means, sums of durations, what it learns, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from pylib.corpus.errors import UserError
from pylib.nn.loss import add_metrics
from pylib.nn.phone_batch import PhoneBatch
from pylib.systems.phone2unit import Phone2Unit, Phone2UnitConfig
from pylib.units.phone_set import PAD

TINY = Phone2UnitConfig(
    clusters=12,
    dim=32,
    encoder_layers=1,
    decoder_layers=1,
    ffn_dim=48,
    kernel=3,
    dropout=0.0,
    duration_dim=32,
    duration_dropout=0.0,
)


def made_up(rows: int, seed: int) -> PhoneBatch:
    """Texts in which each phone has its duration and, frame by frame, its units."""
    generator = torch.Generator().manual_seed(seed)
    phones, durations, labels = [], [], []
    for _ in range(rows):
        count = int(torch.randint(3, 9, (), generator=generator))
        ids = torch.randint(7, 12, (count,), generator=generator)
        lasts = ids % 4  # 0 to 3 frames
        lasts[0] = 2
        frames = torch.repeat_interleave(ids, lasts)
        first = torch.cat([torch.ones(1, dtype=torch.bool), frames[1:] != frames[:-1]])
        phones.append(ids)
        durations.append(lasts)
        labels.append((frames - 7) * 2 + first.long())
    lengths = torch.tensor([len(item) for item in labels])
    return PhoneBatch(
        torch.nn.utils.rnn.pad_sequence(phones, True, PAD),
        torch.tensor([len(item) for item in phones]),
        torch.nn.utils.rnn.pad_sequence(durations, True, 0),
        torch.nn.utils.rnn.pad_sequence(labels, True, -1),
        lengths,
        tuple(f"utt{row}" for row in range(rows)),
    )


def row_of(batch: PhoneBatch, row: int) -> PhoneBatch:
    count, frames = int(batch.phone_lengths[row]), int(batch.lengths[row])
    part = slice(row, row + 1)
    return PhoneBatch(
        batch.phones[part, :count],
        batch.phone_lengths[part],
        batch.durations[part, :count],
        batch.labels[part, :frames],
        batch.lengths[part],
        batch.utts[row : row + 1],
    )


def test_the_published_size() -> None:
    with torch.device("meta"):
        model = Phone2Unit(Phone2UnitConfig(clusters=500))
    blocks = [model.encoder, model.decoder]
    each = 4 * (256 * 256 + 256) + (256 * 9 * 1024 + 1024) + (1024 * 256 + 256) + 4 * 256
    assert [sum(p.numel() for p in item.parameters()) for item in blocks] == [4 * each] * 2
    assert model.head.weight.shape == (500, 256) and model.embedding.weight.shape == (46, 256)


def test_both_losses_are_means() -> None:
    torch.manual_seed(0)
    model = Phone2Unit(replace(TINY, label_smoothing=0.0, duration_weight=3.0)).eval()
    batch = made_up(4, 1)
    out = model(batch, torch.Generator())
    hidden, log_durations = model.encode(batch.phones, batch.phone_lengths)
    logits = model.logits(hidden, batch.durations, batch.lengths)
    known = batch.labels >= 0
    units = F.cross_entropy(logits[known], batch.labels[known])
    spoken = batch.phones != PAD
    wanted = torch.log(batch.durations[spoken].float() + 1)
    expected = units + 3.0 * F.mse_loss(log_durations[spoken], wanted)
    torch.testing.assert_close(out.loss_sum / out.count, expected)
    assert float(out.count) == float(batch.lengths.sum())


def test_rows_alone_give_what_the_batch_gives() -> None:
    torch.manual_seed(1)
    model = Phone2Unit(TINY).eval()
    batch = made_up(5, 2)
    whole = model(batch, torch.Generator()).metrics
    rows = [model(row_of(batch, row), torch.Generator()).metrics for row in range(5)]
    for name, (value, count) in add_metrics(rows).items():
        if name == "loss":  # the mean over phones is that of a batch
            continue
        torch.testing.assert_close(value, whole[name][0], rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(count, whole[name][1])


def test_generated_lengths_agree() -> None:
    torch.manual_seed(2)
    model = Phone2Unit(TINY).eval()
    batch = made_up(6, 3)
    for least in (0, 1, 2):
        units, frames, durations = model.generate(
            batch.phones, batch.phone_lengths, scale=2.0, least=least
        )
        assert durations.sum(1).tolist() == frames.tolist()
        assert units.shape == (6, int(frames.max())) and int(frames.min()) > 0
        assert not durations[batch.phones == PAD].any()
        assert int(units.min()) >= 0 and int(units.max()) < TINY.clusters
        if least:
            assert int(durations[batch.phones != PAD].min()) >= least


def test_a_text_of_no_frames_gets_one() -> None:
    model = Phone2Unit(TINY).eval()
    with torch.no_grad():
        model.durations.out.weight.zero_()
        model.durations.out.bias.fill_(-3.0)
    units, frames, durations = model.generate(torch.tensor([[8, 9]]), torch.tensor([2]), least=0)
    assert frames.tolist() == [1] and int(durations.sum()) == 1 and units.shape == (1, 1)


def test_alone_or_in_company_a_text_gets_the_same_units() -> None:
    torch.manual_seed(3)
    model = Phone2Unit(TINY).eval()
    batch = made_up(5, 4)
    units, frames, durations = model.generate(batch.phones, batch.phone_lengths, scale=3.0)
    for row in range(5):
        one = row_of(batch, row)
        own = model.generate(one.phones, one.phone_lengths, scale=3.0)
        assert own[1].tolist() == [int(frames[row])]
        assert own[2][0].tolist() == durations[row, : one.phones.shape[1]].tolist()
        assert own[0][0].tolist() == units[row, : int(frames[row])].tolist()


def test_it_learns_units_and_durations() -> None:
    torch.manual_seed(4)
    model = Phone2Unit(replace(TINY, label_smoothing=0.0))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(250):
        out = model(made_up(8, 100 + step), torch.Generator())
        optimizer.zero_grad()
        (out.loss_sum / out.count).backward()
        optimizer.step()
    model.eval()
    batch = made_up(20, 5)
    right, count = model(batch, torch.Generator()).metrics["accuracy"]
    assert float(right / count) > 0.95
    _, _, durations = model.generate(batch.phones, batch.phone_lengths, least=0)
    inner = batch.phones != PAD
    inner[:, 0] = False  # the first lasts 2 frames whatever it is
    assert float((durations == batch.durations)[inner].float().mean()) > 0.95


def test_what_does_not_fit_is_refused() -> None:
    model, batch = Phone2Unit(TINY), made_up(2, 6)
    with pytest.raises(ValueError, match="utt0: durations add up"):
        model(replace(batch, lengths=batch.lengths + 1), torch.Generator())
    with pytest.raises(ValueError, match="unit 50"):
        model(replace(batch, labels=torch.full_like(batch.labels, 50)), torch.Generator())
    with pytest.raises(UserError, match="does not divide"):
        replace(TINY, heads=3)
    with pytest.raises(UserError, match="kernel = 4: expected odd"):
        replace(TINY, kernel=4)
