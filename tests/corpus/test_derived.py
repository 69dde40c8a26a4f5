"""Shards, generations of arks, and the one step in which they become current."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.ark import read_mat
from pylib.corpus.derived import (
    Derived,
    digest,
    input_bytes,
    open_derived,
    parse_shard,
    read_meta,
    shard_slice,
)
from pylib.corpus.errors import UserError

UTTS = [f"u{i:02d}" for i in range(10)]


def value(utt: str) -> np.ndarray:
    return np.full((int(utt[1:]) + 1, 2), int(utt[1:]), dtype=np.float32)


def derived(root: Path, jobs: int = 3, inputs: bytes = b"x", **meta: object) -> Derived:
    (root / "data").mkdir(exist_ok=True)
    return Derived(root / "data", "feats", root / "arks", {"dim": 2, **meta}, (inputs,), jobs)


def make(stage: Derived) -> None:
    for index in range(1, stage.jobs + 1):
        stage.write_shard(index, UTTS, value)
    assert stage.commit(UTTS) == {utt: len(value(utt)) for utt in UTTS}


def test_parts_are_contiguous_even_and_whole() -> None:
    for total in (0, 1, 7, 100):
        for count in (1, 2, 7, 13):
            items = list(range(total))
            parts = [shard_slice(items, i, count) for i in range(1, count + 1)]
            assert [item for part in parts for item in part] == items
            sizes = [len(part) for part in parts]
            assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/2", ""])
def test_parts_that_are_none(text: str) -> None:
    assert parse_shard("2/4") == (2, 4)
    with pytest.raises(UserError, match="--shard"):
        parse_shard(text)


def test_digest_keeps_borders_apart(tmp_path: Path) -> None:
    assert digest(b"ab", b"c") != digest(b"a", b"bc")
    (tmp_path / "a").write_bytes(b"1")
    assert input_bytes([tmp_path / "a", tmp_path / "missing"]) == [b"a", b"1"]


def test_a_new_generation_replaces_the_old(tmp_path: Path) -> None:
    old = derived(tmp_path)
    make(old)
    _, table = open_derived(tmp_path / "data", "feats")
    assert list(table) == UTTS
    for utt, rx in table.items():
        np.testing.assert_array_equal(read_mat(rx), value(utt))
    for change in ({"jobs": 2}, {"inputs": b"y"}, {"scale": 1.0}):
        new = derived(tmp_path, **change)  # type: ignore[arg-type]
        assert new.directory != old.directory
        new.write_shard(1, UTTS, value)
        assert open_derived(tmp_path / "data", "feats")[1].keys() == set(UTTS)
        assert old.directory.is_dir()
        make(new)
        assert [p.name for p in (tmp_path / "arks").iterdir()] == [new.directory.name]
        old = new


def test_one_utterance_missing_from_a_shard(tmp_path: Path) -> None:
    stage = derived(tmp_path)
    for index in (1, 2, 3):
        stage.write_shard(index, UTTS[:-1], value)
    with pytest.raises(UserError, match="asked for"):
        stage.commit(UTTS)
    assert not stage.scp.exists()


def test_failures_name_their_utterances(tmp_path: Path) -> None:
    def fail(utt: str) -> np.ndarray:
        if utt in ("u03", "u04"):
            raise UserError("cannot be read")
        return value(utt)

    stage = derived(tmp_path, jobs=2)
    with pytest.raises(UserError, match="utterance 'u03': cannot be read\n.*'u04'.*\n.*3 of 5"):
        stage.write_shard(1, UTTS, fail)
    assert not list(stage.directory.glob("*.ark")) and not list(stage.directory.glob("*.scp"))


def test_a_shard_that_fails_throughout_gives_up(tmp_path: Path) -> None:
    def fail(utt: str) -> np.ndarray:
        raise UserError("no")

    with pytest.raises(UserError, match=r"gave up") as caught:
        derived(tmp_path, jobs=1).write_shard(1, [f"u{i:03d}" for i in range(500)], fail)
    assert str(caught.value).count("\n") == 20


def test_descriptions_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="comes first"):
        read_meta(tmp_path, "feats")
    for text, message in (("{", "not readable as JSON"), ("[]", "JSON object")):
        (tmp_path / "feats.json").write_text(text)
        with pytest.raises(UserError, match=message):
            read_meta(tmp_path, "feats")
    with pytest.raises(UserError, match="letters, digits"):
        Derived(tmp_path, "a/b", tmp_path, {}, (), 1)
