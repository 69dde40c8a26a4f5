"""The shell steps from words to report: run, run again, killed and run again."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STEPS = Path(__file__).resolve().parents[2] / "steps"
LM = ["--decode", "lm", "--lm-dir", "exp/lm"]
TEST = ["data/test", "exp/ft/logprobs_test"]


def step(name, *arguments, code=0):
    done = subprocess.run(
        ["bash", str(STEPS / f"{name}.sh"), *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == code, done.stderr
    return done


def contents(directory):
    return {
        str(p.relative_to(directory)): p.read_bytes()
        for p in sorted(Path(directory).rglob("*"))
        if p.is_file() and "log" not in p.relative_to(directory).parts
    }


def test_words_to_report_twice(workplace):
    step("make_lexicon", "lm.txt", "exp/lm2")
    out = step("make_lm", "--tool=python", "--dev-text=data/dev/text", "lm.txt", "exp/lm2").stdout
    assert "order 4" in out and "perplexity" in out
    tune = ["--nj", "2", "--beam", "20", "--max-trials", "5"]
    dev = ["data/dev", "exp/ft/logprobs_dev", "exp/lm", "exp/ft/tuned.json"]
    found = []
    for _ in range(2):
        step("tune_lm", *tune, *dev)
        step(
            "decode", "--nj", "2", *LM, "--tuned=exp/ft/tuned.json", *TEST, "exp/ft/decode_test_lm"
        )
        step("decode", "--nj", "3", *TEST, "exp/ft/decode_test_greedy")
        for how in ("lm", "greedy"):
            step("score_wer", "data/test", f"exp/ft/decode_test_{how}")
        found.append(contents("exp/ft"))
    assert found[0] == found[1]
    assert "decode_test_lm/scoring/wer.json" in found[0]
    out = step("report", "--corpus", "built-in easy", "exp", "exp/report").stdout
    assert "test lm" in out and contents("exp/report").keys() == {
        "RESULTS.md",
        "index.html",
        "summary.json",
    }


def test_killed_decoding_leaves_nothing_finished_and_comes_back(workplace):
    step("decode", "--nj", "2", *LM, *TEST, "whole")
    command = ["bash", str(STEPS / "decode.sh"), "--nj", "2", *LM, *TEST, "killed"]
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list(Path("killed").glob("log/decode.*.log")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not Path("killed/hyp").exists() and not Path("killed/decode.json").exists()
    step("decode", "--nj", "2", *LM, *TEST, "killed")
    assert contents("killed") == contents("whole")


def test_failed_job_fails_the_step(workplace):
    Path("exp/ft/logprobs_test/logprobs.1.ark").unlink()
    done = step("decode", "--nj", "2", *TEST, "out", code=1)
    assert "decode.1.log" in done.stderr + done.stdout
    assert not Path("out/hyp").exists()


@pytest.mark.parametrize(
    "name",
    [
        "make_lexicon",
        "make_lm",
        "dump_logprobs",
        "decode",
        "tune_lm",
        "score_wer",
        "report",
        "compare_systems",
    ],
)
def test_help_and_usage(name):
    assert f"steps/{name}.sh" in step(name, "--help").stdout
    assert step(name, code=2).stderr
    assert "no-such" in step(name, "--no-such-option", "x", code=2).stderr
