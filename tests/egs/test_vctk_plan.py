"""What egs/vctk/run.sh plans and refuses, and on what its stages depend, without running them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RECIPE = Path(__file__).resolve().parents[2] / "egs" / "vctk"


def recipe(*words: str, code: int = 0, **environment: str) -> str:
    """Standard output of the recipe, or its standard error where it shall fail."""
    done = subprocess.run(
        ["bash", str(RECIPE / "run.sh"), *words], capture_output=True, text=True,
        stdin=subprocess.DEVNULL, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def stages(folder: Path, *words: str) -> dict[str, dict[str, list[str]]]:
    """First output of each call of a stage -> what the ledger is told: in, out and command."""
    told, stub = folder / "told", folder / "python"
    stub.write_text(
        f"""#!/usr/bin/env bash
if [ "$1 $2 $3 $4" = "-S -m pylib.jobs.ledger status" ]; then
  printf '%s\\t' "${{@:5}}" >>{told}
  echo >>{told}
  exit 0
fi
exec {sys.executable} "$@"
""",
        "utf-8",
    )
    stub.chmod(0o755)
    recipe("--status", "--exp", str(folder / "exp"), *words, TRIVIUM_PYTHON=str(stub))
    found = {}
    for line in told.read_text("utf-8").splitlines():
        parts = line.rstrip("\t").split("\t")
        cut = parts.index("--")
        call: dict[str, list[str]] = {"command": parts[cut + 1 :]}
        for word in parts[:cut]:
            if word.startswith("--"):
                values = call.setdefault(word[2:], [])
            else:
                values.append(word)
        found[call["out"][0].removeprefix(f"{folder}/exp/")] = call
    return found


def test_conversions_are_made_and_judged_again_when_what_decides_them_changes(
    tmp_path: Path,
) -> None:
    """wav.scp holds names only: a retrained model or another vocoder leaves it as it is."""
    calls = stages(tmp_path, "--preset", "mini")
    exp = f"{tmp_path}/exp"
    for system in ("fhvae_s1", "cfhvae_strong_s1", "baselines"):
        method = "meanvar" if system == "baselines" else "shift"
        made = calls[f"{system}/convert/{method}/wav.scp"]
        reads_model = f"{exp}/{system}/checkpoint_best.pt" in made["in"]
        assert reads_model == (system != "baselines")
        heard = {f"{exp}/{system}/convert/{method}/{name}" for name in ("convert.json", "wav")}
        judged = calls[f"{system}/quality_vc_{method}.json"]["in"]
        assert heard <= set(judged)
        assert heard <= set(calls[f"{system}/decode_{method}_greedy/scoring"]["in"])
        assert f"{exp}/baselines/quality_natural.json" in judged  # the threshold
        assert f"{exp}/baselines/convert/source/convert.json" in judged
