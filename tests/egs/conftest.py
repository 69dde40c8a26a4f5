"""The small tree that most tests of the preparation damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.egs.trees import Tree


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Readers 9, 10, 103 and 1034: their order by number is not their order by bytes."""
    made = Tree(tmp_path / "corpus")
    for reader, sex in ((9, "F"), (10, "M"), (103, "F"), (1034, "M")):
        made.add("train-clean-100", reader, sex)
    made.add("dev-clean", 200, "F")
    made.add("test-clean", 300, "M")
    return made
