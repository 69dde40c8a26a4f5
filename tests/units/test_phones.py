"""Phone times: read strictly, looked up by time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.units.phones import mean_duration, phone_ids, read_phones

GOOD = "a-1 1 0.10 0.20 AH\na-1 1 0.30 0.10 T\nb-1 1 0.00 0.30 S\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_phone_at_each_time(tmp_path: Path) -> None:
    table = read_phones(write(tmp_path / "phones.ctm", GOOD))
    ids = phone_ids(table)
    assert ids == {"AH": 0, "S": 1, "T": 2}
    got = table["a-1"].at(np.array([0.0, 0.1, 0.29, 0.3, 0.399, 0.4, 9.0]), ids)
    np.testing.assert_array_equal(got, [-1, 0, 0, 2, 2, -1, -1])
    assert mean_duration(table) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "text,message",
    [
        ("a-1 1 0.1 0.2\n", "phones.ctm:1:.*expected"),
        ("a-1 1 x 0.2 AH\n", "phones.ctm:1:"),
        ("a-1 1 -1 0.2 AH\n", "phones.ctm:1:"),
        (GOOD + "a-1 1 0.5 0.1 AH\n", "phones.ctm:4:.*not together"),
        ("a-1 1 0.1 0.2 AH\na-1 1 0.2 0.1 T\n", "phones.ctm:2:.*before the phone above ends"),
        ("", "is empty"),
        ("a-1 1 inf 0.2 AH\n", "phones.ctm:1:"),
        (GOOD + "b-1 1 nan 0.3 S\n", "phones.ctm:4:"),
    ],
)
def test_refusals(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_phones(write(tmp_path / "phones.ctm", text))


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="forced alignment"):
        read_phones(tmp_path / "phones.ctm")


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "phones.ctm").write_bytes(GOOD.encode() + b"c-1 1 0 0.1 \xc3\n")
    with pytest.raises(UserError, match=r"phones.ctm:4: byte 0xc3 is not UTF-8: "):
        read_phones(tmp_path / "phones.ctm")
