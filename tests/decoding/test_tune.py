"""Tuning: on development sets only, deterministic, resumable; its choice reaches decode.json."""

import json
import multiprocessing

import pytest

from pylib.bin import decode, make_lm, tune_lm
from pylib.corpus.errors import UserError
from pylib.decoding import tune_jobs
from pylib.decoding.tune import Trial, check_dev_set, search

DEV = ["data/dev", "exp/ft/logprobs_dev", "exp/lm"]
QUICK = ["--beam", "20", "--max-trials", "9"]


@pytest.mark.parametrize("name", ["dev", "dev-clean", "dev_other", "train_valid", "valid"])
def test_development_sets_are_taken(name):
    check_dev_set(name)


@pytest.mark.parametrize(
    "name", ["test", "test-clean", "train", "test_dev", "eval_dev", "develop2test-test"]
)
def test_other_sets_are_refused_unless_forced(name):
    with pytest.raises(UserError, match="not a development set"):
        check_dev_set(name)
    check_dev_set(name, force=True)


def test_verb_refuses_the_test_set(workplace):
    arguments = ["data/test", "exp/ft/logprobs_test", "exp/lm", "tuned.json", *QUICK]
    with pytest.raises(UserError, match="'test': not a development set"):
        tune_lm.main(arguments)
    assert not (workplace / "tuned.json").exists()
    assert tune_lm.main([*arguments, "--force-set"]) == 0


def test_choice_is_recorded_where_it_is_used(workplace):
    assert tune_lm.main([*DEV, "exp/ft/tuned.json", *QUICK]) == 0
    tuned = json.loads((workplace / "exp/ft/tuned.json").read_text())
    assert tuned["set"] == "dev" and len(tuned["trials"]) == 9
    assert tuned["wer"] == min(t["wer"] for t in tuned["trials"] if t["beam"] == 20)
    place = ["data/test", "exp/ft/logprobs_test", "out"]
    options = ["--decode", "lm", "--lm-dir", "exp/lm", "--tuned", "exp/ft/tuned.json"]
    decode.main([*options, *place])
    decode.main(["--merge", "1", *options, *place])
    record = json.loads((workplace / "out/decode.json").read_text())
    assert record["options"] == tuned["options"] and record["options"]["beam"] == 20
    assert record["tuned"]["set"] == "dev" and record["tuned"]["overridden"] == []
    decode.main(["--beam", "30", *options, *place])
    decode.main(["--merge", "1", "--beam", "30", *options, *place])
    record = json.loads((workplace / "out/decode.json").read_text())
    assert record["options"]["beam"] == 30 and record["tuned"]["overridden"] == ["beam"]


def test_another_language_model_is_noticed(workplace):
    tune_lm.main([*DEV, "exp/ft/tuned.json", *QUICK])
    make_lm.main(["--tool", "python", "--order", "2", "lm.txt", "exp/lm"])
    with pytest.raises(UserError, match="tune again"):
        decode.main(
            ["--decode=lm", "--lm-dir=exp/lm", "--tuned=exp/ft/tuned.json"]
            + ["data/test", "exp/ft/logprobs_test", "out"]
        )


def test_jobs_and_cache_do_not_change_the_result(workplace, monkeypatch):
    assert multiprocessing.get_start_method(allow_none=True) != "forkserver"
    tune_lm.main([*DEV, "one.json", *QUICK])
    tune_lm.main([*DEV, "two.json", *QUICK, "--nj", "2"])
    one, two = ((workplace / f"{n}.json").read_text() for n in ("one", "two"))
    assert one == two

    def refuse(*_):
        raise AssertionError("decoded again what the cache has")

    monkeypatch.setattr(tune_jobs.DevEvaluator, "errors", refuse)
    (workplace / "one.json").unlink()
    tune_lm.main([*DEV, "one.json", *QUICK])
    assert (workplace / "one.json").read_text() == two


def bowl(points):
    """Errors grow with the distance from (1.25, 0.5)."""
    return [
        Trial(8, lm, ws, round(100 * ((lm - 1.25) ** 2 + (ws - 0.5) ** 2)), 1000, 0)
        for lm, ws in points
    ]


def test_search_finds_the_bottom_of_a_bowl():
    best, trials, coarse = search(bowl, bowl, 60)
    assert (best.lm_weight, best.word_score) == (1.25, 0.5)
    assert len(trials) + len(coarse) <= 60 and best in trials
    assert search(bowl, bowl, 60) == (best, trials, coarse)


def test_the_coarse_grid_only_points_the_way():
    def misleading(points):
        return [Trial(2, lm, ws, round(10 * abs(lm - 5)), 1000, 0) for lm, ws in points]

    best, trials, coarse = search(misleading, bowl, 60)
    assert all(t.beam == 8 for t in trials) and all(t.beam == 2 for t in coarse)
    assert best.errors == min(t.errors for t in trials)


@pytest.mark.parametrize("budget", [1, 2, 23, 60])
def test_budget_is_kept_and_the_published_setting_comes_first(budget):
    best, trials, coarse = search(bowl, bowl, budget)
    first = (coarse or trials)[0]
    assert (first.lm_weight, first.word_score) == (2.0, -1.0)
    assert len(trials) + len(coarse) <= budget and best in trials
    with pytest.raises(UserError):
        search(bowl, bowl, 0)


def test_ties_go_to_fewer_wrong_characters_then_to_the_published_setting():
    def flat(points):
        return [Trial(8, lm, ws, 10, 100, 5 if ws == 3.0 else 9) for lm, ws in points]

    assert search(flat, flat, 30)[0].word_score == 3.0

    def flatter(points):
        return [Trial(8, lm, ws, 10, 100, 9) for lm, ws in points]

    best, *_ = search(flatter, flatter, 60)
    assert (best.lm_weight, best.word_score) == (2.0, -1.0)


def test_forked_workers_take_the_default_signals():
    """A verb's TERM handler raises; inherited by a worker it once left tuning waiting for ever."""
    import signal
    from multiprocessing import get_context

    from pylib.decoding.tune_jobs import _default_signals

    before = signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(143)))
    try:
        with get_context("fork").Pool(1, _default_signals) as pool:
            assert pool.apply(signal.getsignal, (signal.SIGTERM,)) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
