"""Damaged inputs through every reader, in a process with limits, and a table of what came of it.

    python -m tests.mutations --count 10000 --seed 1 --out tests/mutations/results.json

The readers run in a child with a bound on its memory; this process watches each input and ends the
child when one takes too long. Case i of a reader is the same for a seed, whatever the count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CPU_LIMIT = 20.0  # seconds of one input, of processor time ...
WALL_LIMIT = 180.0  # ... and by the clock, on a machine that has other work
MEMORY = 1 << 30  # bytes that the readers may take beyond what the libraries have mapped
_WATCHED = 0.5  # seconds between looks at the child


def readers(faulty: bool = False) -> dict[str, Any]:
    """All readers by name; `faulty`: those that the engine is tried on instead."""
    from tests.mutations import bad_readers, corpus_readers, model_readers, score_readers

    # Those that need torch come last: the others' children are small.
    parts: tuple[Any, ...] = (corpus_readers, score_readers, model_readers)
    if faulty:
        parts = (bad_readers,)
    return {reader.name: reader for part in parts for reader in part.READERS}


def child(names: list[str], count: int, seed: int, skip: int) -> None:
    """Cases `skip` .. `count` - 1 of the first reader and all of the others; a line each."""
    from tests.mutations.case import Bench

    # What is only a test's input need not survive a power cut; fsync is most of its time.
    os.fsync = lambda descriptor: None
    out, err = os.fdopen(os.dup(1), "w", buffering=1), os.fdopen(os.dup(2), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.dup2(2, 1)  # libraries print what they like
    every = readers() | readers(faulty=True)
    for name in names:
        work = Path(tempfile.mkdtemp(dir=os.getcwd())) / "case"
        work.mkdir()
        home = os.getcwd()
        os.chdir(work)
        try:
            resource.setrlimit(resource.RLIMIT_AS, (-1, -1))  # libraries are mapped by the example
            bench = Bench(every[name])
            _bound_memory()
            for index in range(skip, count):
                print(json.dumps({"begin": index, "reader": name}), file=out)
                done = bench.run(seed, index)
                line = {"end": index, "verdict": done.verdict, "seconds": done.seconds}
                if done.verdict == "defect":
                    line |= {"what": done.what, "ways": done.ways}
                print(json.dumps(line), file=out)
        except BaseException:  # of making the example: a case's own are judged
            traceback.print_exc(file=err)
            raise
        finally:
            os.chdir(home)
            shutil.rmtree(work.parent, ignore_errors=True)
        skip = 0


def _bound_memory() -> None:
    mapped = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    limit = mapped * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, -1))


def _processor_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Watch:
    """Runs children until every case is done; keeps the table."""

    def __init__(self, names: list[str], count: int, seed: int, limit: float = CPU_LIMIT) -> None:
        self.names, self.count, self.seed, self.limit = names, count, seed, limit
        fresh = {"mutations": 0, "accepted": 0, "refused": 0, "defects": 0, "slowest_s": 0.0}
        self.rows = {name: {"reader": name, **fresh} for name in names}
        self.found: list[dict[str, Any]] = []

    def note(self, name: str, index: int, line: dict[str, Any]) -> None:
        row = self.rows[name]
        row["mutations"] += 1
        row["defects" if line["verdict"] == "defect" else line["verdict"]] += 1
        row["slowest_s"] = max(row["slowest_s"], round(line["seconds"], 3))
        if line["verdict"] == "defect":
            self.found.append({"reader": name, "case": index, **line})

    def run(self) -> None:
        """All cases of all readers, a new child after each that was lost."""
        left, skip = list(self.names), 0
        with tempfile.TemporaryDirectory() as folder:
            while left:
                name, index, why = self._child(left, skip, folder)
                if not why:
                    return
                if index < 0:
                    raise SystemExit(f"{name}: the child ended before its first case: {why}")
                self.note(name, index, {"verdict": "defect", "what": why, "seconds": 0.0})
                left, skip = left[left.index(name) :], index + 1

    def _child(self, names: list[str], skip: int, folder: str) -> tuple[str, int, str]:
        """(reader, case, why) where a child was lost; why is '' when all are done."""
        words = ["--child", "--seed", str(self.seed), "--count", str(self.count)]
        command = [sys.executable, "-m", "tests.mutations", *words, "--skip", str(skip)]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": folder}
        with subprocess.Popen(
            [*command, "--readers", ",".join(names)], stdout=subprocess.PIPE, cwd=folder, env=env
        ) as process:
            name, index, why = self._follow(process, names[0])
            process.kill()
        return name, index, why

    def _follow(self, process: subprocess.Popen[bytes], name: str) -> tuple[str, int, str]:
        assert process.stdout is not None
        descriptor, pending, index = process.stdout.fileno(), b"", -1
        began, spent = time.monotonic(), 0.0
        while True:
            if select.select([descriptor], [], [], _WATCHED)[0]:
                block = os.read(descriptor, 1 << 16)
                if not block:
                    code = process.wait()
                    return name, index, "" if code == 0 else f"the process ended with {code}"
                *lines, pending = (pending + block).split(b"\n")
                for line in map(json.loads, lines):
                    if "begin" in line:
                        name, index = line["reader"], line["begin"]
                    else:
                        self.note(name, index, line)
                began, spent = time.monotonic(), _processor_seconds(process.pid)
            elif index >= 0 and (
                _processor_seconds(process.pid) - spent > self.limit
                or time.monotonic() - began > WALL_LIMIT
            ):
                return name, index, f"no answer within {self.limit:g} s of processor time"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for a terminal."""
    head = (
        f"{'reader':<24} {'mutations':>9} {'accepted':>9} {'refused':>9} {'defects':>8} "
        f"{'slowest s':>10}"
    )
    lines = [
        f"{r['reader']:<24} {r['mutations']:>9} {r['accepted']:>9} {r['refused']:>9} "
        f"{r['defects']:>8} {r['slowest_s']:>10.3f}"
        for r in rows
    ]
    return "\n".join([head, *lines])


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="mutations over all readers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON of the rows")
    parser.add_argument("--readers", default="", help="names, comma-separated (default: all)")
    parser.add_argument("--case", type=int, help="one case of one reader, here, with its traceback")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--skip", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        child(args.readers.split(","), args.count, args.seed, args.skip)
        return 0
    every = readers()
    names = args.readers.split(",") if args.readers else list(every)
    unknown = [name for name in names if name not in every]
    if unknown:
        parser.error(f"no reader '{unknown[0]}': {', '.join(every)}")
    watch = Watch(names, -(-args.count // len(names)), args.seed)
    watch.run()
    rows = list(watch.rows.values())
    print(table(rows))
    for defect in watch.found:
        print(f"defect: {defect}")
    total = sum(row["mutations"] for row in rows)
    print(f"{total} mutations, {len(watch.found)} defects")
    if args.out:
        text = json.dumps({"seed": args.seed, "rows": rows, "found": watch.found}, indent=1)
        args.out.write_text(text + "\n", encoding="utf-8")
    return 1 if watch.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
