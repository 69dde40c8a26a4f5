"""A small, valid data directory with real audio files, to be broken by the tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.audio import write_audio
from pylib.corpus.datadir import write_datadir
from tests.corpus.helpers import noise

RATE = 16000
SAMPLES = {"a-1": 16000, "a-2": 24000, "b-1": 20000, "c-1": 40000}
TEXT = {"a-1": "HELLO WORLD", "a-2": "A SHIP", "b-1": "THE END", "c-1": "ONE MORE"}


@pytest.fixture
def make_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes a valid data directory of that name: 4 utterances of 3 speakers, all files."""

    def make(name: str = "train", prefix: str = "") -> Path:
        with monkeypatch.context() as patch:
            # What is only a test's input need not survive a power cut; fsync is most of its time.
            patch.setattr(os, "fsync", lambda descriptor: None)
            return build(name, prefix)

    def build(name: str, prefix: str) -> Path:
        data = tmp_path / "data" / name
        samples = {prefix + utt: count for utt, count in SAMPLES.items()}
        wav = {}
        for seed, (utt, count) in enumerate(samples.items()):
            wav[utt] = str(tmp_path / "audio" / name / f"{utt}.flac")
            write_audio(wav[utt], noise(count, seed), RATE)
        utt2spk = {utt: utt[: -len("-1")] for utt in samples}
        frames = {utt: (count - 400) // 160 + 1 for utt, count in samples.items()}
        write_datadir(
            data,
            wav=wav,
            utt2spk=utt2spk,
            text={prefix + utt: text for utt, text in TEXT.items()},
            utt2dur={utt: count / RATE for utt, count in samples.items()},
            utt2num_samples=samples,
            spk2gender=dict.fromkeys(utt2spk.values(), "f"),
            extra={"utt2num_frames": frames},
        )
        rng = np.random.default_rng(1)
        with ArkWriter(tmp_path / "arks" / f"{name}.ark", data / "feats.scp") as writer:
            for utt, count in frames.items():
                writer.write(utt, rng.standard_normal((count, 8)).astype(np.float32))
        write_json(data / "feats.json", {"kind": "fbank", "dim": 8, "rate": 100})
        with ArkWriter(tmp_path / "arks" / f"{name}_km.ark", data / "labels.scp") as writer:
            for utt, count in samples.items():
                length = (count - 400) // 320 + 1
                writer.write(utt, rng.integers(0, 10, length).astype(np.int32))
        write_json(data / "labels.json", {"rate": 50, "clusters": 10, "kmeans": "exp/km"})
        return data

    return make


@pytest.fixture
def data(make_dir: Callable[[str], Path]) -> Path:
    """One valid data directory."""
    return make_dir("train")
