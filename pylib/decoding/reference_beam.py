"""The lexicon beam search in plain Python: slow, exact given a wide beam, without compiled code.

It states what `lexicon_beam` computes and is what tests hold that against; it can stand in for it
on small tasks where flashlight-text has no wheel.

A path emits one output a frame. Repeats of an output continue it, blank separates. Words are
spelled by the lexicon and end in the boundary `|`; between words, and before the first, further
boundaries may come. Score: sum of log-probabilities + lm_weight log10 P_LM + word_score |words| +
sil_score for each frame in the boundary, maximised (not summed) over paths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pylib.decoding.arpa import ArpaModel, State
from pylib.decoding.lexicon_beam import BeamOptions, Hypothesis
from pylib.decoding.tokens import Tokens


@dataclass
class Node:
    """A node of the spelling tree: children by token id, words that end here."""

    children: dict[int, Node] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)


def build_tree(entries: Sequence[tuple[str, Sequence[int]]]) -> Node:
    """Spelling tree of [(word, token ids that end in the boundary)]."""
    root = Node()
    for word, spelling in entries:
        node = root
        for token in spelling:
            node = node.children.setdefault(token, Node())
        node.words.append(word)
    return root


@dataclass(frozen=True)
class _Path:
    """Best path into a search state. `last`: token of the frame before blanks; `blank`: whether
    the last frame was blank."""

    score: float
    lm_score: float
    words: tuple[str, ...]
    lm_state: State
    node: Node
    last: int
    blank: bool

    @property
    def key(self) -> tuple[State, int, int, bool]:
        return (self.lm_state, id(self.node), self.last, self.blank)


class ReferenceBeam:
    """Beam search over a spelling tree and a back-off model."""

    def __init__(
        self, entries: Sequence[tuple[str, Sequence[int]]], lm: ArpaModel, tokens: Tokens
    ) -> None:
        self.root = build_tree(entries)
        self.lm, self.tokens = lm, tokens

    def decode(self, log_probs: np.ndarray, options: BeamOptions) -> Hypothesis:
        """Best word sequence for log_probs (T, V).

        A path that ends between words is preferred to any that does not, however likely; where
        the beam holds none, the unfinished last word is dropped.
        """
        start = self.lm.start()
        boundary = self.tokens.boundary
        paths = [_Path(0.0, 0.0, (), start, self.root, boundary, False)]
        for frame in log_probs:
            best: dict[tuple[State, int, int, bool], _Path] = {}
            for path in paths:
                for new in self._extend(path, frame, options):
                    old = best.get(new.key)
                    if old is None or new.score > old.score:
                        best[new.key] = new
            ranked = sorted(best.values(), key=lambda p: -p.score)[: options.beam]
            floor = ranked[0].score - options.beam_threshold
            paths = [path for path in ranked if path.score >= floor]
        ended = [path for path in paths if path.node is self.root] or paths
        finished = []
        for path in ended:
            score = self.lm.finish(path.lm_state)[1]
            finished.append((path.score + options.lm_weight * score, path.lm_score + score, path))
        if not finished:
            return Hypothesis([], -math.inf, 0.0)
        total, lm_score, winner = max(finished, key=lambda item: item[0])
        return Hypothesis(list(winner.words), total, lm_score)

    def _extend(self, path: _Path, frame: np.ndarray, options: BeamOptions) -> list[_Path]:
        """All continuations of a path by one frame (V,)."""
        blank, boundary = self.tokens.blank, self.tokens.boundary
        out = []

        def add(token: int, node: Node, is_blank: bool, word: str | None = None) -> None:
            score = path.score + float(frame[token])
            if token == boundary:
                score += options.sil_score
            lm_state, lm_score, words = path.lm_state, path.lm_score, path.words
            if word is not None:
                lm_state, gained = self.lm.score(lm_state, word)
                score += options.lm_weight * gained + options.word_score
                lm_score, words = lm_score + gained, (*words, word)
            last = path.last if is_blank else token
            out.append(_Path(score, lm_score, words, lm_state, node, last, is_blank))

        add(blank, path.node, True)
        if not path.blank and path.last != blank:
            between = path.node is self.root
            add(boundary if between else path.last, path.node, False)
        elif path.node is self.root:
            add(boundary, path.node, False)
        for token, child in path.node.children.items():
            if token == path.last and not path.blank:
                continue
            for word in child.words:
                add(token, self.root, False, word)
            if child.children:
                add(token, child, False)
        return out
