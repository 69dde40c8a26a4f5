"""Which segments form a batch: passes, balance, evaluation, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.training.segment_plan import EvaluationPlan, SegmentPlan, segment_counts
from pylib.training.segment_settings import SegmentsConfig

T = 20
RNG = np.random.default_rng(5)
FRAMES = RNG.integers(T, 300, 60)
SPEAKERS = np.repeat(np.arange(10), 6)
PUBLISHED = SegmentsConfig(cached=20, speakers=0, batch=32)
BALANCED = SegmentsConfig(cached=20, speakers=4, utterances=2, segments=3)


def plan(settings: SegmentsConfig, micro: int = 1, **options: object) -> SegmentPlan:
    return SegmentPlan(FRAMES, SPEAKERS, T, 100, 7, settings, micro_batches=micro, **options)  # type: ignore[arg-type]


def firsts(made: SegmentPlan, batches: int) -> list[int]:
    """Indices at which a pass begins."""
    numbers = [made.pass_of(index) for index in range(batches)]
    return [0] + [i for i in range(1, batches) if numbers[i] != numbers[i - 1]]


def test_counts_are_those_of_the_shift() -> None:
    assert segment_counts(np.array([20, 27, 28, 100]), T, 8).tolist() == [1, 1, 2, 11]
    assert segment_counts(np.array([20, 39, 40, 100]), T, 20).tolist() == [1, 1, 2, 5]


@pytest.mark.parametrize("settings", [PUBLISHED, BALANCED], ids=["published", "balanced"])
def test_any_batch_can_be_named_without_those_before(settings) -> None:
    walked = plan(settings)
    batches = [walked.batch(index) for index in range(60)]
    for index in (59, 0, 17, 33):
        there = plan(settings).batch(index)
        for key in ("utts", "starts", "rows"):
            expected = getattr(batches[index].drawn, key)
            np.testing.assert_array_equal(getattr(there.drawn, key), expected)
        assert (there.refresh is None) == (batches[index].refresh is None)


@pytest.mark.parametrize("settings", [PUBLISHED, BALANCED], ids=["published", "balanced"])
def test_passes_of_hierarchical_sampling(settings) -> None:
    """Rows are 0..K-1 and mean one utterance throughout a pass; each pass begins with a refresh."""
    made = plan(settings)
    assert made.rows == 20
    begins = firsts(made, 80)
    assert len(begins) > 3
    seen = set()
    for index in range(80):
        planned, subset = made.batch(index), made.subset(made.pass_of(index))
        drawn = planned.drawn
        np.testing.assert_array_equal(subset[drawn.rows], drawn.utts)
        assert (drawn.starts >= 0).all() and (drawn.starts + T <= FRAMES[drawn.utts]).all()
        np.testing.assert_array_equal(planned.counts, (FRAMES[drawn.utts] - T) // 8 + 1)
        assert (planned.refresh is not None) == (index in begins)
        if planned.refresh is not None:
            again = planned.refresh
            assert len(set(subset.tolist())) == 20
            np.testing.assert_array_equal(
                np.bincount(again.rows, minlength=20), made.counts[subset]
            )
            assert (again.starts + T <= FRAMES[again.utts]).all()
            seen.update(subset.tolist())
    assert len(seen) > 40


def test_a_published_pass_uses_new_segments_and_drops_the_rest() -> None:
    made = plan(PUBLISHED)
    begins = firsts(made, 40)
    total = int(made.counts[made.subset(0)].sum())
    assert begins[1] == total // 32
    used = np.concatenate([made.batch(i).drawn.utts for i in range(begins[1])])
    assert (np.bincount(used, minlength=60) <= np.where(
        np.isin(np.arange(60), made.subset(0)), made.counts, 0)).all()  # fmt: skip
    refreshed, batch = made.batch(0).refresh, made.batch(0).drawn
    assert refreshed is not None
    assert not np.array_equal(refreshed.starts[:32], batch.starts)


def test_balanced_batches_have_pairs() -> None:
    made = plan(BALANCED)
    for index in range(30):
        drawn = made.batch(index).drawn
        spoken = SPEAKERS[drawn.utts]
        assert sorted(np.unique(spoken, return_counts=True)[1]) == [6] * 4
        assert len(np.unique(drawn.utts)) == 8
        assert (np.unique(drawn.utts, return_counts=True)[1] == 3).all()
    spoken, counts = np.unique(SPEAKERS[made.subset(3)], return_counts=True)
    assert counts.min() >= 2  # drawn speaker by speaker: nobody is there alone


def test_few_utterances_are_repeated() -> None:
    settings = SegmentsConfig(cached=0, speakers=2, utterances=4, segments=2)
    made = SegmentPlan(np.full(5, 50), np.array([0, 0, 1, 1, 1]), T, 100, 1, settings)
    drawn = made.batch(0).drawn
    assert len(drawn.utts) == 16
    assert set(drawn.utts.tolist()) == {0, 1, 2, 3, 4}


def test_passes_hold_whole_updates() -> None:
    """With accumulation the refresh belongs to one update, all of whose batches ask for it."""
    made = plan(PUBLISHED, micro=3)
    begins = firsts(made, 60)
    assert all(begin % 3 == 0 for begin in begins)
    for index in range(60):
        again = made.batch(index).refresh is not None
        assert again == (3 * (index // 3) in begins)


def test_a_table_of_all_or_of_speakers_is_never_refreshed() -> None:
    settings = SegmentsConfig(sampling="all", speakers=0, batch=32)
    made = plan(settings)
    assert made.rows == 60 and not made.hierarchical
    assert all(made.batch(index).refresh is None for index in range(30))
    np.testing.assert_array_equal(made.batch(3).drawn.rows, made.batch(3).drawn.utts)
    speaker = plan(PUBLISHED, by_speaker=True)
    planned = speaker.batch(5)
    assert speaker.rows == 10 and planned.refresh is None
    np.testing.assert_array_equal(planned.drawn.rows, SPEAKERS[planned.drawn.utts])
    sums = np.bincount(SPEAKERS, speaker.counts)
    np.testing.assert_array_equal(planned.counts, sums[planned.drawn.rows])


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UserError, match=r"segments\.cached = 61: the training set has 60"):
        plan(SegmentsConfig(cached=61, speakers=2))
    with pytest.raises(UserError, match=r"segments\.speakers = 16: 10 speakers"):
        plan(SegmentsConfig(cached=0))
    with pytest.raises(UserError, match=r"segments\.batch = 5000"):
        plan(SegmentsConfig(cached=20, speakers=0, batch=5000))
    for options in ({"speakers": 1}, {"utterances": 1}, {"cached": 30}, {"features": ""}):
        with pytest.raises(ValueError, match=r"speakers|cached|features"):
            SegmentsConfig(**options)


def test_evaluation_takes_every_segment_once_and_utterances_whole() -> None:
    settings = SegmentsConfig(eval_batch=40)
    made = EvaluationPlan(FRAMES, T, 100, settings)
    seen: list[tuple[int, int]] = []
    owner: dict[int, int] = {}
    for index in range(made.batches_per_epoch):
        planned = made.batch(index)
        drawn = planned.drawn
        assert sorted(set(drawn.rows.tolist())) == list(range(len(set(drawn.utts.tolist()))))
        np.testing.assert_array_equal(planned.counts, (FRAMES[drawn.utts] - T) // 20 + 1)
        for utt in set(drawn.utts.tolist()):
            assert owner.setdefault(utt, index) == index
        seen += zip(drawn.utts.tolist(), drawn.starts.tolist(), strict=True)
    expected = [(u, s) for u, n in enumerate(FRAMES.tolist()) for s in range(0, n - T + 1, 20)]
    assert sorted(seen) == expected
    assert made.batches_per_epoch > 3
