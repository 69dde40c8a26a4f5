"""What the ledger decides, beyond what the shell tests show."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from pylib.jobs import ledger


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/wav.scp").write_text("a a.flac\n", encoding="utf-8")
    Path("step.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    return tmp_path


def words(*options: str, command: tuple[str, ...] = ("step.sh", "data")) -> list[str]:
    return ["--ledger", "exp/.stages", "--stage", "3", "--name", "feats", *options, "--", *command]


def check(*options: str, mode: str = "auto") -> int:
    return ledger.main(["check", "--mode", mode, *words(*options)])


def record(*options: str, rc: int = 0) -> int:
    return ledger.main(["record", "--rc", str(rc), *words(*options)])


def test_a_stage_that_writes_into_the_directory_it_reads_is_up_to_date() -> None:
    options = ("--in", "data", "--out", "data/feats.scp")
    assert check(*options) == ledger.RUN
    Path("data/feats.scp").write_text("a f.ark:2\n", encoding="utf-8")
    Path("data/utt2num_frames").write_text("a 9\n", encoding="utf-8")
    assert record(*options) == 0
    assert check(*options) == 0
    Path("data/utt2num_frames").write_text("a 10\n", encoding="utf-8")  # a later stage's business
    assert check(*options) == 0
    Path("data/text").write_text("a A\n", encoding="utf-8")
    assert check(*options) == ledger.RUN


def test_a_file_that_another_stage_added_to_an_input_directory_is_no_news() -> None:
    feats = ("--in", "data", "--out", "data/feats.scp")
    check(*feats)
    Path("data/feats.scp").write_text("a f.ark:2\n", encoding="utf-8")
    record(*feats)
    other = ["--ledger", "exp/.stages", "--stage", "4", "--name", "labels",
             "--in", "data/feats.scp", "--out", "data/labels.scp", "--", "step.sh"]  # fmt: skip
    assert ledger.main(["check", "--mode", "auto", *other]) == ledger.RUN
    Path("data/labels.scp").write_text("a l.ark:2\n", encoding="utf-8")
    assert ledger.main(["record", "--rc", "0", *other]) == 0
    assert check(*feats) == 0
    Path("data/segments").write_text("a a 0 1\n", encoding="utf-8")
    assert check(*feats) == ledger.RUN


def test_later_stages_in_an_output_directory_do_not_make_it_stale() -> None:
    options = ("--out", "exp/model")
    check(*options)
    Path("exp/model").mkdir(parents=True)
    Path("exp/model/final.pt").write_bytes(b"1")
    record(*options)
    # A decoding below the model's directory, and the training run again after it.
    Path("exp/model/decode").mkdir()
    Path("exp/model/decode/hyp").write_text("a\n", encoding="utf-8")
    old = time.time() - 100
    os.utime("exp/model/decode/hyp", (old, old))
    assert check(*options) == 0
    assert check(*options, mode="rerun") == ledger.RUN
    record(*options)
    Path("exp/model/decode/hyp").write_text("another\n", encoding="utf-8")
    assert check(*options) == 0


def test_one_more_input_or_one_less_is_news(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        out = ["--ledger", "exp/.stages", "--stage", "1", "--name", "score", "--out", name]
        ledger.main(["check", "--mode", "auto", *out, "--", "step.sh"])
        Path(name).mkdir()
        Path(name, "wer").write_text("1\n", encoding="utf-8")
        ledger.main(["record", "--rc", "0", *out, "--", "step.sh"])
    check("--in", "a", "--out", "report")
    Path("report").write_text("x", encoding="utf-8")
    record("--in", "a", "--out", "report")
    assert check("--in", "a", "--out", "report") == 0
    capsys.readouterr()
    assert check("--in", "a", "b", "--out", "report") == ledger.RUN
    assert capsys.readouterr().out == "input b is new\n"
    record("--in", "a", "b", "--out", "report")
    assert check("--in", "b", "--out", "report") == ledger.RUN
    assert capsys.readouterr().out == "a is no input any more\n"


def test_systems_and_seeds_have_records_of_their_own() -> None:
    for out in ("exp/a", "exp/b"):
        assert check("--out", out) == ledger.RUN
        Path(out).mkdir(parents=True)
        record("--out", out)
    assert check("--out", "exp/a") == 0
    assert len(list(Path("exp/.stages").glob("feats.*.json"))) == 2
    long = "exp/" + "x" * 300
    assert check("--out", long) == ledger.RUN


def test_a_record_tells_with_what_it_was_made() -> None:
    options = ("--in", "data/wav.scp", "--out", "out", "--config", "seed=3")
    check(*options)
    Path("out").write_text("x", encoding="utf-8")
    record(*options)
    (path,) = Path("exp/.stages").glob("feats*.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["state"] == "done" and found["rc"] == 0
    assert found["argv"] == ["step.sh", "data"]
    assert found["configuration"]["seed"] == "3"
    assert found["inputs"]["data/wav.scp"]["keys"] == 1
    assert found["code"].keys() == {"step.sh"}
    assert found["host"] and found["end"] >= found["start"]
    assert found["versions"]["torch"]
    assert set(found["git"]) == {"commit", "dirty"}


def test_nothing_to_lose_nothing_to_refuse() -> None:
    check("--out", "out", "--config", "k=1")
    Path("out").write_text("x", encoding="utf-8")
    record("--out", "out", "--config", "k=1")
    assert check("--out", "out", "--config", "k=2") == 1
    assert check("--out", "out", "--config", "k=2", mode="force") == ledger.RUN
    Path("out").unlink()
    assert check("--out", "out", "--config", "k=3") == ledger.RUN


def test_an_unreadable_record_means_not_done(capsys: pytest.CaptureFixture[str]) -> None:
    check("--out", "out")
    Path("out").write_text("x", encoding="utf-8")
    record("--out", "out")
    (path,) = Path("exp/.stages").glob("feats*.json")
    path.write_text("{", encoding="utf-8")
    capsys.readouterr()
    assert check("--out", "out") == ledger.RUN
    assert "unreadable" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["check"], ["check", "--bad", "--"], ["check", "--", ""]])
def test_misuse_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ledger.main(arguments) == 1
    assert capsys.readouterr().err
