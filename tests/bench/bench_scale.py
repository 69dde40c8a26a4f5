"""Names and durations of 300,000 utterances through every verb: seconds, peak memory, targets.

    . ./path.sh && python tests/bench/bench_scale.py [utterances]
    pip install --no-deps --target /tmp/lhotse lhotse lilcom intervaltree sortedcontainers cytoolz \
      toolz tabulate audioread
    PYTHONPATH=$PYTHONPATH:/tmp/lhotse python tests/bench/bench_scale.py

There is no audio: the directory holds tables alone, as LibriSpeech's 281,241 utterances would. Each
verb runs in a process of its own, whose greatest memory is what the kernel recorded. Targets: 10 s
and 1 GB each. Where lhotse can be imported (the second form; it is no dependency), its equivalents
run on manifests of the same utterances, and the ratios are printed: they hold text, speaker and
samples, not durations and frames as ours do. `bench_datadir.py` adds features, labels and files.
"""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS, MEGABYTES = 10.0, 1000.0  # targets
_PLAN = (
    "import numpy as np; from pylib.corpus.datadir import DataDir; "
    "from pylib.training.batches import BatchPlan; "
    "from pylib.training.settings import DataConfig; "
    "lengths = np.array(list(DataDir('d').utt2num_samples.values())); "
    "plan = BatchPlan(lengths, 16000, 320, 1, DataConfig(), {crop}); "
    "[plan.batch(g) for g in range(plan.batches_per_epoch + 1)]"
)
VERBS = {
    "load (DataDir)": "from pylib.corpus.datadir import DataDir; DataDir.load('d').utt2dur",
    "validate": "from pylib.bin.validate_data_dir import main; "
    "main(['d', '--no-feats=true', '--no-wav=true'])",
    "split 64": "from pylib.bin.split_data import main; main(['d', '64'])",
    "split 64, again": "from pylib.bin.split_data import main; main(['d', '64'])",
    "subset 10,000": "from pylib.bin.subset_data_dir import main; main(['d', '10000', 's'])",
    "copy, new ids": "from pylib.bin.copy_data_dir import main; "
    "main(['--utt-prefix=x', '--spk-prefix=x', '--validate-opts=--no-wav', 'd', 'c'])",
    "split 2": "from pylib.bin.split_data import main; main(['d', '2'])",
    "combine 2 halves": "from pylib.bin.combine_data import main; "
    "main(['e', 'd/split2/1', 'd/split2/2'])",
    "batches, cropped": _PLAN.format(crop=True),
    "batches, padded": _PLAN.format(crop=False),
}
# lhotse's equivalents, as functions of peer_lhotse.py; `split 2` makes the halves.
PEERS = {
    "validate": "check()",
    "split 64": "split(64)",
    "split 2": "split(2)",
    "combine 2 halves": "join()",
}
# What is published or was seen of others' verbs; nobody gives seconds but for the one.
OTHERS = {
    "validate": "Kaldi: exit 0 with empty transcripts, missing audio, 3 fields in utt2spk",
    "split 64": "Kaldi: stale parts kept; ESPnet issue 2106: 800 minutes for text",
    "split 64, again": "Kaldi: compares dates of some of the files",
    "combine 2 halves": "Kaldi: removes the destination first",
}


def make(count: int) -> None:
    """A data directory `d` of `count` utterances of 2 to 20 s; its audio is nowhere."""
    from pylib.corpus.datadir import write_datadir

    rng = random.Random(0)
    utts = [f"{i // 120 + 1000:05d}-{i % 120 // 20:06d}-{i:07d}" for i in range(count)]
    samples = {utt: rng.randint(32_000, 320_000) for utt in utts}
    words = [f"WORD{i}" for i in range(5000)]
    write_datadir(
        "d",
        wav={utt: f"audio/{utt[:5]}/{utt}.flac" for utt in utts},
        utt2spk={utt: utt[:5] for utt in utts},
        text={utt: " ".join(rng.choices(words, k=30)) for utt in utts},
        utt2num_samples=samples,
        utt2dur={utt: n / 16000 for utt, n in samples.items()},
        spk2gender={utt[:5]: "m" for utt in utts},
        extra={"utt2num_frames": {utt: (n - 400) // 160 + 1 for utt, n in samples.items()}},
    )


def measure(body: str, folder: str) -> tuple[float, float, float]:
    """(seconds by the clock, of processor time, greatest resident MB) of `body` in a child."""
    after = (
        "import resource as r; u = r.getrusage(r.RUSAGE_SELF); "
        "print('MEASURED', u.ru_utime + u.ru_stime, u.ru_maxrss / 1e3, file=sys.stderr)"
    )
    code = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", f"{code}{body}\n{after}"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    wall = time.perf_counter() - begin
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if not last.startswith("MEASURED"):
        raise SystemExit(f"{body[:60]}: failed: {done.stderr[-2000:]}")
    processor, peak = map(float, last.split()[1:])
    return wall, processor, peak


def main() -> int:
    """Make the directory, run each verb, print a line each; 1 where a target is missed."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    missed = 0
    ours: dict[str, tuple[float, float, float]] = {}
    print(f"{count:,} utterances; targets {SECONDS:g} s of processor time, {MEGABYTES:g} MB")
    print(f"{'verb':<18} {'wall s':>7} {'cpu s':>7} {'peak MB':>8}  {'target':<7} others")
    with tempfile.TemporaryDirectory() as folder:
        measure(f"import bench_scale; bench_scale.make({count})", folder)
        for name, body in VERBS.items():
            ours[name] = wall, processor, peak = measure(body, folder)
            good = processor < SECONDS and peak < MEGABYTES
            missed += not good
            verdict = "met" if good else "MISSED"
            line = f"{name:<18} {wall:7.2f} {processor:7.2f} {peak:8.0f}  {verdict:<7}"
            print(f"{line} {OTHERS.get(name, '')}".rstrip(), flush=True)
        if importlib.util.find_spec("lhotse") is not None:
            compare(ours, folder)
    return 1 if missed else 0


def compare(ours: dict[str, tuple[float, float, float]], folder: str) -> None:
    """Run lhotse's equivalents, print a line each with how many times ours they take."""
    measure("import peer_lhotse; peer_lhotse.make()", folder)
    print(f"{'lhotse':<18} {'wall s':>7} {'cpu s':>7} {'peak MB':>8}  times ours: cpu, MB")
    for name, call in PEERS.items():
        wall, processor, peak = measure(f"import peer_lhotse; peer_lhotse.{call}", folder)
        ratios = f"{processor / ours[name][1]:.1f}, {peak / ours[name][2]:.1f}"
        print(f"{name:<18} {wall:7.2f} {processor:7.2f} {peak:8.0f}  {ratios}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
