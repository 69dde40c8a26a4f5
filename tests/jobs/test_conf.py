"""Kaldi's conf grammar."""

from __future__ import annotations

from pathlib import Path

import pytest

from pylib.jobs import conf
from pylib.jobs.grammar import UsageError

EXAMPLE = """
command sbatch --export=PATH --ntasks-per-node=1   # required fixed part
option mem=* --mem-per-cpu $0
option mem=0
option num-threads=* --cpus-per-task $0
default gpu=0
option gpu=0 -p shared
option gpu=* -p gpu --gres=gpu:$0
"""


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_values_defaults_and_special_cases(tmp_path: Path) -> None:
    read = conf.read(write(tmp_path / "slurm.conf", EXAMPLE))
    fixed = ["sbatch", "--export=PATH", "--ntasks-per-node=1"]
    assert read.words({}) == [*fixed, "-p", "shared"]
    assert read.words({"mem": "0"}) == [*fixed, "-p", "shared"]
    assert read.words({"gpu": "2", "mem": "4G"}) == [
        *fixed, "-p", "gpu", "--gres=gpu:2", "--mem-per-cpu", "4G",
    ]  # fmt: skip
    assert read.declared() == {"mem", "num-threads", "gpu"}


def test_what_is_not_declared_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "c.conf", "command sbatch\noption part=a -p a\n")
    with pytest.raises(UsageError, match="no line `option mem"):
        conf.read(path).words({"mem": "2G"})
    with pytest.raises(UsageError, match="only a is declared"):
        conf.read(path).words({"part": "b"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("option mem=* -m $0\n", "no line `command"),
        ("command sbatch\nmemory 2G\n", r":2: expected `command"),
        ("command sbatch\ndefault gpu\n", r":2: expected"),
        ("command sbatch\noption mem\n", r":2: expected"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        conf.read(write(tmp_path / "c.conf", text))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        conf.read(str(tmp_path / "nowhere"))
