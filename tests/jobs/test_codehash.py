"""The code a stage reaches: broad enough to notice, narrow enough to leave other stages alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pylib.jobs import codehash


@pytest.fixture
def house(tmp_path: Path) -> Path:
    files = {
        "steps/train.sh": '. "$TRIVIUM_ROOT/local/lib.sh"\n"$P" -m pylib.bin.train "$@"\n',
        "steps/report.sh": "steps/score.sh x\npython -m pylib.bin.report\n",
        "steps/score.sh": "true\n",
        "local/lib.sh": "log() { :; }\n",
        "pylib/__init__.py": "",
        "pylib/bin/__init__.py": "",
        "pylib/bin/train.py": "def main():\n    from pylib.nn import encoder\n",
        "pylib/bin/report.py": 'from ..scoring import wer\nPAGE = "page.html"\n',
        "pylib/nn/__init__.py": "",
        "pylib/nn/encoder.py": "import math\nfrom pylib.nn.masks import mask\n",
        "pylib/nn/masks.py": '"""Masks."""\nmask = 1\n',
        "pylib/scoring/__init__.py": "",
        "pylib/scoring/wer.py": "x = 1\n",
        "pylib/bin/page.html": "<html>",
        "pylib/jobs/__init__.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def reach(house: Path, *argv: str) -> dict[str, str]:
    hasher = codehash.CodeHasher(str(house), str(house / "code.cache"))
    found = hasher.of_command(list(argv), str(house))
    hasher.save()
    return found


def test_what_a_training_step_reaches(house: Path) -> None:
    assert set(reach(house, "steps/train.sh", "data", "exp")) == {
        "steps/train.sh", "pylib/__init__.py", "pylib/bin/__init__.py", "pylib/bin/train.py",
        "pylib/nn/__init__.py", "pylib/nn/encoder.py", "pylib/nn/masks.py",
    }  # fmt: skip


def test_other_scripts_relative_imports_and_assets(house: Path) -> None:
    found = set(reach(house, "steps/report.sh"))
    assert {"steps/score.sh", "pylib/scoring/wer.py", "pylib/bin/page.html"} <= found
    assert not [name for name in found if name.startswith("pylib/nn")]


def test_editing_the_report_leaves_training_alone(house: Path) -> None:
    before = reach(house, "steps/train.sh")
    report = reach(house, "steps/report.sh")
    (house / "pylib/scoring/wer.py").write_text("x = 2\n", encoding="utf-8")
    assert codehash.difference(before, reach(house, "steps/train.sh")) is None
    told = codehash.difference(report, reach(house, "steps/report.sh"))
    assert told == "code changed: pylib/scoring/wer.py"


def test_comments_and_docstrings_are_free_code_is_not(house: Path) -> None:
    before = reach(house, "steps/train.sh")
    masks = house / "pylib/nn/masks.py"
    masks.write_text('"""Other words."""\n# why\nmask  =  1\n', encoding="utf-8")
    assert codehash.difference(before, reach(house, "steps/train.sh")) is None
    masks.write_text("mask = 2\n", encoding="utf-8")
    told = codehash.difference(before, reach(house, "steps/train.sh"))
    assert told == "code changed: pylib/nn/masks.py"


def test_a_recipes_own_script_counts(house: Path) -> None:
    recipe = house / "egs/x"
    (recipe / "local").mkdir(parents=True)
    (recipe / "local/prep.sh").write_text("local/list.py\n", encoding="utf-8")
    (recipe / "local/list.py").write_text("x = 1\n", encoding="utf-8")
    hasher = codehash.CodeHasher(str(house), str(house / "code.cache"))
    assert set(hasher.of_command(["local/prep.sh"], str(recipe))) == {
        "egs/x/local/prep.sh",
        "egs/x/local/list.py",
    }


def test_a_damaged_cache_is_made_again(house: Path) -> None:
    before = reach(house, "steps/train.sh")
    (house / "code.cache").write_text("{", encoding="utf-8")
    assert reach(house, "steps/train.sh") == before
