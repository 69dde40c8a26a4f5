"""Kills a recipe with -9 again and again, and compares what it ends with.

    python -m tests.e2e.crash --recipe librispeech --kills 50 --seed 1 --work DIR [--out FILE.json]
        [-- options of the recipe]

The smoke preset runs undisturbed in ``DIR/run/exp``, which is then moved to ``DIR/undisturbed``; it
runs again at the same path, its whole process tree is killed at random instants of chosen stages
and the same command is started again, until it ends. A kill counts when it hit a running stage: the
next run finds that stage begun and not finished. After each kill nothing half-written may be there
under a final name (:class:`tests.e2e.outputs.Watch`); at the end every output is compared with the
undisturbed run's (:func:`tests.e2e.outputs.compare`). ``--out`` gets the row of the table that
``python -m tests.e2e.reliability`` makes.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.helpers import kill_tree, tree_of
from tests.e2e.outputs import Watch, compare

ROOT = Path(__file__).resolve().parents[2]
#: One process at a time: shards of an array one after another, trainings with one thread.
OPTIONS = (
    "--preset", "smoke", "--threads", "1", "--nj", "2",
    "--train-cmd", "local/run.sh --max-jobs-run 1", "--decode-cmd", "local/run.sh --max-jobs-run 1",
)  # fmt: skip
LINE = re.compile(r"\(run\.sh:\d+:\w+\) stage (\d+) \(([\w-]+)\): (.*)")
MARK = "TRIVIUM_CRASH_RUN"  # in the environment of everything that a run starts
SILENCE = 1800.0  # seconds without a word after which a run counts as hanging


@dataclass(frozen=True)
class Event:
    """A stage of a run: the how-manieth of the run, its name, what the guard says of it."""

    index: int
    name: str
    text: str

    @property
    def begins(self) -> bool:
        return not self.ends and self.text != "up to date"

    @property
    def ends(self) -> bool:
        return re.match(r"done in \d+ s", self.text) is not None


class Run:
    """One start of a recipe; its lines are read by a thread and kept with their times."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.mark = uuid.uuid4().hex
        self.tail: list[str] = []
        self._events: queue.Queue[Event | None] = queue.Queue()
        self._log = log
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, MARK: self.mark},
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        index = -1
        assert self.process.stdout is not None
        with self._log.open("a", encoding="utf-8") as log:
            for line in self.process.stdout:
                log.write(f"{time.time():.2f} {self.used():.2f} {line}")
                log.flush()
                self.tail = [*self.tail[-30:], line]
                found = LINE.search(line)
                if found:
                    index += not Event(index, found[2], found[3]).ends
                    self._events.put(Event(index, found[2], found[3]))
        self._events.put(None)

    def event(self, timeout: float) -> Event | None:
        """The next event, None at the end. Raises queue.Empty when there is none in time."""
        return self._events.get(timeout=max(timeout, 0.0))

    def used(self) -> float:
        """Processor seconds of everything that this run has started so far."""
        return sum(map(_processor_seconds, tree_of(self.process.pid)))

    def kill(self) -> None:
        """kill -9 the whole tree, and whoever was being started meanwhile, until none is left."""
        kill_tree(self.process.pid)
        self.process.wait()
        while left := self._survivors():
            for pid in left:
                kill_tree(pid)
            time.sleep(0.02)
        self._thread.join()

    def _survivors(self) -> list[int]:
        wanted, found = f"{MARK}={self.mark}".encode(), []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended, or is not ours
        return found


def _processor_seconds(pid: int) -> float:
    """Of a process and of its children that have ended; 0 when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0.0
    fields = stat.rpartition(")")[2].split()  # from the state on: utime is the 12th
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def stage_times(log: Path) -> list[tuple[str, float]]:
    """(name, processor seconds) of the stages of an undisturbed run, in order, from its log."""
    times: list[tuple[str, float]] = []
    began = used = 0.0
    for line in log.read_text(encoding="utf-8").splitlines():
        _, told, text = line.split(" ", 2)
        used = max(used, float(told))  # what has ended and has no parent any more is not counted
        found = LINE.search(text)
        if found and Event(0, found[2], found[3]).ends:
            times.append((found[2], used - began))
        elif found:
            began = used
    return times


def draw(times: list[tuple[str, float]], kills: int, rng: random.Random) -> list[int]:
    """How often each stage is to be killed: each name once, each stage once, then by duration."""
    order = list(range(len(times)))
    rng.shuffle(order)
    firsts = list({times[index][0]: index for index in order}.values())
    order = [*firsts, *(index for index in order if index not in firsts)]
    rest = max(kills - len(order), 0)
    chosen = order[:kills] + rng.choices(order, [times[i][1] + 1 for i in order], k=rest)
    return [chosen.count(index) for index in range(len(times))]


@dataclass
class Tally:
    """What happened so far."""

    hits: Counter[str] = field(default_factory=Counter)  # kills of running stages, by stage
    beside: int = 0  # kills that came as the stage ended: not counted
    redone: list[str] = field(default_factory=list)  # finished stages that had to run again
    restarts: int = 0
    faults: list[str] = field(default_factory=list)
    failed: str = ""  # a run that ended by itself with an error


class Crasher:
    """Drives the disturbed run."""

    def __init__(
        self, command: list[str], work: Path, times: list[tuple[str, float]], kills: int, seed: int
    ) -> None:
        self.command, self.work, self.times = command, work, times
        self.rng = random.Random(seed)
        self.owed = draw(times, kills, self.rng)
        self.missed = 0  # drawn for stages that ended before: made up for in later ones
        self.tally = Tally()
        self.watch = Watch(work / "run")
        self._hit: Event | None = None  # the last kill, until the next run confirms it

    def go(self) -> Tally:
        """Kill and restart until the recipe has ended and all kills are spent."""
        extra: list[str] = []
        while not self.tally.failed:
            run = Run([*self.command, *extra], self.work / "disturbed.log")
            over, extra = self._one(run), []
            self.tally.faults += [f"after a kill: {fault}" for fault in self.watch.faults()]
            if over and not self.missed:
                break
            if over:  # the last stage once more, for the kills that came too late
                extra = ["--stage", self.times[-1][0]]
                self.owed[-1], self.missed = self.missed, 0
            self.tally.restarts += not over
        return self.tally

    def _one(self, run: Run) -> bool:
        """One start of the recipe: until it is killed (False) or has ended (True)."""
        current, until = None, None  # the stage to be hit, and after how much work of the run
        offset = 0 if "--stage" not in run.process.args else len(self.times) - 1
        heard = time.monotonic()
        while True:
            try:
                event = run.event(1.0 if until is None else 0.1)
            except queue.Empty:
                if until is not None and run.used() >= until:
                    run.kill()
                    self._spend(current)
                    return False
                if time.monotonic() - heard > SILENCE:
                    run.kill()
                    self.tally.failed = f"hanging in {current and current.name}"
                    return False
                continue
            heard = time.monotonic()
            if event is None:
                return self._ended(run)
            event = Event(event.index + offset, event.name, event.text)
            self._confirm(event)
            if event.begins:
                current, until = event, self._instant(event, run)
            elif until is not None or not event.ends:  # ended before its kill, or up to date
                self.missed += self.owed[event.index]
                self.owed[event.index], current, until = 0, None, None

    def _instant(self, event: Event, run: Run) -> float | None:
        """How much work this run will have done when this stage is killed, if it is.

        Work, not time: on a busy machine too the kills spread over the whole of a stage.
        """
        if not self.owed[event.index] and self.missed:
            self.missed -= 1
            self.owed[event.index] += 1
        if not self.owed[event.index]:
            return None
        return run.used() + self.rng.random() * self.times[event.index][1]

    def _spend(self, event: Event | None) -> None:
        assert event is not None
        self.owed[event.index] -= 1
        self.tally.beside += self._hit is not None
        self._hit = event

    def _confirm(self, event: Event) -> None:
        """Whether the stage that was killed has to run again: then it was hit."""
        if self._hit is None:
            return
        if event.index < self._hit.index and event.begins:
            self.tally.redone.append(f"{event.name}: {event.text}")
        if event.index != self._hit.index:
            return
        if event.begins:
            self.tally.hits[event.name] += 1
        else:
            self.tally.beside += 1
            self.missed += 1
        self._hit = None

    def _ended(self, run: Run) -> bool:
        code = run.process.wait()
        run.kill()
        if code:
            self.tally.failed = f"code {code}: " + "".join(run.tail[-8:])
        return True


def undisturbed(command: list[str], work: Path) -> list[tuple[str, float]]:
    """Run the recipe in peace, unless that was done; durations of its stages."""
    kept, log = work / "undisturbed", work / "undisturbed.log"
    if not kept.exists():
        shutil.rmtree(work / "run", ignore_errors=True)
        log.unlink(missing_ok=True)
        (work / "run").mkdir(parents=True)
        run = Run(command, log)
        code = run.process.wait()
        run.kill()
        if code:
            raise SystemExit(f"the undisturbed run failed with code {code}, see {log}")
        (work / "run").rename(kept)
    return stage_times(log)


def crash(recipe: str, kills: int, seed: int, work: Path, options: Sequence[str]) -> dict[str, Any]:
    """The experiment with a recipe of this repository; the row of its outcome."""
    script = ["bash", str(ROOT / "egs" / recipe / "run.sh"), *OPTIONS, *options]
    row = experiment(script, kills, seed, work)
    return {"kind": "crash", "recipe": recipe, "options": list(options), **row}


def experiment(script: list[str], kills: int, seed: int, work: Path) -> dict[str, Any]:
    """Run a recipe in peace, then with kills; what came of it."""
    work.mkdir(parents=True, exist_ok=True)
    command = [*script, "--exp", str(work / "run" / "exp")]
    times = undisturbed(command, work)
    shutil.rmtree(work / "run", ignore_errors=True)
    (work / "disturbed.log").unlink(missing_ok=True)
    (work / "run").mkdir()
    start = time.monotonic()
    crasher = Crasher(command, work, times, kills, seed)
    tally = crasher.go()
    seconds = time.monotonic() - start
    again = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    calm = not tally.failed and "everything is up to date" in again.stdout
    found = compare(work / "undisturbed", work / "run")
    return {
        "seed": seed,
        "kills": sum(tally.hits.values()),
        "kills_by_stage": {name: tally.hits[name] for name, _ in times},
        "not_counted": tally.beside,
        "restarts": tally.restarts,
        "redone": tally.redone,
        "stages": len(times),
        "compared": found.compared,
        "identical": len(found.identical),
        "equal_but_for_times": found.masked,
        "differing": found.differing,
        "missing": found.missing,
        "extra": found.extra,
        "left_out": dict(found.left_out),
        "half_written": tally.faults,
        "temporary_files_left": crasher.watch.passing(),
        "up_to_date_afterwards": calm,
        "failed": tally.failed,
        "processor_seconds_undisturbed": round(sum(used for _, used in times), 1),
        "seconds": round(seconds, 1),
        "commit": subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        ).stdout.strip(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def faults(row: dict[str, Any]) -> list[str]:
    """What is wrong with an outcome; empty when nothing is."""
    names = ("differing", "missing", "extra", "redone", "half_written", "temporary_files_left")
    found = [f"{name}: {item}" for name in names for item in row[name]]
    found += [f"failed: {row['failed']}"] if row["failed"] else []
    return found if row["up_to_date_afterwards"] else [*found, "the run after it had work to do"]


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True, choices=("librispeech", "vctk", "lrs3"))
    parser.add_argument("--kills", type=int, default=50, help="kills of running stages")
    parser.add_argument("--seed", type=int, default=1, help="seed of stages and instants")
    parser.add_argument("--work", type=Path, required=True, help="directory of both runs")
    parser.add_argument("--out", type=Path, help="the outcome, JSON")
    parser.add_argument("options", nargs="*", help="options of the recipe, after --")
    args = parser.parse_args()
    row = crash(args.recipe, args.kills, args.seed, args.work.resolve(), args.options)
    text = json.dumps(row, indent=1) + "\n"
    if args.out:
        temporary = args.out.with_name(f"{args.out.name}.new")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(args.out)
    print(text, end="")
    found = faults(row)
    print("\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
