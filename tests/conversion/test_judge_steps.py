"""The steps on real speech, where every measure's direction is known beforehand.

"Conversions" whose outcome is certain: the source's own speech (conversion that did nothing) and
the target's own speech (conversion that did everything).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from tests.conversion.helpers_judge import (
    SAMPLES,
    all_pairs,
    converted_dir,
    natural_dir,
    real_speech,
    write_all_trials,
)

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.real]


def step(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", f"steps/{name}.sh", *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def rows(path: Path) -> dict[str, dict[str, Any]]:
    return {row["measure"]: row for row in json.loads(path.read_text(encoding="utf-8"))["results"]}


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Natural speech, trials and their judgement."""
    root = tmp_path_factory.mktemp("judging")
    natural = natural_dir(root, real_speech(5, 4), text=True)
    write_all_trials(natural, root / "trials")
    done = step(
        "judge_natural", "--quality-utts", "2", natural, root / "trials", root / "natural.json"
    )
    assert done.returncode == 0, done.stderr
    return root


def ring(natural: Path, heard: str) -> dict[str, tuple[str, str, str]]:
    """Five conversions: every speaker once a target, source and target in one half of the voices
    (the spoof detector's halves take every other name)."""
    a, b, c, d, e = sorted({utt.partition("-")[0] for utt in all_pairs(natural, heard)})
    wanted = {f"{y}-{x}" for x, y in ((a, c), (c, e), (e, a), (b, d), (d, b))}
    return {utt: item for utt, item in all_pairs(natural, heard).items() if utt in wanted}


def judged(root: Path, name: str, *options: str | Path) -> dict[str, dict[str, Any]]:
    done = step(
        "judge_conversion", "--threshold", root / "natural.json", *options,
        root / "unseen", root / "trials", root / name, root / f"{name}.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return rows(root / f"{name}.json")


def test_natural_speech(speech: Path) -> None:
    found = rows(speech / "natural.json")
    assert found["eer"]["value"] < 5
    assert (found["eer"]["system"], found["eer"]["set"]) == ("resemblyzer", "unseen")
    assert 0.5 < json.loads((speech / "natural.json").read_text())["threshold"] < 0.9
    assert 2 < found["dnsmos_ovrl"]["value"] < 4.5
    assert found["dnsmos_ovrl"]["n"] == 2


def test_directions(speech: Path) -> None:
    natural = speech / "unseen"
    rng = np.random.default_rng(0)
    converted_dir(speech, "nothing", natural, ring(natural, "source"))
    converted_dir(
        speech, "noisy", natural, ring(natural, "target"),
        lambda x: x + 0.06 * x.std() * rng.standard_normal(len(x)).astype(np.float32),
    )  # fmt: skip
    converted_dir(speech, "copy", natural, ring(natural, "source"), method="source")
    options = (
        "--quality-utts",
        "2",
        "--bona-fide",
        speech / "copy",
        "--judges",
        "speaker,quality,spoof",
    )
    nothing, noisy = judged(speech, "nothing", *options), judged(speech, "noisy", *options)
    assert nothing["acceptance"]["value"] < 10 < 80 < noisy["acceptance"]["value"]
    assert noisy["source_acceptance"]["value"] < 10 < 80 < nothing["source_acceptance"]["value"]
    assert nothing["eer_converted"]["value"] < 10
    assert noisy["eer_converted"]["value"] > nothing["eer_converted"]["value"]
    for name in ("ovrl", "sig", "bak", "p808"):
        assert noisy[f"dnsmos_{name}"]["value"] < nothing[f"dnsmos_{name}"]["value"]
    # Noise gives conversions away; the very same recordings cannot be told apart.
    assert noisy["spoof_eer"]["value"] < 20
    assert nothing["spoof_eer"]["value"] > 25
    for row in nothing.values():
        assert (row["system"], row["seed"], row["set"]) == ("fhvae", 1, "unseen")
        assert row["decode"] == "shift/world"
        assert row["low"] <= row["value"] <= row["high"]


def test_the_targets_own_reading_is_nearest(speech: Path) -> None:
    """Parallel readings: the target's own recording against that of another speaker."""
    natural = speech / "unseen"
    pairs = dict(list(all_pairs(natural, "source").items())[:2])
    same = {utt: (a, b, f"{utt.partition('-')[0]}-0") for utt, (a, b, _) in pairs.items()}
    converted_dir(speech, "other", natural, pairs)
    converted_dir(speech, "own", natural, same)
    other, own = (judged(speech, name, "--judges", "parallel") for name in ("other", "own"))
    assert own.keys() == other.keys() == {"mcd", "f0_rmse", "f0_corr", "vuv_error"}
    assert own["mcd"]["value"] < 0.1 < 4 < other["mcd"]["value"]
    assert own["f0_rmse"]["value"] < 1 < other["f0_rmse"]["value"]
    assert own["f0_corr"]["value"] > 0.99 > other["f0_corr"]["value"]
    assert own["vuv_error"]["value"] < 1 < other["vuv_error"]["value"]


def test_refusals(speech: Path) -> None:
    natural = speech / "unseen"
    if not (speech / "refused").exists():
        converted_dir(speech, "refused", natural, all_pairs(natural, "source"))
    (speech / "bad-trials").write_text("p1-0 p2-0 target same\np1-0 p2-1 nontarget same\n")
    cases = (
        (("--judges", "beauty"), speech / "trials", "no judge 'beauty'"),
        (("--judges", "spoof"), speech / "trials", "--bona-fide"),
        (("--judges", "speaker"), "-", "needs a list of trials"),
        (("--threshold", str(speech / "trials")), speech / "trials", "no threshold in it"),
        (("--judges", "speaker"), speech / "bad-trials", "p1-0"),
    )
    for options, trials, message in cases:
        done = step("judge_conversion", *options, natural, trials, speech / "refused", "x.json")
        assert done.returncode == 1, message
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_silence_and_noise_are_judged_too(speech: Path) -> None:
    """What a broken system puts out is no reason to stop, nor to be left out."""
    from pylib.conversion.judge_quality import QualityJudge
    from pylib.conversion.judge_speaker import DIM, MIN_SPEECH, SpeakerJudge

    judge, listener = SpeakerJudge(), QualityJudge()
    noise = 0.1 * np.random.default_rng(0).standard_normal(SAMPLES).astype(np.float32)
    for samples in (np.zeros(SAMPLES, np.float32), noise, noise[: SAMPLES // 128]):
        found = judge.embed(samples)
        assert found.shape == (DIM + 1,)
        assert np.isfinite(found).all()
        assert np.linalg.norm(found[:-1]) == pytest.approx(1, abs=1e-4)
        assert np.isfinite(listener.score(samples)).all()
    assert judge.embed(np.zeros(16000, np.float32))[-1] < MIN_SPEECH


def test_a_missing_judge_is_named() -> None:
    from pylib.conversion.judge_speaker import import_judge

    with pytest.raises(UserError, match="NoSuchJudge: cannot be imported.*pip install"):
        import_judge("no_such_judge", "NoSuchJudge")
    assert os.environ.get("TRIVIUM_REAL")
