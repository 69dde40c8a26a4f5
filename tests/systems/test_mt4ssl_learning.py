"""MT4SSL learns 20 s of the built-in corpus's speech by heart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.corpus.audio import read_audio
from pylib.corpus.mini.build import build_corpus
from pylib.corpus.mini.config import SIZES
from pylib.features.config import FrontendConfig
from pylib.features.kaldi_frontend import KaldiFrontend
from pylib.nn.batch import PAD_LABEL, Batch
from pylib.nn.encoder import EncoderConfig
from pylib.nn.loss import add_metrics, summarise
from pylib.nn.masks import MaskConfig
from pylib.systems.mt4ssl import MT4SSL, TargetsConfig
from pylib.units.kmeans import FitOptions, fit

CLUSTERS = 16
SECONDS = 20
STACK = 4  # filter-bank frames of a frame of the model

ENCODER = EncoderConfig(
    frontend="fbank", fbank_stack=STACK, dim=96, ffn_dim=192, layers=2, heads=4, pos_conv_depth=2,
    pos_conv_width=22, pos_conv_groups=4, dropout=0.0, attention_dropout=0.0, layerdrop=0.0,
)  # fmt: skip


class Frames:
    """Filter banks of utterances, as the k-means reads them."""

    dim = 80

    def __init__(self, values: list[np.ndarray]) -> None:
        self._values = {str(i): value for i, value in enumerate(values)}
        self.utts = list(self._values)

    def read(self, utt: str) -> np.ndarray:
        return self._values[utt]

    def num_frames(self, utt: str) -> int:
        return len(self._values[utt])


def speech(folder: Path) -> Batch:
    """One speaker's sentences, each normalised, with k-means labels at 25 Hz."""
    config = replace(
        SIZES["smoke"], train_speakers=1, labelled_speakers=1, dev_speakers=1, test_speakers=1,
        train_minutes=SECONDS / 60, labelled_minutes=0.1, dev_minutes=0.02, test_minutes=0.02,
        lm_sentences=10,
    )  # fmt: skip
    build_corpus(folder, config, jobs=1)
    front = KaldiFrontend(FrontendConfig.preset("fbank"))
    waves = [read_audio(path) for path in sorted(folder.glob("train*/*/*/*.flac"))]
    assert SECONDS <= sum(map(len, waves)) / 16000 < SECONDS + 5
    values = [front(wave) for wave in waves]
    values = [(value - value.mean(0)) / value.std(0) for value in values]
    found = fit(Frames(values), FitOptions(clusters=CLUSTERS, starts=1))
    centroids = torch.from_numpy(found.centroids)
    frames = [len(value) // STACK for value in values]
    inputs = torch.zeros(len(values), max(frames) * STACK, 80)
    labels = torch.full((len(values), max(frames)), PAD_LABEL)
    for row, (value, count) in enumerate(zip(values, frames, strict=True)):
        kept = torch.from_numpy(value[: count * STACK])
        inputs[row, : len(kept)] = kept
        labels[row, :count] = torch.cdist(kept[STACK // 2 :: STACK], centroids).argmin(1)
    return Batch(inputs, torch.tensor(frames) * STACK, labels)


def judged(system: MT4SSL, batch: Batch) -> dict[str, float]:
    """Measures over ten masks that training has not drawn."""
    system.eval()
    with torch.no_grad():
        parts = [system(batch, torch.Generator().manual_seed(100 + i)).metrics for i in range(10)]
    system.train()
    return summarise(add_metrics(parts))


@pytest.mark.slow
def test_over_fit(tmp_path: Path) -> None:
    """Of 20 s of synthetic speech CE accuracy gets above 90 %, and nothing collapses."""
    torch.set_num_threads(1)
    batch = speech(tmp_path / "corpus")
    torch.manual_seed(0)
    targets = TargetsConfig(clusters=CLUSTERS, teacher_layers=2, guard_after=50)
    system = MT4SSL(ENCODER, targets, MaskConfig(prob=0.3, length=2))
    parameters = [p for p in system.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, 3e-3, betas=(0.9, 0.98))
    draw = torch.Generator().manual_seed(1)
    numbers: dict[str, float] = {}
    for update in range(1, 401):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, update / 40)
        out = system(batch, draw)
        (out.loss_sum / out.count).backward()
        optimizer.step()
        optimizer.zero_grad()
        system.after_update(update)
        system.health(summarise(out.metrics))
        if update % 20 == 0:
            numbers = judged(system, batch)
            if numbers["accuracy"] > 0.95:
                break
    assert numbers["accuracy"] > 0.9, numbers
    assert numbers["pred_std"] > 0.01 and numbers["target_std"] > 0.1, numbers
    assert numbers["label_used"] == CLUSTERS and numbers["label_perplexity"] > CLUSTERS / 2
