"""Rules about files: no symlinks, no appending, no executed strings, short files, clean linters."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys

import pytest
from sources import ROOT, shell_scripts, text, tracked, tree

LONG_FILES: dict[str, str] = {}  # path -> why it may be longer
LONG_FUNCTIONS: dict[str, str] = {}  # "path:function" -> why it may be longer
LINES = 400
FUNCTION_LINES = 60
CODE = tracked("*.py", "*.sh", "*.bats", "*.bash")
OURS = tuple(name for name in CODE if not name.startswith("tests/"))
APPEND = re.compile(r">>(?!>)\s*(\S+)")


def test_there_is_something_to_look_at() -> None:
    assert len(CODE) > 80
    assert len(shell_scripts()) > 20
    assert len(OURS) > 60


def test_no_symlink_in_git() -> None:
    staged = subprocess.run(
        ["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(staged) > 100
    assert not [line for line in staged if line.startswith("120000")]


def test_nothing_is_appended_but_logs() -> None:
    """A writer fills a fresh file and renames it: then a stage run twice changes nothing."""
    faults = []
    for name in OURS:
        if not name.endswith(".sh"):
            continue
        for number, line in enumerate(text(name).splitlines(), start=1):
            code = line.split(" #")[0]
            if line.lstrip().startswith("#"):
                continue
            for target in APPEND.findall(code):
                if "log" not in target:
                    faults.append(f"{name}:{number}: {line.strip()}")
    assert not faults, "\n".join(faults)


def test_no_string_is_executed() -> None:
    faults = []
    for name in OURS:
        if name.endswith(".sh"):
            for number, line in enumerate(text(name).splitlines(), start=1):
                if re.search(r"(^|[;&|]\s*|\s)eval\s", line.split("#")[0]):
                    faults.append(f"{name}:{number}: {line.strip()}")
            continue
        for node in ast.walk(tree(name)):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            words = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if (
                called in ("eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads")
                or (called.startswith("subprocess.") and words.get("shell") == "True")
                or (called == "torch.load" and words.get("weights_only") != "True")
                or words.get("allow_pickle") == "True"
            ):
                faults.append(f"{name}:{node.lineno}: {called}")
    assert not faults, "\n".join(faults)


def test_files_are_short() -> None:
    lengths = {name: text(name).count("\n") for name in CODE}
    long = {n: c for n, c in lengths.items() if c > LINES and n not in LONG_FILES}
    assert not long, long
    assert not [name for name in LONG_FILES if lengths.get(name, 0) <= LINES]


def test_functions_are_short() -> None:
    long = {}
    for name in OURS:
        if not name.endswith(".py"):
            continue
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > FUNCTION_LINES:
                    long[f"{name}:{node.name}"] = length
    assert long.keys() <= LONG_FUNCTIONS.keys(), long


def test_recipes_are_thin() -> None:
    recipes = tracked("egs/*/run.sh")
    assert recipes
    assert not {name: n for name in recipes if (n := text(name).count("\n")) > 200}


def test_strict_mode_everywhere() -> None:
    sourced = {"path.sh"} | {
        f"local/{n}.sh" for n in ("lib", "parse_options", "preset", "cmd", "shards")
    }
    faults = [
        name
        for name in shell_scripts()
        if name not in sourced and "\nset -euo pipefail\n" not in text(name)
    ]
    assert not faults


def test_scripts_can_be_run() -> None:
    staged = subprocess.run(
        ["git", "ls-files", "-s", "*.sh", ".ci/run"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    modes = {line.split("\t")[1]: line.split()[0] for line in staged}
    faults = [name for name, mode in modes.items() if mode != "100755" and name != "path.sh"]
    assert len(modes) > 20
    assert not faults, f"not executable in git: {faults}"


def run(words: list[str]) -> None:
    """Run a linter of the environment that runs this test."""
    beside = os.path.dirname(sys.executable)
    tool = shutil.which(words[0], path=beside) or shutil.which(words[0])
    assert tool, f"{words[0]} is not installed: is TRIVIUM_PYTHON the pinned environment?"
    done = subprocess.run([tool, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-4000:]


def test_ruff_is_clean() -> None:
    run(["ruff", "check", "--no-cache", *tracked("*.py")])


# SC1091: a file sourced by a computed path is not followed. Nothing else is switched off but what
# the other of the two looks at, and flow from a script into what it sources (code after a call that
# always exits): to follow every script through path.sh and its options takes twice both.
def test_shellcheck_is_clean_with_what_scripts_source() -> None:
    words = ["-x", "--extended-analysis=false", "-e", "SC1091", "-P", "SCRIPTDIR", "-P", "."]
    run(["shellcheck", *words, *shell_scripts()])


def test_shellcheck_is_clean_in_each_script_alone() -> None:
    """With the flow of the script, one file a process: a file that is named is followed too."""
    for name in shell_scripts():
        # Whether a variable is used (SC2034) or set (SC2154) elsewhere is for the other look.
        run(["shellcheck", "-e", "SC1091,SC2034,SC2154", name])


def test_shfmt_is_clean() -> None:
    run(["shfmt", "-i", "2", "-ci", "-d", *shell_scripts()])


@pytest.mark.slow
def test_types_of_the_layers_without_torch() -> None:
    run(
        [
            "mypy",
            "--no-incremental",
            "-p",
            "pylib.jobs",
            "-p",
            "pylib.corpus",
            "-p",
            "pylib.scoring",
        ]
    )


def test_nothing_of_a_machine_is_named() -> None:
    """No path of the machine or the place where this was written."""
    pattern = re.compile("/" + r"(work|root|opt/dev)/|" + r"\.\./" + "shared")
    faults = [
        f"{name}:{number}"
        for name in tracked()
        if name.endswith((".py", ".sh", ".bats", ".md", ".toml", ".bash", ".conf", ".txt"))
        for number, line in enumerate(text(name).splitlines(), start=1)
        if pattern.search(line) and not name.startswith(".ci/")
    ]
    assert not faults, faults
