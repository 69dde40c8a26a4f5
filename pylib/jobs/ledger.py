"""The ledger of stages: one JSON record a stage and output, below ``exp/.stages``.

    python -S -m pylib.jobs.ledger check  <common> --mode auto|rerun|force -- <command>
    python -S -m pylib.jobs.ledger record <common> --rc N -- <command>
    python -S -m pylib.jobs.ledger status <common> -- <command>
    <common> = --ledger DIR --stage N --name NAME [--pid N] [--in PATH...] [--out PATH...]
               [--config NAME=VALUE...]

``check`` exits 0 when the stage is up to date, 10 when it must run (the reason is printed, and the
record says "running" from then on), 1 when it refuses. ``record`` closes what ``check`` began.
A record holds argv, configuration, code, inputs and outputs with their fingerprints, code of exit,
host, times, git revision and package versions; it is written last and atomically, so a stage
without a finished record is not done. local/lib.sh is the caller.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import sys
import time
from typing import Any

from pylib.jobs import codehash, fingerprint
from pylib.jobs.environment import provenance
from pylib.jobs.files import advice, write_whole

OPTIONS = ("ledger", "pid", "stage", "name", "in", "out", "config", "mode", "rc")
RUN = 10  # exit code of `check`: the stage must run


class StageError(Exception):
    """A refusal: one line that says which stage, what is wrong and what to do."""


class Stage:
    """A stage as its recipe states it, and its record.

    Args:
        options: word lists by option name, as :func:`parse` gives them.
        command: the command with its arguments.
    """

    def __init__(self, options: dict[str, list[str]], command: list[str]) -> None:
        self.ledger = options["ledger"][0]
        self.number = options["stage"][0]
        self.name = options["name"][0]
        self.pid = int(options.get("pid", [str(os.getppid())])[0])  # of the recipe
        self.inputs = options.get("in", [])
        self.outputs = options.get("out", [])
        self.command = command
        self.title = f"stage {self.number} ({self.name})"
        self.configuration = fingerprint.configuration(command, options.get("config", []))
        self.root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self.path = os.path.join(self.ledger, self._file_name())
        self.old = self._read()

    def _file_name(self) -> str:
        """``<name>.<first output>.json``: several systems and seeds share one ledger."""
        key = self.outputs[0] if self.outputs else ""
        slug = re.sub(r"[^A-Za-z0-9_.=-]+", "+", key)
        if slug != key.replace("/", "+") or len(slug) > 150:
            slug = f"{slug[:120]}.{hashlib.sha256(key.encode()).hexdigest()[:12]}"
        return f"{self.name}.{slug}.json" if slug else f"{self.name}.json"

    def _read(self) -> dict[str, Any]:
        try:
            with open(self.path, encoding="utf-8") as stream:
                record = json.load(stream)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            return {"state": "unreadable"}
        return record if isinstance(record, dict) else {"state": "unreadable"}

    def write(self, record: dict[str, Any]) -> None:
        """Replace the record atomically."""
        write_whole(self.path, json.dumps(record, indent=1, sort_keys=True) + "\n")

    def code(self) -> dict[str, str]:
        """Hashes of the code that the command reaches."""
        hasher = codehash.CodeHasher(self.root, os.path.join(self.ledger, "code.cache"))
        found = hasher.of_command(self.command, os.getcwd())
        if os.path.isdir(self.ledger):
            hasher.save()
        return found

    def changed_configuration(self) -> str | None:
        """How the recorded configuration differs from today's, when something is there to lose."""
        if "configuration" not in self.old or not any(map(os.path.exists, self.outputs)):
            return None
        return fingerprint.configuration_difference(self.old["configuration"], self.configuration)

    def why_not_done(self) -> str | None:
        """Why the stage must run, or None when it is up to date. Configuration is not looked at."""
        state = self.old.get("state")
        if state is None:
            return "not run yet"
        if state == "running":
            return "it was begun and not finished"
        if state != "done":
            code = f" with code {self.old['rc']}" if "rc" in self.old else ""
            return f"its last run {state}{code}"
        return (
            next((f"{path} is missing" for path in self.outputs if not os.path.exists(path)), None)
            or self._files_changed("outputs")
            or self._files_changed("inputs")
            or self._new_inputs()
            or codehash.difference(self.old.get("code", {}), self.code())
        )

    def _files_changed(self, which: str) -> str | None:
        kind = "output" if which == "outputs" else "input"
        for path, recorded in self.old.get(which, {}).items():
            compare = fingerprint.tree_difference if "files" in recorded else fingerprint.difference
            reason = compare(path, recorded)
            if reason:
                return f"{kind} {reason}"
        return None

    def _new_inputs(self) -> str | None:
        """A file in an input directory that was not there and that no stage made."""
        known = self.old.get("inputs", {})
        before = self.old.get("input_paths", self.inputs)
        for path in self.inputs:
            if path not in before:
                return f"input {path} is new"
        for path in before:
            if path not in self.inputs:
                return f"{path} is no input any more"
        new = set(self._in_directories()) - set(known)
        new -= self._made_by_stages() if new else set()
        return f"input {min(new)} is new" if new else None

    def _made_by_stages(self) -> set[str]:
        made: set[str] = set()
        for name in os.listdir(self.ledger):
            if name.endswith(".json"):
                with open(os.path.join(self.ledger, name), encoding="utf-8") as stream:
                    record = json.load(stream)
                for part in ("outputs", "previous", "also"):
                    made.update(record.get(part, ()))
        return made

    def begin(self, mode: str) -> None:
        """Mark the stage as running.

        The record keeps the inputs as they are now: what the stage itself adds to a directory that
        it reads is its output.
        """
        record = {
            "state": "running",
            "stage": self.number,
            "name": self.name,
            "argv": self.command,
            "configuration": self.configuration,
            "input_paths": self.inputs,
            "inputs": fingerprint.of_paths(self.inputs, recurse=False),
            "code": self.code(),
            "start": time.time(),
            "host": socket.gethostname(),
            "pid": self.pid,
            "mode": mode,
            "previous": sorted({*self.old.get("outputs", {}), *self.old.get("previous", [])}),
        }
        self.write(record)

    def finish(self, rc: int) -> None:
        """Close the record that :meth:`begin` made with the command's code of exit.

        Raises:
            StageError: the command said it succeeded, but an output is not there.
        """
        record = dict(self.old)
        start = record.get("start", time.time())
        record.update(rc=rc, end=time.time(), **provenance(self.root))
        missing = [path for path in self.outputs if not os.path.exists(path)]
        if rc != 0 or missing:
            record["state"] = "stopped after a checkpoint" if rc == 75 else "failed"
            self.write(record)
            if rc == 0:
                raise StageError(
                    f"{self.title} ended without an error but did not make {missing[0]}: the "
                    f"command {self.command[0]} and the stage's --out disagree"
                )
            return
        # Files of a directory that it reads, which the stage itself wrote: neither input nor, as
        # later stages may add to them, output.
        inputs = record.get("inputs", {})
        also = {path for path in inputs if self._is_own(path, inputs)}
        also |= set(self._in_directories()) - set(inputs) - self._made_by_stages()
        record["inputs"] = {path: found for path, found in inputs.items() if path not in also}
        record["also"] = sorted(also)
        record["outputs"] = self._outputs(start, set(record.pop("previous", [])))
        record["state"] = "done"
        self.write(record)

    def _is_own(self, path: str, inputs: dict[str, Any]) -> bool:
        """Whether the stage rewrote this file of a directory that it reads."""
        if path in self.inputs or "files" in inputs[path]:
            return False
        return fingerprint.difference(path, inputs[path]) is not None

    def _in_directories(self) -> list[str]:
        """Files directly in the input directories, but for those known by one digest."""
        tops = [path.rstrip("/") for path in self.inputs if os.path.isdir(path)]
        known = self.old.get("inputs", {})
        return [
            file
            for top in tops
            if f"{top}/" not in known
            for file in fingerprint.walk(top, recurse=False)
        ]

    def _outputs(self, start: float, previous: set[str]) -> dict[str, Any]:
        """Fingerprints of what this run made.

        In a directory that other stages fill too, a file counts when this run wrote it or an
        earlier run of this stage did.
        """
        found: dict[str, Any] = {}
        for path in self.outputs:
            files = fingerprint.of_paths([path])
            if os.path.isdir(path):
                fresh = {
                    name: entry
                    for name, entry in files.items()
                    if name in previous or entry.get("mtime_ns", 0) / 1e9 >= start - 0.01
                }
                files = fresh or files
            found.update(files)
        return found


def check(stage: Stage, mode: str) -> int:
    """Decide whether ``stage`` runs; prints the reason. See the module's text for the codes."""
    missing = [path for path in stage.inputs if not os.path.exists(path)]
    if missing:
        raise StageError(
            f"{stage.title} needs {missing[0]}, which is not there: run the stage that makes it "
            "first (--list-stages shows the order)"
        )
    changed = stage.changed_configuration()
    if mode == "rerun":
        reason: str | None = "asked for by --stage"
    elif changed and mode != "force":
        raise StageError(
            f"{stage.title} was made with {changed}: rerun with --stage {stage.number}, "
            "or --force true"
        )
    else:
        reason = f"made with {changed}" if changed else stage.why_not_done()
    if reason is None:
        return 0
    print(reason)
    stage.begin(mode)
    return RUN


def status(stage: Stage) -> int:
    """Print one line on what the ledger knows."""
    old = stage.old
    state = old.get("state", "not run yet")
    if state == "done":
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(old["end"]))
        state = f"done {when} in {old['end'] - old['start']:.1f} s"
        changed = stage.changed_configuration()
        reason = f"made with {changed}" if changed else stage.why_not_done()
        if reason:
            state = f"out of date: {reason} (last {state})"
    elif state == "running":
        alive = os.path.exists(f"/proc/{old['pid']}") and old["host"] == socket.gethostname()
        state = f"running as process {old['pid']}" if alive else "was killed before it ended"
    elif "rc" in old:
        state = f"{state} with code {old['rc']}"
    out = f" {stage.outputs[0]}" if stage.outputs else ""
    print(f"{stage.number:>3} {stage.name:<14}{out}: {state}")
    return 0


def parse(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Options with all their values, and the command after ``--``."""
    if "--" not in words:
        raise StageError("ledger: no -- before the command")
    cut = words.index("--")
    options: dict[str, list[str]] = {}
    current: list[str] = []
    for word in words[:cut]:
        if word.startswith("--"):
            if word[2:] not in OPTIONS:
                raise StageError(f"ledger: unknown option {word}")
            current = options.setdefault(word[2:], [])
        else:
            current.append(word)
    if cut + 1 == len(words):
        raise StageError("ledger: no command after --")
    return options, words[cut + 1 :]


def main(argv: list[str]) -> int:
    """See the module's text."""
    try:
        options, command = parse(argv[1:])
        absent = [name for name in ("ledger", "stage", "name") if len(options.get(name, ())) != 1]
        if absent:
            raise StageError(f"ledger: one word for --{absent[0]} is needed")
        stage = Stage(options, command)
        if argv[0] == "status":
            return status(stage)
        os.makedirs(stage.ledger, exist_ok=True)
        if argv[0] == "check":
            return check(stage, options["mode"][0])
        if argv[0] == "record":
            stage.finish(int(options["rc"][0]))
            return 0
        raise StageError(f"ledger: unknown verb {argv[0]}")
    except StageError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"ledger: {advice(error)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
