"""What is hidden: spans, imposters, whole phones, whole streams; any length."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pylib.corpus.errors import UserError
from pylib.nn.av_masks import AVMaskConfig, draw_hide, imposters, phone_mask, spans
from pylib.nn.modal_batch import ModalBatch


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(kind: str, lengths: list[int]) -> ModalBatch:
    draw = generator()
    sizes = torch.tensor(lengths)
    rows, frames = len(lengths), max(lengths)
    audio = video = phones = None
    if kind != "onlytext":
        audio = torch.randn(rows, frames, 104, generator=draw)
    if kind == "videoaudio":
        video = torch.zeros(rows, frames, 8, 8, dtype=torch.uint8)
    if kind.endswith("text"):
        phones = torch.randint(4, 46, (rows, frames), generator=draw).repeat_interleave(4, 1)
        phones[torch.arange(4 * frames) >= 4 * sizes[:, None]] = 1
    return ModalBatch(kind, sizes, audio, video, phones)


def runs(mask: Tensor) -> list[tuple[int, int]]:
    found, start = [], None
    for t, hidden in enumerate([*mask.tolist(), False]):
        if hidden and start is None:
            start = t
        if not hidden and start is not None:
            found.append((start, t))
            start = None
    return found


@pytest.mark.parametrize(("prob", "share"), [(0.8, 0.57), (0.3, 0.27)])
def test_shares_are_the_computed_ones(prob: float, share: float) -> None:
    lengths = torch.full((400,), 250)
    mask = spans(lengths, prob, 10, 2, generator(), 250)
    assert abs(float(mask.float().mean()) - share) < 0.01
    counts = [sum(end - start for start, end in runs(row)) for row in mask[:50]]
    assert min(counts) >= 11  # two spans with different starts


@pytest.mark.parametrize(
    ("shortest", "audio", "video"), [(250, 0.50, 0.22), (120, 0.40, 0.18)], ids=["equal", "mixed"]
)
def test_shares_after_the_cut_are_the_computed_ones(
    shortest: int, audio: float, video: float
) -> None:
    """VATLM's masks, every row of a batch of 8 cut to the fewest frames of any: shares of the
    frames that are no padding, for rows of 250 frames and of 120 to 250."""
    config = AVMaskConfig(equalise="batch_min", modality_dropout=0.0)
    draw = generator(3)
    seen, frames = torch.zeros(2), 0
    for _ in range(250):
        sizes = torch.randint(shortest, 251, (8,), generator=draw)
        given = ModalBatch(
            "videoaudio", sizes, torch.empty(8, int(sizes.max()), 104),
            torch.empty(8, int(sizes.max()), 1, 1, dtype=torch.uint8),
        )  # fmt: skip
        hide, _ = draw_hide(given, config, True, draw)
        assert hide.audio is not None and hide.shown is not None
        hidden = hide.shown != torch.arange(given.frames)
        assert len(set(hide.audio.sum(1).tolist())) == 1
        seen += torch.tensor([float(hide.audio.sum()), float(hidden.sum())])
        frames += int(sizes.sum())
    assert (seen / frames).tolist() == pytest.approx([audio, video], abs=0.01)


@pytest.mark.parametrize("kind", ["onlytext", "audiotext"])
def test_a_third_to_a_half_of_the_text_is_hidden(kind: str) -> None:
    """Shares of the phone frames that the model does not see and of the frames it predicts."""
    draw = generator(4)
    rows, width = 64, 250
    sizes = torch.full((rows,), width)
    symbols = torch.randint(4, 46, (rows, 4 * width), generator=draw)
    lasts = torch.randint(3, 14, (rows, 4 * width), generator=draw)  # 30 to 130 ms a phone
    phones = torch.stack(
        [torch.repeat_interleave(symbols[i], lasts[i])[: 4 * width] for i in range(rows)]
    )
    audio = torch.zeros(rows, width, 104) if kind == "audiotext" else None
    hide, loss = draw_hide(ModalBatch(kind, sizes, audio, None, phones), AVMaskConfig(), True, draw)
    assert hide.phones is not None
    assert 0.3 < float(hide.phones.float().mean()) < 0.5
    if kind == "onlytext":
        assert 0.3 < float(loss.float().mean()) < 0.5


def test_equalised_rows_have_one_count() -> None:
    config = AVMaskConfig(equalise="batch_min")
    hide, _ = draw_hide(batch("videoaudio", [250] * 8), config, True, generator())
    hidden = hide.shown != torch.arange(250)
    assert len(set(hide.audio.sum(1).tolist())) == 1
    assert len(set(hidden.sum(1).tolist())) == 1


@pytest.mark.parametrize("kind", ["videoaudio", "audiotext", "onlyaudio", "onlytext"])
@pytest.mark.parametrize("by_input", [True, False])
def test_every_length_alone_and_together(kind: str, by_input: bool) -> None:
    """Something is predicted, nothing beyond a row's length, never all of it above one frame."""
    config = AVMaskConfig()
    draw = generator(1)
    for lengths in [[n] for n in (1, 2, 3, 4, 5, 6, 9, 10, 11, 29, 30, 31, 500)] + [[5, 500, 1]]:
        given = batch(kind, lengths)
        hide, loss = draw_hide(given, config, by_input, draw)
        valid = torch.arange(given.frames) < given.lengths[:, None]
        assert not (loss & ~valid).any()
        assert loss.any(1).all()
        for mask in (hide.audio, hide.fused):
            if mask is not None:
                assert not (mask & ~valid).any()
                assert (mask.sum(1) < given.lengths)[given.lengths > 1].all()
        if hide.phones is not None:
            whole = hide.phones.sum(1) == 4 * given.lengths
            assert not whole[given.lengths > 1].any()


def test_imposters_come_from_elsewhere_in_the_clip() -> None:
    lengths = torch.tensor([60, 40, 25, 12, 1])
    for seed in range(50):
        draw = generator(seed)
        mask = spans(lengths, 0.5, 10, 2, draw, 60)
        shown = imposters(mask, lengths, draw)
        own = torch.arange(60)
        for row, length in enumerate(lengths.tolist()):
            assert torch.equal(shown[row][~mask[row]], own[~mask[row]])
            for start, end in runs(mask[row]):
                source = shown[row, start:end]
                if end - start == length:
                    assert (source == -1).all()  # nothing of the clip is left to show
                    continue
                assert source.min() >= 0 and source.max() < length
                assert not ((source >= start) & (source < end)).any()
    one = imposters(torch.tensor([[False] + [True] * 4]), torch.tensor([5]), generator())
    assert one.tolist() == [[0, 0, 0, 0, 0]]


def test_imposter_starts_are_uniform() -> None:
    mask = torch.zeros(2000, 40, dtype=torch.bool)
    mask[:, 15:20] = True
    starts = imposters(mask, torch.full((2000,), 40), generator())[:, 15]
    counts = starts.bincount(minlength=40).float()
    allowed = torch.ones(40, dtype=torch.bool)
    allowed[10:20] = False
    assert not counts[~allowed].any()
    assert counts[allowed].min() > 30 and counts[allowed].max() < 110  # 67 each


def test_masked_phones_are_whole_and_seen_frames_are_not_counted() -> None:
    draw = generator()
    lengths = torch.tensor([40, 25])
    sizes = torch.randint(2, 15, (2, 200), generator=draw)
    symbols = torch.randint(4, 46, (2, 200), generator=draw)
    phones = torch.stack([torch.repeat_interleave(symbols[i], sizes[i])[:160] for i in range(2)])
    phones[1, 100:] = 1
    mask = spans(lengths, 0.4, 10, 2, draw, 40)
    hidden, masked = phone_mask(mask, phones, lengths)
    assert (masked | ~mask).all()  # at least what was drawn
    for row in range(2):
        size = 4 * int(lengths[row])
        edges = (phones[row, 1:size] != phones[row, : size - 1]).nonzero().flatten() + 1
        for piece in torch.tensor_split(hidden[row, :size], edges):
            assert piece.all() or not piece.any()
        assert not hidden[row, size:].any()
        for t in range(40):
            seen = [p for p in range(4 * t - 3, 4 * t + 4) if 0 <= p < size]
            expected = t < lengths[row] and all(bool(hidden[row, p]) for p in seen)
            assert bool(masked[row, t]) == expected


def test_one_long_phone_is_not_hidden_whole() -> None:
    phones = torch.full((1, 80), 7)
    mask = torch.zeros(1, 20, dtype=torch.bool)
    mask[0, 5:9] = True
    hidden, masked = phone_mask(mask, phones, torch.tensor([20]))
    assert torch.equal(masked, mask)
    assert hidden[0].nonzero().flatten().tolist() == list(range(17, 36))


def test_streams_are_dropped_only_in_company() -> None:
    config = AVMaskConfig()
    for kind in ("onlyaudio", "onlytext"):
        hide, _ = draw_hide(batch(kind, [20] * 9), config, True, generator())
        assert (hide.keep_audio, hide.keep_video, hide.keep_phone) == (None, None, None)
    for kind, other in (("videoaudio", "keep_video"), ("audiotext", "keep_phone")):
        given = batch(kind, [4] * 4000)
        hide, _ = draw_hide(given, config, True, generator())
        kept = torch.stack([hide.keep_audio, getattr(hide, other)])
        assert kept.any(0).all()
        shares = [float((~row).float().mean()) for row in kept]
        assert all(abs(share - 0.25) < 0.03 for share in shares)
    per_batch = AVMaskConfig(dropout_per="batch")
    found = set()
    for seed in range(40):
        hide, _ = draw_hide(batch("videoaudio", [9] * 3), per_batch, True, generator(seed))
        assert len(set(hide.keep_audio.tolist())) == len(set(hide.keep_video.tolist())) == 1
        found.add((bool(hide.keep_audio[0]), bool(hide.keep_video[0])))
    assert found == {(True, True), (False, True), (True, False)}


def test_phones_beside_audio_may_stay_clean() -> None:
    given = batch("audiotext", [40, 30])
    hide, loss = draw_hide(given, AVMaskConfig(mask_phones=False), True, generator())
    assert hide.phones is None
    assert torch.equal(loss, hide.audio)
    hide, loss = draw_hide(given, AVMaskConfig(), True, generator())
    assert hide.phones is not None and (loss | ~hide.audio).all()


def test_masks_are_functions_of_the_generator() -> None:
    given = batch("videoaudio", [40, 30])
    first, second = (draw_hide(given, AVMaskConfig(), True, generator(3)) for _ in range(2))
    assert torch.equal(first[0].shown, second[0].shown)
    assert torch.equal(first[1], second[1])
    other = draw_hide(given, AVMaskConfig(), True, generator(4))
    assert not torch.equal(first[1], other[1])


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("audio_prob", 1.0),
        ("video_length", 0),
        ("min_spans", 0),
        ("modality_dropout", 1.5),
        ("equalise", "all"),
        ("dropout_per", "clip"),
    ],
)
def test_refusals_name_the_key(key: str, value: object) -> None:
    with pytest.raises(UserError, match=f"av_mask.{key}"):
        AVMaskConfig(**{key: value})
