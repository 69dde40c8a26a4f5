"""The command line of torchrun, tested as words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pylib.jobs import torchrun

ROOT = Path(__file__).resolve().parents[2]
RUN = ["py", "-m", "torch.distributed.run"]
TAIL = ["--max-restarts=0", "-m", "pylib.bin.train", "--config", "a.toml"]


def words(**options: object) -> list[str]:
    return torchrun.argv("py", "pylib.bin.train", ["--config", "a.toml"], **options)  # type: ignore[arg-type]


def test_one_process_needs_no_torchrun() -> None:
    assert words() == ["py", "-m", "pylib.bin.train", "--config", "a.toml"]


def test_one_node_has_a_rendezvous_of_its_own() -> None:
    assert words(nproc=8) == [*RUN, "--nproc-per-node=8", "--standalone", *TAIL]


def test_several_nodes_meet_at_the_place_given() -> None:
    assert words(nproc=8, nodes=2, rendezvous="n1:29500", run_id="exp7") == [
        *RUN, "--nproc-per-node=8", "--nnodes=2", "--rdzv-backend=c10d",
        "--rdzv-endpoint=n1:29500", "--rdzv-id=exp7", *TAIL,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options", [{"nproc": 0}, {"nodes": 0}, {"nodes": 2}, {"nodes": 2, "rendezvous": "n1"}]
)
def test_worlds_that_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises(torchrun.UsageError):
        words(**options)


def test_printing(capsys: pytest.CaptureFixture[str]) -> None:
    assert torchrun.main(["--nproc", "2", "--print", "--", "pylib.bin.train", "a b"]) == 0
    assert "--standalone --max-restarts=0 -m pylib.bin.train 'a b'" in capsys.readouterr().out
    assert torchrun.main(["--what", "2", "--", "m"]) == 2
    assert torchrun.main(["--nproc", "2", "--"]) == 2


def test_on_every_node_of_a_job_of_slurm(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--nodes", "2", "--marker", "exp/preempted", "--srun"]
    assert torchrun.main([*given, "--print", "--", "m", "a b"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --kill-on-bad-exit=1 ")
    assert "--nnodes=2" in line and "FIRST-NODE:20000" in line and line.endswith(" m 'a b'\n")
    again = torchrun.parse([*given, "--", "m", "a b"]).again()
    assert torchrun.parse(again[4:]) == torchrun.Launch(
        {"nproc": "1", "nodes": "2", "rendezvous": "", "id": "trivium", "marker": ""}, set(),
        ["m", "a b"],
    )  # fmt: skip


# srun as it ends when the first node has stopped after a checkpoint: it has killed the second.
SRUN = """#!/bin/sh
trap 'touch MARKER; exit 143' USR1
echo started >&2
i=0
while [ $i -lt 100 ]; do sleep 0.1; i=$((i + 1)); done
"""


@pytest.mark.parametrize("warned", [True, False])
def test_the_marker_tells_what_srun_hides(warned: bool, tmp_path: Path) -> None:
    """75 when this start left the marker; a marker of a start before is none."""
    marker = tmp_path / "preempted"
    marker.touch()
    script = SRUN if warned else "#!/bin/sh\necho started >&2\nexit 143\n"
    (tmp_path / "srun").write_text(script.replace("MARKER", str(marker)), encoding="utf-8")
    (tmp_path / "srun").chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-S", "-m", "pylib.jobs.torchrun", "--nodes", "2", "--marker",
         str(marker), "--srun", "--", "m"], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, process_group=0,
    )  # fmt: skip
    assert process.stderr is not None and process.stderr.readline() == "started\n"
    if warned:
        os.killpg(process.pid, signal.SIGUSR1)
    assert process.wait(timeout=30) == (75 if warned else 143)


# A training that needs a second to write its checkpoint, and that a second TERM ends at once.
STOPS = """import os, signal, sys, time
asked = []
def note(number, frame):
    asked.append(number)
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
for number in (signal.SIGTERM, signal.SIGUSR1):
    signal.signal(number, note)
open("up" + os.environ["RANK"], "w").close()
while not asked:
    time.sleep(0.05)
time.sleep(1)
open("preempted", "w").close()
sys.exit(75)
"""


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [pid, *(one for child in children for one in family(int(child)))]


def warn(pid: int, number: int) -> None:
    """Send a signal to a process and all that it started (torchrun's have groups of their own)."""
    for one in family(pid):
        os.kill(one, number)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("send", "number"),
    [
        (os.kill, signal.SIGTERM),
        (os.killpg, signal.SIGTERM),
        (os.killpg, signal.SIGUSR1),
        (warn, signal.SIGUSR1),
        (os.killpg, signal.SIGKILL),
    ],
    ids=["launcher", "group", "warned", "all-warned", "killed"],
)
def test_processes_of_torchrun_get_one_signal(
    send: Callable, number: signal.Signals, tmp_path: Path
) -> None:
    """TERM whether it was sent to the launcher, which passes it on, or to its whole group; USR1,
    of which a scheduler warns a job's group or every process, ends neither launcher nor torchrun; a
    launcher that is killed leaves no training behind."""
    (tmp_path / "stops.py").write_text(STOPS, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-S", "-m", "pylib.jobs.torchrun", "--nproc", "2", "--marker",
         "preempted", "--", "stops"], cwd=tmp_path, stderr=subprocess.PIPE, process_group=0,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not all((tmp_path / f"up{rank}").exists() for rank in (0, 1)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    send(process.pid, number)
    _, told = process.communicate(timeout=60)  # until the last one that could write is gone
    code = -9 if number == signal.SIGKILL else 75
    assert process.returncode == code and (tmp_path / "preempted").exists(), told.decode()
