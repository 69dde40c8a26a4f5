"""JSON of others: every oddity is refused with the name of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pylib.corpus.errors import UserError
from pylib.corpus.jsonfile import read_json, read_object


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"rate": NaN}',
        b'{"rate": -Infinity}',
        b'{"rate": 1e999}',
        b'{"rate": ' + b"9" * 5000 + b"}",
        b'{"name": "\\ud800"}',
        b'{"name": "\xff"}',
        b"[" * 100_000,
    ],
)
def test_broken_json_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "it.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"it\.json: not readable as JSON \(.+\): make it again"):
        read_json(path, "make it again")


def test_missing_files_directories_and_other_values(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it\.json: no such file: run the step"):
        read_json(tmp_path / "it.json", "make it again", "run the step")
    with pytest.raises(UserError, match="is a directory"):
        read_json(tmp_path, "make it again")
    (tmp_path / "it.json").write_text("[1]", encoding="utf-8")
    assert read_json(tmp_path / "it.json", "make it again") == [1]
    with pytest.raises(UserError, match="a JSON object was expected: make it again"):
        read_object(tmp_path / "it.json", "make it again")
    (tmp_path / "it.json").write_text('{"a": "\\ud83d\\ude00", "n": -3}', encoding="utf-8")
    assert read_object(tmp_path / "it.json", "x") == {"a": "\U0001f600", "n": -3}
