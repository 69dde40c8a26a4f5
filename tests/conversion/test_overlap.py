"""Overlap-add gives back what it was cut from; output t is of the window around frame t."""

from __future__ import annotations

import numpy as np
import pytest

from pylib.conversion.overlap import cut_windows, overlap_add, slide, spread


@pytest.mark.parametrize("hop", [1, 5, 7, 20])
@pytest.mark.parametrize("count", [1, 4, 19, 20, 21, 57, 100])
def test_unchanged_windows_give_back_the_frames(count: int, hop: int) -> None:
    frames = np.random.default_rng(count).standard_normal((count, 3)).astype(np.float32)
    windows = cut_windows(frames, 20, hop)
    assert windows.shape[1:] == (20, 3)
    np.testing.assert_allclose(overlap_add(windows, hop, count), frames, atol=1e-6)


def test_every_frame_is_covered_alike_and_edges_are_repeated() -> None:
    frames = np.arange(33, dtype=np.float32)[:, None]
    windows = cut_windows(frames, 20, 5)
    assert (np.diff(windows[:, :, 0]) >= 0).all()
    assert (windows[0, :15] == 0).all() and windows[0, 15:, 0].tolist() == [0, 1, 2, 3, 4]
    assert windows[-1, :5].min() <= 32 and (windows[-1, -1] == 32).all()
    # Frames lie in 4 windows each: counted where they are not repeats.
    marks = np.zeros((33, 1), dtype=np.float32)
    marks[16] = 1
    assert cut_windows(marks, 20, 5).sum() == 4


def test_weights_are_triangular() -> None:
    """Two windows that disagree: between them the mean moves from one to the other."""
    windows = np.stack([np.zeros((20, 1)), np.ones((20, 1))]).astype(np.float32)
    got = overlap_add(windows, 10, 10)[:, 0]  # frames 10 to 19 of both
    falling = np.arange(10, 0, -1)
    rising = np.arange(1, 11)
    np.testing.assert_allclose(got, rising / (falling + rising), rtol=1e-6)


def test_sliding_windows_and_their_outputs_are_aligned() -> None:
    frames = np.arange(50, dtype=np.float32)[:, None]
    windows = slide(frames, 20)
    assert windows.shape == (31, 20, 1)
    first = spread(windows[:, 0], 20)[:, 0]
    assert len(first) == 50
    assert (first[:10] == 0).all()  # the first output and its 9 repeats
    assert (first[-11:] == 30).all()  # the last one and its 10
    assert first[25] == 16  # of the window of frames 16 to 35: around 25


def test_no_frames_and_gaps_are_refused() -> None:
    for count, hop in ((0, 5), (30, 21), (30, 0)):
        with pytest.raises(ValueError):
            cut_windows(np.zeros((count, 2), dtype=np.float32), 20, hop)
