"""Small data directories for the tests of features and units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.datadir import write_datadir


def audio_dir(root: Path, name: str, samples: dict[str, int], rate: int = 16000) -> Path:
    """A data directory of noisy tones as flac; utterance `a-1` is of speaker `a`.

    Args:
        root: where audio and data directory go.
        name: of the data directory.
        samples: utterance -> number of samples.
        rate: Hz.
    """
    wav, dur = {}, {}
    (root / "wav").mkdir(parents=True, exist_ok=True)
    for i, (utt, count) in enumerate(sorted(samples.items())):
        rng = np.random.default_rng(i)
        tone = 0.3 * np.sin(np.arange(count) * (0.02 + 0.01 * i))
        path = root / "wav" / f"{name}-{utt}.flac"
        soundfile.write(path, tone + 0.01 * rng.standard_normal(count), rate, subtype="PCM_16")
        wav[utt], dur[utt] = str(path), count / rate
    write_datadir(
        root / "data" / name,
        wav=wav,
        utt2spk={utt: utt.split("-")[0] for utt in samples},
        utt2dur=dur,
        utt2num_samples=samples,
    )
    return root / "data" / name


def feature_dir(
    root: Path,
    matrices: dict[str, np.ndarray],
    stem: str = "mfcc",
    rate: float = 100.0,
    **meta: object,
) -> Path:
    """A data directory with given features under `stem` and no real audio."""
    data = root / "data" / "set"
    samples = {utt: 400 + 160 * (len(matrix) - 1) for utt, matrix in matrices.items()}
    write_datadir(
        data,
        wav={utt: f"/none/{utt}.flac" for utt in matrices},
        utt2spk={utt: utt.split("-")[0] for utt in matrices},
        utt2dur={utt: count / 16000 for utt, count in samples.items()},
        utt2num_samples=samples,
    )
    with ArkWriter(root / f"{stem}.ark", data / f"{stem}.scp") as writer:
        for utt, matrix in sorted(matrices.items()):
            writer.write(utt, matrix.astype(np.float32))
    dim = next(iter(matrices.values())).shape[1]
    write_json(data / f"{stem}.json", {"kind": stem, "dim": dim, "rate": rate, **meta})
    return data
