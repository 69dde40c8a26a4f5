"""What the rules of the house are checked on: the tracked files of this repository."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OPTION = re.compile(r"^([a-z][a-z0-9_]*)=", re.MULTILINE)
BLOCK = re.compile(r"^# options\n(.*?)^# end of options$", re.MULTILINE | re.DOTALL)


@cache
def tracked(*patterns: str) -> tuple[str, ...]:
    """Paths of tracked files that match git's patterns, relative to the root, that are there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    return tuple(name for name in listed.split("\0") if name and (ROOT / name).exists())


@cache
def text(name: str) -> str:
    """Text of a tracked file."""
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def tree(name: str) -> ast.Module:
    """Syntax tree of a tracked Python file."""
    return ast.parse(text(name), name)


def shell_scripts() -> tuple[str, ...]:
    """Tracked shell scripts: by name, and those without a suffix by their first line."""
    named = tracked("*.sh")
    bare = [n for n in tracked(".ci/*") if text(n).startswith("#!/usr/bin/env bash")]
    return (*named, *bare)


def declared_options(script: str) -> list[str]:
    """Names in a script's option block, as they are typed: ``stop-stage``."""
    block = BLOCK.search(text(script))
    return [name.replace("_", "-") for name in OPTION.findall(block[1])] if block else []


def environment() -> dict[str, str]:
    """Environment in which scripts run: no back end of the caller's."""
    drop = ("CMD_BACKEND", "train_cmd", "decode_cmd", "cuda_cmd")
    return {name: value for name, value in os.environ.items() if name not in drop}
