"""What path.sh asks about a Python environment; standard library only.

check_env.py requirements <pyproject.toml>              names to install, one a line
check_env.py bare <pyproject.toml>                      names to install without what they ask for
check_env.py broken                                     packages whose files are not all there
check_env.py versions <pyproject.toml> <constraints>    exit 1 when one is missing or not pinned
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib import metadata


def requirements(pyproject: str, tests: bool = True) -> list[str]:
    """The run-time (and test) requirements of ``pyproject``, as written there."""
    with open(pyproject, "rb") as stream:
        project = tomllib.load(stream)["project"]
    return project["dependencies"] + (project["optional-dependencies"]["test"] if tests else [])


def bare(pyproject: str) -> list[str]:
    """Requirements to install without their own: what those ask for would not install or harms."""
    with open(pyproject, "rb") as stream:
        names: list[str] = tomllib.load(stream)["tool"]["trivium"]["without-dependencies"]
    return names


def canonical(name: str) -> str:
    """The name under which an index knows a package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def broken() -> list[str]:
    """Installed packages of which a recorded file is missing or short.

    An installer that was killed writes a package's files before its RECORD, so a package without
    one counts too.
    """
    names = []
    for dist in metadata.distributions():
        files = dist.files
        name = dist.name or ""
        if files is None or not all(_present(file) for file in files):
            names.append(canonical(name))
    return sorted(name for name in names if name)


def _present(file: metadata.PackagePath) -> bool:
    if file.suffix == ".pyc":
        return True
    try:
        size = file.locate().stat().st_size  # type: ignore[attr-defined]
    except OSError:
        return False
    return file.size is None or size == file.size


def versions(pyproject: str, constraints: str, tests: bool = True) -> list[str]:
    """One line for each requirement that is not installed at its pinned version."""
    pins = {}
    with open(constraints, encoding="utf-8") as stream:
        for line in stream:
            if "==" in line and not line.startswith("#"):
                name, _, version = line.split(";")[0].strip().partition("==")
                pins[canonical(name)] = version
    faults = []
    for requirement in requirements(pyproject, tests) + bare(pyproject):
        match = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert match is not None, requirement
        name = canonical(match[0])
        try:
            have = metadata.version(name)
        except metadata.PackageNotFoundError:
            faults.append(f"{name}: not installed, {pins.get(name, 'unpinned')} expected")
            continue
        if name in pins and have != pins[name]:
            faults.append(f"{name}: {have} is installed, {pins[name]} expected")
    return faults


def main(argv: list[str]) -> int:
    match argv:
        case ["requirements", pyproject]:
            print("\n".join(requirements(pyproject)))
            return 0
        case ["bare", pyproject]:
            print("\n".join(bare(pyproject)))
            return 0
        case ["broken"]:
            print(" ".join(broken()))
            return 0
        case ["versions", pyproject, constraints]:
            faults = versions(pyproject, constraints)
            for fault in faults:
                print(f"path.sh: {fault}", file=sys.stderr)
            return 1 if faults else 0
        case ["runtime", pyproject, constraints]:
            faults = versions(pyproject, constraints, tests=False)
            for fault in faults:
                print(f"environment: {fault}", file=sys.stderr)
            return 1 if any("not installed" in fault for fault in faults) else 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
