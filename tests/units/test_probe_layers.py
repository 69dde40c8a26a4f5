"""Layers are judged on other speakers, each by a probe and by a k-means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.units.phones import read_phones
from pylib.units.probe_layers import LayerOptions, PhoneFrames, probe_layers
from tests.features.helpers import feature_dir

PHONES = 5


class Model:
    """Layer 0 is noise; layer 1 tells phones apart; 25 Hz, label t at 40 t + 32.5 ms."""

    rate = 25.0

    def __init__(self, data: Path) -> None:
        self.times = read_phones(data / "phones.ctm")
        self.utts = sorted(self.times)
        self.passes = 0

    def read_layers(self, utt: str, layers: Sequence[int]) -> list[np.ndarray]:
        self.passes += 1
        rng = np.random.default_rng(list(utt.encode()))
        ids = {f"P{i}": i for i in range(PHONES)}
        count = int(self.times[utt].ends[-1] * 25)
        phone = self.times[utt].at(np.arange(count) * 0.04 + 0.0325, ids)
        noise = rng.standard_normal((count, PHONES)).astype(np.float32)
        clear = noise + 8 * np.eye(PHONES + 1, dtype=np.float32)[phone, :PHONES]
        return [noise if layer == 0 else clear for layer in layers]


def phone_dir(root: Path, speakers: str) -> Path:
    rng = np.random.default_rng(len(speakers))
    utts = [f"{speaker}-{i}" for speaker in speakers for i in range(4)]
    data = feature_dir(root, {utt: np.zeros((500, 2)) for utt in utts})
    lines = [
        f"{utt} 1 {0.12 * i:.2f} 0.12 P{rng.integers(PHONES)}\n" for utt in utts for i in range(40)
    ]
    (data / "phones.ctm").write_text("".join(lines))
    return data


def probe(one: Path, two: Path, **options: float) -> tuple[list[dict], Model]:
    chosen = LayerOptions(clusters=PHONES, **options)  # type: ignore[arg-type]
    model, other = Model(one), Model(two)
    rows = probe_layers(
        PhoneFrames(one, model, "centre", chosen),
        PhoneFrames(two, other, "centre", chosen),
        [0, 1],
        PHONES,
        chosen,
        {"system": "hubert", "seed": 1, "set": "dev"},
        "exp/probe.json",
    )
    return rows, model


def test_rows_of_each_layer(tmp_path: Path) -> None:
    one, two = phone_dir(tmp_path / "1", "abc"), phone_dir(tmp_path / "2", "xy")
    rows, model = probe(one, two)
    found = {(item["measure"], item["decode"]): item for item in rows}
    assert found.keys() == {
        (m, d) for m in ("phone_accuracy", "pnmi") for d in ("layer0", "layer1")
    }
    assert found["phone_accuracy", "layer1"]["value"] > 0.98
    assert found["pnmi", "layer1"]["value"] > 0.9
    assert found["phone_accuracy", "layer0"]["value"] < 0.4
    assert found["pnmi", "layer0"]["value"] < 0.1
    for item in rows:
        assert item["low"] <= item["value"] <= item["high"]
        assert item["n"] == 8 * 119 or item["n"] == 8 * 120
    assert model.passes == 12  # one pass for both layers


def test_little_memory_reads_layer_by_layer(tmp_path: Path) -> None:
    one, two = phone_dir(tmp_path / "1", "abc"), phone_dir(tmp_path / "2", "xy")
    rows, model = probe(one, two, memory_gb=1e-6)
    assert model.passes == 24
    assert len(rows) == 4


def test_few_frames_draw_few_utterances(tmp_path: Path) -> None:
    one, two = phone_dir(tmp_path / "1", "abc"), phone_dir(tmp_path / "2", "xy")
    rows, model = probe(one, two, max_frames=200)
    assert model.passes == 2
    assert rows[0]["n"] < 300


def test_shared_speakers_are_refused(tmp_path: Path) -> None:
    one, two = phone_dir(tmp_path / "1", "abc"), phone_dir(tmp_path / "2", "cd")
    with pytest.raises(UserError, match="speaker 'c'"):
        probe(one, two)
