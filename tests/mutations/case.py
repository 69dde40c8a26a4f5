"""One damaged input through one reader: what came of it, and whether that is allowed.

Allowed are (a) a result that is plausible by the reader's own rule, and (b) a refusal: a
`UserError`, or an operating-system error with a file name (`pylib.bin.entry` prints both as
`where: what: how to fix`), that names a file of the example and leaves everything as it was.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pylib.corpus.errors import UserError
from tests.mutations.mutate import kind_of, mutate

HERE = Path("ex")  # where an example lies, below the working directory


@dataclass(frozen=True)
class Reader:
    """A reader under test.

    Attributes:
        name: in the table.
        rule: when an accepted input is plausible, in words.
        make: writes a valid example below HERE.
        read: reads it; gives what `check` looks at.
        check: '' where a result is plausible for the files as they are, else what is wrong.
        targets: files (patterns) that are damaged, relative to HERE; the more often named, the more
            often.
        writes: names below the working directory that an accepted input may change.
        keeps: whether what is refused may have been written all the same (a copy, which is
            validated where it lies).
    """

    name: str
    rule: str
    make: Callable[[], None]
    read: Callable[[], Any]
    check: Callable[[Any], str]
    targets: tuple[str, ...]
    writes: tuple[str, ...] = ()
    keeps: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of one input.

    verdict: accepted, refused or defect; what: of a defect; seconds: of CPU time.
    """

    verdict: str
    what: str
    ways: str
    seconds: float


class Bench:
    """The example of a reader in the working directory, made once and put back after each case."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        reader.make()
        self.whole = _contents()
        self.targets = [str(p) for name in reader.targets for p in sorted(HERE.glob(name))]
        with _silent():
            found = reader.check(reader.read())
        if found:
            raise AssertionError(f"{reader.name}: the valid example is found wrong: {found}")
        self.restore()

    def restore(self) -> None:
        """Make the working directory what it was."""
        now = _contents()
        for name in now.keys() - self.whole.keys():
            Path(name).unlink()
        for name, data in self.whole.items():
            if now.get(name) != data:
                Path(name).parent.mkdir(parents=True, exist_ok=True)
                Path(name).write_bytes(data)
        for folder, _, _ in sorted(os.walk("."), reverse=True):
            if folder != "." and not os.listdir(folder):
                os.rmdir(folder)

    def run(self, seed: int, index: int) -> Outcome:
        """Case `index`: damage a file, read, judge, put back."""
        rng = random.Random(f"{seed} {self.reader.name} {index}")
        name = rng.choice(self.targets)
        ways, data = mutate(self.whole[name], kind_of(name), rng)
        try:
            return self.judge(name, data, ways)
        finally:
            self.restore()

    def judge(self, name: str, data: bytes, ways: str = "") -> Outcome:
        """Read with `data` as file `name`."""
        Path(name).write_bytes(data)
        before = _contents()
        started = time.process_time()
        refused, what = "", ""
        try:
            with _silent():
                result = self.reader.read()
                what = self.reader.check(result)
                del result
        except UserError as error:
            refused = str(error)
        except OSError as error:
            refused = f"{error.filename}: {error.strerror}: hint" if error.errno else ""
            what = "" if error.errno and error.filename else f"{type(error).__name__}: {error}"
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            what = f"{_place(error)}: {type(error).__name__}: {str(error)[:200]}"
        seconds = time.process_time() - started
        what = what or (_unclear(refused) if refused else "")
        if not what:
            what = _changed(before, () if refused and not self.reader.keeps else self.reader.writes)
        ways = f"{name}: {ways}"
        if what:
            return Outcome("defect", what, ways, seconds)
        return Outcome("refused" if refused else "accepted", "", ways, seconds)


@contextlib.contextmanager
def _silent():
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _contents() -> dict[str, bytes]:
    """Every file below the working directory."""
    return {
        os.path.join(folder, name)[2:]: Path(folder, name).read_bytes()
        for folder, _, names in os.walk(".")
        for name in names
    }


def _place(error: BaseException) -> str:
    """Where in our code an exception came from."""
    place, trace = "?", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if f"{os.sep}pylib{os.sep}" in code.co_filename:
            place = f"{code.co_filename.rpartition(f'{os.sep}pylib{os.sep}')[2]}:{code.co_name}"
        trace = trace.tb_next
    return place


def _unclear(message: str) -> str:
    """What a refusal lacks: the name of a file, and `where: what: how to fix`."""
    first = message.split("\n")[0]
    if not re.search(r"(^|[^\w])ex([/:,\s]|$)|\b(key|utterance) '", message):
        return f"the refusal names no file and no key: {first[:200]}"
    if first.count(": ") < 2:
        return f"the refusal is not 'where: what: how to fix': {first[:200]}"
    return ""


def _changed(before: dict[str, bytes], writes: tuple[str, ...]) -> str:
    """What lies in the working directory now that should not."""
    for name, data in _contents().items():
        if name.startswith(writes):  # of no names: never
            if ".tmp-" in name:
                return f"left a temporary file: {name}"
            continue
        if name not in before:
            return f"wrote {name}"
        if data != before[name]:
            return f"changed {name}"
    lost = [name for name in before if not os.path.exists(name) and not name.startswith(writes)]
    if lost:
        return f"removed {lost[0]}"
    outside = [name for name in os.listdir("..") if name != Path.cwd().name]
    return f"wrote outside: {outside[0]}" if outside else ""
