"""The states that a text can pass through: words, their variants, optional silence between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pylib.units.phone_set import ARPABET, SILENCE

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

UNITS = (*ARPABET, SILENCE)  # models, in the order of their states
STATES = 3  # of a model, left to right
CLASSES = STATES * len(UNITS)
SILENT = len(UNITS) - 1
_NUMBER = {name: place for place, name in enumerate(UNITS)}


@dataclass(frozen=True)
class Graph:
    """States of one utterance, S in all, in chains: a chain is a silence or a variant of a word.

    Within a chain state s follows s - 1. Between chains `preds` says what comes before.

    Attributes:
        emit: (S,) class of each state: STATES * model + place.
        phone: (S,) running number of the phone that each state belongs to.
        models: (phones,) model of each phone.
        entries: (E,) first state of each chain.
        preds: (E, P) last states of the chains before it, filled up with -1.
        starts: (E,) whether an utterance may begin here.
        silent: (E,) whether the chain is a silence that may be passed by.
        finals: last states of the chains that may end the utterance.
        shortest: frames that the text needs at least.
    """

    emit: Ints
    phone: Ints
    models: Ints
    entries: Ints
    preds: Ints
    starts: Bools
    silent: Bools
    finals: Ints
    shortest: int


def build_graph(words: Sequence[Sequence[Sequence[str]]]) -> Graph:
    """Graph of a text.

    Args:
        words: for each word its variants, each a list of phones; at least one word.
    """
    models: list[int] = []
    entries: list[int] = []
    before: list[list[int]] = []
    starts: list[bool] = []
    silent: list[bool] = []
    last_states: list[int] = []  # of each chain

    def chain(phones: Sequence[str], preds: list[int], start: bool, silence: bool) -> int:
        entries.append(STATES * len(models))
        models.extend(_NUMBER[phone] for phone in phones)
        before.append(preds)
        starts.append(start)
        silent.append(silence)
        last_states.append(STATES * len(models) - 1)
        return last_states[-1]

    reach: list[int] = []  # last states from which the next word can begin
    spoken: list[int] = []
    shortest = 0
    for place, variants in enumerate(words):
        reach = [*spoken, chain((SILENCE,), spoken, place == 0, True)]
        spoken = [chain(phones, reach, place == 0, False) for phones in variants]
        shortest += STATES * min(len(phones) for phones in variants)
    finals = [*spoken, chain((SILENCE,), spoken, False, True)]
    width = max(len(item) for item in before)
    preds = np.full((len(before), width), -1, dtype=np.int64)
    for row, item in enumerate(before):
        preds[row, : len(item)] = item
    phone = np.repeat(np.arange(len(models)), STATES)
    kinds = np.array(models, dtype=np.int64)
    return Graph(
        emit=kinds[phone] * STATES + np.tile(np.arange(STATES), len(models)),
        phone=phone,
        models=kinds,
        entries=np.array(entries),
        preds=preds,
        starts=np.array(starts),
        silent=np.array(silent),
        finals=np.array(finals),
        shortest=shortest,
    )


def even_path(graph: Graph, words: Sequence[Sequence[Sequence[str]]], voiced: Bools) -> Ints:
    """States (F,) of the first variants in equal shares of the frames between the first and the
    last of `voiced` (F,), silence before and after; for the flat start and hopeless cases."""
    frames = len(voiced)
    chains: list[Ints] = []
    entry = 0
    for variants in words:
        entry += 1  # the silence before
        first = int(graph.entries[entry])
        chains.append(np.arange(first, first + STATES * len(variants[0])))
        entry += len(variants)
    states = np.concatenate(chains)
    found = np.flatnonzero(voiced)
    low, high = (int(found[0]), int(found[-1]) + 1) if len(found) else (0, frames)
    if high - low < len(states):
        low, high = 0, frames
    opening = np.arange(STATES)[np.arange(low) * STATES // max(low, 1)]
    rest = frames - high
    closing = int(graph.entries[-1]) + np.arange(STATES)[np.arange(rest) * STATES // max(rest, 1)]
    middle = states[np.arange(high - low) * len(states) // (high - low)]
    return np.concatenate([opening, middle, closing])
