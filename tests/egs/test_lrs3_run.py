"""What egs/lrs3/run.sh would do, and which options it refuses before it begins."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "egs" / "lrs3" / "run.sh"


def call(*options: str) -> subprocess.CompletedProcess[str]:
    """The recipe with `--dry-run`."""
    return subprocess.run(
        ["bash", str(RECIPE), "--dry-run", "--exp", "exp_plan", *options],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def plan(*options: str) -> list[list[str]]:
    """Commands of the stages, in words; of the same file without what it runs itself."""
    done = call(*options)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return [shlex.split(line) for line in lines if line and line[0] not in " #"]


def of(commands: list[list[str]], step: str) -> list[list[str]]:
    """The commands of one step."""
    return [words for words in commands if words[0].endswith(f"/{step}.sh")]


def option(words: list[str], name: str) -> str:
    """The value of an option."""
    return words[words.index(f"--{name}") + 1]


def test_the_whole_test_set_is_decoded() -> None:
    """Not the part of it whose mouths were found, which is where the pictures are."""
    commands = plan("--finetune", "all av v")
    features = next(w for w in of(commands, "make_feats") if "exp_plan/data/test" in w)
    assert option(features, "kind") == "logfbank"
    places = [words[words.index("exp_plan/data/test") + 1] for words in [features]]
    others = [
        word for words in of(commands, "make_feats") if words is not features for word in words
    ]
    assert not set(places) & set(others)
    found = of(commands, "recognise")
    assert len(found) == 3
    for words in found:
        assert words[-2] == "exp_plan/data/test"
        assert option(words, "pictures") == "exp_plan/data/mouth/test"
