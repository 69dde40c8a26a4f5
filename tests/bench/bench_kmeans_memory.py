"""Peak memory of the k-means fit and of the label stage for 1 h and 10 h of features.

    . ./path.sh && python tests/bench/bench_kmeans_memory.py [--hours 1 10] [--clusters 100]

Features are synthetic arks (100 Hz, 10 s an utterance). Each stage runs in a process of its own
through its verb; the peak is the kernel's (ru_maxrss). The fit is cut to a few updates: its
buffers are full from the first one on. Flat means the same for 1 h and 10 h.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.datadir import write_datadir

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10
# Runs a verb and prints the largest resident size of the process in kB.
PEAK = (
    "import resource, sys; from importlib import import_module; "
    "import_module('pylib.bin.' + sys.argv[1]).main(sys.argv[2:]); "
    "print('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
)


def make_data(folder: Path, hours: float, dim: int) -> Path:
    """A data directory with `hours` of noise features."""
    rng = np.random.default_rng(0)
    count = round(hours * 3600 / SECONDS)
    utts = [f"s{i % 40:02d}-{i:06d}" for i in range(count)]
    samples = 400 + 160 * (SECONDS * 100 - 1)
    data = folder / f"data{hours:g}h"
    write_datadir(
        data,
        wav={utt: f"/none/{utt}.flac" for utt in utts},
        utt2spk={utt: utt.split("-")[0] for utt in utts},
        utt2dur=dict.fromkeys(utts, samples / 16000),
        utt2num_samples=dict.fromkeys(utts, samples),
    )
    block = rng.standard_normal((SECONDS * 100 + 64, dim)).astype(np.float32)
    with ArkWriter(folder / f"{hours:g}h.ark", data / "mfcc.scp") as writer:
        for i, utt in enumerate(utts):
            writer.write(utt, block[i % 64 : i % 64 + SECONDS * 100])
    write_json(data / "mfcc.json", {"kind": "mfcc", "dim": dim, "rate": 100.0})
    return data


def peak_mb(verb: str, *arguments: object) -> float:
    """Peak resident size of a verb, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, verb, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return int(done.stdout.split("PEAK")[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 10.0])
    parser.add_argument("--dim", type=int, default=39)
    parser.add_argument("--clusters", type=int, default=100)
    args = parser.parse_args()
    peaks: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for hours in args.hours:
            data = make_data(Path(name), hours, args.dim)
            for cmvn in ("none", "speaker"):
                kmeans = Path(name) / f"km_{hours:g}_{cmvn}"
                fit = peak_mb(
                    "train_kmeans", "--clusters", args.clusters, "--cmvn", cmvn, "--starts", 2,
                    "--max-epochs", 1, "--patience", 20, data, kmeans,
                )  # fmt: skip
                peaks.setdefault(f"fit, cmvn {cmvn}", []).append(fit)
                label = peak_mb("dump_labels", "--ark-dir", Path(name) / "arks", data, kmeans)
                peaks.setdefault(f"label, cmvn {cmvn}", []).append(label)
    size = [hours * 360_000 * args.dim * 4 / 2**20 for hours in args.hours]
    shown = ", ".join(f"{h:g} h = {mb:.0f} MB" for h, mb in zip(args.hours, size, strict=True))
    print(f"features: {shown}")
    for stage, found in peaks.items():
        each = "  ".join(f"{h:g} h {mb:6.0f} MB" for h, mb in zip(args.hours, found, strict=True))
        print(f"{stage:22} {each}   last/first {found[-1] / found[0]:.2f}x")


if __name__ == "__main__":
    main()
