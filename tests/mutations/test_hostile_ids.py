"""Ids and names with blanks, quotes, newlines, `../`, `$(...)`, dashes: data, never commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pylib.corpus.combine import Renaming, combine, load_sources, rename, write_contents
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.split import split_data
from pylib.corpus.subset import choose, write_subset
from pylib.corpus.tables import read_table, write_table
from tests.mutations.mutate import CANARY, WORDS

ROOT = Path(__file__).resolve().parents[2]
# What a table can hold: no white space, no byte-order mark.
HOSTILE = sorted(
    {v for w in WORDS if (v := w.replace(" ", "_")).split() == [v] and v[0] != "\ufeff"}
)
IDS = st.one_of(st.sampled_from(HOSTILE), st.text("ab-./$()`'\"\\;|&~*?[]{}<>#!%=é", min_size=1))


def write_data(folder: Path, ids: list[str]) -> None:
    """A data directory whose utterances and speakers are `ids`."""
    folder.mkdir(parents=True)
    utt2spk = {name: name for name in ids}
    write_table(folder / "utt2spk", utt2spk)
    write_table(folder / "spk2utt", utt2spk)
    write_table(folder / "text", dict.fromkeys(ids, f'$(touch {CANARY}) "it\'s"'))
    write_table(
        folder / "wav.scp", {name: f"audio/{number}.wav" for number, name in enumerate(ids)}
    )


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(IDS, min_size=3, max_size=6, unique=True))
def test_ids_stay_data_in_every_verb(tmp_path_factory: pytest.TempPathFactory, ids) -> None:
    """Every verb keeps the ids to the letter, and writes nothing but its own files."""
    root = tmp_path_factory.mktemp("ids")
    write_data(root / "d", ids)
    before = {"d", "d/utt2spk", "d/spk2utt", "d/text", "d/wav.scp"}
    contents = Contents.load(root / "d")
    assert list(contents.utt2spk) == sorted(ids)
    write_subset(contents, choose(contents, 2, "last"), root / "s")
    assert list(read_table(root / "s" / "text")) == sorted(ids)[-2:]
    split_data(root / "d", 3)
    parts = [list(read_table(root / "d" / "split3" / str(n) / "utt2spk")) for n in (1, 2, 3)]
    assert sum(parts, []) == sorted(ids)
    write_contents(rename(Contents.load(root / "d"), Renaming("x", "x")), root / "c")
    whole, _ = combine(load_sources([root / "d", root / "c"], root / "w"))
    write_contents(whole, root / "w")
    assert sorted(whole.utt2spk) == sorted([*ids, *(f"x{name}" for name in ids)])
    allowed = tuple(f"{name}/" for name in ("s", "c", "w", "d/split3"))
    for name in listing(root) - before - {"s", "c", "w", "d/split3"}:
        assert name.startswith(allowed) and name.count("/") <= 3, name


@pytest.mark.parametrize("bad", ["a b", "a\nb", "a\tb", "", "a\r", "\u00a0", "a\u2028b"])
def test_ids_with_white_space_are_refused(bad: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="white space"):
        write_table(tmp_path / "utt2spk", {bad: "a"})
    with pytest.raises(UserError, match="rename it|white space"):
        write_data(tmp_path / "d", ["a"])
        new = rename(Contents.load(tmp_path / "d"), Renaming("", bad or " "))
        write_contents(new, tmp_path / "c")


def test_ids_with_a_byte_order_mark_are_refused(tmp_path: Path) -> None:
    """On any line: a split or a subset would bring them to the first."""
    with pytest.raises(UserError, match="byte-order mark"):
        write_table(tmp_path / "utt2spk", {"\ufeffa": "a"})
    write_data(tmp_path / "d", ["a", "b"])
    (tmp_path / "d" / "utt2spk").write_text("a a\nb b\n\ufeffc c\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"utt2spk:3: byte-order-mark: .*sed -i '3s/"):
        split_data(tmp_path / "d", 2)
    with pytest.raises(UserError, match="byte-order mark"):
        write_data(tmp_path / "e", ["a"])
        write_contents(
            rename(Contents.load(tmp_path / "e"), Renaming("\ufeff", "\ufeff")), tmp_path / "c"
        )


def step(name: str, cwd: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "steps" / name), *argv],
        cwd=cwd, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.slow
def test_shell_verbs_take_hostile_ids_as_data(tmp_path: Path) -> None:
    """subset, split, combine and copy as users call them, names of directories included."""
    ids = [name for name in HOSTILE if len(name) < 400]
    write_data(tmp_path / "d", ids)
    (tmp_path / "audio").mkdir()
    for number in range(len(ids)):
        (tmp_path / "audio" / f"{number}.wav").touch()
    outs = ['it\'s $(touch PWNED) "out"', "; touch PWNED", "a\nb"]
    done = step("subset_data_dir.sh", tmp_path, "--first=true", "d", "5", outs[0])
    assert done.returncode == 0, done.stderr
    assert list(read_table(tmp_path / outs[0] / "text")) == sorted(ids)[:5]
    done = step("split_data.sh", tmp_path, outs[0], "2")
    assert done.returncode == 0, done.stderr
    done = step(
        "copy_data_dir.sh", tmp_path,
        "--utt-prefix=$(touch${IFS}PWNED)", "--spk-prefix=$(touch${IFS}PWNED)", "d", outs[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"$(touch${{IFS}}PWNED){ids[0]}" in read_table(tmp_path / outs[1] / "utt2spk")
    done = step("combine_data.sh", tmp_path, outs[2], "d", outs[1])
    assert done.returncode == 0, done.stderr
    assert len(read_table(tmp_path / outs[2] / "utt2spk")) == 2 * len(ids)
    done = step("subset_data_dir.sh", tmp_path, "d", "2", "-rf")
    assert done.returncode != 0
    assert sorted(os.listdir(tmp_path)) == sorted([*outs, "audio", "d"]), os.listdir(tmp_path)
    assert not list(tmp_path.rglob(CANARY))


@pytest.mark.slow
@pytest.mark.parametrize("bad", ["a b c", "a\n", "$(touch PWNED) x y", "\x00 a"])
def test_shell_verbs_refuse_lines_that_are_no_table(bad: str, tmp_path: Path) -> None:
    write_data(tmp_path / "d", ["a", "b", "c"])
    with open(tmp_path / "d" / "utt2spk", "a", encoding="utf-8") as stream:
        stream.write(bad + "\n")
    for name, argv in (
        ("subset_data_dir.sh", ("d", "2", "out")),
        ("split_data.sh", ("d", "2")),
        ("combine_data.sh", ("out", "d")),
        ("copy_data_dir.sh", ("d", "out")),
    ):
        done = step(name, tmp_path, *argv)
        assert done.returncode == 1 and "utt2spk" in done.stderr, (name, done.stderr)
        assert "Traceback" not in done.stderr
        assert sorted(os.listdir(tmp_path)) == ["d"]
