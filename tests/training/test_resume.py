"""N updates = k updates + an end of any kind + the rest, bit for bit."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.training import checkpoint, loop
from pylib.training.session import Request, train
from pylib.training.signals import EXIT_PREEMPTED, StopRequest
from tests.training.helpers import FINETUNE, PRETRAIN, same_state

LAST = "checkpoint_last.pt"
TIMES = {"audio_per_s", "updates_per_s", "wait_share", "wall_s", "seconds"}


class StopAfter(StopRequest):
    """Asks to stop once `updates` updates are done."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self.updates = updates
        self.trainer: loop.Trainer | None = None

    def __bool__(self) -> bool:
        return self.trainer is not None and self.trainer.progress.update >= self.updates


def go(sets, path: Path, folder: Path, *overrides: str, init: Path | None = None) -> int:
    return train(Request(*sets, folder, path, overrides, init=init, device="cpu"))


def stopped(monkeypatch, updates: int):
    """Make the next runs stop by themselves after some updates."""
    original = loop.Trainer.run

    def run(self: loop.Trainer, stop: StopRequest) -> str:
        mine = StopAfter(updates)
        mine.trainer = self
        return original(self, mine)

    monkeypatch.setattr(loop.Trainer, "run", run)


def metrics(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines]


def last_update(path: Path) -> int:
    try:
        return int(json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["update"])
    except (ValueError, IndexError):
        return -1


def wait_for(folder: Path, update: int, alive: Callable[[], bool] = lambda: True) -> None:
    """Wait until a run in another process has written of an update."""
    lines, deadline = folder / "metrics.jsonl", time.monotonic() + 120
    while not lines.exists() or last_update(lines) < update:
        assert alive() and time.monotonic() < deadline
        time.sleep(0.005)


CASES = {
    "mt4ssl": (PRETRAIN, {}),
    "mt4ssl-bf16-accumulated": (PRETRAIN, {"run__precision": "bf16", "optim__micro_batches": 2}),
    "mt4ssl-random-crop": (PRETRAIN, {"data__crop": "random_aligned"}),
    "ctc": (FINETUNE, {}),
    "ctc-frozen": (FINETUNE, {"ctc__freeze_updates": 5}),
}


@pytest.mark.parametrize(("case", "at"), [("mt4ssl", 4), ("mt4ssl", 7), *((c, 3) for c in CASES)])
def test_a_stop_changes_nothing(case, at, sets, config_file, tmp_path, monkeypatch) -> None:
    base, changes = CASES[case]
    path = config_file(base, **changes)
    assert go(sets, path, tmp_path / "whole") == 0
    with monkeypatch.context() as patch:
        stopped(patch, at)
        assert go(sets, path, tmp_path / "parts") == EXIT_PREEMPTED
    assert (tmp_path / "parts" / "preempted").exists()
    assert go(sets, path, tmp_path / "parts") == 0
    assert not (tmp_path / "parts" / "preempted").exists()
    assert same_state(tmp_path / "whole" / LAST, tmp_path / "parts" / LAST) == []
    for name in (LAST, "checkpoint_best.pt"):  # the same files, so the same digests
        one, two = tmp_path / "whole" / name, tmp_path / "parts" / name
        assert one.exists() == two.exists()
        assert not one.exists() or one.read_bytes() == two.read_bytes()
    whole, parts = metrics(tmp_path / "whole"), metrics(tmp_path / "parts")
    assert [row["update"] for row in whole] == [row["update"] for row in parts]
    dev = [row for row in whole if row["type"] == "dev"]
    assert dev == [row for row in parts if row["type"] == "dev"] and dev


@pytest.mark.slow
@pytest.mark.parametrize("base", [PRETRAIN, FINETUNE], ids=["mt4ssl", "ctc"])
def test_kill_9_changes_nothing(base, sets, config_file, forks, tmp_path) -> None:
    """Killed three times at moments nobody chose, the run ends in the same bytes."""
    path = config_file(base, optim__updates=70, run__validate_every=20)
    assert go(sets, path, tmp_path / "whole") == 0
    folder = tmp_path / "killed"
    for wanted in (5, 25, 45):
        forks.start(1, "pylib.bin.train", "--device", "cpu", "--config", path, *sets, folder)
        wait_for(folder, wanted)
        os.kill(forks.pids[0], signal.SIGKILL)
        codes, said = forks.wait()
        assert codes == [-signal.SIGKILL], said
    assert go(sets, path, folder) == 0
    assert same_state(tmp_path / "whole" / LAST, folder / LAST) == []
    assert not list(folder.glob(".*tmp*"))
    whole, killed = metrics(tmp_path / "whole"), metrics(folder)
    assert [r for r in whole if r["type"] == "dev"] == [r for r in killed if r["type"] == "dev"]


class Death(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("renames", range(5))
def test_death_between_the_names_of_a_checkpoint(
    renames, sets, config_file, tmp_path, monkeypatch
) -> None:
    """Best, numbered and last are three renames: after any of them the run still ends the same."""
    path = config_file(FINETUNE, optim__updates=4, run__validate_every=2, run__save_every=2,
                       run__keep=1)  # fmt: skip
    assert go(sets, path, tmp_path / "whole") == 0
    rename, left = os.replace, [renames]

    def replace(source, target) -> None:
        if str(target).endswith(".pt"):
            if not left[0]:
                raise Death
            left[0] -= 1
        rename(source, target)

    with monkeypatch.context() as patch, pytest.raises(Death):
        patch.setattr(os, "replace", replace)
        go(sets, path, tmp_path / "parts")
    assert go(sets, path, tmp_path / "parts") == 0
    whole, parts = (sorted((tmp_path / name).glob("*.pt")) for name in ("whole", "parts"))
    assert [one.name for one in whole] == [one.name for one in parts]
    assert all(one.read_bytes() == two.read_bytes() for one, two in zip(whole, parts, strict=True))


def test_death_before_the_old_checkpoints_are_removed(
    sets, config_file, tmp_path, monkeypatch
) -> None:
    path = config_file(optim__updates=4, run__save_every=2, run__keep=1)

    def prune(folder, keep) -> None:
        if len(list(folder.glob("checkpoint_0*.pt"))) > keep:
            raise Death

    with monkeypatch.context() as patch, pytest.raises(Death):
        patch.setattr(checkpoint, "prune", prune)
        go(sets, path, tmp_path / "exp")
    assert go(sets, path, tmp_path / "exp") == 0
    assert [one.name for one in (tmp_path / "exp").glob("checkpoint_0*.pt")] == [
        checkpoint.numbered(4)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_signals_write_a_checkpoint_and_exit_75(number, sets, config_file, forks, tmp_path) -> None:
    path = config_file(optim__updates=100_000, run__save_every=100_000, run__validate_every=0)
    folder = tmp_path / "exp"
    forks.start(1, "pylib.bin.train", "--device", "cpu", "--config", path, *sets, folder)
    wait_for(folder, 4)
    os.kill(forks.pids[0], number)
    codes, said = forks.wait()
    assert codes == [EXIT_PREEMPTED], said
    assert "run the same command to go on" in said
    assert checkpoint.load(folder / LAST)["update"] >= 4
    assert (folder / "preempted").exists()


def test_a_finished_run_is_left_alone(sets, config_file, tmp_path) -> None:
    path = config_file()
    assert go(sets, path, tmp_path / "exp") == 0
    before = {item.name: item.stat().st_mtime_ns for item in (tmp_path / "exp").glob("*.pt")}
    assert go(sets, path, tmp_path / "exp") == 0
    after = {item.name: item.stat().st_mtime_ns for item in (tmp_path / "exp").glob("*.pt")}
    assert before == after


def test_other_settings_are_refused_and_named(sets, config_file, tmp_path) -> None:
    path = config_file()
    assert go(sets, path, tmp_path / "exp") == 0
    with pytest.raises(UserError) as caught:
        go(sets, path, tmp_path / "exp", "optim.lr=0.5", "mask.length=3")
    assert "optim.lr: 0.001 -> 0.5" in str(caught.value)
    assert "mask.length: 4 -> 3" in str(caught.value)


def test_settings_without_influence_may_change(sets, config_file, tmp_path, monkeypatch) -> None:
    path = config_file()
    with monkeypatch.context() as patch:
        stopped(patch, 4)
        assert go(sets, path, tmp_path / "exp") == EXIT_PREEMPTED
    assert go(sets, path, tmp_path / "exp", "run.log_every=1", "data.prefetch=1") == 0


def test_other_labels_are_refused(sets, config_file, tmp_path) -> None:
    path = config_file()
    assert go(sets, path, tmp_path / "exp") == 0
    meta = {"rate": 25, "align": "centre", "clusters": 8, "sha256": "another"}
    for folder in sets:
        write_json(folder / "labels.json", meta)
    with pytest.raises(UserError, match=r"data\.train"):
        go(sets, path, tmp_path / "exp")


def test_a_second_run_in_the_same_directory_is_refused(sets, config_file, tmp_path) -> None:
    import fcntl

    folder = tmp_path / "exp"
    folder.mkdir()
    with (folder / ".lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another run is training here"):
            go(sets, config_file(), folder)


def test_half_a_line_of_metrics_is_forgotten(sets, config_file, tmp_path, monkeypatch) -> None:
    path = config_file()
    with monkeypatch.context() as patch:
        stopped(patch, 4)
        go(sets, path, tmp_path / "exp")
    with (tmp_path / "exp" / "metrics.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"type": "train", "update": 99}\n{"type": "tr')
    assert go(sets, path, tmp_path / "exp") == 0
    assert [row["update"] for row in metrics(tmp_path / "exp")] == [2, 3, 4, 4, 6, 8, 8]


@pytest.mark.slow
def test_bad_settings_are_one_readable_line(sets, config_file, forks, tmp_path) -> None:
    words = ("--config", config_file(), "--set", "optim.lrr=3", *sets, tmp_path / "exp")
    forks.start(1, "pylib.bin.train", *words)
    codes, said = forks.wait()
    assert codes == [1]
    assert said == "train: error: --set optim.lrr: unknown key optim.lrr: did you mean optim.lr?\n"
