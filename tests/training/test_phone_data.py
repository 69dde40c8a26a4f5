"""Sets of aligned phones: what comes out is what was aligned, and what does not fit is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.corpus.errors import UserError
from pylib.training import checkpoint
from pylib.training.config import TrainConfig, load_config
from pylib.training.phone_data import PhoneDataConfig, open_phones
from pylib.training.session import Request, train
from pylib.training.signals import EXIT_PREEMPTED
from pylib.units.phone_set import PAD
from tests.training.helpers import same_state
from tests.training.phone_helpers import CLUSTERS, make_set
from tests.training.test_resume import stopped


def config(**data: float) -> TrainConfig:
    settings = [
        f"phone2unit.clusters={CLUSTERS}",
        *(f"phone_data.{k}={v}" for k, v in data.items()),
    ]
    return load_config(None, ["system=phone2unit", *settings]).config


def test_batches_hold_what_was_aligned(tmp_path: Path) -> None:
    made = make_set(tmp_path / "data", 20, 0)
    found = open_phones(tmp_path / "data", config(batch_seconds=20.0), training=True)
    assert found.utts == sorted(made) and found.rate == 25
    seen = set()
    for index in range(found.plan.batches_per_epoch):
        batch = found.batch(index)
        assert len(batch) * int(batch.lengths.max()) <= 20 * 25
        assert batch.durations.sum(1).tolist() == batch.lengths.tolist()
        for row, utt in enumerate(batch.utts):
            ids, lengths, units = made[utt]
            count, frames = int(batch.phone_lengths[row]), int(batch.lengths[row])
            again = torch.repeat_interleave(batch.phones[row, :count], batch.durations[row, :count])
            np.testing.assert_array_equal(again, ids[::4])
            np.testing.assert_array_equal(batch.labels[row, :frames], units)
            assert count == len(lengths)
            assert (batch.phones[row, count:] == PAD).all()
            assert (batch.labels[row, frames:] == -1).all()
            seen.add(utt)
    assert seen == set(made)
    assert found.hours * 3600 == pytest.approx(sum(len(u) for _, _, u in made.values()) / 25)


def test_identity_follows_the_data_not_its_place(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        make_set(tmp_path / name, 6, seed)
    sets = [open_phones(tmp_path / name, config(), True) for name in ("one", "two", "three")]
    assert sets[0].identity == sets[1].identity != sets[2].identity
    assert sets[0].labels["sha256"] == "5e7"


def test_validation_leaves_nothing_out(tmp_path: Path) -> None:
    made = make_set(tmp_path / "data", 12, 0)
    strict = config(max_seconds=1.5, batch_seconds=2.0)
    train = open_phones(tmp_path / "data", strict, training=True)
    dev = open_phones(tmp_path / "data", strict, training=False)
    assert len(train.plan.kept) < len(made) == len(dev.plan.kept)


def test_other_units_are_refused(tmp_path: Path) -> None:
    make_set(tmp_path / "data", 4, 0)
    other = load_config(None, ["system=phone2unit", "phone2unit.clusters=7"]).config
    with pytest.raises(UserError, match="set phone2unit.clusters=12"):
        open_phones(tmp_path / "data", other, training=True)


def test_phones_and_units_of_other_lengths_are_refused(tmp_path: Path) -> None:
    make_set(tmp_path / "data", 4, 0)
    make_set(tmp_path / "other", 4, 3)
    for name in ("labels.scp", "labels.json"):
        (tmp_path / "data" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    found = open_phones(tmp_path / "data", config(), training=True)
    with pytest.raises(UserError, match="make both again"):
        found.batch(0)


def test_limits() -> None:
    with pytest.raises(ValueError, match="exceeds batch_seconds"):
        replace(PhoneDataConfig(), batch_seconds=1.0)
    with pytest.raises(ValueError, match="below min_seconds"):
        replace(PhoneDataConfig(), max_seconds=0.1)


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_set(tmp_path / "train", 24, 0)
    make_set(tmp_path / "dev", 4, 1)
    settings = (
        "system=phone2unit", f"phone2unit.clusters={CLUSTERS}", "phone2unit.dim=16",
        "phone2unit.encoder_layers=1", "phone2unit.decoder_layers=1", "phone2unit.ffn_dim=16",
        "phone2unit.kernel=3", "phone2unit.duration_dim=16", "phone_data.batch_seconds=6.0",
        "phone_data.max_seconds=5.0", "optim.updates=12", "optim.micro_batches=2",
        "run.validate_every=4", "run.tensorboard=false",
    )  # fmt: skip

    def run(name: str) -> int:
        folder = tmp_path / name
        return train(
            Request(tmp_path / "train", tmp_path / "dev", folder, overrides=settings, device="cpu")
        )

    assert run("whole") == 0
    with monkeypatch.context() as patch:
        stopped(patch, 5)
        assert run("parts") == EXIT_PREEMPTED
    assert run("parts") == 0
    whole, parts = (tmp_path / name / "checkpoint_last.pt" for name in ("whole", "parts"))
    assert same_state(whole, parts) == []
    assert checkpoint.load(whole)["labels"]["sha256"] == "5e7"
