"""Who is labelled, dev and test: partial trees, Libri-Light's lists and its rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from tests.egs.trees import Tree, module, prepare


def readers_of(utts: list[str]) -> set[str]:
    return {utt.split("-")[0] for utt in utts}


@pytest.mark.parametrize(
    ("subsets", "dev", "test"),
    [
        # labelled training only: dev and test readers leave it
        ({"train-clean-100": 10}, ["dev_part"], ["test_part"]),
        ({"train-clean-100": 10, "dev-other": 1}, ["dev_other"], ["test_part"]),
        ({"train-clean-100": 10, "test-clean": 1}, ["dev_part"], ["test_clean"]),
        # no transcribed training
        ({"test-other": 5}, ["dev_part"], ["test_part"]),
        ({"dev-clean": 4, "test-clean": 1}, ["dev_part"], ["test_clean"]),
    ],
)
def test_parts_of_the_corpus(
    tmp_path: Path, subsets: dict[str, int], dev: list[str], test: list[str]
) -> None:
    tree, reader = Tree(tmp_path / "corpus"), 100
    if "train-clean-100" not in subsets:
        tree.add("train-clean-100", 99, "F", text=False)
    for subset, count in subsets.items():
        for _ in range(count):
            reader += 1
            tree.add(subset, reader, "FM"[reader % 2])
    summary = prepare(tree.root, tmp_path / "data", "--split", "960h")
    assert summary["partial"] and summary["dev"] == dev and summary["test"] == test
    assert any("not comparable with published" in notice for notice in summary["notices"])
    names = ["train_960h", *dev, *test]
    readers = [readers_of(DataDir.load(tmp_path / "data" / name).utts) for name in names]
    assert sum(map(len, readers)) == len(set.union(*readers)) == sum(subsets.values())
    train = readers_of(DataDir.load(tmp_path / "data/train").utts)
    assert not train & (readers[1] | readers[2])


def test_two_readers_are_dealt_by_utterance(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "corpus")
    tree.add("test-clean", 1, "F", utts=5)
    tree.add("test-clean", 2, "M", utts=5)
    summary = prepare(tree.root, tmp_path / "data")
    assert any("READERS SHARED" in notice for notice in summary["notices"])
    assert (
        sum(summary["sets"][n]["utterances"] for n in ("train_10m", "dev_part", "test_part")) == 10
    )
    assert (
        DataDir.load(tmp_path / "data/train").utts == DataDir.load(tmp_path / "data/train_10m").utts
    )


def test_no_transcripts_at_all(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "corpus")
    tree.add("train-clean-100", 1, "F", text=False)
    with pytest.raises(UserError, match="no transcript at all"):
        prepare(tree.root, tmp_path / "data")


# Libri-Light splits


def full_pool(readers: int = 40) -> Any:
    """Transcribed readers as in the real corpus: 15 to 30 minutes each in 10-20 s utterances."""
    rng = np.random.default_rng(5)
    seconds, quality, sex = {}, {}, {}
    for index in range(4 * readers):
        reader = str(100 + index)
        sex[reader] = "fm"[index % 2]
        left = rng.uniform(15, 30) * 60
        number = 0
        while left > 0:
            utt = f"{reader}-{5000 + index}-{number:04d}"
            seconds[utt] = float(rng.uniform(2, 17))
            quality[utt] = ("clean", "other")[index // 2 % 2]
            left -= seconds[utt]
            number += 1
    return module("splits").Pool(seconds, quality, sex)


def cells_of(pool: Any, utts: Any) -> dict[str, set[str]]:
    cells: dict[str, set[str]] = {}
    for utt in utts:
        reader = utt.split("-")[0]
        cells.setdefault(f"{pool.sex[reader]}-{pool.quality[utt]}", set()).add(reader)
    return cells


def test_drawn_splits_keep_the_published_composition() -> None:
    pool, draw = full_pool(), module("splits").draw_split
    ten, one = draw(pool, "10h", 0, 1), draw(pool, "1h", 0, 1)
    folds = [draw(pool, "10m", fold, 1) for fold in range(6)]
    assert not ten.notices and not one.notices
    for drawn, low, high, readers in (
        (ten, 8, 12, 6),
        (one, 1, 1.15, 6),
        (folds[0], 1 / 6, 0.2, 1),
    ):
        hours = sum(pool.seconds[utt] for utt in drawn.utts) / 3600
        assert low <= hours <= high
        cells = cells_of(pool, drawn.utts)
        assert set(cells) == {"f-clean", "f-other", "m-clean", "m-other"}
        assert {len(found) for found in cells.values()} == {readers}
    # nested: six folds make the hour, the hour is part of the ten hours
    assert sorted(utt for fold in folds for utt in fold.utts) == list(one.utts)
    assert set(one.utts) < set(ten.utts)
    assert draw(pool, "1h", 0, 1) == one != draw(pool, "1h", 0, 2)


def test_a_small_corpus_says_so(tree: Tree, tmp_path: Path) -> None:
    summary = prepare(tree.root, tmp_path / "data", "--split", "10m")
    assert summary["sets"]["train_10m"]["utterances"] == 8
    assert any("too few readers" in notice for notice in summary["notices"])
    assert any("not half clean" in notice for notice in summary["notices"])
    assert "seed 1" in summary["split_source"]


def librilight(root: Path, utts: dict[str, list[str]]) -> Path:
    for part, names in utts.items():
        for utt in names:
            reader, chapter, _ = utt.split("-")
            place = root / "librispeech_finetuning" / part / reader / chapter
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{utt}.flac").touch()
    return root


def test_lists_of_a_librilight_download(tree: Tree, tmp_path: Path) -> None:
    parts = {f"1h/{i}/clean": [u] for i, u in enumerate(["9-1009-0000", "10-1010-0000"] * 3)}
    parts["9h/clean"] = ["103-1103-0000", "1034-2034-0001"]
    place = str(librilight(tmp_path / "ll", parts))
    for split, fold, count in (("10m", 1, 1), ("1h", 0, 2), ("10h", 0, 4)):
        options = ["--librilight", place, "--split", split, "--fold", str(fold)]
        summary = prepare(tree.root, tmp_path / "data", *options)
        data = DataDir.load(tmp_path / "data" / f"train_{split}")
        assert len(data.utts) == count
        assert summary["split_source"].startswith("Libri-Light 1h/")
        if split == "10m":
            assert data.utts == ["10-1010-0000"]
    # beside the corpus they are found without being named
    librilight(tmp_path, parts)
    assert prepare(tree.root, tmp_path / "data")["split_source"] == "Libri-Light 1h/0"


def test_librilight_lists_that_do_not_fit(tree: Tree, tmp_path: Path) -> None:
    parts = {f"1h/{i}/clean": [f"77-1077-000{i}"] for i in range(6)}
    place = librilight(tmp_path / "ll", {**parts, "9h/clean": ["77-1077-0009"]})
    with pytest.raises(UserError, match="6 of the 6 utterances of 1h have no transcript"):
        prepare(tree.root, tmp_path / "data", "--librilight", str(place), "--split", "1h")
    with pytest.raises(UserError, match="holds no 1h and 9h"):
        prepare(tree.root, tmp_path / "data", "--librilight", str(tmp_path))
