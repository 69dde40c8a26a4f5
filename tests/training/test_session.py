"""Runs as a whole: health, fine-tuning from a checkpoint, validation, early stop, records."""

from __future__ import annotations

import json
from pathlib import Path

import jiwer
import pytest
import torch

from pylib.corpus.atomic import write_json
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import write_table
from pylib.nn.ema import Teacher
from pylib.nn.loss import summarise
from pylib.training import checkpoint, loop
from pylib.training.session import Request, train
from pylib.training.validation import errors
from tests.training.helpers import FINETUNE, PRETRAIN, make_set


def go(sets, path: Path, folder: Path, *overrides: str, init: Path | None = None) -> int:
    return train(Request(*sets, folder, path, overrides, init=init, device="cpu"))


def records(folder: Path, kind: str) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["type"] == kind]


def test_guard_stops_a_constant_teacher(sets, config_file, tmp_path, monkeypatch) -> None:
    """With the loop: the cause is named, the checkpoint before it stays."""
    monkeypatch.setattr(
        Teacher, "targets", lambda self, projected, *_: projected.new_ones(_[-1].numel(), 32)
    )
    path = config_file(targets__guard_after=4, run__save_every=2, run__validate_every=0)
    with pytest.raises(UserError, match=r"target_std is 0\.0\d+ at update 6.*collapsed"):
        go(sets, path, tmp_path / "exp")
    assert checkpoint.load(tmp_path / "exp" / checkpoint.LAST)["update"] == 4
    assert "collapsed" in (tmp_path / "exp" / "train.log").read_text(encoding="utf-8")


def test_not_finite_stops_with_the_cause(sets, config_file, tmp_path) -> None:
    path = config_file(
        optim__lr=1e38, optim__warmup=0.0, optim__hold=1.0, optim__decay=0.0,
        run__save_every=1, run__validate_every=0,
    )  # fmt: skip
    with pytest.raises(UserError, match="training stopped: update .*checkpoints are as they were"):
        go(sets, path, tmp_path / "exp")
    last = tmp_path / "exp" / checkpoint.LAST
    if last.exists():
        weights = checkpoint.load(last)["model"].values()
        assert all(torch.isfinite(item).all() for item in weights)


def test_sick_weights_are_never_written(sets, config_file, tmp_path, monkeypatch) -> None:
    original = loop.Trainer._update

    def poisoned(self, *arguments):
        result = original(self, *arguments)
        if self.progress.update == 4:
            next(self.system.parameters()).data.view(-1)[0] = float("inf")
        return result

    monkeypatch.setattr(loop.Trainer, "_update", poisoned)
    path = config_file(run__save_every=2, run__validate_every=0)
    with pytest.raises(UserError, match="update 4: weights are NaN or infinite"):
        go(sets, path, tmp_path / "exp")
    assert checkpoint.load(tmp_path / "exp" / checkpoint.LAST)["update"] == 2


def test_utterances_a_mask_could_cover_are_refused(sets, config_file, tmp_path) -> None:
    with pytest.raises(UserError, match=r"can be masked entirely.*data\.min_seconds=0\.88"):
        go(sets, config_file(PRETRAIN, mask__length=10), tmp_path / "exp")


def test_fine_tuning_takes_encoder_and_architecture(sets, config_file, tmp_path) -> None:
    assert go(sets, config_file(PRETRAIN), tmp_path / "pre") == 0
    bare = {key: value for key, value in FINETUNE.items() if key != "model"}
    path = config_file(bare, "ft.toml", model__dropout=0.3)
    last = tmp_path / "pre" / checkpoint.LAST
    assert go(sets, path, tmp_path / "ft", "optim.lr=1e-30", init=last) == 0
    system, config, payload = checkpoint.load_system(tmp_path / "ft" / checkpoint.LAST)
    assert (config.model.dim, config.model.dropout, config.model.layerdrop) == (32, 0.3, 0.2)
    weights = checkpoint.load(last)["model"]
    for name, value in system.encoder.state_dict().items():
        torch.testing.assert_close(value, weights[f"encoder.{name}"])
    assert payload["provenance"]["system_name"] == "mt4ssl"
    assert json.loads((tmp_path / "ft" / "run.json").read_text())["system"] == "mt4ssl"


def test_random_convolutions_are_not_frozen(sets, config_file, tmp_path) -> None:
    path = config_file(FINETUNE, model__frontend="waveform", ctc__freeze_frontend=True)
    with pytest.raises(UserError, match="freeze_frontend = true without --init"):
        go(sets, path, tmp_path / "exp")
    assert not (tmp_path / "exp").exists()


def test_settings_that_contradict_the_checkpoint_are_named(sets, config_file, tmp_path) -> None:
    assert go(sets, config_file(PRETRAIN), tmp_path / "pre") == 0
    path = config_file(FINETUNE, "ft.toml", model__dim=64, data__normalise=False)
    with pytest.raises(UserError) as caught:
        go(sets, path, tmp_path / "ft", init=tmp_path / "pre" / checkpoint.LAST)
    assert "ft.toml:" in str(caught.value)
    assert "model.dim = 64" in str(caught.value)
    assert "data.normalise = False" in str(caught.value)


def test_pretraining_from_a_checkpoint_restarts_the_teacher(sets, config_file, tmp_path) -> None:
    path = config_file(PRETRAIN)
    assert go(sets, path, tmp_path / "one") == 0
    last = tmp_path / "one" / checkpoint.LAST
    assert go(sets, path, tmp_path / "two", "optim.lr=1e-30", init=last) == 0
    weights = checkpoint.load(tmp_path / "two" / checkpoint.LAST)["model"]
    for name, value in weights.items():
        if name.startswith("teacher.context.") and "pos_conv" not in name:
            student = weights["encoder.context." + name.removeprefix("teacher.context.")]
            torch.testing.assert_close(value, student)


def test_waveform_models_train_and_validate(tmp_path, config_file) -> None:
    lengths = [1.0, 1.2, 0.9, 1.1]
    sets = (
        make_set(tmp_path, "train", lengths, 1, "waveform"),
        make_set(tmp_path, "dev", lengths[:2], 2, "waveform"),
    )
    path = config_file(
        PRETRAIN, model__frontend="waveform", model__conv_dim=16, optim__updates=4,
        data__crop="random_aligned",
    )  # fmt: skip
    assert go(sets, path, tmp_path / "exp") == 0
    assert {"loss", "ce", "mse", "accuracy"} <= records(tmp_path / "exp", "dev")[-1].keys()


def test_best_checkpoint_is_the_one_of_least_dev_wer(sets, config_file, tmp_path) -> None:
    path = config_file(FINETUNE, optim__updates=12, run__validate_every=2, optim__lr=1e-2)
    assert go(sets, path, tmp_path / "exp") == 0
    dev = records(tmp_path / "exp", "dev")
    best = min(dev, key=lambda row: row["wer"])
    payload = checkpoint.load(tmp_path / "exp" / checkpoint.BEST)
    assert payload["update"] == best["update"] == payload["progress"]["best_update"]
    run = json.loads((tmp_path / "exp" / "run.json").read_text(encoding="utf-8"))
    assert run["best"] == pytest.approx(best["wer"], rel=1e-5)
    assert run["finished"] == "updates" and run["parameters"] > 0


def test_patience_ends_a_run_that_no_longer_improves(sets, config_file, tmp_path) -> None:
    path = config_file(
        FINETUNE, optim__updates=100, run__validate_every=2, run__patience=2, optim__lr=1e-30
    )
    assert go(sets, path, tmp_path / "exp") == 0
    run = json.loads((tmp_path / "exp" / "run.json").read_text(encoding="utf-8"))
    assert (run["finished"], run["updates"]) == ("patience", 6)
    assert go(sets, path, tmp_path / "exp") == 0  # and it stays so


def test_patience_needs_a_measure(sets, config_file, tmp_path) -> None:
    with pytest.raises(UserError, match="run.patience needs"):
        go(sets, config_file(PRETRAIN, run__patience=2), tmp_path / "exp")
    with pytest.raises(UserError, match="run.best_metric = wer"):
        go(sets, config_file(PRETRAIN, run__best_metric="wer"), tmp_path / "exp")


def test_dev_labels_must_be_of_the_same_kmeans(sets, config_file, tmp_path) -> None:
    meta = json.loads((sets[1] / "labels.json").read_text(encoding="utf-8"))
    write_json(sets[1] / "labels.json", meta | {"sha256": "y"})
    with pytest.raises(UserError, match="same k-means"):
        go(sets, config_file(PRETRAIN), tmp_path / "exp")


def test_dev_utterances_without_a_frame_count_as_deleted(config_file, tmp_path) -> None:
    """The development set never gets smaller."""
    train_set = make_set(tmp_path, "train", [1.0, 1.5, 2.0], 1)
    dev = make_set(tmp_path, "dev", [1.0, 0.05], 2)  # 3 filter-bank frames: no model frame
    write_table(dev / "text", dict.fromkeys(DataDir.load(dev).utts, "A TEST"))
    path = config_file(FINETUNE, optim__updates=1, optim__lr=1e-30, run__validate_every=1)
    assert go((train_set, dev), path, tmp_path / "exp") == 0
    row = records(tmp_path / "exp", "dev")[-1]
    assert row["wer"] >= 50


def test_utterances_left_out_are_counted_in_the_log(sets, config_file, tmp_path) -> None:
    path = config_file(PRETRAIN, data__min_seconds=1.5)
    assert go(sets, path, tmp_path / "exp") == 0
    text = (tmp_path / "exp" / "train.log").read_text(encoding="utf-8")
    assert "utterances left out, shorter than 1.5 s" in text


def test_metrics_and_plan_are_told(sets, config_file, tmp_path) -> None:
    assert go(sets, config_file(PRETRAIN, run__tensorboard=True), tmp_path / "exp") == 0
    row = records(tmp_path / "exp", "train")[-1]
    assert {"ce", "mse", "accuracy", "target_std", "pred_std", "conv_std", "grad_norm", "lr",
            "wait_share", "audio_per_s", "audio_hours", "epoch"} <= row.keys()  # fmt: skip
    assert 0 <= row["wait_share"] <= 1
    text = (tmp_path / "exp" / "train.log").read_text(encoding="utf-8")
    assert "minutes of audio an update" in text and "collapse guard after" in text
    assert list((tmp_path / "exp" / "tensorboard").iterdir())
    config = json.loads((tmp_path / "exp" / "config.json").read_text(encoding="utf-8"))
    assert config["optim"]["updates"] == 8


def test_plan_only_writes_nothing(sets, config_file, tmp_path, capsys) -> None:
    request = Request(*sets, tmp_path / "exp", config_file(), device="cpu", plan_only=True)
    assert train(request) == 0
    assert "trainable parameters" in capsys.readouterr().out
    assert not (tmp_path / "exp").exists()


def test_error_rates_equal_jiwer() -> None:
    references = ["A B C", "IT IS A TEST", "ONE"]
    hypotheses = ["A C", "IT WAS A A TEST", ""]
    numbers = summarise(errors(references, hypotheses))
    assert numbers["wer"] == pytest.approx(100 * jiwer.wer(references, hypotheses))
    assert numbers["cer"] == pytest.approx(100 * jiwer.cer(references, hypotheses))
