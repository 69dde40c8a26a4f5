"""Every script answers --help with all of its options; recipes spell and document theirs."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from sources import ROOT, declared_options, environment, text, tracked

STEPS = tracked("steps/*.sh")
RECIPES = tracked("egs/*/run.sh")
LOCALS = tuple(name for name in tracked("egs/*/local/*.sh") if declared_options(name))
COMMON = {"exp", "stage", "stop-stage", "list-stages", "dry-run", "status", "force", "wait",
          "preset", "corpus-dir", "nj"}  # fmt: skip


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", *words], cwd=ROOT, capture_output=True, text=True, check=False,
        env=environment(), stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_there_are_scripts() -> None:
    assert len(STEPS) > 15
    assert RECIPES


@pytest.mark.parametrize("script", (*STEPS, *LOCALS, *RECIPES))
def test_help_lists_every_option(script: str) -> None:
    done = call(script, "--help")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert "Usage:" in done.stdout
    shown = set(re.findall(r"^  --([a-z0-9-]+)", done.stdout, re.MULTILINE))
    options = declared_options(script)
    assert set(options) | {"help"} == shown
    # An option without a word of help is a default without a comment.
    for option in options:
        assert re.search(rf"^  --{option}\s+\S", done.stdout, re.MULTILINE), option


@pytest.mark.parametrize("script", STEPS)
def test_an_unknown_option_is_refused(script: str) -> None:
    done = call(script, "--no-such-option", "x")
    assert done.returncode == 2
    assert "unknown option --no-such-option" in done.stderr


@pytest.mark.parametrize("script", STEPS)
def test_without_arguments_the_usage_is_shown(script: str) -> None:
    done = call(script)
    assert done.returncode == 2, done.stderr
    assert "Usage:" in done.stderr


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_has_the_common_options(recipe: str) -> None:
    assert set(declared_options(recipe)) >= COMMON


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_readme_tells_every_option(recipe: str) -> None:
    readme = text(recipe.replace("run.sh", "README.md"))
    options = declared_options(recipe)
    assert len(options) > 10
    missing = [option for option in options if f"--{option}" not in readme]
    assert not missing


@pytest.mark.parametrize("recipe", RECIPES)
def test_stages_are_listed_in_order(recipe: str) -> None:
    done = call(recipe, "--list-stages")
    assert done.returncode == 0, done.stderr
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    numbers = [int(row[0]) for row in rows]
    assert len(rows) > 5
    assert numbers == sorted(set(numbers))
    assert all(len(row) == 3 for row in rows), "a stage without a comment line above it"


@pytest.mark.parametrize("preset", ["smoke", "mini", "base"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_plan_uses_options_that_steps_have(recipe: str, preset: str) -> None:
    """Every command of --dry-run names a script that is there, with options that it declares."""
    done = call(recipe, "--preset", preset, "--dry-run")
    assert done.returncode == 0, done.stderr
    commands = [
        shlex.split(line)
        for line in done.stdout.splitlines()
        if line.startswith(("steps/", "local/"))
    ]
    assert len(commands) > 8
    folder = recipe.removesuffix("run.sh")
    for words in commands:
        script = folder + words[0] if (ROOT / (folder + words[0])).exists() else words[0]
        assert (ROOT / script).exists(), words[0]
        options = declared_options(script)
        used = {word[2:].partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
        assert used <= set(options), f"{words[0]} has no {used - set(options)}"
