"""Kaldi's command grammar: options, ranges, replacement of JOB, quoting."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylib.jobs import grammar
from pylib.jobs.grammar import UsageError


def test_options_stand_before_and_after_the_range() -> None:
    array = grammar.parse(
        ["--mem", "2G", "JOB=2:5", "--num-threads=3", "log/x.JOB.log", "echo", "--mem", "JOB"]
    )
    assert array.options == {"mem": "2G", "num-threads": "3"}
    assert list(array.ids()) == [2, 3, 4, 5]
    assert array.log_of(4) == "log/x.4.log"
    assert array.command_of(4) == "echo --mem 4"
    assert array.all_logs() == "log/x.*.log"
    assert array.threads() == 3


def test_a_single_id_and_no_range() -> None:
    assert list(grammar.parse(["n=7", "x.log", "true"]).ids()) == [7]
    single = grammar.parse(["x.log", "echo", "JOB"])
    assert single.variable is None
    assert single.command_of(1) == "echo JOB"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("x_JOB.scp", "x_3.scp"),
        ("split4/JOB", "split4/3"),
        ("scp:JOB,JOB", "scp:3,3"),
        ("MYJOBNAME", "MYJOBNAME"),
        ("JOB1", "JOB1"),
        ("1JOB", "1JOB"),
        ("--shard=JOB/8", "--shard=3/8"),
        ("-JOB-", "-3-"),
    ],
)
def test_where_the_variable_is_replaced(word: str, expected: str) -> None:
    assert grammar.substitute(word, "JOB", 3) == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["JOB=1:3", "x.log", "true"], "must contain JOB"),
        (["JOB=0:3", "x.JOB.log", "true"], "start at 1"),
        (["JOB=3:2", "x.JOB.log", "true"], "not end before"),
        (["JOB=1:b", "x.JOB.log", "true"], "whole numbers"),
        (["JOB=1:2", "K=1:2", "x.JOB.log", "true"], "given before"),
        (["x.log"], "expected"),
        ([], "expected"),
        (["--mem"], "needs a value"),
        (["--mem", "much", "x.log", "true"], "500M or 2G"),
        (["--num-threads", "0", "x.log", "true"], "number of threads"),
        (["--time", "soon", "x.log", "true"], "2:30:00"),
        (["--queue", "all.q", "x.log", "true"], "unknown option --queue"),
        (["x.log", "|", "cat"], "operator"),
    ],
)
def test_what_breaks_the_grammar(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        grammar.parse(words)


def test_a_declared_option_is_accepted() -> None:
    array = grammar.parse(["--queue", "all.q", "x.log", "true"], frozenset({"queue"}))
    assert array.options == {"queue": "all.q"}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(blacklist_characters="\0", codec="utf-8")), min_size=1))
def test_words_reach_the_program_as_they_are(words: list[str]) -> None:
    """Through bash and back, for any words that are no operators."""
    words = [word for word in words if word not in grammar.OPERATORS]
    array = grammar.parse(["x.log", "printf", "%s\\0", "x", *words])
    done = subprocess.run(["bash", "-c", array.command_of(1)], capture_output=True, check=True)
    assert done.stdout.split(b"\0")[1:-1] == [word.encode() for word in words]


def test_operators_are_not_quoted() -> None:
    array = grammar.parse(
        ["x.log", "a b", "|", "c", "&&", "d", "2>&1", ">", "e f", ";", "(", "g", ")"]
    )
    assert array.command_of(1) == "'a b' | c && d 2>&1 > 'e f' ; ( g )"


@pytest.mark.parametrize(
    ("memory", "expected"),
    [("2G", 2 << 30), ("500M", 500 << 20), ("0.5g", 1 << 29), ("4096", 4096), ("8K", 8192)],
)
def test_memory(memory: str, expected: int) -> None:
    assert grammar.bytes_of(memory) == expected


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("10", 600), ("1:30", 90), ("2:00:05", 7205), ("1-2", 93600), ("1-0:0:1", 86401)],
)
def test_time_limits_are_read_as_slurm_reads_them(limit: str, expected: int) -> None:
    assert grammar.seconds_of(limit) == expected
