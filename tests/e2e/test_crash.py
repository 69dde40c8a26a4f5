"""Kills, full disks, read-only ones, two runs at once, vanishing directories, a jumping clock."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from pylib.jobs import ledger
from tests.e2e import crash, reliability
from tests.e2e.disturb import Bench, refused, small_disk, touch_all
from tests.e2e.outputs import Watch, compare

ROOT = Path(__file__).resolve().parents[2]
#: The smoke preset with less audio, fewer updates and no probe: the path is the whole one.
FEWER = (
    "--nj", "1", "--probe", "false",
    "--corpus-set", "train_minutes=1 labelled_minutes=0.6 dev_minutes=0.2 test_minutes=0.2",
    "--set-pretrain", "optim.updates=30 run.save_every=10 run.validate_every=15",
    "--set-finetune", "optim.updates=30 run.save_every=10 run.validate_every=10",
)  # fmt: skip
RECIPE = """#!/usr/bin/env bash
# Usage: run.sh [options]
# Two stages that take their time.
set -euo pipefail
. "@ROOT@/path.sh"
# options
exp=exp           # directory of what is made
stage=            # first stage to run
stop_stage=       # last stage to run
list_stages=false # print the stages and stop
dry_run=false     # print every command and stop
status=false      # print what the ledger knows and stop
force=false       # run again what was made with another configuration
# end of options
. "$TRIVIUM_ROOT/local/parse_options.sh"
. "$TRIVIUM_ROOT/local/lib.sh"
recipe_begin
for part in one two; do
  # work
  stage 1 work --out "$exp/$part/result.json" -- @STEP@ "$exp/$part/result.json"
done
# end
stage 2 last --in "$exp/two/result.json" --out "$exp/end.json" -- @STEP@ "$exp/end.json"
recipe_end
"""
# Half the file, some work, the rest.
STEP = """#!/usr/bin/env bash
set -euo pipefail
mkdir -p "$(dirname "$1")"
out=$1@SUFFIX@
printf '{"numbers": [' >"$out"
for ((i = 0; i < 150000; i++)); do :; done
printf '1, 2]}' >>"$out"
[ "$out" = "$1" ] || mv "$out" "$1"
"""


# ---- the harness itself


def test_kills_are_drawn_for_every_stage() -> None:
    times = [("corpus", 3.0), ("feats", 1.0), ("feats", 1.0), ("train", 30.0), ("score", 1.0)]
    drawn = crash.draw(times, 20, random.Random(1))
    assert sum(drawn) == 20 and min(drawn) >= 1 and max(drawn) == drawn[3]
    few = crash.draw(times, 4, random.Random(1))
    assert {times[i][0] for i, count in enumerate(few) if count} == {
        "corpus",
        "feats",
        "train",
        "score",
    }


def test_stage_times_are_read_from_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    place = "2026-01-01T00:00:00+0000 (run.sh:71:main)"
    log.write_text(
        f"10.00 0.50 {place} stage 1 (corpus): not run yet\n12.00 1.00 anything\n"
        f"14.00 3.50 {place} stage 1 (corpus): done in 4 s\n"
        f"14.10 3.60 {place} stage 3 (feats): up to date\n",
        encoding="utf-8",
    )
    assert crash.stage_times(log) == [("corpus", 3.0)]


def made(folder: Path, wall: float) -> Path:
    """A few outputs that differ in clock times only."""
    (folder / "exp" / ".stages").mkdir(parents=True)
    (folder / "exp" / ".stages" / "a.json").write_text(f'{{"end": {wall}}}', encoding="utf-8")
    (folder / "exp" / "report").mkdir()
    (folder / "exp" / "hyp").write_text("u1 A WORD\n", encoding="utf-8")
    (folder / "exp" / "run.json").write_text(
        json.dumps({"wall_s": wall, "best": 0.5}), encoding="utf-8"
    )
    (folder / "exp" / "report" / "index.html").write_text(
        f"<code>0123456789ab</code>, {wall:.0f} s.</p>\nsteps/x.sh    # feats, {wall:.0f} s\n"
        f"<td>0.01</td>\n<td>{wall:.0f}</td><td>0123456789ab</td>",
        encoding="utf-8",
    )
    torch.save(
        {"model": {"w": torch.ones(2)}, "progress": {"wall_s": wall}}, folder / "exp" / "m.pt"
    )
    return folder


def test_outputs_are_the_same_but_for_clock_times(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a", 3.0), made(tmp_path / "b", 44.0)
    found = compare(first, second)
    assert found.bad == [] and found.identical == ["exp/hyp"]
    assert found.masked == ["exp/m.pt", "exp/report/index.html", "exp/run.json"]
    assert dict(found.left_out) == {"ledger (.stages/)": 1}


def test_every_difference_is_named(tmp_path: Path) -> None:
    first, second = made(tmp_path / "a", 3.0), made(tmp_path / "b", 3.0)
    (first / "exp" / "only").touch()
    (second / "exp" / "more").touch()
    (second / "exp" / "hyp").write_text("u1 A WORLD\n", encoding="utf-8")
    (second / "exp" / "run.json").write_text('{"wall_s": 3.0, "best": 0.6}', encoding="utf-8")
    torch.save(
        {"model": {"w": torch.zeros(2)}, "progress": {"wall_s": 3.0}}, second / "exp" / "m.pt"
    )
    found = compare(first, second)
    assert found.differing == ["exp/hyp", "exp/m.pt", "exp/run.json"]
    assert (found.missing, found.extra) == (["exp/only"], ["exp/more"])


def test_half_written_files_are_found(tmp_path: Path) -> None:
    files = {
        "a.json": '{"x": 1', "metrics.jsonl": '{"x": 1}\n{"x"\n', "text": "u1 A\nu2", "m.pt": "PK",
        "wav.scp": "u1 /nowhere.wav\n", "feats.scp": "u1 /nowhere.ark:3\n",
    }  # fmt: skip
    fine = {
        "b.json": "{}",
        "live.jsonl": '{"x": 1}\n{"x"',
        ".c.json.tmp-host-1-0": "{",
        "q/d.json": "{",
    }
    (tmp_path / "q").mkdir()
    for name, content in {**files, **fine}.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    watch = Watch(tmp_path)
    assert {fault.split(":")[0] for fault in watch.faults()} == set(files)
    assert watch.passing() == [".c.json.tmp-host-1-0", "q/d.json"]


@pytest.mark.slow
@pytest.mark.parametrize("careful", [True, False])
def test_a_careless_writer_is_found_out(careful: bool, tmp_path: Path) -> None:
    step = tmp_path / "step.sh"
    step.write_text(STEP.replace("@SUFFIX@", ".new" if careful else ""), encoding="utf-8")
    script = tmp_path / "run.sh"
    text = RECIPE.replace("@ROOT@", str(ROOT)).replace("@STEP@", str(step))
    script.write_text(text, encoding="utf-8")
    step.chmod(0o755)
    row = crash.experiment(["bash", str(script)], 6, 1, tmp_path / "work")
    row |= {"recipe": "two", "options": []}
    assert row["kills"] == 6 == sum(row["kills_by_stage"].values()) and row["restarts"] >= 6
    assert row["compared"] == 3 and bool(crash.faults(row)) != careful, crash.faults(row)
    (tmp_path / "row.json").write_text(json.dumps({"kind": "crash", **row}), encoding="utf-8")
    page = reliability.page([tmp_path / "row.json"])
    assert "| two | 6 |" in page and ("json: JSONDecodeError" in page) != careful


def test_a_table_of_damaged_inputs_is_added_up(tmp_path: Path) -> None:
    row = dict(zip(reliability.MUTATION, ("ark", 10, 1, 9, 0, 0.5), strict=True))
    for content in ([row, row], {"rows": [row, row], "seed": 1}):
        (tmp_path / "rows.json").write_text(json.dumps(content), encoding="utf-8")
        assert "| all | 20 | 2 | 18 | 0 | 0.5 |" in reliability.page([tmp_path / "rows.json"])


# ---- kills


@pytest.mark.slow
def test_librispeech_survives_five_kills(tmp_path: Path) -> None:
    row = crash.crash("librispeech", 5, 1, tmp_path, FEWER)
    assert crash.faults(row) == []
    assert row["kills"] == 5 and row["restarts"] >= 5 and row["compared"] > 100


# ---- other disturbances, on the cheap stages of the recipe


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture
def bench(shared: Bench) -> Iterator[Bench]:
    """Data directories are prepared, nothing else."""
    shared.restore()
    yield shared


def on_small_disk(bench: Bench, size: int = 1 << 30):
    try:
        context = small_disk(bench.here, size)
        return context, context.__enter__()
    except OSError as error:
        pytest.skip(f"mounting is not allowed here: {error}")


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 1 << 16, 300_000], ids=["none", "64k", "300k"])
def test_a_full_disk_is_told_and_nothing_is_lost(room: int, bench: Bench) -> None:
    context, again = on_small_disk(bench)
    try:
        bench.restore()
        disk = os.statvfs(bench.here)
        again(f"size={(disk.f_blocks - disk.f_bfree) * disk.f_bsize + room}")
        told = refused(bench.run())
        assert any(words in told for words in ("make room", "free some space", "disk is full")), (
            told
        )
        again("size=1g")
        bench.goes_on()
    finally:
        context.__exit__(None, None, None)


@pytest.mark.slow
def test_a_limit_of_file_sizes_is_told(bench: Bench) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, resource.RLIM_INFINITY))

    refused(bench.run(before=limit), "ulimit -f")
    bench.goes_on()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["", "exp/feats"])
def test_a_read_only_directory_is_told(part: str, bench: Bench) -> None:
    place = bench.here / part
    place.mkdir(exist_ok=True)
    if part:
        try:
            with small_disk(place, 1 << 20) as again:
                again("ro")
                refused(bench.run(), "ead-only file system", str(place))
        except OSError as error:
            pytest.skip(f"mounting is not allowed here: {error}")
    else:
        context, again = on_small_disk(bench)
        try:
            bench.restore()
            again("ro")
            refused(
                bench.run(), "cannot be written: make room on the disk (df -h), or mend the rights"
            )
            again("rw")
            bench.goes_on()
        finally:
            context.__exit__(None, None, None)
        bench.restore()
    bench.goes_on()


@pytest.mark.slow
def test_two_runs_in_one_directory(bench: Bench) -> None:
    with bench.stopped_in("feats", "feats/mfcc_train/log/*.log") as first:
        refused(bench.run(), "another run is at work in", "wait for it or stop it; use --exp DIR")
    told, _ = first.communicate(timeout=600)
    assert first.returncode == 0, told
    assert "everything is up to date" in bench.goes_on()


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["feats/mfcc_train", "feats/mfcc_train/log/q"])
def test_a_directory_that_vanishes_under_a_stage(gone: str, bench: Bench) -> None:
    with bench.stopped_in("feats", "feats/mfcc_train/log/q/*/task.json") as process:
        shutil.rmtree(bench.exp / gone)
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 1 and "Traceback" not in told, told
    assert "the same command again, it goes on here" in told
    bench.goes_on()


@pytest.mark.slow
@pytest.mark.parametrize("days", [10, -10_000])
def test_a_jump_of_the_clock_makes_nothing_stale(days: int, bench: Bench) -> None:
    bench.goes_on()
    touch_all(bench.exp, ["*"], time.time() + 86400 * days)
    assert "everything is up to date" in bench.goes_on()
    # what is made now is older, or newer, than what it is made of
    (bench.exp / "kmeans_it1" / "centroids.npy").unlink()
    assert "kmeans_it1/centroids.npy is missing" in bench.goes_on()


def test_a_clock_set_back_during_a_stage(tmp_path: Path, monkeypatch) -> None:
    words = ["--ledger", str(tmp_path / ".stages"), "--stage", "1", "--name", "table"]
    words += ["--out", str(tmp_path / "table"), "--", "cat", "words.txt"]
    later = time.time() + 3600
    monkeypatch.setattr(ledger.time, "time", lambda: later)
    assert ledger.main(["check", "--mode", "auto", *words]) == ledger.RUN
    monkeypatch.undo()
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "part").write_text("made", encoding="utf-8")
    assert ledger.main(["record", "--rc", "0", *words]) == 0
    assert ledger.main(["check", "--mode", "auto", *words]) == 0
    (tmp_path / "table" / "part").write_text("lost", encoding="utf-8")
    assert ledger.main(["check", "--mode", "auto", *words]) == ledger.RUN
