"""The code that a stage runs: its script and everything of ours that the script can reach.

A script reaches the scripts and the ``pylib`` modules it names; a module reaches what it imports,
at whatever depth. So editing the report does not make pre-training stale, and editing the encoder
does. Python files count by their syntax tree without docstrings: comments and layout are free.
The shell layer that only runs things (options, logging, jobs, this ledger) does not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sys
from typing import Any

from pylib.jobs.files import write_whole

# What runs stages but has no say in what they make.
INFRASTRUCTURE = frozenset(
    f"local/{name}.sh" for name in ("lib", "parse_options", "env", "cmd", "run")
) | {"path.sh"}
SCRIPT = re.compile(r"(?<![\w-])((?:steps|local)/[\w./-]+\.(?:sh|py|awk|txt))")
MODULE = re.compile(r"\bpylib(?:\.[a-z_][a-z0-9_]*)+")


class CodeHasher:
    """Hashes of source files with a cache beside the ledger.

    Args:
        root: the repository.
        cache: path of the cache (JSON); read now, written by :meth:`save`.
    """

    def __init__(self, root: str, cache: str) -> None:
        self.root = root
        self.cache_path = cache
        self.version = ".".join(map(str, sys.version_info[:2]))
        self.dirty = False
        self.cache: dict[str, Any] = {}
        try:
            with open(cache, encoding="utf-8") as stream:
                stored = json.load(stream)
            if stored.get("version") == self.version:
                self.cache = stored["files"]
        except (OSError, ValueError, KeyError, AttributeError):
            pass  # a cache: without it everything is hashed again

    def save(self) -> None:
        """Write the cache when something was added, atomically."""
        if not self.dirty:
            return
        write_whole(self.cache_path, json.dumps({"version": self.version, "files": self.cache}))

    def of_command(self, argv: list[str], cwd: str) -> dict[str, str]:
        """Hash of every source file that the command can reach, by path relative to the root."""
        found: dict[str, str] = {}
        waiting = [self._locate(argv[0], cwd) or "", *self._modules(" ".join(argv))]
        waiting += [self._locate(word, cwd) or "" for word in argv[1:] if word.endswith(".sh")]
        while waiting:
            path = waiting.pop()
            name = self._name(path, cwd) if path else ""
            if not name or name in found or name in INFRASTRUCTURE:
                continue
            if name.startswith(("pylib/jobs/", ".venv/")):
                continue
            entry = self._entry(path, name, cwd)
            found[name] = entry["hash"]
            waiting += entry["reaches"]
        return found

    def _name(self, path: str, cwd: str) -> str:
        """Path relative to the root, or to ``cwd`` for a recipe elsewhere; empty for a system's."""
        for base in (self.root, cwd):
            name = os.path.relpath(path, base)
            if not name.startswith(".."):
                return name
        return ""

    def _locate(self, word: str, cwd: str) -> str | None:
        for base in (cwd, self.root):
            path = os.path.normpath(os.path.join(base, word))
            if os.path.isfile(path):
                return path
        return None

    def _entry(self, path: str, name: str, cwd: str) -> dict[str, Any]:
        stat = os.stat(path)
        key = f"{path} {stat.st_size} {stat.st_mtime_ns}"
        if key in self.cache:
            return self.cache[key]
        with open(path, "rb") as stream:
            data = stream.read()
        text = data.decode("utf-8", "replace")
        if name.endswith(".py"):
            digest, reached = self._python(path, text)
        else:
            digest = hashlib.sha256(data).hexdigest()
            # A recipe's own local/ comes before the shared one.
            recipe = os.path.dirname(os.path.dirname(path)) if "/local/" in path else cwd
            reached = [self._locate(script, recipe) or "" for script in SCRIPT.findall(text)]
            reached += self._modules(text)
        entry = {
            "hash": digest,
            "reaches": sorted({one for one in reached if one}),
        }
        self.cache = {k: v for k, v in self.cache.items() if not k.startswith(f"{path} ")}
        self.cache[key] = entry
        self.dirty = True
        return entry

    def _python(self, path: str, text: str) -> tuple[str, list[str]]:
        try:
            tree = ast.parse(text)
        except SyntaxError:
            return hashlib.sha256(text.encode()).hexdigest(), []
        reached = self._imports(tree, path)
        reached += _assets(os.path.dirname(path), text)
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list) and body and isinstance(node, ast.AST):
                first = body[0]
                if (
                    isinstance(first, ast.Expr)
                    and isinstance(first.value, ast.Constant)
                    and isinstance(first.value.value, str)
                ):
                    del body[0]
        return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), reached

    def _imports(self, tree: ast.AST, path: str) -> list[str]:
        package = os.path.relpath(os.path.dirname(path), self.root).replace(os.sep, ".")
        names: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    parts = package.split(".")
                    parts = parts[: len(parts) - node.level + 1]
                    base = ".".join([*parts, base] if base else parts)
                names.add(base)
                names.update(f"{base}.{alias.name}" for alias in node.names)
        return [file for name in sorted(names) for file in self._module_files(name)]

    def _modules(self, text: str) -> list[str]:
        return [f for name in sorted(set(MODULE.findall(text))) for f in self._module_files(name)]

    def _module_files(self, name: str) -> list[str]:
        """The file of a module of ours and its packages' ``__init__``; nothing for other names."""
        parts = name.split(".")
        if parts[0] != "pylib":
            return []
        files = []
        for depth in range(1, len(parts) + 1):
            stem = os.path.join(self.root, *parts[:depth])
            for file in (os.path.join(stem, "__init__.py"), stem + ".py"):
                if os.path.isfile(file):
                    files.append(file)
        return files


def _assets(folder: str, text: str) -> list[str]:
    """Files other than Python beside a module, or in a plain directory there, that it names."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        if entry.name not in text or entry.name.startswith((".", "_")):
            continue
        if entry.is_file() and not entry.name.endswith((".py", ".pyc")):
            found.append(entry.path)
        elif entry.is_dir() and not os.path.exists(os.path.join(entry.path, "__init__.py")):
            found += [inner.path for inner in os.scandir(entry.path) if inner.is_file()]
    return found


def difference(old: dict[str, str], new: dict[str, str]) -> str | None:
    """Which code changed, at most three files; None when none did."""
    changed = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    if not changed:
        return None
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return f"code changed: {', '.join(changed[:3])}{more}"
