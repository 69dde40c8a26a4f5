"""Best-path CTC decoding: argmax, collapse repeats, drop blank."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pylib.decoding.tokens import Tokens


def collapse(ids: Iterable[int], blank: int = 0) -> list[int]:
    """CTC's many-to-one map: repeated ids become one, then blanks go."""
    kept: list[int] = []
    previous: int | None = None
    for token in ids:
        if token != previous and token != blank:
            kept.append(int(token))
        previous = token
    return kept


def greedy_words(log_probs: np.ndarray, tokens: Tokens) -> list[str]:
    """Words of the most probable path of log_probs (T, V); ties go to the lower id."""
    return tokens.words(collapse(log_probs.argmax(axis=1).tolist(), tokens.blank))
