"""What a run was made from: code, versions, command, data. Goes into every run and checkpoint."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "numpy", "soundfile", "kaldiio", "jiwer", "rapidfuzz")
ROOT = Path(__file__).resolve().parents[2]


def code_version() -> dict[str, Any]:
    """Git commit of this program, and whether files differ from it; both None outside git."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(ROOT), *arguments],
                capture_output=True, text=True, timeout=20, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "HEAD")
    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def versions() -> dict[str, str]:
    """Python's and the packages' versions."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def fingerprint(*parts: Mapping[str, Any] | Iterable[Any]) -> str:
    """sha256 over JSON forms of the parts, in order: the identity of what a run learns from."""
    digest = hashlib.sha256()
    for part in parts:
        value = dict(part) if isinstance(part, Mapping) else list(part)
        digest.update(json.dumps(value, sort_keys=True, ensure_ascii=False).encode())
        digest.update(b"\0")
    return digest.hexdigest()
