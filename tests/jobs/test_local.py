"""How many jobs the local back end runs at once."""

from __future__ import annotations

import pytest

from pylib.jobs import backend, cmd, grammar, local


def slots(monkeypatch: pytest.MonkeyPatch, *options: str, cpus: int = 8, memory: int = 16) -> int:
    monkeypatch.setattr(local, "processors", lambda: cpus)
    monkeypatch.setattr(local, "available_memory", lambda: memory << 30)
    array = grammar.parse([*options, "JOB=1:99", "x.JOB.log", "true"])
    return local.slots(array, ["0", "1", "2"])


def test_processors_threads_memory_and_gpus_bound_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert slots(monkeypatch) == 8
    assert slots(monkeypatch, "--num-threads", "3") == 2
    assert slots(monkeypatch, "--num-threads", "30") == 1
    assert slots(monkeypatch, "--mem", "5G") == 2
    assert slots(monkeypatch, "--mem", "0") == 8
    assert slots(monkeypatch, "--gpu", "1") == 3
    assert slots(monkeypatch, "--gpu", "2") == 1
    assert slots(monkeypatch, "--max-jobs-run", "20") == 20
    assert slots(monkeypatch, "--max-jobs-run", "20", "--mem", "1G") == 14


def test_more_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(grammar.UsageError, match="--mem 17G"):
        slots(monkeypatch, "--mem", "17G")
    with pytest.raises(grammar.UsageError, match="--gpu 4"):
        slots(monkeypatch, "--gpu", "4")


def test_another_back_end_is_refused() -> None:
    with pytest.raises(grammar.UsageError, match="no back end 'pbs', only local, sge, slurm, ssh"):
        backend.load("pbs")


def test_the_command_to_go_on_is_exact() -> None:
    array = grammar.parse(["--mem", "2G", "JOB=2:4", "l/x.JOB.log", "a b", "|", "c"])
    assert (
        cmd.again(array, "local/run.sh")
        == "local/run.sh --mem 2G --pick failed JOB=2:4 l/x.JOB.log 'a b' '|' c"
    )


def test_progress_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    line = cmd.StatusLine("run.sh", "x.*.log")
    line.last -= 100
    line(backend.Progress(3, 2, 1, 8, 65.0))
    line(backend.Progress(4, 2, 1, 8, 65.0))  # too soon after the first
    told = capsys.readouterr().err
    assert told == "run.sh: x.*.log: 3 done, 2 run, 1 failed of 8, eta 1:05\n"
