"""Slurm, SGE and ssh behind the one grammar, before fakes that fail in every known way."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pylib.jobs import conf, grammar, logfile, scheduler, sge, slurm

ROOT = Path(__file__).resolve().parents[2]
FAKE = Path(__file__).parent / "fake" / "scheduler.py"
PROGRAMS = ("sbatch", "squeue", "scontrol", "scancel", "qsub", "qstat", "qdel", "qalter")


class Site:
    """A directory to run in, with fake programs first in PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        (folder / "state").mkdir()
        for name in PROGRAMS:
            shutil.copy(FAKE, folder / "bin" / name)
            (folder / "bin" / name).chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "FAKE_DIR": str(folder / "state"),
            "TRIVIUM_ROOT": str(folder),
            "USER": "somebody", "LOGNAME": "somebody",  # as after `su`: not the owner of the jobs
        }  # fmt: skip

    def start(self, back_end: str, *words: str, mode: str = "") -> subprocess.Popen[str]:
        # PATIENCE is long for people; here every job is on this machine.
        code = (
            "import sys; from pylib.jobs import cmd, scheduler; scheduler.PATIENCE = 1.0; "
            "scheduler.FIRST_POLL = 0.2; scheduler.LAST_POLL = 0.5; scheduler.SILENCE = 1.0; "
            "scheduler.IDLE = 1.0; "
            "sys.exit(cmd.main(sys.argv[1:]))"
        )
        return subprocess.Popen(
            [sys.executable, "-c", code, back_end, "run.sh", *words],
            cwd=self.folder, env={**self.environment, "FAKE_MODE": mode}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def run(self, back_end: str, *words: str, mode: str = "") -> tuple[int, str]:
        process = self.start(back_end, *words, mode=mode)
        _, told = process.communicate(timeout=60)
        return process.returncode, told

    def submitted(self) -> list[list[str]]:
        lines = (self.folder / "state" / "submitted").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


BOTH = pytest.mark.parametrize("back_end", ["slurm", "sge"])


@BOTH
def test_an_array_runs_and_codes_come_back(site: Site, back_end: str) -> None:
    code, told = site.run(back_end, "JOB=1:3", "log/x.JOB.log", "bash", "-c", "exit $((JOB - 1))")
    assert code == 1
    assert "2 / 3 failed" in told and "2 (code 1), 3 (code 2)" in told
    ends = [logfile.end(str(site.folder / f"log/x.{job}.log")) for job in (1, 2, 3)]
    assert [end.code for end in ends if end] == [0, 1, 2]


@BOTH
def test_only_what_failed_runs_again(site: Site, back_end: str) -> None:
    words = ["JOB=1:3", "log/x.JOB.log", "bash", "-c", "test JOB != 2 -o -e good"]
    assert site.run(back_end, *words)[0] == 1
    (site.folder / "good").touch()
    assert site.run(back_end, "--pick", "failed", *words)[0] == 0
    assert "1-1" in " ".join(site.submitted()[1])


@BOTH
def test_refused_jobs_say_so(site: Site, back_end: str) -> None:
    code, told = site.run(back_end, "log/x.log", "true", mode="refuse")
    assert code == 1
    assert "refused the jobs" in told and "Invalid partition name" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("mode", "number", "word"),
    [("cancelled", 130, "CANCELLED"), ("out_of_memory", 137, "OUT_OF_MEMORY")],
)
def test_a_killed_task_is_named_by_its_state(site: Site, mode: str, number: int, word: str) -> None:
    code, told = site.run("slurm", "JOB=1:2", "log/x.JOB.log", "sleep", "1.5", mode=mode)
    assert code == 1 and word in told
    end = logfile.end(str(site.folder / "log/x.1.log"))
    assert end is not None and end.code == number
    assert logfile.end(str(site.folder / "log/x.2.log")).code == 0


def test_a_job_the_scheduler_forgot_is_lost(site: Site) -> None:
    words = ["log/x.log", "bash", "-c", "kill -KILL $PPID"]  # the task dies, and leaves no rc file
    for back_end, mode in (("slurm", "forgets"), ("sge", "")):
        code, told = site.run(back_end, *words, mode=mode)
        assert code == 1 and "no longer known" in told


def test_a_job_that_can_never_start_is_reported_and_cancelled(site: Site) -> None:
    code, told = site.run("slurm", "log/x.log", "true", mode="stuck")
    assert code == 1 and "PartitionNodeLimit" in told
    assert (site.folder / "state" / "cancelled").read_text().strip() == "100"
    code, told = site.run("sge", "log/x.log", "true", mode="stuck")
    assert code == 1 and "as Eqw (error: no such disk)" in told


def test_one_job_that_can_never_start_leaves_the_others_alone(site: Site) -> None:
    code, told = site.run("sge", "JOB=1:3", "log/x.JOB.log", "sleep", "2", mode="one_stuck")
    assert code == 1 and "1 / 3 failed" in told and "no such disk" in told
    assert (site.folder / "state" / "cancelled").read_text().strip() == "100.1"


@BOTH
def test_jobs_that_wait_say_why(site: Site, back_end: str) -> None:
    process = site.start(back_end, "JOB=1:2", "log/x.JOB.log", "true", mode="full")
    assert process.stderr is not None
    why = {"slurm": "Resources", "sge": "Job 100 cannot run: no free slots"}[back_end]
    assert process.stderr.readline().endswith(f" s, 2 wait: {why}\n")
    process.terminate()
    process.communicate(timeout=60)


@BOTH
def test_what_the_scheduler_wrote_about_a_lost_job_is_in_its_log(site: Site, back_end: str) -> None:
    code, told = site.run(back_end, "JOB=1:2", "log/x.JOB.log", "true", mode="no_python")
    assert code == 1 and "    python: cannot execute" in told
    assert "python: cannot execute" in (site.folder / "log" / "x.2.log").read_text()


def test_a_job_that_never_started_is_not_taken_for_its_earlier_run(site: Site) -> None:
    words = ["JOB=1:2", "log/x.JOB.log", "true"]
    assert site.run("sge", *words)[0] == 0
    assert site.run("sge", *words, mode="stuck")[0] == 1
    code, _ = site.run("sge", "--pick", "failed", *words)
    assert code == 0 and len(site.submitted()) == 3


@pytest.mark.parametrize("mode", ["slow", "silent"])
def test_a_scheduler_that_does_not_answer_delays_nothing(site: Site, mode: str) -> None:
    code, told = site.run("slurm", "JOB=1:2", "log/x.JOB.log", "sleep", "2", mode=mode)
    assert code == 0
    assert ("has not answered" in told) == (mode == "silent")


@BOTH
def test_a_signal_cancels_everything(site: Site, back_end: str) -> None:
    job = 'echo "$BASHPID" >own.new.JOB; mv own.new.JOB own.JOB; exec sleep 60'
    process = site.start(back_end, "JOB=1:2", "log/x.JOB.log", "bash", "-c", job)
    deadline = time.monotonic() + 60
    while len(list(site.folder.glob("own.[12]"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert (site.folder / "state" / "cancelled").exists()
    for job in (1, 2):
        end = logfile.end(str(site.folder / f"log/x.{job}.log"))
        assert end is not None and end.code == 130
        assert not Path("/proc", (site.folder / f"own.{job}").read_text().strip()).exists()


def test_a_job_ended_at_its_limit_by_grid_engine_says_so(site: Site) -> None:
    """Its USR2 comes a moment before or after the task's own clock."""
    process = site.start("sge", "--time", "0:04", "log/x.log", "touch", "ready", ";", "sleep", "60")
    deadline = time.monotonic() + 60
    while not (site.folder / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.terminate()
    process.communicate(timeout=60)
    end = logfile.end(str(site.folder / "log" / "x.log"))
    assert end is not None and end.code == 124


def test_a_warned_job_is_requeued_and_its_log_goes_on(site: Site) -> None:
    """USR1 before the time limit: checkpoint, code 75, scontrol requeue; neither rc nor footer."""
    job = (
        "import pathlib, signal, sys, time; "
        "signal.signal(signal.SIGUSR1, lambda *_: sys.exit(75)); "
        "pathlib.Path('ready').touch(); time.sleep(20)"
    )
    words = ["--time", "1:00", "log/x.log", sys.executable, "-c", job]
    process = site.start("slurm", *words)
    deadline = time.monotonic() + 60
    while not (site.folder / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid = int((site.folder / "state/job.100/pid.1").read_text())
    os.kill(pid, signal.SIGUSR1)
    while not (site.folder / "state" / "requeued").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (site.folder / "state" / "requeued").read_text() == "requeue 100\n"
    assert logfile.end(str(site.folder / "log/x.log")) is None
    process.terminate()
    process.communicate(timeout=60)
    assert "--signal=B:USR1@120" in site.submitted()[0]


def test_words_for_the_schedulers() -> None:
    array = grammar.parse(
        ["--mem", "2G", "--num-threads", "4", "--gpu", "2", "--time", "1:00:00",
         "--max-jobs-run", "3", "JOB=1:9", "x.JOB.log", "true"]
    )  # fmt: skip
    line = slurm.command_line("s.sh", "x", 9, array, None, "q")
    assert line[:5] == [
        "sbatch",
        "--mem=2048M",
        "--cpus-per-task=4",
        "--gres=gpu:2",
        "--time=1:00:00",
    ]
    assert "--array=1-9%3" in line and not any("partition" in word for word in line)
    line = sge.command_line("s.sh", "9x", 9, array, None, "q")
    assert "-pe smp 4" in " ".join(line) and "mem_free=2048M" in line and "h_rt=3600" in line
    assert line[line.index("-N") + 1] == "t9x" and line[line.index("-tc") + 1] == "3"
    given = conf.read(str(ROOT / "local" / "conf" / "slurm.conf.example"))
    line = slurm.command_line("s.sh", "x", 9, array, given, "q")
    assert "--partition=gpu" in line
    given = conf.read(str(ROOT / "local" / "conf" / "queue.conf.example"))
    line = sge.command_line("s.sh", "x", 9, array._replace(options={"time": "30"}), given, "q")
    assert "h_rt=1800" in line  # a bare number is minutes for us, seconds for Grid Engine
    assert "gpu.q" in sge.command_line("s.sh", "x", 9, array, given, "q")


@BOTH
def test_a_dry_run_prints_the_line_that_a_run_submits(site: Site, back_end: str) -> None:
    words = ["--mem", "2G", "--max-jobs-run", "2", "JOB=1:3", "log/x.JOB.log", "true"]
    process = site.start(back_end, "--dry-run", "true", *words)
    printed, told = process.communicate(timeout=60)
    assert process.returncode == 0 and told == "" and not (site.folder / "log").exists()
    assert site.run(back_end, *words)[0] == 0
    assert [shlex.split(line)[1:] for line in printed.splitlines()] == site.submitted()
    local = site.start("local", "--dry-run", "true", *words)
    assert local.communicate(timeout=60) == ("", "")


def test_large_arrays_are_cut(site: Site) -> None:
    code = (
        "import sys; from pylib.jobs import cmd, slurm; slurm.Slurm.largest = 2; "
        "sys.exit(cmd.main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "slurm", "run.sh", "JOB=1:5", "log/x.JOB.log", "true"],
        cwd=site.folder, env=site.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(site.submitted()) == 3
    assert len(list((site.folder / "log").glob("x.*.log"))) == 5


@pytest.fixture
def hosts(site: Site) -> Site:
    """Two machines behind a fake ssh that runs the command here; it does not reach `down`, and the
    connection to `cut` breaks while a job runs."""
    (site.folder / "bin" / "ssh").write_text(
        "#!/usr/bin/env bash\nhost=${*: -2:1}\n"
        '[ "$host" != down ] || { echo "ssh: no route to host" >&2; exit 255; }\n'
        'echo "$host" >>"$FAKE_DIR/hosts"\n[ "$host" != cut ] || {\n  bash -c "${*: -1}" &\n'
        "  until [ -e began ]; do sleep 0.05; done\n  exit 255\n}\n"
        'exec bash -c "${*: -1}"\n',
        encoding="utf-8",
    )
    (site.folder / "bin" / "ssh").chmod(0o755)
    (site.folder / ".queue").mkdir()
    (site.folder / ".queue" / "machines").write_text("one\ntwo 2  # with two jobs\n")
    return site


def test_ssh_shares_jobs_over_machines(hosts: Site) -> None:
    words = ["JOB=1:5", "log/x.JOB.log", "bash", "-c", "sleep 0.3; exit $((JOB == 4 ? 3 : 0))"]
    code, told = hosts.run("ssh", *words)
    assert code == 1 and "1 / 5 failed" in told and "JOB 4 (code 3)" in told
    used = (hosts.folder / "state" / "hosts").read_text().split()
    assert len(used) == 5 and set(used) == {"one", "two"}


def test_a_machine_that_ssh_does_not_reach_is_told(hosts: Site) -> None:
    (hosts.folder / ".queue" / "machines").write_text("down\n")
    code, told = hosts.run("ssh", "log/x.log", "true")
    assert code == 1 and "no route to host" in told and "Traceback" not in told
    assert logfile.end(str(hosts.folder / "log/x.log")).code == 255
    assert "ssh to down ended with code 255" in (hosts.folder / "log/x.log").read_text()
    (hosts.folder / ".queue" / "machines").write_text("down 2\none\n")
    code, told = hosts.run("ssh", "JOB=1:5", "log/x.JOB.log", "sleep", "0.2")
    assert code == 0 and "down was not reached" in told
    assert (hosts.folder / "state" / "hosts").read_text().split() == ["one"] * 5
    (hosts.folder / ".queue" / "machines").write_text("one two three\n")
    code, told = hosts.run("ssh", "log/x.log", "true")
    assert code == 2 and ".queue/machines:1" in told


def test_a_job_whose_connection_breaks_ends(hosts: Site) -> None:
    (hosts.folder / ".queue" / "machines").write_text("cut\n")
    code, told = hosts.run("ssh", "log/x.log", "touch", "began", ";", "sleep", "60")
    assert code == 1 and "cut is silent about job 1" in told
    assert logfile.end(str(hosts.folder / "log/x.log")).code == 130
    assert (hosts.folder / "log/x.log").read_text().count("# Ended") == 1


def test_the_site_says_how_ssh_is_called(hosts: Site) -> None:
    (hosts.folder / "bin" / "ssh").rename(hosts.folder / "bin" / "ours")
    hosts.environment["TRIVIUM_SSH"] = "ours -F 'a file'"
    assert hosts.run("ssh", "log/x.log", "true")[0] == 0
    hosts.environment["TRIVIUM_SSH"] = "ours 'a"
    code, told = hosts.run("ssh", "log/x.log", "true")
    assert code == 2 and "TRIVIUM_SSH=ours 'a: No closing quotation" in told


def test_a_signal_ends_jobs_on_other_machines(hosts: Site) -> None:
    process = hosts.start("ssh", "JOB=1:2", "log/x.JOB.log", "sleep", "60")
    deadline = time.monotonic() + 60
    while len(list(hosts.folder.glob("log/x.*.log"))) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    ends = [logfile.end(str(hosts.folder / f"log/x.{job}.log")) for job in (1, 2)]
    assert all(end is not None and end.code == 130 for end in ends)


def test_qstat_lines() -> None:
    text = (
        "job-ID prior name user state submit/start at queue slots ja-task-ID\n" + "-" * 40 + "\n"
        "7 0.5 n me r 11/23/2026 01:00:00 all.q@host 1 2\n"
        "7 0.5 n me qw 11/23/2026 01:00:00 1 3-5:1,9\n"
        "8 0.5 n me qw 11/23/2026 01:00:00 1 1\n"
    )
    found = sge.parse(text, {"7"})
    assert {index: state.phase for (_, index), state in found.items()} == {
        2: "running", 3: "waiting", 4: "waiting", 5: "waiting", 9: "waiting",
    }  # fmt: skip


def test_squeue_lines() -> None:
    found = slurm.parse(
        "7|1|COMPLETED|None\n7|2|PENDING|DependencyNeverSatisfied\n7|3|RUNNING|None\n"
    )
    assert [found["7", index].phase for index in (1, 2, 3)] == ["ended", "stuck", "running"]
    assert scheduler.CODES["TIMEOUT"] == 124
