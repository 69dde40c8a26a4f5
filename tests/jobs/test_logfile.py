"""Header and footer of a log, and what is read out of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pylib.jobs import logfile


def write(path: Path, body: str, code: int | None) -> str:
    with path.open("w+b") as stream:
        stream.write((logfile.header("echo x") + body).encode())
        if code is not None:
            logfile.append_footer(stream, code, 2.4, 3)
    return str(path)


@pytest.mark.parametrize("code", [0, 1, 75, 130, 137])
def test_a_footer_is_read_back(tmp_path: Path, code: int) -> None:
    path = write(tmp_path / "x.log", "no newline at the end", code)
    assert logfile.end(path) == logfile.End(code, 2)
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    assert lines[-2] == "# Accounting: time=2 threads=3"
    assert lines[3] == "no newline at the end"
    assert ("; signal 9)" in lines[-1]) == (code == 137)


def test_no_footer_no_end(tmp_path: Path) -> None:
    assert logfile.end(write(tmp_path / "x.log", "working\n", None)) is None
    assert logfile.end(str(tmp_path / "nowhere")) is None


def test_what_a_job_prints_is_no_footer(tmp_path: Path) -> None:
    fake = logfile.footer(0, 1, 1).splitlines()[1]
    assert logfile.end(write(tmp_path / "a.log", fake + "\n", None)) is None
    assert logfile.end(write(tmp_path / "b.log", fake + "\n", 4)) == logfile.End(4, 2)


def test_a_log_belongs_to_a_command(tmp_path: Path) -> None:
    path = write(tmp_path / "x.log", "", 0)
    assert logfile.is_of(path, "echo x")
    assert not logfile.is_of(path, "echo")
    assert not logfile.is_of(path, "echo x y")


def test_body_is_without_header_and_footer(tmp_path: Path) -> None:
    path = write(tmp_path / "x.log", "one\n# two\n", 1)
    assert logfile.body(logfile.tail(path, 100)) == ["one", "# two"]
    assert logfile.body(logfile.tail(path, 3)) == ["# two"]


@pytest.mark.parametrize(
    ("code", "line", "word"),
    [
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate", "GPU"),
        (1, "OSError: [Errno 28] No space left on device", "disk"),
        (1, "numpy._core._exceptions._ArrayMemoryError: MemoryError", "memory"),
        (1, "ModuleNotFoundError: No module named 'kaldiio'", "module"),
        (137, "anything", "--max-jobs-run"),
        (127, "bash: line 2: x: command not found", "not found"),
        (124, "", "--time"),
    ],
)
def test_hints(code: int, line: str, word: str) -> None:
    found = logfile.hint(code, ["noise", line, "more noise"])
    assert found is not None and word in found


def test_no_hint_without_a_cause() -> None:
    assert logfile.hint(1, ["ValueError: labels of the wrong rate"]) is None
