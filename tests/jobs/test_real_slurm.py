"""The Slurm back end before a real Slurm: two nodes on this machine (tests/jobs/onebox_slurm.sh).

Runs as root where Debian's packages slurm-wlm, slurm-wlm-basic-plugins and munge are installed; it
installs nothing and is skipped elsewhere, by the name of what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SERVER = ROOT / "tests" / "jobs" / "onebox_slurm.sh"
MISSING = [
    name for name in ("slurmctld", "slurmd", "munged")
    if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"no {' '.join(MISSING)}: apt-get install slurm-wlm"),
    pytest.mark.skipif(os.geteuid() != 0, reason="not root: Slurm's daemons are started by hand"),
]


def warn(path: str) -> str:
    """A shell's words: Slurm's warning of the time limit to the job that has written a file."""
    return f"""(
  for ((i = 0; i < 3000; i++)); do [ ! -e {path} ] || break; sleep 0.1; done
  scancel --signal=USR1 --batch "$(squeue -h -t running -o %F | head -n 1)"
)"""


def on_slurm(folder: Path, script: str, limit: float) -> str:
    """Output of a shell script with our back end before a fresh Slurm; it must end with 0."""
    (folder / "script.sh").write_text(
        f"set -u\n. {ROOT}/path.sh\nexport CMD_BACKEND=slurm\ncd {folder}\n"
        f"run={ROOT}/local/run.sh\n{script}",
        encoding="utf-8",
    )
    done = subprocess.run(
        ["bash", str(SERVER), str(folder / "slurm"), "bash", str(folder / "script.sh")],
        capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL,
        env={**os.environ, "TRIVIUM_PYTHON": sys.executable},
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_arrays_failures_and_cancellation(tmp_path: Path) -> None:
    told = on_slurm(
        tmp_path,
        """
"$run" JOB=1:3 log/ok.JOB.log bash -c 'exit $((JOB == 2 ? 3 : 0))'; echo "code $?"
(sleep 3; scancel "$(squeue -h -o %F | head -n 1)") &
start=$SECONDS
"$run" JOB=1:2 log/c.JOB.log sleep 100; echo "cancelled: code $?, $((SECONDS - start)) s"
"$run" --mem 900G log/big.log true; echo "refused: code $?"
""",
        120,
    )
    assert "1 / 3 failed" in told and "JOB 2 (code 3)" in told and "code 1\n" in told
    seconds = int(told.split("cancelled: code 1, ")[1].split()[0])
    assert seconds < 60
    assert "sbatch refused the jobs" in told and "refused: code 1" in told


@pytest.fixture(scope="module")
def pretraining(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Data of the smoke preset, and the words of a pre-training on it."""
    exp = tmp_path_factory.mktemp("data") / "exp"
    subprocess.run(
        ["bash", str(ROOT / "egs/librispeech/run.sh"), "--preset", "smoke", "--nj", "1",
         "--exp", str(exp), "--stop-stage", "labels"], check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    settings = "targets.clusters=50 optim.updates=400 optim.micro_batches=2 run.save_every=20"
    words = (
        f'"$TRIVIUM_ROOT/steps/train.sh" --threads 1 --preset smoke --seed 1 '
        f'--config "$TRIVIUM_ROOT/egs/librispeech/conf/mt4ssl_smoke.toml" --system-name mt4ssl '
        f'--set "{settings}" --cmd "$run --time 1:00:00"'
    )
    return exp / "data", words


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]


def test_two_nodes_requeued_train_what_one_process_does(
    tmp_path: Path, pretraining: tuple[Path, str]
) -> None:
    """srun over two nodes, USR1 in the middle: checkpoint, requeue, and the same weights."""
    data, words = pretraining
    told = on_slurm(
        tmp_path,
        f"""
{warn("two/checkpoint_00000040.pt")} &
{words} --num-nodes 2 {data}/train {data}/dev_clean two; echo "two: code $?"
{words} {data}/train {data}/dev_clean one; echo "one: code $?"
""",
        560,
    )
    assert "two: code 0" in told and "one: code 0" in told
    log = (tmp_path / "two" / "log" / "train.log").read_text(encoding="utf-8")
    assert "scontrol requeue" in log and "Started again" in log and "going on from update" in log
    two, one = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert all(torch.equal(two[name], one[name]) for name in one)


def test_the_whole_recipe_gives_the_same_results(tmp_path: Path) -> None:
    """egs/librispeech, preset smoke, its pre-training put back into the queue in the middle: the
    same WER to the digit as on this machine alone."""
    words = f"bash {ROOT}/egs/librispeech/run.sh --preset smoke --threads 1 --nj 2"
    training = "exp/pretrain_mt4ssl_it1_s1"
    start = time.monotonic()
    on_slurm(
        tmp_path,
        f"""
{warn(f"{training}/checkpoint_00000050.pt")} &
{words} --cmd-backend slurm --train-cmd "local/run.sh --time 1:00:00" --exp {tmp_path}/exp \
  --set-pretrain run.save_every=50
""",
        900,
    )
    print(f"through Slurm: {time.monotonic() - start:.0f} s")
    log = (tmp_path / training / "log" / "train.log").read_text(encoding="utf-8")
    assert "scontrol requeue" in log and "Started again" in log and "going on from update" in log
    subprocess.run(
        f"{words} --cmd-backend local --exp {tmp_path}/local --set-pretrain run.save_every=50",
        shell=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    first, second = (
        [
            (row["set"], row["decode"], row["measure"], row["value"])
            for row in json.loads(
                (tmp_path / name / "report" / "summary.json").read_text(encoding="utf-8")
            )["results"]
        ]
        for name in ("exp", "local")
    )
    assert first == second and any(row[2] == "wer" for row in first)
