"""Choosing LM weight and word score on a development set.

A coarse grid over the ranges that HuBERT searched, decoded with a quarter of the beam, then a
pattern search with the whole beam around the best points, with halving steps. Every point is kept
in a cache beside the result so that an interrupted search goes on. Deterministic: no random trials.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.decoding.lexicon_beam import BeamOptions

# HuBERT's sweep: lm weight 0..8, word score -5..5.
LM_WEIGHT_RANGE = (0.0, 8.0)
WORD_SCORE_RANGE = (-5.0, 5.0)
GRID_LM_WEIGHTS = (0.5, 1.0, 2.0, 3.5, 5.0)
GRID_WORD_SCORES = (-3.0, -1.0, 1.0, 3.0)
FIRST_STEP = (0.5, 1.0)
LAST_STEP = 0.25

PUBLISHED = (2.0, -1.0)  # MT4SSL's command line

Point = tuple[float, float]
Evaluate = Callable[[list["Point"]], list["Trial"]]


@dataclass(frozen=True)
class Trial:
    """One decoded point: words wrong of words, and characters wrong (breaks ties)."""

    beam: int
    lm_weight: float
    word_score: float
    errors: int
    words: int
    char_errors: int

    @property
    def wer(self) -> float:
        return 100.0 * self.errors / self.words

    def rank(self) -> tuple[float, ...]:
        """Fewest word errors, then characters, then nearest to the published setting."""
        distance = abs(self.lm_weight - PUBLISHED[0]) + abs(self.word_score - PUBLISHED[1])
        return (self.errors, self.char_errors, distance, self.lm_weight, self.word_score)


def check_dev_set(name: str, force: bool = False) -> None:
    """UserError unless the set's name says development (dev..., valid...) or it is forced."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    dev = any(w.startswith(("dev", "valid", "cv")) for w in words)
    if force or (dev and not any(w.startswith(("test", "eval")) for w in words)):
        return
    raise UserError(
        f"data set {name!r}: not a development set by its name (dev..., valid...): options are "
        "chosen on development data only; --force-set if it is one under another name"
    )


class _Visits:
    """Trials made so far with one evaluator, from a budget shared with another."""

    def __init__(self, evaluate: Evaluate, budget: list[int]) -> None:
        self._evaluate, self._budget = evaluate, budget
        self.trials: dict[Point, Trial] = {}

    def visit(self, points: Iterable[Point]) -> int:
        """Decode the points that are new, as far as the budget goes; returns how many."""
        fresh = [p for p in dict.fromkeys(points) if p not in self.trials][: self._budget[0]]
        self._budget[0] -= len(fresh)
        for point, trial in zip(fresh, self._evaluate(fresh) if fresh else [], strict=True):
            self.trials[point] = trial
        return len(fresh)

    def best(self, count: int = 1) -> list[Trial]:
        return sorted(self.trials.values(), key=Trial.rank)[:count]


def search(
    coarse: Evaluate, evaluate: Evaluate, max_trials: int = 60
) -> tuple[Trial, list[Trial], list[Trial]]:
    """(best trial, all trials, trials of the coarse grid) in the order they were made.

    coarse: decodes points cheaply for the grid; evaluate: decodes points as they will be used;
    the best is chosen among these. At most max_trials points are decoded in all (HuBERT: 60).
    """
    if max_trials < 1:
        raise UserError(f"--max-trials {max_trials}: at least 1")
    budget = [max_trials - 1]
    grid = _Visits(coarse, budget)
    grid.visit([PUBLISHED, *itertools.product(GRID_LM_WEIGHTS, GRID_WORD_SCORES)])
    budget[0] += 1
    full = _Visits(evaluate, budget)
    full.visit([(t.lm_weight, t.word_score) for t in grid.best(3)] or [PUBLISHED])
    step_lm, step_word = FIRST_STEP
    while budget[0] > 0 and max(step_lm, step_word) >= LAST_STEP:
        centre = full.best()[0]
        fresh = full.visit(_neighbours(centre, step_lm, step_word))
        if full.best()[0] == centre or not fresh:
            step_lm, step_word = step_lm / 2, step_word / 2
    return full.best()[0], list(full.trials.values()), list(grid.trials.values())


def _neighbours(centre: Trial, step_lm: float, step_word: float) -> list[Point]:
    points = []
    # axes and the two diagonals along which the optimum drifts: more LM weight wants more bonus
    for lm, word in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1)):
        lm_weight = centre.lm_weight + lm * step_lm
        word_score = centre.word_score + word * step_word
        lm_weight = min(max(lm_weight, LM_WEIGHT_RANGE[0]), LM_WEIGHT_RANGE[1])
        word_score = min(max(word_score, WORD_SCORE_RANGE[0]), WORD_SCORE_RANGE[1])
        points.append((lm_weight, word_score))
    return points


class TrialCache:
    """Trials on disk, valid for one fingerprint (data, log-probabilities, LM, beam settings)."""

    def __init__(self, path: Path, fingerprint: dict[str, Any]) -> None:
        self.path = path
        text = json.dumps(fingerprint, sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()
        self.trials: dict[tuple[int, Point], Trial] = {}
        if path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                if content["key"] == self.key:
                    self._keep(Trial(**row) for row in content["trials"])
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f"{path}: broken cache ({error}): remove it") from None

    def _keep(self, trials: Iterable[Trial]) -> None:
        for trial in trials:
            self.trials[trial.beam, (trial.lm_weight, trial.word_score)] = trial

    def add(self, trials: Iterable[Trial]) -> None:
        self._keep(trials)
        rows = [asdict(t) for t in self.trials.values()]
        write_json(self.path, {"key": self.key, "trials": rows})


def cached(evaluate: Evaluate, cache: TrialCache, beam: int) -> Evaluate:
    """`evaluate` that decodes only what the cache lacks; `evaluate` puts what it decodes there."""

    def look_up(points: list[Point]) -> list[Trial]:
        fresh = [p for p in points if (beam, p) not in cache.trials]
        if fresh:
            evaluate(fresh)
        return [cache.trials[beam, p] for p in points]

    return look_up


def at_point(options: BeamOptions, point: Point, beam: int | None = None) -> BeamOptions:
    """The options with a point's weights, and another beam if one is given."""
    beam = options.beam if beam is None else beam
    return replace(options, beam=beam, lm_weight=point[0], word_score=point[1])


def format_table(trials: list[Trial], best: Trial) -> str:
    """WER for every point tried: one line per LM weight, one column per word score."""
    weights = sorted({t.lm_weight for t in trials})
    scores = sorted({t.word_score for t in trials})
    at = {(t.lm_weight, t.word_score): t for t in trials}
    lines = ["lm \\ word " + " ".join(f"{s:>7.2f}" for s in scores)]
    for weight in weights:
        cells = []
        for score in scores:
            trial = at.get((weight, score))
            mark = "*" if trial == best else " "
            cells.append(f"{trial.wer:6.2f}{mark}" if trial else "      .")
        lines.append(f"{weight:9.2f} " + " ".join(cells))
    return "\n".join(lines) + "\n"
