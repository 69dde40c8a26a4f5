"""Some twenty damaged inputs of every reader, and the engine against readers that are at fault.

The long form: `python -m tests.mutations --count 10000 --out tests/mutations/results.json`.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutations.__main__ import Watch, readers
from tests.mutations.case import Bench
from tests.mutations.mutate import WAYS, kind_of, mutate

CASES = 20
SECONDS = 120  # for the cases of a reader, by the clock
SLOW = {"mp4"}  # encodes its example


def parameters() -> list[object]:
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in readers()
    ]


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Bench]:
    (tmp_path / "root" / "case").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "root" / "case")
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)

    def stop(_signum: int, _frame: object) -> None:
        raise TimeoutError(f"{request.param}: not done after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield Bench(readers()[request.param])
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_there_are_readers() -> None:
    assert len(readers()) > 30
    assert all(reader.rule and reader.targets for reader in readers().values())


@pytest.mark.parametrize("bench", parameters(), indirect=True)
def test_damaged_inputs_are_read_or_refused(bench: Bench) -> None:
    outcomes = [bench.run(seed=7, index=index) for index in range(CASES)]
    assert not [outcome for outcome in outcomes if outcome.verdict == "defect"]
    assert any(outcome.verdict == "refused" for outcome in outcomes)


@pytest.mark.parametrize("kind", WAYS)
def test_mutations_are_made_again_from_their_seed(kind: str) -> None:
    data = b'{"a": [1, 2.5, "x"], "b": {"c": null}}\nutt-1 file.ark:5\nutt-2 file.ark:99\n'
    made = [mutate(data, kind, random.Random(f"{n}")) for n in range(300)]
    assert made == [mutate(data, kind, random.Random(f"{n}")) for n in range(300)]
    assert all(out != data for _, out in made)
    used = {name for names, _ in made for name in names.split("+")}
    assert used == {way.__name__ for way in WAYS[kind]}
    for empty in range(50):
        assert mutate(b"", kind, random.Random(empty))[1]


def test_kinds_of_files() -> None:
    names = ["a.ark", "d/labels.json", "d/utt2spk", "spm.model", "lm.arpa", "lm.arpa.gz"]
    assert [kind_of(n) for n in names] == ["bytes", "json", "text", "bytes", "text", "bytes"]


@pytest.mark.slow
def test_the_engine_finds_every_fault() -> None:
    """A hang, unbounded memory, a crash, half an output, a command, an escape, a bare exception."""
    from tests.mutations.bad_readers import FAULTS

    watch = Watch(list(FAULTS), 2, seed=1, limit=2.0)
    watch.run()
    assert {row["reader"] for row in watch.rows.values()} == set(FAULTS)
    for row in watch.rows.values():
        assert (row["mutations"], row["defects"]) == (2, 2), row
    said = {found["reader"]: found["what"] for found in watch.found}
    assert "no answer" in said["hangs"] and "MemoryError" in said["eats memory"]
    assert "ended with -6" in said["crashes"] and "out.tmp" in said["leaves a half"]
    assert "PWNED" in said["runs the data"] and "outside" in said["escapes"]
    assert "KeyError" in said["raises"] and "SystemExit" in said["exits"]
    assert "no file" in said["names nothing"] and "how to fix" in said["gives no advice"]
