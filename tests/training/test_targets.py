"""Labels and transcripts: what does not fit the model is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.ark import ArkWriter
from pylib.corpus.atomic import write_json
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import write_table
from pylib.nn.encoder import EncoderConfig
from pylib.training.inputs import InputReader
from pylib.training.targets import LabelStore, too_fast, transcripts
from pylib.units.letters import VOCABULARY
from tests.training.helpers import CLUSTERS, PRETRAIN, make_set

FBANK = EncoderConfig(**PRETRAIN["model"])
SECONDS = [1.0, 1.5, 2.25]


def store(data: Path, clusters: int = CLUSTERS, model: EncoderConfig = FBANK) -> LabelStore:
    reader = InputReader(DataDir.load(data), model, normalise=True)
    return LabelStore(reader, reader.data.utts, clusters)


def relabel(data: Path, labels: dict[str, np.ndarray]) -> None:
    with ArkWriter(data.parents[1] / "ark" / "new.ark", data / "labels.scp") as writer:
        for utt in sorted(labels):
            writer.write(utt, labels[utt].astype(np.int32))


def change(data: Path, **values: object) -> None:
    meta = json.loads((data / "labels.json").read_text(encoding="utf-8"))
    write_json(data / "labels.json", meta | values)


def frames(data: Path) -> dict[str, int]:
    reader = InputReader(DataDir.load(data), FBANK, normalise=True)
    return {utt: reader.frames(reader.lengths[utt]) for utt in reader.data.utts}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_set(tmp_path, "train", SECONDS, 1)


def test_labels_of_a_crop(data: Path) -> None:
    counts = frames(data)
    relabel(data, {utt: np.arange(count) % CLUSTERS for utt, count in counts.items()})
    labels = store(data)
    utt = next(iter(counts))
    assert labels.get(utt, 3, 5).tolist() == [3, 4, 5, 6, 7]
    with pytest.raises(UserError, match="labels end before"):
        labels.get(utt, counts[utt] - 2, 5)


def test_wrong_rate_names_both(data: Path) -> None:
    change(data, rate=50.0)
    with pytest.raises(UserError, match=r"at 50 Hz, the model's frames at 25 Hz.*--rate 25"):
        store(data)


def test_wrong_alignment(data: Path) -> None:
    change(data, align="start")
    with pytest.raises(UserError, match="--align centre"):
        store(data)


def test_wrong_clusters(data: Path) -> None:
    with pytest.raises(UserError, match="set targets.clusters=8"):
        store(data, clusters=9)


@pytest.mark.parametrize("by", [-1, 1])
def test_wrong_length_names_the_utterance(data: Path, by: int) -> None:
    counts = frames(data)
    victim = sorted(counts)[1]
    relabel(data, {utt: np.arange(count + by * (utt == victim)) % 8
                   for utt, count in counts.items()})  # fmt: skip
    with pytest.raises(UserError, match=f"labels.scp: '{victim}'"):
        store(data)


def test_unknown_id(data: Path) -> None:
    relabel(data, {utt: np.arange(count) % 9 for utt, count in frames(data).items()})
    with pytest.raises(UserError, match="another k-means"):
        store(data)


def test_one_unit_only(data: Path) -> None:
    relabel(data, {utt: np.zeros(count) for utt, count in frames(data).items()})
    with pytest.raises(UserError, match="one and the same unit"):
        store(data)


def test_missing_labels(data: Path) -> None:
    counts = frames(data)
    counts.pop(sorted(counts)[0])
    relabel(data, {utt: np.arange(count) % 8 for utt, count in counts.items()})
    with pytest.raises(UserError, match="no labels of utterance"):
        store(data)
    (data / "labels.scp").unlink()
    with pytest.raises(UserError, match="labels.scp: no such file"):
        store(data)


def test_transcripts(data: Path) -> None:
    loaded = DataDir.load(data)
    write_table(data / "text", dict.fromkeys(loaded.utts, "IT'S A"))
    spelled = transcripts(DataDir.load(data), loaded.utts[:1])
    assert [VOCABULARY[i] for i in spelled[loaded.utts[0]]] == list("IT'S|A|")
    write_table(data / "text", dict.fromkeys(loaded.utts, "it is"))
    with pytest.raises(UserError, match="normalise the transcripts"):
        transcripts(DataDir.load(data), loaded.utts)
    (data / "text").unlink()
    with pytest.raises(UserError, match="needs transcripts"):
        transcripts(DataDir.load(data), loaded.utts)


@pytest.mark.parametrize(
    ("tokens", "frames_", "expected"),
    [([5, 6], 2, False), ([5, 5], 2, True), ([5, 5], 3, False), ([5, 6, 7], 2, True)],
)
def test_too_fast(tokens: list[int], frames_: int, expected: bool) -> None:
    assert too_fast(tokens, frames_) is expected
