"""With what a stage ran: git revision, Python and package versions; without importing a package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any


def git_revision(root: str) -> dict[str, Any]:
    """``{"commit", "dirty"}`` of the working tree at ``root``; None without git."""

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", root, *words], capture_output=True, text=True, check=False
            )
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "dirty": None}
    return {"commit": commit, "dirty": bool(git("status", "--porcelain", "--untracked-files=no"))}


def installed(prefix: str) -> dict[str, str]:
    """Versions of the packages below ``prefix``, read off the names of their metadata folders."""
    version = ".".join(map(str, sys.version_info[:2]))
    folder = os.path.join(prefix, "lib", f"python{version}", "site-packages")
    found = {}
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    for name in names:
        match = re.fullmatch(r"(.+)-([^-]+)\.dist-info", name)
        if match:
            found[match[1].lower().replace("_", "-")] = match[2]
    return found


def provenance(root: str) -> dict[str, Any]:
    """What a record tells of the code and the environment: ``git``, ``python``, ``versions``."""
    with open(os.path.join(root, "pyproject.toml"), encoding="utf-8") as stream:
        section = stream.read().partition("dependencies = [")[2].partition("\n]")[0]
    ours = re.findall(r'^\s*"([A-Za-z0-9._-]+?)(?=[=<>~!])', section, flags=re.MULTILINE)
    # The interpreter runs without `site`, so its prefix is told by where its file lies.
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(sys.executable)))
    have = installed(prefix)
    return {
        "git": git_revision(root),
        "python": sys.version.split()[0],
        "versions": {name: have[name] for name in ours if name in have},
    }
