"""Layers of audio-visual checkpoints, of the streams that are asked for or there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.bin import dump_feats
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table
from pylib.features.reader import FeatureReader
from pylib.training import checkpoint
from pylib.training.av_extract import AVLayerExtractor, open_extractor
from pylib.training.av_reader import AVReader
from pylib.training.build import build_system
from pylib.training.config import from_dict
from pylib.training.extract import LayerExtractor
from pylib.units.labels import LabelReader
from tests.training.av_helpers import VATLM, make_av_set
from tests.training.helpers import ROOT, process_env
from tests.training.test_extract import tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint of random weights."""
    config = from_dict(VATLM, "test")
    torch.manual_seed(0)
    system = build_system(config)
    payload = {
        "format": checkpoint.FORMAT, "system": "vatlm", "config": config.as_dict(),
        "model": system.state_dict(), "optimizer": {}, "update": 0, "provenance": {}, "vocab": None,
    }  # fmt: skip
    checkpoint.save(tmp_path / "exp", [checkpoint.LAST], payload)
    return tmp_path / "exp" / checkpoint.LAST


def test_layers_in_one_pass_are_those_of_extract(model: Path, tmp_path: Path) -> None:
    data = make_av_set(tmp_path, "dev", [12, 30], 1)
    reader = AVLayerExtractor(model, data)
    assert (reader.rate, reader.layers, reader.streams) == (25.0, 2, ("audio", "video"))
    for utt, frames in zip(reader.utts, (12, 30), strict=True):
        together = reader.read_layers(utt, [0, 1, 2])
        for layer, matrix in enumerate(together):
            assert matrix.shape == (frames, 32)
            np.testing.assert_array_equal(matrix, reader.read(utt, layer))
        audio = reader.read_layers(utt, [2], {"audio"})[0]
        alone = AVLayerExtractor(model, data, modality="a")
        np.testing.assert_array_equal(audio, alone.read(utt, 2))
        assert not np.array_equal(audio, together[2])
    assert reader.meta(1)["align"] == "start" and reader.meta(1)["modality"] == "auto"
    with pytest.raises(UserError, match="layer 3.*0 to 2"):
        reader.read(reader.utts[0], 3)


def test_auto_reads_what_is_there(model: Path, tmp_path: Path) -> None:
    reader = AVLayerExtractor(model, make_av_set(tmp_path, "dev", [12], 1))
    other = reader.over(make_av_set(tmp_path, "at", [12, 9], 2, "audiotext"))
    assert other.streams == ("audio",) and other.present == ("audio", "phone")
    assert other.meta(1) == reader.meta(1)  # so that one k-means serves both
    phones = other.read_layers(other.utts[0], [1], {"phone"})[0]
    assert phones.shape == (12, 32)
    with pytest.raises(UserError, match="no video here"):
        other.read_layers(other.utts[0], [1], {"video"})
    for stem, table in (("logfbank", "wav.scp"), ("mouth", "video.scp")):
        data = make_av_set(tmp_path, f"without_{stem}", [12], 4)
        (data / "video.scp").write_text("")
        (data / f"{stem}.json").unlink()
        with pytest.raises(UserError, match=f"has {table} but no {stem}.scp"):
            reader.over(data)
    with pytest.raises(UserError, match="neither logfbank"):
        reader.over(make_av_set(tmp_path, "ot", [12], 3, "onlytext"))


def test_dump_and_read_back(model: Path, tmp_path: Path) -> None:
    data = make_av_set(tmp_path, "dev", [12, 30, 9], 1)
    for modality, stem in (("auto", "hidden1"), ("av", "hidden1"), ("v", "hidden1_v")):
        arguments = ["--layer", "1", "--modality", modality, str(model), str(data)]
        for part in (["--shard", "1/2"], ["--shard", "2/2"], ["--merge", "2"]):
            assert dump_feats.main([*part, *arguments, str(tmp_path / "arks")]) == 0
        reader = FeatureReader(data, stem)
        extractor = open_extractor(model, data, modality=modality)
        assert isinstance(extractor, AVLayerExtractor)
        for utt in reader.utts:
            np.testing.assert_array_equal(reader.read(utt), extractor.read(utt, 1))


def test_models_of_speech_are_told_apart(model: Path, tmp_path: Path) -> None:
    data = make_av_set(tmp_path, "dev", [30], 1)
    with pytest.raises(UserError, match="is audio-visual"):
        LayerExtractor(model, data)
    speech = tiny(tmp_path / "speech", "waveform")
    with pytest.raises(UserError, match="not audio-visual"):
        AVLayerExtractor(speech, data)
    with pytest.raises(UserError, match="--modality a.*leave it out"):
        open_extractor(speech, data, modality="a")
    assert isinstance(open_extractor(speech, data), LayerExtractor)


def test_clips_without_words_are_labelled_and_features_go_if_asked(
    model: Path, tmp_path: Path
) -> None:
    """As VoxCeleb2's are: the copies allow an empty transcript."""
    data = make_av_set(tmp_path, "train", [12, 30, 9, 25], 1)
    text = read_table(data / "text")
    silent = min(text)
    lines = [f"{utt} {'' if utt == silent else words}" for utt, words in sorted(text.items())]
    (data / "text").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        [ROOT / "steps/relabel.sh", "--nj", "1", "--layer", "1", "--clusters", "20", "--rate", "25",
         "--keep-feats", "false", model, tmp_path / "km", data],
        capture_output=True, text=True, timeout=300, cwd=ROOT, env=process_env(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    copy = data.with_name("train_it2")
    labels, streams = LabelReader(copy), AVReader(copy, ("audio",))
    assert silent in streams.utts
    for utt in streams.utts:
        labels.read(utt, streams.frames[utt])
    assert not list(copy.glob("hidden*")) and not list((tmp_path / "km").rglob("hidden*"))
    assert list((tmp_path / "km/feats").rglob("*.log"))


@pytest.mark.slow
def test_the_next_iterations_labels(model: Path, tmp_path: Path) -> None:
    """One k-means labels audio-visual and audio data, in copies, as many labels as frames."""
    sets = {
        "train": make_av_set(tmp_path, "train", [12, 30, 9, 25], 1),
        "at": make_av_set(tmp_path, "at", [12, 30], 2, "audiotext"),
        "oa": make_av_set(tmp_path, "oa", [12, 21], 3, "onlyaudio", extra=300),
    }
    copies = [data.with_name(data.name + "_it2") for data in sets.values()]
    made = []
    for _ in range(2):  # the second run, as after a kill, changes nothing and leaves nothing behind
        done = subprocess.run(
            [ROOT / "steps/relabel.sh", "--nj", "1", "--layer", "1", "--clusters", "20",
             "--rate", "25", model, tmp_path / "km", *sets.values()],
            capture_output=True, text=True, timeout=300, cwd=ROOT, env=process_env(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        files = [path for copy in copies for path in sorted(copy.rglob("*")) if path.is_file()]
        made.append({path: path.read_bytes() for path in files})
    assert made[0] == made[1]
    kmeans = set()
    for data in sets.values():
        copy = data.with_name(data.name + "_it2")
        labels, streams = LabelReader(copy), AVReader(copy, ("audio",))
        assert (labels.rate, labels.align, labels.clusters) == (25.0, "start", 20)
        kmeans.add(labels.meta["sha256"])
        for utt in streams.utts:
            labels.read(utt, streams.frames[utt])
    assert len(kmeans) == 1
