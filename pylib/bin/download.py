"""Fetch items of a table of open files; go on where an earlier run stopped."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pylib.bin.entry import run
from pylib.corpus.download import Checksum, fetch, unpack_tar, unpack_zip
from pylib.corpus.errors import UserError


@dataclass(frozen=True)
class Item:
    """One line of the table.

    Attributes:
        name: what it is asked for by.
        action: `file`, or `tar:<top>/<made>`: unpack, `<top>/<made>` is there
            afterwards, or `zip:<made>`: unpack as the directory `<made>`.
        url: where it is.
        checksum: None when nobody has published one.
    """

    name: str
    action: str
    url: str
    checksum: Checksum | None


def read_items(path: Path) -> dict[str, Item]:
    """Read `<name> <action> <url> <checksum>` lines; `#` starts a comment line.

    Raises:
        UserError: a line of another form, with its number.
    """
    items: dict[str, Item] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) != 4 or not (fields[1] == "file" or fields[1].startswith(("tar:", "zip:"))):
            raise UserError(
                f"{path}:{number}: not `name file|tar:<top>/<made>|zip:<made> url checksum`"
            )
        items[fields[0]] = Item(fields[0], fields[1], fields[2], Checksum.parse(fields[3]))
    return items


class _Report:
    """A line on stderr at most every five seconds."""

    def __init__(self, name: str) -> None:
        self._name, self._start, self._last, self._first = name, time.monotonic(), 0.0, -1

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        self._first = done if self._first < 0 else self._first
        if now - self._last < 5 and done != total:
            return
        self._last = now
        speed = (done - self._first) / max(now - self._start, 1e-3)
        line = f"{self._name}: {done / 1e6:.0f} of {max(total, 0) / 1e6:.0f} MB"
        if speed > 0 and total > done:
            line += f", {speed / 1e6:.1f} MB/s, {(total - done) / speed / 60:.0f} min left"
        print(line, file=sys.stderr, flush=True)


def fetch_item(item: Item, url: str, directory: Path, keep: bool, retries: int) -> str:
    """Fetch (and unpack) one item into `directory`; says in a few words what was done."""
    target = directory / url.rpartition("/")[2]
    unchecked = "" if item.checksum else " (no checksum is known for it)"
    if item.action == "file":
        new = fetch(url, target, item.checksum, retries=retries, progress=_Report(item.name))
        return ("fetched" if new else "is there already") + unchecked
    kind, _, name = item.action.partition(":")
    made = directory / name
    if made.is_dir():
        return "is there already"
    fetch(url, target, item.checksum, retries=retries, progress=_Report(item.name))
    print(f"{item.name}: unpacking", file=sys.stderr, flush=True)
    if kind == "zip":
        unpack_zip(target, made)
    else:
        unpack_tar(target, directory, name.partition("/")[0])
    if not made.is_dir():
        raise UserError(f"{target}: does not hold {name}: remove it")
    if not keep:
        target.unlink()
    return "fetched and unpacked" + unchecked


def main(argv: list[str]) -> int:
    """Returns 0 when every item is there; raises UserError otherwise."""
    parser = argparse.ArgumentParser(prog="download", description=__doc__)
    parser.add_argument("--mirror", action="append", default=[], metavar="PREFIX=URL")
    parser.add_argument("--keep-archives", choices=("true", "false"), default="false")
    parser.add_argument("--retries", type=int, default=5)
    parser.add_argument("table", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="+")
    arguments = parser.parse_args(argv)
    items = read_items(arguments.table)
    unknown = [name for name in arguments.names if name not in items]
    if unknown:
        raise UserError(f"{unknown[0]}: not in {arguments.table}: known are {', '.join(items)}")
    mirrors = [mirror.partition("=")[::2] for mirror in arguments.mirror]
    for name in arguments.names:
        url = items[name].url
        for prefix, replacement in mirrors:
            if url.startswith(prefix):
                url = replacement + url.removeprefix(prefix)
        keep = arguments.keep_archives == "true"
        what = fetch_item(items[name], url, arguments.directory, keep, arguments.retries)
        print(f"{name}: {what}")
    return 0


if __name__ == "__main__":
    run(main)
