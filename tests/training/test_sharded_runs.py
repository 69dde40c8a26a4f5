"""Sharded runs do what runs of as many whole processes do, and go on with any other number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.training import checkpoint, shards
from pylib.training.signals import EXIT_PREEMPTED
from tests.training import many_runs, phone_helpers
from tests.training.av_helpers import SEQ2SEQ, VATLM
from tests.training.forks import SHARDED, Forks
from tests.training.helpers import (
    FINETUNE,
    PRETRAIN,
    ROOT,
    make_set,
    process_env,
    same_state,
    toml,
)
from tests.training.test_av_training import KINDS, World
from tests.training.test_resume import metrics, wait_for

pytestmark = pytest.mark.slow

LAST = "checkpoint_last.pt"
FULL = "run.sharding=full"
TWO = {"optim__micro_batches": 2, "optim__updates": 4, "run__validate_every": 2}
# A count of rows that no number of processes divides, and a parameter of one row.
UNEVEN = {"model__ffn_dim": 65, "model__pos_conv_depth": 1}
PHONES = {
    "system": "phone2unit",
    "phone2unit": {"clusters": phone_helpers.CLUSTERS, "dim": 16, "heads": 2, "ffn_dim": 32,
                   "encoder_layers": 1, "decoder_layers": 1, "duration_dim": 16},
    "phone_data": {"max_seconds": 8.0, "batch_seconds": 8.0},
    "optim": {"lr": 1e-3}, "run": {"log_every": 2, "save_every": 3, "tensorboard": False},
}  # fmt: skip

CASES: dict[str, tuple[dict, dict]] = {
    "mt4ssl": (PRETRAIN, UNEVEN),
    "mt4ssl-accumulated-clipped": (PRETRAIN, {"optim__micro_batches": 4, "optim__clip_norm": 0.5}),
    "mt4ssl-bf16": (PRETRAIN, {"run__precision": "bf16"}),
    "mt4ssl-fp16": (PRETRAIN, {"run__precision": "fp16"}),
    "hubert": (PRETRAIN, {"targets__offline_head": "cosine", "targets__online_weight": 0.0,
                          "targets__feature_penalty": 10.0}),
    "data2vec": (PRETRAIN, {"targets__offline_weight": 0.0}),
    "offte": (PRETRAIN, {"targets__online_weight": 0.0, "model__norm": "pre"}),
    "ctc-freezing": (FINETUNE, {"ctc__freeze_updates": 2, "ctc__freeze_frontend": True}),
    "vatlm": (VATLM, {"optim__micro_batches": 4}),
    "seq2seq-freezing": (SEQ2SEQ, {"seq2seq__ctc_weight": 0.5, "seq2seq__modality_dropout": 0.5,
                                   "seq2seq__freeze_updates": 2}),
    "phone2unit": (PHONES, {}),
}  # fmt: skip


class Place:
    """Data of all kinds; runs over it, gathered until they are done together."""

    def __init__(self, folder: Path, forks: Forks) -> None:
        rng = np.random.default_rng(0)
        self.folder, self.forks = folder, forks
        self.speech = (
            make_set(folder / "speech", "train", list(rng.uniform(0.8, 3.5, 24)), 1),
            make_set(folder / "speech", "dev", list(rng.uniform(0.8, 3.5, 14)), 2),
        )
        (folder / "av").mkdir()
        self.av = World(folder / "av")
        self.phones = (folder / "phones" / "train", folder / "phones" / "dev")
        for seed, data in enumerate(self.phones):
            phone_helpers.make_set(data, 12, seed)
        self.waiting: list[dict] = []

    def run(self, base: dict, changes: dict, name: str, *overrides: str, **more: object) -> Path:
        """Note a run in folder `name`, for `go`."""
        system = base["system"]
        if system in ("vatlm", "seq2seq"):
            kinds = KINDS if system == "vatlm" else ()
            path = self.av.config(base, *kinds, name=f"{name}.toml", **(TWO | changes))
            sets: tuple[Path, Path] = self.av.train, self.av.dev
        else:
            path = _config(self.folder / f"{name}.toml", base, TWO | changes)
            sets = self.phones if system == "phone2unit" else self.speech
        run = {"config": path, "train": sets[0], "dev": sets[1], "folder": self.folder / name,
               "overrides": overrides, **more}  # fmt: skip
        self.waiting.append(run)
        return self.folder / name

    def go(self, processes: int) -> str:
        """Do the noted runs. What they said."""
        path = self.folder / "runs.json"
        path.write_text(json.dumps(self.waiting, default=str), encoding="utf-8")
        self.waiting = []
        if processes == 1:
            with pytest.MonkeyPatch.context() as patch:
                many_runs.all_of(path, patch)
            return ""
        return self.forks.run(processes, "tests.training.many_runs", path)


def _config(path: Path, base: dict, changes: dict) -> Path:
    sections = {k: dict(v) if isinstance(v, dict) else v for k, v in base.items()}
    for key, value in changes.items():
        section, _, item = key.partition("__")
        sections.setdefault(section, {})[item] = value
    path.write_text(toml(sections), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    forks = Forks(tmp_path_factory.mktemp("forks"), "tests.training.test_resume", *SHARDED)
    yield Place(tmp_path_factory.mktemp("sharded"), forks)
    forks.close()


@pytest.fixture(scope="module")
def pairs(place: Place) -> dict[str, tuple[Path, Path]]:
    """Each case, whole and sharded, in two processes."""
    made = {}
    for case, (base, changes) in CASES.items():
        changes = changes | {"run__keep": 1}
        made[case] = (
            place.run(base, changes, f"{case}-whole"),
            place.run(base, changes, f"{case}-sharded", FULL),
        )
    said = place.go(2)
    assert "Warning" not in said, said
    return made


@pytest.mark.parametrize("case", CASES)
def test_sharding_changes_nothing(case: str, pairs: dict[str, tuple[Path, Path]]) -> None:
    """LayerDrop, dropout, masks and validation on; checkpoints are of the same form."""
    folders = pairs[case]
    for name in (LAST, checkpoint.numbered(4)):
        whole, sharded = (checkpoint.load(folder / name) for folder in folders)
        assert list(whole) == list(sharded) and list(whole["model"]) == list(sharded["model"])
        for key, value in whole["model"].items():
            torch.testing.assert_close(sharded["model"][key], value, atol=1e-6, rtol=0, msg=key)
        one, two = (item["optimizer"] for item in (whole, sharded))
        assert one["param_groups"] == two["param_groups"]
        assert one["state"].keys() == two["state"].keys()
        for index, values in one["state"].items():
            for key, value in values.items():
                torch.testing.assert_close(two["state"][index][key], value, atol=1e-6, rtol=1e-4)
        assert whole["progress"].keys() == sharded["progress"].keys()
        assert whole["update"] == sharded["update"] == 4
    rows = [metrics(folder) for folder in folders]
    for one, two in zip(*rows, strict=True):
        assert one.keys() == two.keys()
        keys = {"loss", "accuracy", "wer", "grad_norm", "lr", "masked", "student_rank"}
        for key in set(one) & keys:
            assert two[key] == pytest.approx(one[key], rel=1e-4), key
    names = [sorted(item.name for item in folder.iterdir()) for folder in folders]
    assert names[0] == names[1]  # no state is left to go on from
    checkpoint.load_system(folders[1] / LAST)


@pytest.fixture(scope="module")
def stopped(place: Place) -> dict[str, Path]:
    """Runs of one, two and four processes with a stop, and what others read after it."""
    changes = UNEVEN | {"optim__updates": 6, "run__save_every": 3, "optim__micro_batches": 4}

    def run(name: str, *overrides: str, **more: object) -> Path:
        return place.run(PRETRAIN, changes, name, *overrides, **more)

    runs = {"alone": run("alone", FULL, stop=3)}
    place.go(1)
    (runs["alone"] / "before.pt").write_bytes((runs["alone"] / LAST).read_bytes())
    runs["whole"] = run("whole", FULL)
    runs["parts"] = run("parts", FULL, stop=4)
    run("parts", FULL, restore="two.pt")
    run("parts", restore="unsharded.pt")
    run("alone", FULL, restore="two.pt")
    place.go(2)
    run("parts", FULL, restore="one.pt")
    place.go(1)
    runs["four"] = run("four", FULL, stop=3)
    run("parts", FULL, restore="four.pt")
    place.go(4)
    run("four", FULL, restore="two.pt")
    run("parts", FULL)
    place.go(2)
    return runs


def test_a_stop_changes_nothing(stopped: dict[str, Path]) -> None:
    assert same_state(stopped["whole"] / LAST, stopped["parts"] / LAST) == []
    whole, parts = metrics(stopped["whole"]), metrics(stopped["parts"])
    dev = [row for row in whole if row["type"] == "dev"]
    assert dev and dev == [row for row in parts if row["type"] == "dev"]
    assert shards.found(stopped["parts"]) == []  # done: nothing to go on from is left


@pytest.mark.parametrize("name", ["unsharded.pt", "one.pt", "four.pt"])
def test_any_number_of_processes_reads_the_same(name: str, stopped: dict[str, Path]) -> None:
    """Right after loading, weights, teacher and Adam's moments are the same bits."""
    assert checkpoint.load(stopped["parts"] / name)["update"] == 5
    assert same_state(stopped["parts"] / "two.pt", stopped["parts"] / name) == []


def test_one_process_becomes_two(stopped: dict[str, Path]) -> None:
    assert same_state(stopped["alone"] / "before.pt", stopped["alone"] / "two.pt") == []


def test_four_processes_become_two(stopped: dict[str, Path]) -> None:
    state = shards.found(stopped["four"])[-1]
    assert len(list(state.iterdir())) == 4
    read = checkpoint.load(stopped["four"] / "two.pt")["model"]
    for key, value in shards.load(state)["model"].items():
        assert torch.equal(read[key], value), key


COMMAND = ["-m", "pylib.jobs.torchrun", "--nproc", "2", "--marker"]
ENDLESS = {"optim__updates": 100_000, "run__save_every": 100_000, "run__validate_every": 0,
           "optim__micro_batches": 2}  # fmt: skip


def has_stopped(folder: Path, said: str) -> None:
    """A state of two processes, and nothing else, is left to go on from."""
    assert "run the same command to go on" in said
    assert [len(list(path.iterdir())) for path in shards.found(folder)] == [2]
    assert not (folder / LAST).exists() and (folder / "preempted").exists()


def test_a_term_of_the_launcher_writes_a_state_and_exits_75(place: Place) -> None:
    """The run as steps/train.sh starts it."""
    folder = place.folder / "term"
    config = _config(place.folder / "term.toml", PRETRAIN, ENDLESS)
    words = [*COMMAND, folder / "preempted", "--", "pylib.bin.train", "--device", "cpu", "--config",
             config, "--set", FULL, *place.speech, folder]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, *map(str, words)], cwd=ROOT, env=process_env(), text=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    wait_for(folder, 4, lambda: process.poll() is None)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=90)
    assert process.returncode == EXIT_PREEMPTED, said
    has_stopped(folder, said)


def start(place: Place, name: str, changes: dict) -> Path:
    """A sharded run of two processes, which are `place.forks.pids`."""
    config, folder = _config(place.folder / f"{name}.toml", PRETRAIN, changes), place.folder / name
    words = ("--device", "cpu", "--config", config, "--set", FULL, *place.speech, folder)
    place.forks.start(2, "pylib.bin.train", *words)
    return folder


def test_a_warning_of_all_processes_writes_a_state_and_exits_75(place: Place) -> None:
    """As a scheduler warns; launchers do not mind it (tests/jobs/test_torchrun.py)."""
    folder = start(place, "usr1", ENDLESS)
    wait_for(folder, 4)
    for pid in place.forks.pids:
        os.kill(pid, signal.SIGUSR1)
    codes, said = place.forks.wait()
    assert codes == [EXIT_PREEMPTED] * 2, said
    has_stopped(folder, said)


def test_kill_9_changes_nothing(place: Place) -> None:
    changes = {"optim__updates": 24, "run__save_every": 2, "run__validate_every": 12,
               "optim__micro_batches": 2, "run__keep": 0}  # fmt: skip
    whole = place.run(PRETRAIN, changes, "not-killed", FULL)
    place.go(2)
    folder = start(place, "killed", changes)
    wait_for(folder, 7)
    for pid in place.forks.pids:
        os.kill(pid, signal.SIGKILL)
    codes, said = place.forks.wait()
    assert codes == [-signal.SIGKILL] * 2, said
    assert shards.found(folder)
    place.run(PRETRAIN, changes, "killed", FULL)
    place.go(2)
    assert same_state(whole / LAST, folder / LAST) == []
    assert not list(folder.glob(".*tmp*")) and shards.found(folder) == []
