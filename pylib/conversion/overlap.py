"""Segments that overlap, and one matrix of frames put together from what was made of them.

A model that sees 20 frames at a time decodes each window by itself. Windows side by side leave a
step every 200 ms; windows that begin every few frames, added with triangular weights, leave none.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

HOP = 5  # frames from window to window


def cut_windows(frames: Matrix, length: int, hop: int) -> Matrix:
    """Windows of `length` frames every `hop`, the first and last frame being repeated outside.

    Args:
        frames: (F, D), F >= 1.
        length: frames of a window.
        hop: frames from window to window, at most `length`.

    Returns:
        (S, length, D): every frame lies in as many windows as any other, whatever its place.
    """
    if not 1 <= hop <= length or not len(frames):
        raise ValueError(f"{len(frames)} frames, windows of {length} every {hop}")
    lead = length - hop
    count = -(-(len(frames) + lead) // hop)
    whole = (count - 1) * hop + length
    index = np.clip(np.arange(whole) - lead, 0, len(frames) - 1)
    starts = np.arange(count) * hop
    windows: Matrix = frames[index[starts[:, None] + np.arange(length)]]
    return windows


def overlap_add(windows: Matrix, hop: int, count: int) -> Matrix:
    """Frames (count, D) from the windows (S, length, D) of `cut_windows`, by triangular weights.

    Each frame is the mean of what the windows over it say, weighted by how near it is to their
    middle; windows that were not changed give back the frames they were cut from.
    """
    length = windows.shape[1]
    ramp = np.arange(length)
    weights = np.minimum(ramp + 1, length - ramp).astype(np.float64)
    total = np.zeros(((len(windows) - 1) * hop + length, windows.shape[2]))
    share = np.zeros(len(total))
    for number, window in enumerate(windows):
        place = slice(number * hop, number * hop + length)
        total[place] += window * weights[:, None]
        share[place] += weights
    lead = length - hop
    kept = slice(lead, lead + count)
    return (total[kept] / share[kept, None]).astype(np.float32)


def slide(frames: Matrix, length: int) -> Matrix:
    """Windows (F - length + 1, length, D) that begin at every frame."""
    view = np.lib.stride_tricks.sliding_window_view(frames, length, axis=0)
    return np.ascontiguousarray(view.transpose(0, 2, 1))


def spread(outputs: Matrix, length: int) -> Matrix:
    """One output a frame from one a window of `slide`: output t is of the window around frame t.

    The first is repeated `length` // 2 - 1 times, the last `length` - `length` // 2 times.
    """
    before = length // 2 - 1
    return np.pad(outputs, ((before, length - 1 - before), (0, 0)), mode="edge")
