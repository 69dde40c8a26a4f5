"""Front end of the back ends: Kaldi's ``cmd [options] [JOB=1:N] [options] <log> <command>...``.

    python -S -m pylib.jobs.cmd <back end> <program> [options] [JOB=1:N] <log> <command>...

<program> is what the user called, such as local/run.sh; it stands in messages.

Back ends: local, slurm (sbatch), sge (qsub), ssh (machines of a list); CMD_BACKEND chooses.
Options of every back end: --mem 2G (of one job), --num-threads n (sets OMP_NUM_THREADS),
--max-jobs-run n, --gpu n, --nodes n (slurm), --time h:m:s, --config FILE (Kaldi's conf grammar, may
declare more; without it conf/slurm.conf, conf/queue.conf or the repository's local/conf/ is used),
--pick all|failed|incomplete: all jobs; those that failed or have no footer; only those without one;
--dry-run true: print what would be given to the scheduler, and run nothing.
Exit codes: 0; 1 a job failed; 2 usage; 75 no worse than jobs that stopped after a checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
import time

from pylib.jobs import backend, conf, files, grammar, logfile, scheduler
from pylib.jobs.grammar import Array, UsageError

LINES = 20  # of the first failed log that are shown
EVERY = 30.0  # seconds between two progress lines where the output is no terminal


class StatusLine:
    """One line of progress: rewritten on a terminal, now and then elsewhere."""

    def __init__(self, name: str, what: str) -> None:
        self.name = name
        self.what = what
        self.terminal = sys.stderr.isatty()
        self.last = time.monotonic()
        self.shown = ""

    def __call__(self, now: backend.Progress) -> None:
        eta = "" if now.eta is None else f", eta {int(now.eta) // 60}:{int(now.eta) % 60:02d}"
        line = (
            f"{self.name}: {self.what}: {now.done} done, {now.running} run, {now.failed} failed "
            f"of {now.total}{eta}"
        )
        due = time.monotonic() - self.last >= (0.5 if self.terminal else EVERY)
        if line != self.shown and due:
            self.last = time.monotonic()
            self.shown = line
            print(f"\r{line}\x1b[K" if self.terminal else line, end="" if self.terminal else "\n",
                  file=sys.stderr, flush=True)  # fmt: skip

    def close(self) -> None:
        """Wipe the line of a terminal."""
        if self.terminal and self.shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def pick(array: Array) -> tuple[list[int], dict[int, int]]:
    """Ids to run, and the codes of those that are not run again.

    A log of another command counts as none.
    """
    how = array.options.get("pick", "all")
    run: list[int] = []
    kept: dict[int, int] = {}
    for job in array.ids():
        log = array.log_of(job)
        end = logfile.end(log) if logfile.is_of(log, array.command_of(job)) else None
        if how == "all" or end is None or (how == "failed" and end.code != 0):
            run.append(job)
        else:
            kept[job] = end.code
    return run, kept


def again(array: Array, program: str) -> str:
    """The command line that runs the failed jobs again."""
    options = {**array.options, "pick": "failed"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    if array.variable is not None:
        words.append(f"{array.variable}={array.first}:{array.last}")
    return shlex.join([program, *words, array.log, *array.command])


def report(array: Array, codes: dict[int, int], program: str) -> None:
    """Tell people what failed, why, and how to go on."""
    failed = sorted(job for job, code in codes.items() if code)
    name = os.path.basename(program)
    where = f"log is in {array.all_logs()}"
    if array.variable is None:
        lines = [f"{name}: job failed with code {codes[failed[0]]}, {where}"]
    else:
        ids = ", ".join(f"{job} (code {codes[job]})" for job in failed[:20])
        more = f" and {len(failed) - 20} more" if len(failed) > 20 else ""
        lines = [
            f"{name}: {len(failed)} / {len(codes)} failed, {where}",
            f"{name}: failed: {array.variable} {ids}{more}",
        ]
    first = array.log_of(failed[0])
    body = logfile.body(logfile.tail(first, 200))
    lines.append(f"{name}: the last lines of {first}:")
    lines += [f"    {line}" for line in body[-LINES:]] or ["    (no output)"]
    cause = logfile.hint(codes[failed[0]], logfile.tail(first, 200))
    if cause:
        lines.append(f"{name}: hint: {cause}")
    lines.append(f"{name}: to run the failed jobs again: {again(array, program)}")
    print("\n".join(lines), file=sys.stderr)


def queue_of(array: Array) -> str:
    """Directory of an array's traffic while it runs: scripts, rc files, the scheduler's output."""
    base = os.path.dirname(array.log_of(array.first)) or "."
    return os.path.join(base, "q", os.path.basename(array.log))


def run(array: Array, back_end: str, program: str, settings: conf.Conf | None) -> dict[int, int]:
    """Run the picked jobs of an array; code of exit by id."""
    ids, codes = pick(array)
    for job in ids:
        log = array.log_of(job)
        os.makedirs(os.path.dirname(log) or ".", exist_ok=True)
        # A job that never starts must not be taken for what an earlier run of it was.
        with contextlib.suppress(FileNotFoundError):
            os.remove(log)
    queue = queue_of(array)
    if not ids:
        return codes
    shutil.rmtree(queue, ignore_errors=True)
    os.makedirs(queue)
    status = StatusLine(os.path.basename(program), array.all_logs())
    try:
        codes.update(backend.load(back_end).run(array, ids, settings, queue, status))
    finally:
        status.close()
    if not any(codes.values()):
        shutil.rmtree(queue, ignore_errors=True)
        try:
            os.rmdir(os.path.dirname(queue))
        except OSError:
            pass  # another array of the same directory is at work
    return codes


def main(argv: list[str]) -> int:
    """See the module's text."""
    if len(argv) < 3 or argv[2] in ("--help", "-h"):
        print(__doc__)
        return 0 if len(argv) == 3 else 2
    back_end, program, words = argv[0], argv[1], argv[2:]
    name = os.path.basename(program)
    settings = None
    try:
        path = _config_path(words) or _site_conf(back_end)
        if path is not None:
            settings = conf.read(path)
        array = grammar.parse(words, settings.declared() if settings else frozenset())
        if array.options.get("dry-run") == "true":
            plan = backend.load(back_end).plan(array, pick(array)[0], settings, queue_of(array))
            print("".join(f"{shlex.join(line)}\n" for line in plan), end="")
            return 0
        codes = run(array, back_end, program, settings)
    except UsageError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    except scheduler.SubmitError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        print(f"{name}: error: {files.advice(error)}", file=sys.stderr)
        return 1
    bad = {code for code in codes.values() if code}
    if not bad:
        return 0
    if bad == {75}:
        print(f"{name}: stopped after a checkpoint, log is in {array.all_logs()}", file=sys.stderr)
        return 75
    report(array, codes, program)
    return 1


def _site_conf(back_end: str) -> str | None:
    """The site's own conf file of a scheduler, if it has one."""
    name = {"slurm": "slurm", "sge": "queue"}.get(back_end)
    return scheduler.site_conf(name, os.environ.get("TRIVIUM_ROOT", ".")) if name else None


def _config_path(words: list[str]) -> str | None:
    """Value of --config before the log: it must be read before the other options are known."""
    for index, word in enumerate(words):
        if word == "--config" and index + 1 < len(words):
            return words[index + 1]
        if word.startswith("--config="):
            return word.partition("=")[2]
        if (
            not word.startswith("--")
            and "=" not in word
            and (index == 0 or not words[index - 1].startswith("--") or "=" in words[index - 1])
        ):
            return None
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
