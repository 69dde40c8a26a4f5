"""The SGE back end before a real Grid Engine on this machine (tests/jobs/onebox_sge.sh).

Runs as root where Debian's packages gridengine-master, gridengine-exec and gridengine-client are
installed; it installs nothing and is skipped elsewhere, by the name of what is missing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from pylib.jobs import logfile
from tests.jobs.place import Place

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "tests" / "jobs" / "onebox_sge.sh"
RUN = str(ROOT / "local" / "run.sh")
PACKAGES = {"sge_qmaster": "master", "sge_execd": "exec", "qsub": "client"}
MISSING = [
    f"gridengine-{package}"
    for program, package in PACKAGES.items()
    if not Path("/usr/lib/gridengine", program).exists()
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.sge,
    pytest.mark.skipif(bool(MISSING), reason=f"apt-get install {' '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="not root: SGE's daemons are started by hand"),
]


class Cell(Place):
    """A running Grid Engine, and a directory to submit from."""

    def until(self, pattern: str, count: int = 1) -> None:
        deadline = time.monotonic() + 30
        while len(list(self.folder.glob(pattern))) < count:
            assert time.monotonic() < deadline, f"fewer than {count} {pattern} in {self.folder}"
            time.sleep(0.1)

    def code(self, log: str) -> int | None:
        end = logfile.end(str(self.folder / log))
        return end.code if end else None

    def lives(self, name: str) -> bool:
        """Whether the process that wrote its id into a file is still there."""
        return Path("/proc", (self.folder / name).read_text().strip()).exists()


class Deleted(NamedTuple):
    """What waits for an array, and when qdel ended that."""

    process: subprocess.Popen[str]
    at: float


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    folder = tmp_path_factory.mktemp("sge")
    (folder / "work").mkdir()
    code = (
        "import json, os, signal; json.dump(dict(os.environ), open('env.new', 'w')); "
        "os.rename('env.new', 'env.json'); signal.pause()"
    )
    with open(folder / "server.log", "w", encoding="utf-8") as told:
        server = subprocess.Popen(
            ["bash", str(SERVER), str(folder / "cell"), sys.executable, "-S", "-c", code],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=told, stderr=told,
        )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (folder / "env.json").exists():
        assert server.poll() is None and time.monotonic() < deadline, (
            folder / "server.log"
        ).read_text()
        time.sleep(0.1)
    environment = json.loads((folder / "env.json").read_text())
    # The environment may name somebody else than the owner of the jobs.
    environment |= {"CMD_BACKEND": "sge", "TRIVIUM_PYTHON": sys.executable, "USER": "somebody"}
    yield Cell(folder / "work", environment)
    server.terminate()
    assert server.wait(timeout=60) == 130


def noting(then: str) -> list[str]:
    """Words of a job that writes its process id to own.<job>, and goes on."""
    return ["bash", "-c", f'echo "$BASHPID" >own.new.JOB; mv own.new.JOB own.JOB; {then}']


@pytest.fixture(scope="module", autouse=True)
def deleted(cell: Cell) -> Deleted:
    """An array of six, two at once, that qdel ends; the other tests run meanwhile."""
    words = [RUN, "--max-jobs-run", "2", "JOB=1:6", "log/gone.JOB.log", *noting("exec sleep 200")]
    process = cell.start("bash", "-c", '"$@"; code=$?; date +%s >ended; exit "$code"', "-", *words)
    cell.until("own.[12]", 2)
    assert cell.run("qdel", "gone.JOB")[0] == 0
    return Deleted(process, time.time())


def test_an_array_runs_and_what_failed_is_named(cell: Cell) -> None:
    code, told = cell.run(
        RUN, "JOB=1:3", "log/x.JOB.log", "bash", "-c", "exit $((JOB == 2 ? 3 : 0))"
    )
    assert code == 1 and "1 / 3 failed" in told and "failed: JOB 2 (code 3)" in told
    assert [cell.code(f"log/x.{job}.log") for job in (1, 2, 3)] == [0, 3, 0]


def test_a_limit_on_jobs_at_once_is_kept(cell: Cell) -> None:
    job = "mkdir alone && sleep 0.3 && rmdir alone"
    code, told = cell.run(RUN, "--max-jobs-run", "1", "JOB=1:4", "log/t.JOB.log", "bash", "-c", job)
    assert code == 0, told


def test_refused_and_impossible_jobs_say_why_in_its_words(cell: Cell) -> None:
    code, told = cell.run(RUN, "--gpu", "1", "log/gpu.log", "true")
    assert code == 1 and 'refused the jobs: Unable to run job: unknown resource "gpu": the' in told
    (cell.folder / "e.conf").write_text("command qsub -i /nowhere/in\n", encoding="utf-8")
    code, told = cell.run(RUN, "--config", "e.conf", "JOB=1:2", "log/e.JOB.log", "true")
    assert code == 1 and "2 / 2 failed" in told
    assert "as Eqw (error: can't open /nowhere/in as dummy input file)" in told


def test_jobs_that_cannot_start_say_why_and_end_with_their_waiter(cell: Cell) -> None:
    code = (
        "import sys; from pylib.jobs import cmd, scheduler; scheduler.IDLE = 3.0; "
        "sys.exit(cmd.main(sys.argv[1:]))"
    )
    words = ["sge", RUN, "--num-threads", "64", "log/wide.log", "true"]
    environment = {**cell.environment, "PYTHONPATH": str(ROOT)}
    process = Cell(cell.folder, environment).start(sys.executable, "-c", code, *words)
    assert process.stdout is not None
    told = process.stdout.readline()
    assert re.search(r"no job has run for \d+ s, 1 wait: Job \d+ cannot run in PE", told)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143 and "wide" not in cell.run("qstat")[1]


def test_a_job_over_its_time_is_ended(cell: Cell) -> None:
    code, told = cell.run(RUN, "--time", "0:05", "log/late.log", "sleep", "100")
    assert code == 1 and "ran into its --time limit" in told and cell.code("log/late.log") == 124


def test_a_signal_to_the_waiter_ends_everything(cell: Cell) -> None:
    words = [word.replace("own.", "term.") for word in noting("exec sleep 200")]
    process = cell.start(RUN, "JOB=1:2", "log/s.JOB.log", *words)
    cell.until("term.[12]", 2)
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert [cell.code(f"log/s.{job}.log") for job in (1, 2)] == [130, 130]
    assert not cell.lives("term.1") and not cell.lives("term.2")


def test_the_check_of_a_cluster_passes(cell: Cell) -> None:
    code, told = cell.run(str(ROOT / "local" / "check_cluster.sh"))
    assert code == 0 and "job 2 ran on " in told and "recipes can use --cmd-backend sge" in told


def test_a_deleted_array_is_reported_within_a_minute(cell: Cell, deleted: Deleted) -> None:
    told, _ = deleted.process.communicate(timeout=90)
    assert deleted.process.returncode == 1 and "6 / 6 failed" in told
    assert float((cell.folder / "ended").read_text()) - deleted.at < 60
    # Those that ran were ended gently; those that waited are missed.
    assert not cell.lives("own.1") and not cell.lives("own.2")
    codes = [cell.code(f"log/gone.{job}.log") for job in range(1, 7)]
    assert codes == [130, 130, 1, 1, 1, 1] and "no longer known to sge" in told
