"""Log filter banks of audio-visual models, beside python_speech_features; adding noise on the way.

    . ./path.sh && python tests/bench/bench_logfbank.py [--minutes 5] [--rounds 5]

One process, one thread, arrays in memory, CPU seconds of this process, best round. Targets:
500x real time, and 1.5x of the peer, whose numbers are the same; with noise mixed in (what training
does to a quarter of its utterances) still 500x.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import python_speech_features

from pylib.features.logfbank import logfbank, stack4
from pylib.features.noise import mix

RATE = 16000
SECONDS = 4.0  # of an utterance


def best(work: Callable[[np.ndarray], object], utts: list[np.ndarray], rounds: int) -> float:
    """Seconds of audio a CPU second."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        for utt in utts:
            work(utt)
        times.append(time.process_time() - start)
    return len(utts) * SECONDS / min(times)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    count = max(1, round(args.minutes * 60 / SECONDS))
    pcm = [rng.normal(0, 3000, int(SECONDS * RATE)).astype(np.int16) for _ in range(count)]
    utts = [samples.astype(np.float32) / 32768 for samples in pcm]
    noise = rng.normal(0, 0.1, 10 * RATE).astype(np.float32)
    peer = python_speech_features.logfbank
    error = np.abs(logfbank(utts[0]) - peer(pcm[0], RATE)).max()
    frames = int(SECONDS * 25)
    ours = best(lambda utt: stack4(logfbank(utt), frames), utts, args.rounds)
    noisy = best(lambda utt: stack4(logfbank(mix(utt, noise, 0.0, 7)), frames), utts, args.rounds)
    theirs = best(lambda utt: peer(utt, RATE), pcm, args.rounds)
    print(f"largest difference {error:.1e}")
    print(f"ours {ours:.0f}x real time, with noise {noisy:.0f}x, peer {theirs:.0f}x")
    print(f"ratio {ours / theirs:.2f}")
    fine = error < 1e-4 and min(ours, noisy) >= 500 and ours >= 1.5 * theirs
    print("targets met" if fine else "targets missed")
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
