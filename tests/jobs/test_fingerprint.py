"""Fingerprints of files and configurations."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pylib.jobs import fingerprint as fp


def test_a_touched_small_file_is_the_same_a_changed_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "wav.scp"
    path.write_text("a 1\nb 2\n", encoding="utf-8")
    before = fp.of_file(str(path))
    assert before["keys"] == 2
    assert fp.difference(str(path), before) is None
    os.utime(path, ns=(1, 1))
    assert fp.difference(str(path), before) is None
    path.write_text("a 1\nb 3\n", encoding="utf-8")
    os.utime(path, ns=(1, 1))
    assert fp.difference(str(path), before) == f"{path} changed"
    path.write_text("a 1\n", encoding="utf-8")
    assert fp.difference(str(path), before) == f"{path} changed (2 -> 1 lines)"
    path.unlink()
    assert fp.difference(str(path), before) == f"{path} is gone"


def test_large_files_are_known_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "x.ark"
    path.write_bytes(bytes(fp.SMALL))
    before = fp.of_file(str(path))
    assert "sha256" not in before
    assert fp.difference(str(path), before) is None
    os.utime(path, ns=(1, 1))
    assert fp.difference(str(path), before) == f"{path} changed"


def test_directories_leave_out_logs_splits_and_hidden_files(tmp_path: Path) -> None:
    for name in ("text", "x.log", ".hidden", "log/a", "split4/1/text", ".backup/text", "sub/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text("x\n", encoding="utf-8")
    top = str(tmp_path)
    assert sorted(fp.of_paths([top])) == [f"{top}/sub/b", f"{top}/text"]
    assert sorted(fp.of_paths([top + "/"], recurse=False)) == [f"{top}/text"]


def test_many_files_are_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fp, "MANY", 3)
    for name in "abcde":
        (tmp_path / name).write_text("x", encoding="utf-8")
    top = str(tmp_path)
    found = fp.of_paths([top])
    assert list(found) == [top + "/"]
    assert fp.tree_difference(top + "/", found[top + "/"]) is None
    (tmp_path / "a").write_text("xy", encoding="utf-8")
    assert fp.tree_difference(top + "/", found[top + "/"]) == f"{top}/ changed (5 -> 5 files)"


def test_configuration_of_a_command_line() -> None:
    argv = ["steps/x.sh", "--cmd", "run.pl --mem 2G", "--nj", "4", "--clusters", "100", "--flag",
            "--rate=50", "--set", "a=1", "--set", "b=2", "data", "exp"]  # fmt: skip
    assert fp.configuration(argv, ["seed=3"]) == {
        "command": "steps/x.sh",
        "clusters": "100",
        "flag": "true",
        "rate": "50",
        "set": "a=1 b=2",
        "argument 1": "data",
        "argument 2": "exp",
        "seed": "3",
    }


def test_toml_counts_by_its_resolved_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base.toml").write_text("[optim]\nlr = 1e-3\nbetas = [0.9, 0.98]\n", encoding="utf-8")
    Path("x.toml").write_text('extends = "base.toml"\n[optim]\nlr = 2e-3\n', encoding="utf-8")
    old = fp.configuration(["steps/train.sh", "--config", "x.toml"], [])
    assert old["x.toml:optim.lr"] == "0.002"
    assert old["x.toml:optim.betas"] == "[0.9, 0.98]"
    Path("base.toml").write_text("[optim]\nlr = 1e-3\nbetas = [0.9, 0.99]\n", encoding="utf-8")
    new = fp.configuration(["steps/train.sh", "--config", "x.toml"], [])
    assert (
        fp.configuration_difference(old, new) == "x.toml:optim.betas=[0.9, 0.98], now [0.9, 0.99]"
    )


def test_every_file_of_a_list_of_parents_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text("[optim]\nlr = 1e-3\nupdates = 5\n", encoding="utf-8")
    Path("b.toml").write_text("[optim]\nlr = 2e-3\n", encoding="utf-8")
    Path("x.toml").write_text('extends = ["a.toml", "b.toml"]\n', encoding="utf-8")
    found = fp.configuration(["steps/train.sh", "--config", "x.toml"], [])
    assert (found["x.toml:optim.lr"], found["x.toml:optim.updates"]) == ("0.002", "5")


def test_several_toml_files_in_one_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text("[optim]\nlr = 1e-3\n", encoding="utf-8")
    Path("b.toml").write_text("[run]\nseed = 2\n", encoding="utf-8")
    found = fp.configuration(["steps/train.sh", "--config", "a.toml b.toml"], [])
    assert (found["a.toml:optim.lr"], found["b.toml:run.seed"]) == ("0.001", "2")


@pytest.mark.parametrize(
    "parent", ['"x.toml"', "3", "[3]", '"/dev/zero"', '"a\\u0000b"', '"no.toml"']
)
def test_hostile_toml_is_left_to_the_step(
    parent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.toml").write_text(f"extends = {parent}\n", encoding="utf-8")
    assert set(fp.configuration(["a", "x.toml"], [])) == {"command", "argument 1", "x.toml"}


def test_differences_are_told_in_one_line() -> None:
    assert fp.configuration_difference({"a": "1"}, {"a": "1"}) is None
    told = fp.configuration_difference({"a": "1", "b": "2"}, {"a": "3", "c": "4"})
    assert told == "a=1, now 3; b=2, now without it; no c, now c=4"
    many = fp.configuration_difference({}, {str(n): "x" for n in range(9)})
    assert many is not None and many.endswith("; and 5 more")
