"""Alignment: graphs, best paths against plain dynamic programming, training on made-up speech."""

from __future__ import annotations

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.units.align_ctm import compare, from_times
from pylib.units.align_graph import CLASSES, STATES, UNITS, Graph, build_graph, even_path
from pylib.units.align_hmm import Mixtures, Utterance, align, estimate, train
from pylib.units.align_stage import runs_of
from pylib.units.align_viterbi import MOVE, PAUSE, SPEAK, STAY, best_paths
from pylib.units.phone_set import ARPABET, SIL, phone_id
from pylib.units.phones import PhoneTimes

WORDS = [[("DH", "AH"), ("DH", "IY")], [("K", "AE", "T")], [("AH",), ("EY",)]]


def plain_best(graph: Graph, scores: np.ndarray) -> float:
    """Score of the best path, state by state."""
    size = len(graph.emit)
    chain_at = {int(state): row for row, state in enumerate(graph.entries)}
    now = np.full(size, -np.inf)
    for row, state in enumerate(graph.entries):
        if graph.starts[row]:
            now[state] = scores[0, graph.emit[state]]
    for frame in scores[1:]:
        new = np.full(size, -np.inf)
        for state in range(size):
            ways = [now[state] + STAY]
            if state in chain_at:
                row = chain_at[state]
                toll = PAUSE if graph.silent[row] else SPEAK
                ways += [now[p] + MOVE + toll for p in graph.preds[row] if p >= 0]
            else:
                ways.append(now[state - 1] + MOVE)
            new[state] = max(ways) + frame[graph.emit[state]]
        now = new
    return float(now[graph.finals].max())


def score_of(graph: Graph, path: np.ndarray, scores: np.ndarray) -> float:
    """Score of a path; -inf where it takes a step that the graph does not have."""
    chain_at = {int(state): row for row, state in enumerate(graph.entries)}
    if not (path[0] in chain_at and graph.starts[chain_at[int(path[0])]]):
        return -np.inf
    if path[-1] not in graph.finals:
        return -np.inf
    total = float(scores[0, graph.emit[path[0]]])
    for before, state, frame in zip(path[:-1], path[1:], scores[1:], strict=True):
        if state == before:
            total += STAY
        elif state in chain_at:
            row = chain_at[int(state)]
            if before not in graph.preds[row]:
                return -np.inf
            total += MOVE + (PAUSE if graph.silent[row] else SPEAK)
        elif state == before + 1:
            total += MOVE
        else:
            return -np.inf
        total += float(frame[graph.emit[state]])
    return total


def test_the_graph_has_variants_and_silences() -> None:
    graph = build_graph(WORDS)
    assert len(graph.entries) == 4 + 5  # silences around three words, five variants
    assert graph.shortest == STATES * (2 + 3 + 1)
    assert graph.silent.sum() == 4 and graph.starts.sum() == 3
    assert [UNITS[model] for model in graph.models[:3]] == ["<SIL>", "DH", "AH"]


def test_best_paths_of_a_batch_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(0)
    words = [WORDS, WORDS[:1], [WORDS[1], WORDS[1]], WORDS[2:]]
    graphs = [build_graph(item) for item in words]
    scores = [rng.normal(0, 3, (frames, CLASSES)).astype(np.float32) for frames in (40, 9, 25, 61)]
    paths = best_paths(graphs, scores)
    for graph, score, path in zip(graphs, scores, paths, strict=True):
        assert path is not None and len(path) == len(score)
        found = score_of(graph, path, score)
        np.testing.assert_allclose(found, plain_best(graph, score), rtol=1e-5)


def test_a_text_that_needs_more_frames_has_no_path() -> None:
    graph = build_graph(WORDS)
    assert best_paths([graph], [np.zeros((graph.shortest - 1, CLASSES), np.float32)]) == [None]
    (path,) = best_paths([graph], [np.zeros((graph.shortest, CLASSES), np.float32)])
    assert path is not None


def test_equal_shares_lie_between_the_silences() -> None:
    graph = build_graph(WORDS)
    voiced = np.zeros(60, bool)
    voiced[10:46] = True
    path = even_path(graph, WORDS, voiced)
    assert len(path) == 60
    names = np.array([UNITS[model] for model in graph.models[graph.phone[path]]])
    assert (names[:10] == "<SIL>").all() and (names[46:] == "<SIL>").all()
    assert list(names[10:46:6]) == ["DH", "AH", "K", "AE", "T", "AH"]
    short = even_path(graph, WORDS, np.zeros(5, bool))
    assert len(short) == 5


def test_mixture_scores_are_log_densities() -> None:
    rng = np.random.default_rng(1)
    models = Mixtures(
        np.tile([0.3, 0.7], (CLASSES, 1)),
        rng.normal(size=(CLASSES, 2, 3)),
        rng.uniform(0.5, 2, (CLASSES, 2, 3)),
    )
    x = rng.normal(size=(5, 3)).astype(np.float32)
    far = (x[:, None, None] - models.means) ** 2 / models.variances
    each = -0.5 * (far + np.log(2 * np.pi * models.variances)).sum(3)
    expected = np.log((models.weights * np.exp(each)).sum(2))
    np.testing.assert_allclose(models.scores(x), expected, atol=1e-4)


def test_one_gaussian_is_the_mean_and_the_variance() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(2, 3, (500, 4)).astype(np.float32)
    models = estimate(x, np.full(500, 7))
    np.testing.assert_allclose(models.means[7, 0], x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(models.variances[7, 0], x.var(0), rtol=1e-4)
    more = estimate(x, np.full(500, 7), models, split=True)
    assert (more.weights[7] > 0).all() and more.weights[7].sum() == pytest.approx(1)


def speech(count: int, seed: int) -> tuple[list[Utterance], list[np.ndarray]]:
    """Utterances whose phones are points in space, and the true phone of every frame."""
    rng = np.random.default_rng(seed)
    places = np.random.default_rng(9).normal(0, 1.5, (len(UNITS), 8))
    items, truth = [], []
    for _ in range(count):
        words = [
            [tuple(rng.choice(ARPABET[:12], rng.integers(2, 5)))] for _ in range(rng.integers(2, 5))
        ]
        phones = [len(UNITS) - 1]
        for word in words:
            phones += [UNITS.index(name) for name in word[0]]
            if rng.random() < 0.3:
                phones.append(len(UNITS) - 1)
        frames = np.repeat(phones, rng.integers(4, 12, len(phones)))
        x = places[frames] + rng.normal(0, 0.6, (len(frames), 8))
        x[:, 0] += np.where(frames == len(UNITS) - 1, -6, 2)  # silence is quiet
        items.append(Utterance.of(x.astype(np.float32), words))
        truth.append(frames)
    return items, truth


def test_training_finds_the_phones_of_made_up_speech() -> None:
    items, truth = speech(60, 3)
    models = train(items, iterations=8, gaussians=2)
    paths, short = align(models, items)
    assert short == []
    right = [
        (item.graph.models[item.graph.phone[path]] == true).mean()
        for item, path, true in zip(items, paths, truth, strict=True)
    ]
    assert np.mean(right) > 0.9
    again, _ = align(train(items, iterations=8, gaussians=2), items)
    assert all((a == b).all() for a, b in zip(paths, again, strict=True))


def test_runs_keep_the_border_between_equal_phones() -> None:
    words = [[("AH", "T")], [("T", "AH")]]
    item = Utterance.of(np.zeros((12, 3), np.float32), words)
    first = STATES  # after the opening silence
    second = int(item.graph.entries[3])
    path = np.concatenate([first + np.arange(6), second + np.arange(6)])
    ids, lengths = runs_of(item, path, 14)
    assert lengths.tolist() == [3, 3, 3, 5]  # two frames more than the features have
    assert ids[4] == ids[7] == phone_id("T") and ids[-1] == phone_id("AH")


def test_a_ctm_becomes_frames_and_runs() -> None:
    times = PhoneTimes(
        np.array([0.02, 0.05, 0.08]), np.array([0.05, 0.08, 0.1]), ("AH0", "AH1", "T")
    )
    ids = {name: phone_id(name) for name in times.names}
    phones, lengths = from_times(times, ids, 12)
    ah, t = phone_id("AH"), phone_id("T")
    assert phones.tolist() == [SIL] * 2 + [ah] * 6 + [t] * 2 + [SIL] * 2
    assert lengths.tolist() == [2, 3, 3, 2, 2]


def test_comparing_an_alignment_with_itself_and_a_shifted_one() -> None:
    times = PhoneTimes(np.array([0.0, 0.1, 0.2]), np.array([0.1, 0.2, 0.4]), ("SIL", "k", "aI"))
    ids = np.repeat([SIL, phone_id("K"), phone_id("AY")], [10, 10, 20]).astype(np.int32)
    same = compare({"u": (ids, np.array([10, 10, 20], np.int32))}, {"u": times})
    assert same == {"frames": 1.0, "matched": 1.0, "within_20ms": 1.0, "within_50ms": 1.0}
    late = np.repeat([SIL, phone_id("K"), phone_id("AY")], [13, 10, 17]).astype(np.int32)
    moved = compare({"u": (late, np.array([13, 10, 17], np.int32))}, {"u": times})
    assert moved["frames"] == pytest.approx(34 / 40) and moved["matched"] == 1.0
    assert moved["within_20ms"] == pytest.approx(1 / 3) and moved["within_50ms"] == 1.0
    with pytest.raises(UserError, match="no utterance has true times"):
        compare({"v": (ids, np.array([40], np.int32))}, {"u": times})
