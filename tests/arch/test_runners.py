"""The two commands of the README and the script that CI runs."""

from __future__ import annotations

import re
import tomllib

from sources import ROOT, text


def blocks(readme: str) -> list[list[str]]:
    """Lines of each block between three backquotes."""
    return [
        block.strip().splitlines()
        for block in re.findall(r"^```[a-z]*\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    ]


def test_the_readme_tells_the_two_commands_each_in_a_block_of_its_own() -> None:
    found = blocks(text("README.md"))
    assert found.count(["bash tests/run.sh"]) == 1
    assert ["bash egs/librispeech/run.sh"] in found


def test_ci_runs_the_readmes_own_command() -> None:
    script = text(".ci/run")
    assert "README.md" in script
    assert "git clone" in script


def test_every_requirement_has_a_pin_and_a_reason() -> None:
    project = tomllib.loads(text("pyproject.toml"))["project"]
    needed = project["dependencies"] + project["optional-dependencies"]["test"]
    needed += tomllib.loads(text("pyproject.toml"))["tool"]["trivium"]["without-dependencies"]
    pins = {
        re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()
        for line in text("constraints.txt").splitlines()
        if "==" in line
    }
    assert len(needed) > 20
    lines = text("pyproject.toml").splitlines()
    for requirement in needed:
        name = re.match(r"[\w.-]+", requirement)
        assert name is not None
        assert re.sub(r"[-_.]+", "-", name[0]).lower() in pins, requirement
        assert any(f'"{requirement}",' in line and "#" in line for line in lines), requirement


def test_licence_is_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
