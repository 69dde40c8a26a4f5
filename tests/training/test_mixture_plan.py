"""Kinds of data that take turns: counts, copies, order, the end of an epoch, going on anywhere."""

from __future__ import annotations

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.training.av_settings import AVDataConfig, MixtureConfig
from pylib.training.mixture_plan import MixturePlan

SHARES = (0.2, 0.1, 0.7, 0.05)


def lengths(seed: int, *counts: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(10, 100, count) for count in counts]


def plan(
    sets: list[np.ndarray], shares: tuple[float, ...] = SHARES, seed: int = 1, **changes: float
) -> MixturePlan:
    settings = AVDataConfig(**{"batch_seconds": 20.0, "max_seconds": 4.0, **changes})
    names = [f"set{i}" for i in range(len(sets))]
    return MixturePlan(sets, shares[: len(sets)], names, 25, seed, settings.lengths())


def test_counts_copies_and_rests() -> None:
    made = plan(lengths(0, 100, 40, 30, 80))
    assert made.counts == [int(share * 250) for share in SHARES]
    for part, size in enumerate((100, 40, 30, 80)):
        drawn = made.drawn(part, 0)
        copies, rest = divmod(made.counts[part], size)
        times = np.bincount(drawn, minlength=size)
        assert len(drawn) == made.counts[part]
        assert ((times == copies) | (times == copies + 1)).all()
        assert (times == copies + 1).sum() == rest
    assert not np.array_equal(made.drawn(0, 0), made.drawn(0, 1))


def test_kinds_take_turns_and_the_shortest_ends_the_epoch() -> None:
    sets = lengths(0, 100, 40, 30, 80)
    made = plan(sets)
    assert made.batches_per_epoch == 4 * min(made.formed)
    seen: list[list[int]] = [[], [], [], []]
    for index in range(made.batches_per_epoch):
        batch = made.batch(index)
        assert batch.part == index % 4 and batch.index == index
        seen[batch.part] += batch.rows.tolist()
        longest = sets[batch.part][batch.rows].max()
        assert len(batch.rows) * longest <= 20 * 25
    for part, rows in enumerate(seen):
        drawn = np.bincount(made.drawn(part, 0), minlength=len(sets[part]))
        assert (np.bincount(rows, minlength=len(sets[part])) <= drawn).all()
        if made.formed[part] == min(made.formed):
            assert len(rows) == made.counts[part]
    hours = sum(sets[b.part][b.rows].sum() for b in map(made.batch, range(made.batches_per_epoch)))
    assert made.seconds_per_epoch == pytest.approx(hours / 25)


def test_any_batch_is_named_without_those_before_it() -> None:
    sets = lengths(1, 60, 20, 15)
    whole, other = plan(sets), plan(sets)
    count = 3 * whole.batches_per_epoch + 7
    inorder = [whole.batch(index) for index in range(count)]
    for index in (count - 1, 5, count // 2, 0):
        again = other.batch(index)
        np.testing.assert_array_equal(again.rows, inorder[index].rows)
        assert again.part == inorder[index].part
    assert any(
        not np.array_equal(plan(sets, seed=2).batch(index).rows, inorder[index].rows)
        for index in range(6)
    )


def test_rows_of_a_batch_are_alike_in_length() -> None:
    sets = lengths(2, 400)
    made = plan(sets, (0.08,))
    assert made.counts == [400]  # alone, it gives all
    spread = [np.ptp(sets[0][made.batch(i).rows]) for i in range(made.batches_per_epoch)]
    assert max(spread) < 40 and np.mean(spread) < 10


def test_what_is_too_short_or_long_is_left_out() -> None:
    sets = [np.array([3, 10, 20, 101, 50]), np.array([30, 200])]
    made = plan(sets, (1.0, 1.0))
    assert made.kept.tolist() == [1, 2, 4]
    assert made.parts[0].dropped_short.tolist() == [0]
    assert made.parts[0].dropped_long.tolist() == [3]
    assert made.counts == [4, 4] and set(made.drawn(1, 0)) == {0}


def test_shares_that_give_nothing_are_refused() -> None:
    with pytest.raises(UserError, match="set1: a share of 0.001"):
        plan(lengths(0, 30, 40), (0.5, 0.001))
    with pytest.raises(UserError, match="set1: data: none of 1 utterances"):
        plan([np.array([30]), np.array([1000])], (0.5, 0.5))


def test_settings() -> None:
    mixture = MixtureConfig(audiotext="a", onlyaudio="c", dist=(0.1, 0.0, 0.2, 0.3))
    assert mixture.sets() == [("onlyaudio", "c", 0.3)]
    for bad in ((0.0, 1.0, 1.0, 1.0), (1.0, -1.0, 0.0, 0.0)):
        with pytest.raises(ValueError, match="dist"):
            MixtureConfig(dist=bad)
    for changes in ({"noise_snr": (5.0, 0.0)}, {"flip": 1.5}, {"batch_seconds": 10.0}):
        with pytest.raises(ValueError):
            AVDataConfig(**changes)


def test_processes_that_share_an_update_meet_all_kinds() -> None:
    """Two micro-batches of a kind an update: two processes have one of each kind."""
    sets = [np.full(40, 50), np.full(40, 60), np.full(40, 70)]
    names = ["one", "two", "three"]
    settings = AVDataConfig(batch_seconds=20.0)
    made = MixturePlan(sets, [0.3] * 3, names, 25, 1, settings.lengths(), block=2)
    once = MixturePlan(sets, [0.3] * 3, names, 25, 1, settings.lengths())
    for update in range(4):
        batches = [made.batch(6 * update + place) for place in range(6)]
        assert [batch.part for batch in batches] == [0, 0, 1, 1, 2, 2]
        assert [batch.part for batch in batches[::2]] == [0, 1, 2]
        single = [once.batch(index) for index in range(6 * update, 6 * update + 6)]
        for part in range(3):
            rows, plain = (
                [b.rows.tolist() for b in group if b.part == part] for group in (batches, single)
            )
            assert rows == plain
