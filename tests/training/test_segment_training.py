"""Training on segments as a whole: resuming, accumulation, the bound, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.bin import train as verb
from pylib.corpus.ark import ArkWriter, iter_scp
from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.tables import read_numbers
from pylib.features.cmvn import compute_cmvn
from pylib.nn.loss import add_metrics
from pylib.systems.fhvae import FHVAE as System
from pylib.training import checkpoint, loop
from pylib.training.config import load_config
from pylib.training.distributed import single
from pylib.training.segment_data import open_segments
from pylib.training.session import Request, train
from pylib.training.sets import open_sets
from pylib.training.signals import EXIT_PREEMPTED
from pylib.training.step import Updater, make_optimizer
from pylib.training.validation import validate
from tests.training.helpers import same_state
from tests.training.segment_helpers import DIM, FHVAE, META, make_segment_set
from tests.training.test_resume import metrics, stopped

LAST, BEST = "checkpoint_last.pt", "checkpoint_best.pt"
PUBLISHED = {"segments__speakers": 0, "segments__batch": 12}


def go(sets, path: Path, folder: Path, *overrides: str, **options: object) -> int:
    return train(Request(*sets, folder, path, overrides, device="cpu", **options))  # type: ignore[arg-type]


CASES = {
    "balanced": {},
    "published": PUBLISHED,
    "accumulated": {**PUBLISHED, "segments__batch": 6, "optim__micro_batches": 2},
    "all": {"segments__sampling": "all"},
    "speakers": {"objective__table": "speaker"},
    "mlp": {"fhvae__encoder": "mlp", "fhvae__layers": 2},
}


@pytest.mark.parametrize(("case", "at"), [("balanced", 23), *((case, 11) for case in CASES)])
def test_a_stop_in_a_pass_changes_nothing(
    case, at, segment_sets, config_file, tmp_path, monkeypatch
) -> None:
    path = config_file(FHVAE, **CASES[case])
    assert go(segment_sets, path, tmp_path / "whole") == 0
    with monkeypatch.context() as patch:
        stopped(patch, at)
        assert go(segment_sets, path, tmp_path / "parts") == EXIT_PREEMPTED
    assert go(segment_sets, path, tmp_path / "parts") == 0
    for name in (LAST, BEST):
        assert same_state(tmp_path / "whole" / name, tmp_path / "parts" / name) == []
    rows = [row for row in metrics(tmp_path / "whole") if row["type"] == "dev"]
    assert rows == [row for row in metrics(tmp_path / "parts") if row["type"] == "dev"] and rows


def test_rows_are_estimated_at_each_pass(segment_sets, config_file, tmp_path, monkeypatch) -> None:
    """At the first update of a pass and at no other, rows are the closed form of their segments."""
    seen: list[int] = []
    original = System.before_update

    def spy(self, batches, optimizer):
        changed = original(self, batches, optimizer)
        seen.append(changed)
        for batch in batches:
            if batch.refresh is None:
                continue
            total, count = torch.zeros_like(self.table), torch.zeros(len(self.table))
            for rows, segments in batch.refresh:
                total.index_add_(0, rows, self.encode(segments).z2_mean)
                count.index_add_(0, rows, torch.ones(len(rows)))
            expected = total / (count + 0.25)[:, None]
            torch.testing.assert_close(self.table.data, expected, atol=1e-5, rtol=1e-4)
        return changed

    monkeypatch.setattr(System, "before_update", spy)
    path = config_file(FHVAE)
    assert go(segment_sets, path, tmp_path / "exp") == 0
    config = load_config(path).config
    plan = open_segments(segment_sets[0], config, training=True).plan
    expected = [6 if plan.batch(index).refresh is not None else 0 for index in range(40)]
    assert seen == expected
    assert 2 < np.count_nonzero(seen) < 40


def test_accumulated_gradients_are_the_sum(segment_sets, config_file) -> None:
    """Two micro-batches of one update: sums of losses and counts, divided once."""
    config = load_config(config_file(FHVAE, optim__micro_batches=2)).config
    data = open_segments(segment_sets[0], config, training=True)
    torch.manual_seed(1)
    system = System(config.fhvae, config.objective, data.rows)  # type: ignore[arg-type]
    updater = Updater(
        system, make_optimizer(system, config.optim), config.optim, config.run, single()
    )
    whole, parts = updater.gradients([(0, data.batch(0)), (1, data.batch(1))])[0], []
    both = updater.buffer.flat.clone()
    single_flats = []
    for index in (0, 1):
        parts.append(updater.gradients([(index, data.batch(index))])[0])
        single_flats.append(updater.buffer.flat.clone())
    torch.testing.assert_close(both, single_flats[0] + single_flats[1])
    assert whole[:2] == pytest.approx([parts[0][i] + parts[1][i] for i in (0, 1)])
    assert whole[3] == 2 * 12 * 20  # units are frames


def test_dev_bound_is_weighted_by_segments(segment_sets, config_file) -> None:
    """However the development set is cut into batches, the bound is a mean over all segments."""
    values = []
    for size in (1, 4, 1000):
        config = load_config(config_file(FHVAE, segments__eval_batch=size)).config
        dev = open_segments(segment_sets[1], config, training=False)
        torch.manual_seed(1)
        system = System(config.fhvae, config.objective, 6).eval()  # type: ignore[arg-type]
        # Without noise the sample is the mean: the order of noise must not matter here.
        generator = torch.Generator()
        parts = []
        original = torch.randn
        try:
            torch.randn = lambda *size, **_: torch.zeros(*size)  # type: ignore[assignment]
            with torch.no_grad():
                for index in range(dev.plan.batches_per_epoch):
                    parts.append(system(dev.batch(index), generator).metrics)
        finally:
            torch.randn = original
        total = add_metrics(parts)["bound"]
        assert float(total[1]) == sum((n - 20) // 20 + 1 for n in (50, 60, 70, 80))
        values.append(float(total[0] / total[1]))
    assert values[1:] == pytest.approx([values[0]] * 2, rel=1e-4)


def test_best_is_the_highest_bound_and_patience_ends(
    segment_sets, config_file, tmp_path, monkeypatch
) -> None:
    bounds = iter([-9.0, -5.0, -7.0, -6.0, -1.0])
    monkeypatch.setattr(loop, "validate", lambda *_: {"bound": next(bounds)})
    path = config_file(FHVAE, run__validate_every=5, run__patience=2)
    assert go(segment_sets, path, tmp_path / "exp") == 0
    record = json.loads((tmp_path / "exp" / "run.json").read_text())
    assert (record["best_metric"], record["best"], record["best_update"]) == ("bound", -5.0, 10)
    assert record["finished"] == "patience" and record["updates"] == 20
    assert record["system"] == "cfhvae_a1"


def test_a_checkpoint_needs_no_data(segment_sets, config_file, tmp_path) -> None:
    assert go(segment_sets, config_file(FHVAE), tmp_path / "exp") == 0
    (segment_sets[0] / "logmel_cmvn.json").unlink()
    system, config, payload = checkpoint.load_system(tmp_path / "exp" / LAST)
    assert isinstance(system, System)
    assert config.model is None and config.data is None
    assert payload["rows"] == 6 and payload["features"] == META
    matrices = [matrix for _, matrix in iter_scp(segment_sets[0] / "logmel.scp")]
    expected = np.concatenate(matrices).astype(np.float64)
    np.testing.assert_allclose(system.feature_mean, expected.mean(0), rtol=1e-5)
    np.testing.assert_allclose(system.feature_std, expected.std(0), rtol=1e-5)


def test_training_raises_the_bound(segment_sets, config_file, tmp_path) -> None:
    path = config_file(FHVAE, optim__updates=150, optim__lr=5e-3, run__validate_every=50)
    assert go(segment_sets, path, tmp_path / "exp") == 0
    bounds = [row["bound"] for row in metrics(tmp_path / "exp") if row["type"] == "dev"]
    assert bounds[-1] > bounds[0] + 5


def test_short_and_lonely_utterances_are_counted(tmp_path, config_file, caplog) -> None:
    frames = {"s0": [50, 19, 60], "s1": [70, 80], "s2": [90], "s3": [10, 30]}
    path = make_segment_set(tmp_path, "train", frames, 1, cmvn=True)
    config = load_config(config_file(FHVAE, segments__cached=0)).config
    made = open_segments(path, config, training=True)
    assert made.utts == ["s0-train0", "s0-train2", "s1-train0", "s1-train1"]
    assert "2 utterances left out, shorter than a segment of 20 frames: s0-train1" in caplog.text
    assert "2 utterances left out, of speakers with one utterance: s2-train0" in caplog.text
    free = load_config(config_file(FHVAE, segments__cached=0, segments__speakers=0,
                                   segments__batch=4)).config  # fmt: skip
    assert len(open_segments(path, free, training=True).utts) == 6
    assert len(open_segments(path, config, training=False).utts) == 6


def test_statistics_of_other_data_are_refused(segment_sets, config_file, tmp_path) -> None:
    """Leakage: mean and deviation must be those of exactly the training utterances."""
    path, (train_set, dev_set) = config_file(FHVAE), segment_sets
    compute_cmvn(dev_set, "logmel")
    own = (train_set / "logmel_cmvn.json").read_bytes()
    (train_set / "logmel_cmvn.json").write_bytes((dev_set / "logmel_cmvn.json").read_bytes())
    with pytest.raises(UserError, match="was computed over other utterances"):
        go(segment_sets, path, tmp_path / "exp")
    other = json.loads(own) | {"kind": "logspec"}
    write_json(train_set / "logmel_cmvn.json", other)
    with pytest.raises(UserError, match="of other features"):
        go(segment_sets, path, tmp_path / "exp")
    (train_set / "logmel_cmvn.json").unlink()
    with pytest.raises(UserError, match="compute_cmvn"):
        go(segment_sets, path, tmp_path / "exp")


def test_development_utterances_are_not_trained_on(
    segment_sets, config_file, tmp_path, caplog
) -> None:
    """A development set that is a part of the training set is held out of it."""
    contents = Contents.load(segment_sets[0])
    part = [utt for utt in contents.utt2spk if utt.endswith("0")]
    (tmp_path / "part").mkdir()
    contents.select(part).write(tmp_path / "part")
    config = load_config(config_file(FHVAE)).config
    data = open_sets(segment_sets[0], tmp_path / "part", config)
    assert set(data[0].utts) == set(contents.utt2spk) - set(part)
    assert data[1] is not None and data[1].utts == part
    assert "4 utterances left out, held for validation" in caplog.text
    with pytest.raises(UserError, match="no utterance is left"):
        go((segment_sets[0], segment_sets[0]), config_file(FHVAE), tmp_path / "exp")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("segments.cached=13", "the training set has 12 utterances"),
        ("fhvae.feature_dim=80", f"dim = {DIM}, the model expects 80: set fhvae.feature_dim={DIM}"),
        ("segments.features=logspec", "logspec.json: no such file"),
        ("run.best_metric=wer", "pre-training has none"),
        ("fhvae.segment=500", "no utterance is left"),
    ],
)
def test_what_does_not_fit_is_refused(change, message, segment_sets, config_file, tmp_path) -> None:
    with pytest.raises(UserError, match=message):
        go(segment_sets, config_file(FHVAE), tmp_path / "exp", change)


def test_an_encoder_is_asked_for_in_vain(segment_sets, config_file, tmp_path) -> None:
    path = config_file(FHVAE)
    assert go(segment_sets, path, tmp_path / "exp") == 0
    with pytest.raises(UserError, match="has no encoder"):
        go(segment_sets, path, tmp_path / "two", init=tmp_path / "exp" / LAST)


def test_other_statistics_end_a_run(segment_sets, config_file, tmp_path) -> None:
    assert go(segment_sets, config_file(FHVAE), tmp_path / "exp") == 0
    file = segment_sets[0] / "logmel_cmvn.json"
    content = json.loads(file.read_text())
    write_json(file, content | {"mean": [value + 1 for value in content["mean"]]})
    with pytest.raises(UserError, match=r"data\.train"):
        go(segment_sets, config_file(FHVAE), tmp_path / "exp")


def test_shuffled_speakers_keep_their_sizes(segment_sets, config_file) -> None:
    config = load_config(config_file(FHVAE)).config
    mixed = load_config(config_file(FHVAE, objective__shuffle_speakers=True)).config
    first = open_segments(segment_sets[0], config, training=True)
    second = open_segments(segment_sets[0], mixed, training=True)
    again = open_segments(segment_sets[0], mixed, training=True)
    assert not np.array_equal(first.make.speakers, second.make.speakers)
    np.testing.assert_array_equal(again.make.speakers, second.make.speakers)
    assert sorted(first.make.speakers) == sorted(second.make.speakers)
    batch = second.batch(0)
    label = {utt: int(spk) for utt, spk in zip(batch.utts, batch.speakers, strict=True)}
    assert len(set(label.values())) == 2
    plain = open_segments(segment_sets[1], mixed, training=False)
    assert plain.make.speakers.tolist() == [0, 1, 2, 3]


def test_digital_silence_stays_finite(config_file, tmp_path) -> None:
    """Features that never vary: the deviation is floored, the log-variance clamped."""
    sets = []
    for name in ("train", "dev"):
        frames = {f"s{i}-{name}": [60, 70] for i in range(3)}
        data = make_segment_set(tmp_path, name, frames, 1)
        with ArkWriter(tmp_path / "ark" / f"{name}.silent.ark", data / "logmel.scp") as writer:
            for utt, count in read_numbers(data / "utt2num_frames", int).items():
                writer.write(utt, np.full((count, DIM), np.log(1e-5), dtype=np.float32))
        sets.append(data)
    compute_cmvn(sets[0], "logmel")
    path = config_file(FHVAE, optim__updates=10, run__validate_every=10, run__log_every=1)
    assert go(tuple(sets), path, tmp_path / "exp") == 0
    assert all(np.isfinite(row["loss"]) for row in metrics(tmp_path / "exp"))


def test_a_small_cache_changes_nothing(segment_sets, config_file) -> None:
    config = load_config(config_file(FHVAE)).config
    small = load_config(config_file(FHVAE, segments__cache_gb=0.0)).config
    for index in (0, 1):
        one = open_segments(segment_sets[0], config, training=True).batch(index)
        two = open_segments(segment_sets[0], small, training=True).batch(index)
        assert torch.equal(one.segments, two.segments)


def test_validation_is_repeatable(segment_sets, config_file) -> None:
    config = load_config(config_file(FHVAE)).config
    dev = open_segments(segment_sets[1], config, training=False)
    system = System(config.fhvae, config.objective, 6)  # type: ignore[arg-type]
    updater = Updater(
        system, make_optimizer(system, config.optim), config.optim, config.run, single()
    )
    assert validate(system, dev, updater, single()) == validate(system, dev, updater, single())


@pytest.mark.slow
def test_two_processes_equal_one(segment_sets, config_file, forks, tmp_path) -> None:
    path = config_file(FHVAE, optim__micro_batches=2, optim__updates=12, run__save_every=12)
    for processes, name in ((1, "one"), (2, "two")):
        words = ("--device", "cpu", "--config", path, *segment_sets, tmp_path / name)
        forks.run(processes, "pylib.bin.train", *words)
    one, two = (checkpoint.load(tmp_path / name / LAST)["model"] for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], atol=1e-5, rtol=1e-4)


def test_several_configuration_files(segment_sets, config_file, tmp_path) -> None:
    path = config_file(FHVAE)
    more = tmp_path / "more.toml"
    more.write_text("[optim]\nupdates = 3\n[objective]\nalpha = 0.0\n", encoding="utf-8")
    words = ("--device", "cpu", "--config", f"{path} {more}", *segment_sets, tmp_path / "exp")
    assert verb.main([str(word) for word in words]) == 0
    record = json.loads((tmp_path / "exp" / "config.json").read_text())
    assert record["optim"]["updates"] == 3 and record["objective"]["alpha"] == 0.0
    assert record["fhvae"]["hidden"] == 8
