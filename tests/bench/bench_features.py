"""Hours of audio per core-minute of the feature stage, beside its peers, in one run.

    . ./path.sh && python tests/bench/bench_features.py [--minutes 10] [--rounds 8]

Stage: flac in, ark and scp out, one process, one thread, as a shard of steps/make_feats.sh runs.
Peers, over arrays that lie decoded in memory, nothing written: a bare loop of
torchaudio.compliance.kaldi, and kaldi-native-fbank. Targets: the stage at >= 0.8x of the former
and >= 3x of the latter. Audio: $TRIVIUM_REAL/LibriSpeech where set, else noise with the spectrum
and the pauses of speech.
In each round all are timed in turn, in CPU seconds of this process; of the rounds the fastest of
each counts: other work on the machine only ever adds to CPU time (colder caches), and adds most to
whoever moves most memory, which is the stage.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import soundfile
import torch
import torchaudio
import torchaudio.compliance.kaldi as kaldi
from scipy.signal import lfilter

from pylib.corpus.audio import read_audio
from pylib.corpus.datadir import write_datadir
from pylib.features.config import FrontendConfig
from pylib.features.making import FeatureStage

RATE = 16000


def synthetic(folder: Path, minutes: float) -> list[Path]:
    """Flacs of 12 s that compress like speech: low-pass noise in syllables, pauses between."""
    rng = np.random.default_rng(0)
    paths = []
    for i in range(max(1, round(minutes * 5))):
        count = 12 * RATE
        noise = lfilter([1.0], [1.0, -0.95], rng.standard_normal(count))
        loud = np.repeat(rng.random(48) ** 2, count // 48)
        pcm = 0.02 * noise * loud + 0.001 * rng.standard_normal(count)
        paths.append(folder / f"n{i:04d}.flac")
        soundfile.write(paths[-1], np.clip(pcm, -1, 1), RATE, subtype="PCM_16")
    return paths


def audio_files(folder: Path, minutes: float) -> tuple[str, list[Path]]:
    """Name of the source, and at least `minutes` of flac (or all there is)."""
    real = os.environ.get("TRIVIUM_REAL")
    if not real:
        return "synthetic", synthetic(folder, minutes)
    paths, seconds = [], 0.0
    for path in sorted(Path(real, "LibriSpeech").rglob("*.flac")):
        paths.append(path)
        seconds += soundfile.info(path).duration
        if seconds >= minutes * 60:
            break
    return "LibriSpeech", paths


def data_dir(folder: Path, paths: list[Path]) -> Path:
    wav = {path.stem: str(path) for path in paths}
    counts = {path.stem: soundfile.info(path).frames for path in paths}
    write_datadir(
        folder / "data",
        wav=wav,
        utt2spk={utt: utt for utt in wav},
        utt2num_samples=counts,
        utt2dur={utt: count / RATE for utt, count in counts.items()},
    )
    return folder / "data"


def library(arrays: list[np.ndarray], kind: str) -> None:
    """The bare loop of torchaudio.compliance.kaldi."""
    for samples in arrays:
        wave = torch.from_numpy(samples)[None]
        if kind == "fbank":
            kaldi.fbank(wave, num_mel_bins=80, dither=0.0)
            continue
        cepstra = kaldi.mfcc(wave, num_ceps=13, num_mel_bins=23, dither=0.0).T.contiguous()
        delta = torchaudio.functional.compute_deltas(cepstra)
        torch.cat([cepstra, delta, torchaudio.functional.compute_deltas(delta)]).T.contiguous()


def native(arrays: list[np.ndarray], kind: str) -> None:
    """kaldi-native-fbank; its MFCC has no deltas, so it does less."""
    import kaldi_native_fbank as knf

    options = knf.FbankOptions() if kind == "fbank" else knf.MfccOptions()
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 80 if kind == "fbank" else 23
    online = knf.OnlineFbank if kind == "fbank" else knf.OnlineMfcc
    for samples in arrays:
        made = online(options)
        made.accept_waveform(RATE, samples)
        made.input_finished()
        np.stack([made.get_frame(i) for i in range(made.num_frames_ready)])


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="audio")
    parser.add_argument("--rounds", type=int, default=8, help="of which the fastest counts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, paths = audio_files(folder, args.minutes)
        data = data_dir(folder, paths)
        arrays = [read_audio(path) for path in paths]
        hours = sum(len(array) for array in arrays) / RATE / 3600
        print(f"{source}: {len(paths)} utterances, {hours * 60:.1f} minutes, {args.rounds} rounds")
        for kind in ("fbank", "mfcc"):
            stage = FeatureStage(data, folder / "arks", FrontendConfig.preset(kind))
            rivals: dict[str, Callable[[], object]] = {
                "stage (flac in, ark out)": lambda stage=stage: stage.make_shard(1),
                "  of which reading flac": lambda: [read_audio(path) for path in paths],
                "torchaudio, from memory": lambda kind=kind: library(arrays, kind),
                "kaldi-native-fbank, from memory": lambda kind=kind: native(arrays, kind),
            }
            report(kind, rivals, hours, args.rounds)


def report(kind: str, rivals: dict[str, Callable[[], object]], hours: float, rounds: int) -> None:
    """Time the rivals in turn; print hours per core-minute of the fastest round, and ratios."""
    spent: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, work in rivals.items():
            spent[name].append(cpu_seconds(work))
    best = {name: min(times) for name, times in spent.items()}
    ours = best["stage (flac in, ark out)"]
    for name, seconds in best.items():
        ratio = "" if name.startswith(("stage", " ")) else f"   stage is {seconds / ours:.2f}x"
        print(f"{kind:6} {name:32} {hours / (seconds / 60):7.2f} h/core-min{ratio}")


if __name__ == "__main__":
    main()
