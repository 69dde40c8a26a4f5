"""Sets that share a process: taken in pairs, refused together, as good as one by one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from pylib.bin import dump_labels, make_feats, probe_phones, train_kmeans
from pylib.bin.feature_args import add_places, each, pairs
from pylib.corpus.errors import UserError
from pylib.features.reader import FeatureReader
from pylib.units.labels import LabelReader
from tests.features.helpers import audio_dir


def places(*words: str) -> list[tuple[Path, Path]]:
    parser = argparse.ArgumentParser()
    add_places(parser, "out", "its copy")
    return pairs(parser, parser.parse_args(words).places)


def test_words_are_taken_two_by_two(capsys) -> None:
    assert places("a", "b", "c", "d") == [(Path("a"), Path("b")), (Path("c"), Path("d"))]
    with pytest.raises(SystemExit) as stop:
        places("a", "b", "c")
    assert stop.value.code == 2 and "come in pairs" in capsys.readouterr().err


def test_what_is_wrong_with_several_sets_is_told_at_once() -> None:
    made = []

    def make(data: Path, out: Path) -> None:
        if "bad" in data.name:
            raise UserError(f"{data}: broken")
        made.append(out)

    with pytest.raises(UserError, match=r"bad1: broken\nbad2: broken"):
        each(
            [(Path("bad1"), Path("1")), (Path("good"), Path("2")), (Path("bad2"), Path("3"))], make
        )
    assert made == [Path("2")]


def test_several_sets_are_as_good_as_one_by_one(tmp_path: Path, capsys) -> None:
    """Features and labels of two sets by shards that take their part of each."""
    one = audio_dir(tmp_path, "one", {f"a-{i}": 16000 + 700 * i for i in range(5)})
    two = audio_dir(tmp_path, "two", {"b-1": 8000, "b-2": 30_000})
    words = [str(place) for data in (one, two) for place in (data, tmp_path / data.name / "arks")]
    kmeans = str(tmp_path / "kmeans")
    for split in (["--shard", "1/2"], ["--shard", "2/2"], ["--merge", "2"]):
        make_feats.main(["--kind", "mfcc", *words, *split])
    train_kmeans.main(["--clusters", "4", "--starts", "1", str(one), kmeans])
    for split in (["--shard", "1/2"], ["--shard", "2/2"], ["--merge", "2"]):
        dump_labels.main([str(one), str(two), kmeans, *split])
    told = capsys.readouterr().out
    assert told.count("mfcc of ") == 2 and told.count("units used") == 2
    for data in (one, two):
        matrices = {
            utt: FeatureReader(data, "mfcc").read(utt) for utt in FeatureReader(data, "mfcc").utts
        }
        labels = {utt: LabelReader(data).read(utt).tolist() for utt in LabelReader(data).utts}
        make_feats.main(["--kind", "mfcc", str(data), str(tmp_path / "alone" / data.name)])
        dump_labels.main([str(data), kmeans])
        assert matrices.keys() == set(FeatureReader(data, "mfcc").utts) == labels.keys()
        for utt in matrices:
            assert (FeatureReader(data, "mfcc").read(utt) == matrices[utt]).all()
            assert LabelReader(data).read(utt).tolist() == labels[utt]


def test_a_bad_set_does_not_hide_another(tmp_path: Path) -> None:
    names = {"bad1": 300, "good": 16000, "bad2": 300}  # no frame fits into 300 samples
    sets = [audio_dir(tmp_path, name, {f"{name}-x": count}) for name, count in names.items()]
    words = [place for data in sets for place in (data, tmp_path / f"{data.name}_arks")]
    with pytest.raises(UserError, match=r"(?s)bad1-x.*bad2-x"):
        make_feats.main(["--kind", "mfcc", *map(str, words)])
    assert FeatureReader(sets[1], "mfcc").utts == ["good-x"]


def test_arks_of_several_sets_have_their_places(tmp_path: Path, capsys) -> None:
    for verb, words in (
        (dump_labels, ["--ark-dir", "x", "one", "two", "kmeans"]),
        (probe_phones, ["train", "test", "out.json", "train"]),
    ):
        with pytest.raises(SystemExit) as stop:
            verb.main(words)
        assert stop.value.code == 2
    told = capsys.readouterr().err
    assert "--ark-dir: of one set" in told and "come by threes" in told
