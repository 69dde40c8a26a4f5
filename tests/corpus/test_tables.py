"""Kaldi tables: every broken rule is named with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylib.corpus.errors import UserError
from pylib.corpus.tables import (
    format_table,
    invert,
    read_list,
    read_numbers,
    read_table,
    scan_table,
    write_table,
)

KEYS = st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1, max_size=8)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=12)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_reads_what_it_wrote(tmp_path):
    table = {"b": "x  y", "a": "", "a-1": "ÄÖ 日本"}
    write_table(tmp_path / "t", table)
    assert (tmp_path / "t").read_bytes() == "a\na-1 ÄÖ 日本\nb x  y\n".encode()
    assert read_table(tmp_path / "t") == table


@settings(deadline=None)
@given(st.dictionaries(KEYS.filter(lambda k: k.split() == [k] and k[0] != "\ufeff"), VALUES))
def test_any_table_survives(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("t") / "table"
    write_table(path, table)
    back = read_table(path)
    assert back == table
    assert [k.encode() for k in back] == sorted(k.encode() for k in table)


@pytest.mark.parametrize(
    ("data", "line", "rule"),
    [
        (b"a 1\r\nb 2\r\n", 1, "carriage-return"),
        (b"a 1\nb \xff2\n", 2, "utf8"),
        (b"a 1\nb 2", 2, "final-newline"),
        (b"a 1\n\nb 2\n", 2, "no-key"),
        (b"a 1\n b 2\n", 2, "no-key"),
        (b"a 1\na 2\n", 2, "duplicate-key"),
        (b"b 1\na 2\n", 2, "unsorted"),
        (b"a 1\nb 1 2\n", 2, "fields"),
        (b"\xef\xbb\xbfa 1\n", 1, "byte-order-mark"),
    ],
)
def test_each_rule_names_its_line(tmp_path, data, line, rule):
    path = write(tmp_path / "utt2spk", data)
    with pytest.raises(UserError, match=rf"^{path}:{line}: {rule}: .+: .+"):
        read_table(path, fields=2)


def test_duplicate_names_both_lines(tmp_path):
    path = write(tmp_path / "t", b"a 1\nb 2\na 3\n")
    found = [d for d in scan_table(path).defects if d.rule == "duplicate-key"]
    assert [d.line for d in found] == [3]
    assert "line 1" in found[0].what


def test_order_is_that_of_bytes(tmp_path):
    # '-' sorts below letters and digits, '_' above; no locale has a say.
    path = write(tmp_path / "t", "a-1 x\na1 x\na_1 x\nz x\né x\n".encode())
    assert len(read_table(path)) == 5


def test_tabs_count_as_blanks(tmp_path):
    assert read_table(write(tmp_path / "t", b"a\t1\nb \t 2\n"), 2) == {"a": "1", "b": "2"}


def test_all_defects_in_one_message(tmp_path):
    path = write(tmp_path / "t", b"a 1 2\nb\nc 1 2 3\n")
    with pytest.raises(UserError) as caught:
        read_table(path, 2)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    "value", ["x", "nan", "inf", "1.5", "1_000", "\u0661", "1\u00a0", "9" * 30]
)
def test_numbers_are_checked(tmp_path, value):
    path = write(tmp_path / "t", f"a 1\nb {value}\n".encode())
    with pytest.raises(UserError, match=":2: .*'b'"):
        read_numbers(path, int)


@pytest.mark.parametrize("value", ["1_0.5", "nan", "-inf", "\u0661.5", "1e400", "0x1p3", ".", "1e"])
def test_seconds_are_numbers_as_kaldi_writes_them(tmp_path, value):
    path = write(tmp_path / "t", f"a 1.5e-1\nb {value}\n".encode())
    with pytest.raises(UserError, match=":2: .*'b' is not a finite float"):
        read_numbers(path, float)
    write(path, b"a -1.5e-1\nb .5\nc 3.\nd +4\n")
    assert list(read_numbers(path, float).values()) == [-0.15, 0.5, 3.0, 4.0]


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_table(tmp_path / "none")
    with pytest.raises(UserError, match="is a directory"):
        read_table(tmp_path)


@pytest.mark.parametrize("table", [{"a b": "x"}, {"": "x"}, {"a": "x\ny"}, {"a": "x\ry"}])
def test_unreadable_tables_are_not_written(tmp_path, table):
    with pytest.raises(UserError):
        write_table(tmp_path / "t", table)
    assert not list(tmp_path.iterdir())


def test_invert_sorts_both_ways():
    assert invert({"b-1": "b", "a-2": "a", "a-1": "a"}) == {"a": ["a-1", "a-2"], "b": ["b-1"]}
    assert format_table({"b": 1, "a": 0.5}) == "a 0.5\nb 1\n"


def test_lists_need_no_order(tmp_path):
    assert read_list(write(tmp_path / "l", b"b x\na\n")) == ["b", "a"]
    with pytest.raises(UserError, match="duplicate-key"):
        read_list(write(tmp_path / "l", b"b\na\nb\n"))
