"""Fingerprints of files and of a stage's configuration: what the ledger compares.

A file is known by its size and modification time; when only the time differs, a file below
``SMALL`` bytes is compared by its SHA-256, so copying an experiment or touching a table does not
make it stale. Larger files are not read.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Iterator
from typing import Any

SMALL = 1 << 20  # bytes; below it a file's content is hashed
MANY = 500  # files; a larger directory is known by one digest of names and sizes

# Options that say how a stage is run, not what it makes (training shares one update's batches among
# its processes, so their number changes rounding only).
VOLATILE = frozenset(
    {"cmd", "nj", "num-threads", "max-jobs-run", "verbose", "dry-run"}
    | {"threads", "nproc", "ngpu", "num-nodes", "rendezvous", "device", "gpu"}
)

# Tables with one line a key, for which a change is told in keys.
TABLE = re.compile(r"(\.scp|\.ctm|/(text|segments|utt2[a-z_]+|spk2[a-z_]+|reco2[a-z_]+))$")


def of_file(path: str) -> dict[str, Any]:
    """``{"size", "mtime_ns"[, "sha256"][, "keys"]}`` of a file.

    Raises:
        OSError: the file cannot be read.
    """
    stat = os.stat(path)
    found: dict[str, Any] = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if stat.st_size < SMALL:
        with open(path, "rb") as stream:
            data = stream.read()
        found["sha256"] = hashlib.sha256(data).hexdigest()
        if TABLE.search(path):
            found["keys"] = data.count(b"\n")
    elif TABLE.search(path):
        with open(path, "rb") as stream:
            found["keys"] = sum(
                block.count(b"\n") for block in iter(lambda: stream.read(SMALL), b"")
            )
    return found


def difference(path: str, recorded: dict[str, Any]) -> str | None:
    """Why ``path`` is not the recorded file, or None when it is."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return f"{path} is gone"
    if stat.st_size == recorded["size"]:
        if stat.st_mtime_ns == recorded["mtime_ns"]:
            return None
        if "sha256" in recorded and of_file(path)["sha256"] == recorded["sha256"]:
            return None
    if "keys" in recorded:
        keys = of_file(path).get("keys")
        if keys != recorded["keys"]:
            return f"{path} changed ({recorded['keys']} -> {keys} lines)"
    return f"{path} changed"


def walk(top: str, recurse: bool = True) -> Iterator[str]:
    """Files below ``top`` that count: no hidden ones, no logs, no split or backup directories."""
    with os.scandir(top) as entries:
        for entry in sorted(entries, key=lambda item: item.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if (
                    recurse
                    and entry.name != "log"
                    and not re.fullmatch(r"split\d+(utt)?", entry.name)
                ):
                    yield from walk(entry.path)
            elif not entry.name.endswith(".log"):
                yield entry.path


def of_paths(paths: list[str], recurse: bool = True) -> dict[str, dict[str, Any]]:
    """Fingerprints of files and of the files in directories, by path.

    A directory of more than ``MANY`` files gets one entry, ``<dir>/`` with a digest of names and
    sizes. ``recurse=False`` looks only at the files directly in a directory.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in paths:
        if not os.path.isdir(path):
            found[path] = of_file(path)
            continue
        files = list(walk(path.rstrip("/"), recurse))
        if len(files) > MANY:
            found[path.rstrip("/") + "/"] = of_tree(files)
        else:
            found.update((file, of_file(file)) for file in files)
    return found


def of_tree(files: list[str]) -> dict[str, Any]:
    """One digest of the names and sizes of many files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file}\0{os.stat(file).st_size}\n".encode())
    return {"files": len(files), "digest": digest.hexdigest()}


def tree_difference(path: str, recorded: dict[str, Any]) -> str | None:
    """Like :func:`difference` for an entry that :func:`of_tree` made."""
    if not os.path.isdir(path):
        return f"{path} is gone"
    now = of_tree(list(walk(path.rstrip("/"))))
    if now == recorded:
        return None
    return f"{path} changed ({recorded['files']} -> {now['files']} files)"


def configuration(argv: list[str], extra: list[str]) -> dict[str, str]:
    """What a command line configures, as flat ``name: value``.

    Options keep their names (without dashes), other words become ``argument 1`` and so on, a TOML
    file named on the line adds its resolved values as ``file:section.key``. ``extra`` are
    ``name=value`` words of the recipe. Options in ``VOLATILE`` are left out.
    """
    found: dict[str, str] = {}
    position = 0
    words = iter(range(len(argv)))
    for index in words:
        word = argv[index]
        if word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            name = name.replace("_", "-")
            if not equals:
                value = "true"
                if index + 1 < len(argv) and not argv[index + 1].startswith("--"):
                    value = argv[next(words)]
            if name not in VOLATILE:
                found[name] = f"{found[name]} {value}" if name in found else value
                found.update(_toml_values(value))
        else:
            found["command" if index == 0 else f"argument {position}"] = word
            if index:
                found.update(_toml_values(word))
            position += 1
    for word in extra:
        name, equals, value = word.partition("=")
        found[name] = value if equals else "true"
        found.update(_toml_values(found[name]))
    return found


def _toml_values(words: str) -> dict[str, str]:
    """Resolved values of the TOML files that a word names, one or several parted by blanks."""
    paths = words.split()
    if not paths or not all(word.endswith(".toml") and os.path.isfile(word) for word in paths):
        return {}
    found: dict[str, str] = {}
    for path in paths:
        try:
            resolved = _resolve_toml(path, ())
        except (ValueError, RecursionError, OSError):  # grammar or bytes; a cycle; no such file
            # The step itself refuses such a file with its own message; here its bytes stand for it.
            found[path] = of_file(path).get("sha256", "")
            continue
        found.update((f"{path}:{key}", value) for key, value in _flatten(resolved))
    return found


def _resolve_toml(path: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if os.path.realpath(path) in seen:
        raise RecursionError(path)
    if not os.path.isfile(path) or os.path.getsize(path) > SMALL:
        raise OSError(f"{path}: no configuration file")
    with open(path, "rb") as stream:
        values = tomllib.load(stream)
    parents = values.pop("extends", [])
    parents = [parents] if isinstance(parents, str) else parents
    if not isinstance(parents, list) or not all(isinstance(item, str) for item in parents):
        raise ValueError(f"{path}: extends names no files")
    base: dict[str, Any] = {}
    for parent in parents:
        below = (*seen, os.path.realpath(path))
        base = _merge(base, _resolve_toml(os.path.join(os.path.dirname(path), parent), below))
    return _merge(base, values)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, dict) and isinstance(value, dict)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in sorted(values.items()):
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value)


def configuration_difference(old: dict[str, str], new: dict[str, str]) -> str | None:
    """``clusters=100, now 500; ...``: what differs, at most four items; None when nothing does."""
    items = []
    for name in sorted({*old, *new}):
        if old.get(name) == new.get(name):
            continue
        if name not in old:
            items.append(f"no {name}, now {name}={new[name]}")
        elif name not in new:
            items.append(f"{name}={old[name]}, now without it")
        else:
            items.append(f"{name}={old[name]}, now {new[name]}")
    if not items:
        return None
    shown = "; ".join(items[:4])
    return shown if len(items) <= 4 else f"{shown}; and {len(items) - 4} more"
