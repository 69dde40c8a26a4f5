#!/usr/bin/env python3
"""Fake sbatch, squeue, scontrol, scancel, qsub, qstat, qdel and qalter: its name decides.

State lies below $FAKE_DIR. Jobs are processes of this machine. $FAKE_MODE tells what goes wrong:
cancelled, out_of_memory, refuse, slow, stuck, one_stuck, full, silent, forgets, no_python.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

HOME = Path(os.environ["FAKE_DIR"])
MODE = os.environ.get("FAKE_MODE", "")


def submit(words: list[str], grid: bool) -> int:
    if MODE == "refuse":
        print("sbatch: error: Batch job submission failed: Invalid partition name", file=sys.stderr)
        return 1
    with open(HOME / "submitted", "a", encoding="utf-8") as stream:
        stream.write(json.dumps(words) + "\n")
    number = 100 + len(list(HOME.glob("job.*")))
    if grid:
        span = words[words.index("-t") + 1]
    else:
        span = next(w for w in words if w.startswith("--array=")).partition("=")[2]
    last = int(re.match(r"1-(\d+)", span)[1])
    limit = re.search(r"%(\d+)", span)
    if grid:
        output = words[words.index("-o") + 1].replace("$JOB_ID", str(number))
        output = output.replace("$TASK_ID", "{}")
    else:
        output = next(w for w in words if w.startswith("--output=")).partition("=")[2]
        output = output.replace("%A", str(number)).replace("%a", "{}")
    folder = HOME / f"job.{number}"
    folder.mkdir()
    (folder / "count").write_text(str(last))
    (folder / "notify").write_text(str("-notify" in words))
    if MODE not in ("stuck", "full"):
        subprocess.Popen(
            [sys.executable, __file__, "work", str(number), str(last), limit[1] if limit else "99",
             words[-1], "grid" if grid else "slurm", output],
            start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    print(f"{number}.1-{last}:1" if grid else number)
    return 0


def work(number: str, last: int, limit: int, script: str, kind: str, output: str) -> None:
    folder, running, index = HOME / f"job.{number}", {}, 0
    while index < last or running:
        while index < last and len(running) < limit:
            index += 1
            if MODE == "one_stuck" and index == 1:
                continue
            line = ["bash", script]
            if MODE == "no_python":
                line = ["bash", "-c", "echo python: cannot execute; exit 126"]
            name = "SGE_TASK_ID" if kind == "grid" else "SLURM_ARRAY_TASK_ID"
            with open(output.format(index), "ab") as told:
                child = subprocess.Popen(
                    line, env={**os.environ, name: str(index), "SLURM_JOB_ID": number},
                    start_new_session=True, stdin=subprocess.DEVNULL, stdout=told, stderr=told,
                )  # fmt: skip
            running[index] = child
            (folder / f"pid.{index}").write_text(str(child.pid))
            if MODE == "cancelled" and index == 1 or MODE == "out_of_memory" and index == 1:
                time.sleep(0.3)
                os.killpg(child.pid, signal.SIGKILL)
        for done in [i for i, child in running.items() if child.poll() is not None]:
            code = running.pop(done).returncode
            word = "COMPLETED" if code == 0 else "FAILED"
            if done == 1 and MODE in ("cancelled", "out_of_memory"):
                word = MODE.upper()
            (folder / f"end.{done}").write_text(word)
        time.sleep(0.02)


def state(folder: Path, index: int) -> tuple[str, str]:
    if (folder / f"end.{index}").exists():
        return (folder / f"end.{index}").read_text(), "None"
    if MODE == "stuck":
        return "PENDING", "PartitionNodeLimit"
    return ("RUNNING", "None") if (folder / f"pid.{index}").exists() else ("PENDING", "Resources")


def squeue(words: list[str]) -> int:
    if MODE == "silent":
        print("slurm_load_jobs error: Unable to contact slurm controller", file=sys.stderr)
        return 1
    if MODE == "slow":
        time.sleep(1)
    for number in words[words.index("-j") + 1].split(","):
        folder = HOME / f"job.{number}"
        for index in range(1, int((folder / "count").read_text()) + 1):
            word, reason = state(folder, index)
            if MODE != "forgets" or not (folder / f"end.{index}").exists():
                print(f"{number}|{index}|{word}|{reason}")
    return 0


def qstat(words: list[str]) -> int:
    if words[0] == "-j":
        print(f"job_number: {words[1]}")
        print("error reason          1:      11/30/2026 01:00:00 [0:7]: error: no such disk")
        return 0
    if words != ["-u", pwd.getpwuid(os.getuid()).pw_name]:
        return 0
    print("job-ID  prior   name  user  state submit/start at  queue  slots ja-task-ID")
    print("-" * 80)
    for folder in HOME.glob("job.*"):
        number = folder.name.partition(".")[2]
        for index in range(1, int((folder / "count").read_text()) + 1):
            word, _ = state(folder, index)
            if MODE == "stuck" or MODE == "one_stuck" and index == 1:
                print(f"{number} 0.5 x me Eqw 11/23/2026 01:00:00 1 {index}")
            elif word == "RUNNING":
                print(f"{number} 0.5 x me r 11/23/2026 01:00:00 all.q@h 1 {index}")
            elif word == "PENDING":
                print(f"{number} 0.5 x me qw 11/23/2026 01:00:00 1 {index}")
    return 0


def cancel(numbers: list[str], grid: bool) -> int:
    with open(HOME / "cancelled", "a", encoding="utf-8") as stream:
        stream.write(" ".join(numbers) + "\n")
    for name in numbers:
        number, _, one = name.replace("_", ".").partition(".")
        folder = HOME / f"job.{number}"
        how = signal.SIGTERM
        if grid:  # KILL, as Grid Engine does, after a warning if that was asked for
            how = signal.SIGUSR2 if (folder / "notify").read_text() == "True" else signal.SIGKILL
        for path in folder.glob(f"pid.{one or '*'}"):
            if not (folder / f"end.{path.suffix[1:]}").exists():
                try:
                    os.killpg(int(path.read_text()), how)
                except ProcessLookupError:
                    pass
        for index in range(1, int((folder / "count").read_text()) + 1):
            if one and int(one) != index:
                continue
            if not (folder / f"pid.{index}").exists():
                (folder / f"end.{index}").write_text("CANCELLED")
    return 0


def main(argv: list[str]) -> int:
    name, words = Path(argv[0]).name, argv[1:]
    if words[:1] == ["work"]:
        work(words[1], int(words[2]), int(words[3]), words[4], words[5], words[6])
        return 0
    if name in ("sbatch", "qsub"):
        return submit(words, name == "qsub")
    if name == "squeue":
        return squeue(words)
    if name == "qstat":
        return qstat(words)
    if name == "qalter":  # -w p <job>
        print(f"Job {words[2]} cannot run: no free slots\nverification: no suitable queues")
        return 1
    if name in ("scancel", "qdel"):
        return cancel(words, name == "qdel")
    if name == "scontrol":  # requeue
        with open(HOME / "requeued", "a", encoding="utf-8") as stream:
            stream.write(" ".join(words) + "\n")
        return 0
    return 1


sys.exit(main(sys.argv))
