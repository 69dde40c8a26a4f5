"""Data directory verbs on 300,000 utterances, the size of LibriSpeech: seconds and peak memory.

    . ./path.sh && python tests/bench/bench_datadir.py [utterances]

Prints numbers, asserts nothing. Bounds that the verbs are built for: validate without audio and
split into 64 parts below 10 s each and 1 GB. Each verb runs in a process of its own, as in use.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

VERBS = {
    "load (DataDir)": "from pylib.corpus.datadir import DataDir; DataDir.load('d').utt2num_samples",
    "validate": "from pylib.bin.validate_data_dir import main; main(['d'])",
    "info": "from pylib.bin.data_info import main; main(['d'])",
    "split 64": "from pylib.bin.split_data import main; main(['d', '64'])",
    "split 64 again": "from pylib.bin.split_data import main; main(['d', '64'])",
    "subset 10000": "from pylib.bin.subset_data_dir import main; main(['d', '10000', 's'])",
    "copy": "from pylib.bin.copy_data_dir import main; "
    "main(['--utt-prefix=x', '--spk-prefix=x', 'd', 'c'])",
    "combine": "from pylib.bin.combine_data import main; main(['e', 'd', 'c'])",
    "fix": "from pylib.bin.fix_data_dir import main; main(['d'])",
    "read all labels": "from pylib.corpus.ark import iter_scp; [x.sum() for _, x in iter_scp("
    "'d/labels.scp')]",
}


def make(count: int) -> None:
    """A data directory `d` of `count` utterances whose audio files exist (and are empty)."""
    from pylib.corpus.ark import ArkWriter
    from pylib.corpus.atomic import write_json
    from pylib.corpus.datadir import write_datadir

    rng = random.Random(0)
    utts = [f"{i // 120 + 1000:05d}-{i % 120 // 20:06d}-{i:07d}" for i in range(count)]
    samples = {utt: rng.randint(32000, 160000) for utt in utts}
    words = [f"WORD{i}" for i in range(5000)]
    wav = {utt: f"audio/{utt[:5]}/{utt}.flac" for utt in utts}
    for utt, path in wav.items():
        if utt.endswith("0"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
    for path in wav.values():
        open(path, "wb").close()
    labels = np.arange(3000, dtype=np.int32) % 500
    write_datadir(
        "d",
        wav=wav,
        utt2spk={utt: utt[:5] for utt in utts},
        text={utt: " ".join(rng.choices(words, k=30)) for utt in utts},
        utt2num_samples=samples,
        utt2dur={utt: n / 16000 for utt, n in samples.items()},
        spk2gender={utt[:5]: "m" for utt in utts},
        extra={"utt2num_frames": {utt: (n - 400) // 160 + 1 for utt, n in samples.items()}},
    )
    with ArkWriter("labels.ark", "d/labels.scp") as writer:
        for utt in utts:
            writer.write(utt, labels[: (samples[utt] - 400) // 320 + 1])
    write_json("d/labels.json", {"rate": 50, "clusters": 500})
    with ArkWriter("feats.ark", "d/feats.scp") as writer:
        for utt in utts:
            # One column instead of 80 keeps the disk small; the work on headers is the same.
            writer.write(utt, np.zeros(((samples[utt] - 400) // 160 + 1, 1), np.float32))


def main() -> None:
    """Make the directory, then run each verb in a process of its own."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    with tempfile.TemporaryDirectory() as folder:
        code = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]\n"
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", f"{code}import bench_datadir; bench_datadir.make({count})"],
            cwd=folder,
            check=True,
        )
        print(f"{count} utterances made in {time.perf_counter() - start:.1f} s")
        print(f"{'verb':<18} {'wall s':>8} {'cpu s':>8} {'peak MB':>8}")
        for name, body in VERBS.items():
            measure = (
                "import resource as r; u = r.getrusage(r.RUSAGE_SELF); "
                "print('MEASURED', u.ru_utime + u.ru_stime, u.ru_maxrss / 1e3, file=sys.stderr)"
            )
            begin = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", f"{code}{body}\n{measure}"],
                cwd=folder,
                capture_output=True,
                text=True,
                check=False,
            )
            wall = time.perf_counter() - begin
            lines = done.stderr.strip().splitlines()
            if not lines or not lines[-1].startswith("MEASURED"):
                print(f"{name:<18} failed: {done.stderr[-300:]}")
                continue
            cpu, peak = map(float, lines[-1].split()[1:])
            note = "" if len(lines) == 1 else f"  ({lines[0][:70]})"
            print(f"{name:<18} {wall:8.2f} {cpu:8.2f} {peak:8.0f}{note}")
    print(f"(this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB)")


if __name__ == "__main__":
    main()
