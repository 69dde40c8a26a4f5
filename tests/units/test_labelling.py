"""The label stage: one k-means for all sets, any number of jobs, replaced as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table, write_table
from pylib.features.reader import FeatureReader
from pylib.units.assign import Assigner
from pylib.units.kmeans import FitOptions, fit
from pylib.units.kmeans_model import KMeansModel, load, save
from pylib.units.labelling import LabelStage, default_align
from pylib.units.labels import LabelReader
from tests.features.helpers import feature_dir


def features(seed: int = 0, dim: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = {"a-1": 99, "a-2": 100, "b-1": 57, "b-2": 1, "c-1": 210}
    return {
        utt: rng.standard_normal((n, dim)).astype(np.float32) + 5 * (i % 2)
        for i, (utt, n) in enumerate(sizes.items())
    }


def kmeans(data: Path, path: Path, seed: int = 0, cmvn: str = "none") -> KMeansModel:
    options = FitOptions(clusters=7, seed=seed, starts=2, batch_frames=100, pool_frames=400)
    reader = FeatureReader(data, "mfcc", cmvn)
    save(path, fit(reader, options), options, reader.meta, "mfcc", cmvn, str(data))
    return load(path)


def label(data: Path, model: KMeansModel, arks: Path, jobs: int = 1, rate: float = 50.0) -> str:
    align = default_align(rate, {})
    stage = LabelStage(data, model, arks, rate, align, jobs)
    reader = FeatureReader(data, model.stem, model.cmvn)
    for index in range(1, jobs + 1):
        stage.make_shard(index, reader)
    return stage.commit(reader.utts)


@pytest.mark.parametrize("cmvn", ["none", "utterance", "speaker"])
def test_labels_do_not_depend_on_the_number_of_jobs(tmp_path: Path, cmvn: str) -> None:
    matrices = features()
    data = feature_dir(tmp_path, matrices)
    model = kmeans(data, tmp_path / "km", cmvn=cmvn)
    want: dict[str, np.ndarray] = {}
    for jobs in (1, 2, 4):
        line = label(data, model, tmp_path / "arks", jobs)
        assert "of 7 units used, perplexity" in line
        reader = LabelReader(data)
        assert (reader.rate, reader.clusters, reader.align) == (50.0, 7, "start")
        assert reader.utts == sorted(matrices)
        for utt in reader.utts:
            frames = (len(matrices[utt]) + 1) // 2
            got = reader.read(utt, frames)
            np.testing.assert_array_equal(got, want.setdefault(utt, got))
    direct = Assigner(model.centroids)(FeatureReader(data, "mfcc", cmvn).read("c-1"))[0::2]
    np.testing.assert_array_equal(want["c-1"], direct)


def test_25_hz_labels(tmp_path: Path) -> None:
    matrices = {utt: m for utt, m in features().items() if len(m) >= 4}
    data = feature_dir(tmp_path, matrices)
    model = kmeans(data, tmp_path / "km")
    label(data, model, tmp_path / "arks", rate=25.0)
    reader = LabelReader(data)
    assert reader.align == "centre"
    want = Assigner(model.centroids)(matrices["a-1"])[2::4][:24]
    np.testing.assert_array_equal(reader.read("a-1", 24), want)


def test_another_kmeans_replaces_labels_in_one_step(tmp_path: Path) -> None:
    data = feature_dir(tmp_path, features())
    old = kmeans(data, tmp_path / "km")
    label(data, old, tmp_path / "arks")
    before = {utt: LabelReader(data).read(utt) for utt in LabelReader(data).utts}
    new = kmeans(data, tmp_path / "km", seed=5)
    assert new.sha256 != old.sha256
    # A shard of the new labels exists, the stage is killed: the old labels are whole.
    stage = LabelStage(data, new, tmp_path / "arks", 50.0, "start", 2)
    stage.make_shard(1, FeatureReader(data, "mfcc"))
    reader = LabelReader(data)
    assert reader.meta["sha256"] == old.sha256
    for utt, ids in before.items():
        np.testing.assert_array_equal(reader.read(utt), ids)
    with pytest.raises(UserError, match="missing"):
        stage.commit(reader.utts)
    label(data, new, tmp_path / "arks", jobs=2)
    assert LabelReader(data).meta["sha256"] == new.sha256
    assert len(list((tmp_path / "arks").glob("labels.*"))) == 1


def test_json_of_other_labels_is_noticed(tmp_path: Path) -> None:
    data = feature_dir(tmp_path, features())
    label(data, kmeans(data, tmp_path / "km"), tmp_path / "arks")
    write_json(data / "labels.json", {**LabelReader(data).meta, "rate": 25.0})
    with pytest.raises(UserError, match="other settings"):
        LabelReader(data)


def test_features_of_another_dimension_are_refused(tmp_path: Path) -> None:
    data = feature_dir(tmp_path, features())
    model = kmeans(data, tmp_path / "km")
    other = feature_dir(tmp_path / "other", features(dim=8))
    with pytest.raises(UserError, match=r"dim is 8.*6-d"):
        label(other, model, tmp_path / "arks")
    assert not (other / "labels.scp").exists()


def test_features_that_disagree_with_the_audio_are_refused(tmp_path: Path) -> None:
    data = feature_dir(tmp_path, features())
    model = kmeans(data, tmp_path / "km")
    for name, factor in (("utt2num_samples", 1), ("utt2dur", 1 / 16000)):
        table = read_table(data / name)
        changed = 20_000 * factor
        write_table(data / name, {**table, "a-1": int(changed) if factor == 1 else changed})
    with pytest.raises(UserError, match=r"'a-1'.*99 labels.*= 50.*makes 62"):
        label(data, model, tmp_path / "arks")


def test_wrong_rate_is_refused(tmp_path: Path) -> None:
    data = feature_dir(tmp_path, features())
    with pytest.raises(UserError, match="cannot become 40 Hz"):
        label(data, kmeans(data, tmp_path / "km"), tmp_path / "arks", rate=40.0)


def test_labels_of_the_wrong_length_or_id_are_refused_on_reading(tmp_path: Path) -> None:
    data = feature_dir(tmp_path, features())
    label(data, kmeans(data, tmp_path / "km"), tmp_path / "arks")
    reader = LabelReader(data)
    with pytest.raises(UserError, match="'a-1'.*50 labels, 51 frames"):
        reader.read("a-1", 51)
    with pytest.raises(UserError, match="no labels of utterance 'zz'"):
        reader.read("zz")
    reader.clusters = 2
    with pytest.raises(UserError, match="'c-1'.*unknown"):
        reader.read("c-1")


def test_alignment_follows_the_features_of_a_model() -> None:
    assert default_align(50.0, {"rate": 100.0}) == "start"
    assert default_align(25.0, {"rate": 100.0}) == "centre"
    assert default_align(50.0, {"rate": 50.0, "align": "centre"}) == "centre"


@pytest.mark.parametrize("pictures", [True, False])
def test_25_hz_labels_of_pictures(tmp_path: Path, pictures: bool) -> None:
    """ceil(F / 4) of F MFCC frames, as many as there are pictures or the audio makes."""
    sizes = {"a-1": 4 * 25 - 2, "a-2": 4 * 9 - 2, "b-1": 2}
    rng = np.random.default_rng(0)
    matrices = {u: rng.standard_normal((n, 6)).astype(np.float32) for u, n in sizes.items()}
    data = feature_dir(tmp_path, matrices)
    model = kmeans(data, tmp_path / "km")
    counts = {utt: -(-n // 4) for utt, n in sizes.items()}
    if pictures:
        write_table(data / "utt2num_video", counts)
    else:
        write_table(data / "utt2num_samples", {utt: 640 * n for utt, n in counts.items()})
        write_table(data / "utt2dur", {utt: 0.04 * n for utt, n in counts.items()})
    stage = LabelStage(data, model, tmp_path / "arks", 25.0, "start")
    features = FeatureReader(data, "mfcc")
    stage.make_shard(1, features)
    stage.commit(features.utts)
    reader = LabelReader(data)
    assert (reader.rate, reader.align) == (25.0, "start")
    for utt, count in counts.items():
        whole = Assigner(model.centroids)(features.read(utt))
        np.testing.assert_array_equal(reader.read(utt, count), whole[::4])
    if pictures:
        write_table(data / "utt2num_video", counts | {"a-2": 10})
        with pytest.raises(UserError, match="'a-2'.*the model makes 10 frames"):
            LabelStage(data, model, tmp_path / "arks", 25.0, "start").make_shard(1, features)
