"""The feature stage: the same features however it is split; all of them or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.atomic import write_text
from pylib.corpus.audio import read_audio
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_numbers
from pylib.features.config import FrontendConfig
from pylib.features.kaldi_frontend import KaldiFrontend
from pylib.features.making import FeatureStage
from pylib.features.reader import FeatureReader
from tests.features.helpers import audio_dir

SAMPLES = {"a-1": 16000, "a-2": 400, "b-1": 23456, "c-1": 8000, "c-2": 50_000}


def make(data: Path, arks: Path, jobs: int, kind: str = "mfcc", **options: object) -> FeatureStage:
    stage = FeatureStage(data, arks, FrontendConfig.preset(kind), jobs, **options)  # type: ignore[arg-type]
    for index in range(1, jobs + 1):
        stage.make_shard(index)
    stage.commit()
    return stage


@pytest.mark.parametrize("kind,stem", [("fbank", "feats"), ("mfcc", "mfcc")])
def test_shards_merge_to_the_same_features(tmp_path: Path, kind: str, stem: str) -> None:
    data = audio_dir(tmp_path, "set", SAMPLES)
    front = KaldiFrontend(FrontendConfig.preset(kind))
    for jobs in (1, 2, 3, 7):  # 7 jobs for 5 utterances: two shards are empty
        make(data, tmp_path / "arks", jobs, kind)
        reader = FeatureReader(data, stem)
        assert reader.utts == sorted(SAMPLES)
        assert (reader.dim, reader.rate) == (front.config.dim, 100.0)
        for utt in reader.utts:
            want = front(read_audio(tmp_path / "wav" / f"set-{utt}.flac"))
            np.testing.assert_array_equal(reader.read(utt), want)
        assert read_numbers(data / "utt2num_frames", int) == {
            utt: (n - 400) // 160 + 1 for utt, n in SAMPLES.items()
        }
        assert (data / "frame_shift").read_text() == "0.01\n"
        # Only the present generation of arks is kept.
        assert len(list((tmp_path / "arks").glob(f"{stem}.*"))) == 1


def test_same_bytes_when_made_again(tmp_path: Path) -> None:
    data = audio_dir(tmp_path, "set", SAMPLES)
    stage = make(data, tmp_path / "arks", 2)
    files = sorted(p for p in (tmp_path / "arks").rglob("*") if p.is_file())
    files += [data / "mfcc.scp", data / "mfcc.json"]
    before = [p.read_bytes() for p in files]
    assert make(data, tmp_path / "arks", 2) == stage
    assert [p.read_bytes() for p in files] == before


def test_all_failures_are_named_and_nothing_is_left(tmp_path: Path) -> None:
    data = audio_dir(tmp_path, "set", {**SAMPLES, "d-1": 399, "e-1": 9000})
    (tmp_path / "wav" / "set-e-1.flac").write_bytes(b"")
    stage = FeatureStage(data, tmp_path / "arks", FrontendConfig.preset("mfcc"))
    with pytest.raises(UserError) as caught:
        stage.make_shard(1)
    message = str(caught.value)
    assert "'d-1'" in message and "399 samples" in message
    assert "'e-1'" in message and "0 bytes" in message
    assert "5 of 7 utterances" in message
    assert not list((tmp_path / "arks").rglob("*.ark"))
    with pytest.raises(UserError, match="shard 1/1 is missing"):
        stage.commit()
    assert not (data / "mfcc.scp").exists()


def test_a_missing_shard_keeps_the_old_features(tmp_path: Path) -> None:
    data = audio_dir(tmp_path, "set", SAMPLES)
    make(data, tmp_path / "arks", 1)
    before = FeatureReader(data, "mfcc").read("b-1")
    stage = FeatureStage(data, tmp_path / "arks", FrontendConfig.preset("mfcc"), 2, compression=3)
    stage.make_shard(1)
    with pytest.raises(UserError, match="shard 2/2"):
        stage.commit()
    np.testing.assert_array_equal(FeatureReader(data, "mfcc").read("b-1"), before)


def test_wrong_rate_stereo_and_changed_audio_are_refused(tmp_path: Path) -> None:
    data = audio_dir(tmp_path, "low", {"a-1": 8000}, rate=8000)
    config = FrontendConfig.preset("mfcc")
    with pytest.raises(UserError, match="'a-1'.*8000 Hz"):
        FeatureStage(data, tmp_path / "arks", config).make_shard(1)
    assert FeatureStage(data, tmp_path / "arks", config, resample=True).make_shard(1) == 98
    data = audio_dir(tmp_path, "set", {"a-1": 8000})
    audio_dir(tmp_path / "other", "set", {"a-1": 8160})
    (tmp_path / "other/wav/set-a-1.flac").replace(tmp_path / "wav/set-a-1.flac")
    with pytest.raises(UserError, match="has changed since it was prepared"):
        FeatureStage(data, tmp_path / "arks", config).make_shard(1)


def test_description_of_other_arks_is_noticed(tmp_path: Path) -> None:
    data = audio_dir(tmp_path, "set", SAMPLES)
    make(data, tmp_path / "arks", 1)
    text = (data / "mfcc.json").read_text()
    write_text(data / "mfcc.json", text.replace('"lifter": 22.0', '"lifter": 21.0'))
    with pytest.raises(UserError, match="other settings"):
        FeatureReader(data, "mfcc")


def test_two_sets_share_an_ark_directory(tmp_path: Path) -> None:
    one = audio_dir(tmp_path, "one", SAMPLES)
    two = audio_dir(tmp_path, "two", {"z-1": 7000})
    make(one, tmp_path / "arks", 1)
    make(two, tmp_path / "arks", 1)
    for data in (one, two):
        reader = FeatureReader(data, "mfcc")
        assert all(len(reader.read(utt)) for utt in reader.utts)
