"""The best path of many utterances at once: one step of time is a few operations on matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pylib.units.align_graph import Graph, Ints

Floats = npt.NDArray[np.float32]

_NEVER = np.float32(-1e30)
STAY, MOVE = np.log(np.float32(0.6)), np.log(np.float32(0.4))  # of every state
SPEAK, PAUSE = np.log(np.float32(0.75)), np.log(np.float32(0.25))  # between words
_ENTRY = 2  # back pointers from here on: the chain before, by its place in `preds`


@dataclass(frozen=True)
class _Packed:
    """Graphs of a batch, the longest utterance first, filled up to one size; state S is never."""

    emit: Ints  # (B, S + 1)
    link: Floats  # (B, S + 1), 0 where a state follows the one before, else never
    entries: Ints  # (B, E), filled up with S
    preds: Ints  # (B, E, P), filled up with S
    bonus: Floats  # (B, E)
    begin: Floats  # (B, S + 1)


def _pack(graphs: Sequence[Graph]) -> _Packed:
    rows = len(graphs)
    size = max(len(graph.emit) for graph in graphs)
    chains = max(len(graph.entries) for graph in graphs)
    before = max(graph.preds.shape[1] for graph in graphs)
    emit = np.zeros((rows, size + 1), dtype=np.int64)
    link = np.zeros((rows, size + 1), dtype=np.float32)
    link[:, 0] = _NEVER
    entries = np.full((rows, chains), size, dtype=np.int64)
    preds = np.full((rows, chains, before), size, dtype=np.int64)
    bonus = np.zeros((rows, chains), dtype=np.float32)
    begin = np.full((rows, size + 1), _NEVER, dtype=np.float32)
    for row, graph in enumerate(graphs):
        count, width = graph.preds.shape
        emit[row, : len(graph.emit)] = graph.emit
        link[row, graph.entries] = _NEVER
        link[row, len(graph.emit) :] = _NEVER
        entries[row, :count] = graph.entries
        preds[row, :count, :width] = np.where(graph.preds < 0, size, graph.preds)
        bonus[row, :count] = np.where(graph.silent, PAUSE, SPEAK)
        begin[row, graph.entries[graph.starts]] = 0.0
    return _Packed(emit, link, entries, preds, bonus, begin)


def best_paths(graphs: Sequence[Graph], scores: Sequence[Floats]) -> list[Ints | None]:
    """The state of every frame on the best path of each utterance.

    Args:
        graphs: B of them.
        scores: (F_i, CLASSES) log-likelihood of each frame under each class.

    Returns:
        (F_i,) states; None where the text needs more frames than there are.
    """
    lengths = np.array([len(item) for item in scores])
    order = np.argsort(-lengths, kind="stable")
    packed = _pack([graphs[row] for row in order])
    heard = np.zeros((lengths[order[0]], len(order), scores[0].shape[1]), dtype=np.float32)
    for place, row in enumerate(order):
        heard[: lengths[row], place] = scores[row]
    back, last = _forward(packed, heard, lengths[order])
    ends = np.full(len(order), -1)
    for place, row in enumerate(order):
        finals = graphs[row].finals
        best = finals[int(last[place, finals].argmax())]
        if last[place, best] > _NEVER / 2:
            ends[place] = best
    paths = _trace(packed, back, ends, lengths[order])
    out: list[Ints | None] = [None] * len(order)
    for place, row in enumerate(order):
        if ends[place] >= 0:
            out[row] = paths[: lengths[row], place]
    return out


def _forward(packed: _Packed, heard: Floats, lengths: Ints) -> tuple[npt.NDArray[np.int8], Floats]:
    """Back pointers (T, B, S + 1) and the scores (B, S + 1) at each row's last frame."""
    steps, rows = heard.shape[:2]
    size = packed.emit.shape[1]
    back = np.zeros((steps, rows, size), dtype=np.int8)
    # Positions in the flattened scores: `take_along_axis` spends more on finding them than on all
    # the rest. Rows that have ended are the last ones.
    row = np.arange(rows)[:, None]
    emit = packed.emit + row * heard.shape[2]
    entry = packed.entries + row * size
    pred = packed.preds + row[:, None] * size
    chain = np.arange(pred.shape[0] * pred.shape[1]).reshape(pred.shape[:2]) * pred.shape[2]
    score = packed.begin + heard[0].take(emit)
    score[:, -1] = _NEVER
    for step in range(1, steps):
        active = int(np.searchsorted(-lengths, -step))  # rows longer than `step`
        now = score[:active]
        stay = now + STAY
        move = np.empty_like(stay)
        move[:, 0] = _NEVER
        np.add(now[:, :-1], packed.link[:active, 1:], out=move[:, 1:])
        move += MOVE
        moved = move > stay
        best = np.where(moved, move, stay)
        pointers = moved.view(np.int8)
        entries = entry[:active]
        coming = now.take(pred[:active])
        which = coming.argmax(2)
        value = coming.take(chain[:active] + which)
        value = value + MOVE + packed.bonus[:active]
        stayed = best.take(entries)
        enter = value > stayed
        best.put(entries, np.where(enter, value, stayed))
        kept = pointers.take(entries)
        pointers.put(entries, np.where(enter, which + _ENTRY, kept).astype(np.int8))
        best += heard[step].take(emit[:active])
        best[:, -1] = _NEVER
        score[:active] = best
        back[step, :active] = pointers
    return back, score


def _trace(packed: _Packed, back: npt.NDArray[np.int8], ends: Ints, lengths: Ints) -> Ints:
    """States (T, B) of the paths that end in `ends` (B,) at each row's last frame."""
    steps, rows, size = back.shape
    chain_of = np.zeros((rows, size), dtype=np.int64)
    np.put_along_axis(chain_of, packed.entries, np.arange(packed.entries.shape[1])[None], 1)
    every = np.arange(rows)
    state = np.where(ends >= 0, ends, 0)
    paths = np.zeros((steps, rows), dtype=np.int64)
    for step in range(steps - 1, -1, -1):
        running = step < lengths
        paths[step] = state
        if step == 0:
            break
        pointer = back[step, every, state].astype(np.int64)
        place = np.maximum(pointer - _ENTRY, 0)
        entered = packed.preds[every, chain_of[every, state], place]
        came = np.where(pointer >= _ENTRY, entered, state - (pointer == 1))
        state = np.where(running, came, state)
    return paths
