"""Preparation of LibriSpeech trees: whole, damaged, built in, real."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.corpus.mini.build import build_corpus
from pylib.corpus.mini.config import SIZES
from tests.egs.trees import Tree, prepare, write_flac


def test_a_whole_tree(tree: Tree, tmp_path: Path) -> None:
    summary = prepare(tree.root, tmp_path / "data", "--split", "960h")
    assert summary["dev"] == ["dev_clean"] and summary["test"] == ["test_clean"]
    assert not summary["partial"] and not summary["builtin"] and summary["excluded"] == 0
    for name, utts, speakers in (("train", 8, 4), ("train_960h", 8, 4), ("dev_clean", 2, 1)):
        data = DataDir.load(tmp_path / "data" / name)
        assert len(data.utts) == utts == summary["sets"][name]["utterances"]
        assert len(data.spk2utt) == speakers
        assert data.text is not None
        assert set(data.utt2num_samples.values()) == {1600}
        assert data.utt2dur[data.utts[0]] == pytest.approx(0.1)
        assert all(Path(path).is_file() for path in data.wav.values())
    data = DataDir.load(tmp_path / "data" / "train")
    assert list(data.spk2utt) == ["10", "103", "1034", "9"]
    genders = (tmp_path / "data/train/spk2gender").read_text(encoding="utf-8")
    assert genders == "10 m\n103 f\n1034 m\n9 f\n"
    assert (tmp_path / "data/lm_text").read_text(encoding="utf-8").count("\n") == 8


def test_the_same_bytes_again(tree: Tree, tmp_path: Path) -> None:
    def content() -> dict[str, bytes]:
        files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
        return {str(path): path.read_bytes() for path in files}

    prepare(tree.root, tmp_path / "data", "--split", "10m")
    first = content()
    prepare(tree.root, tmp_path / "data", "--split", "10m", "--nj", "2")
    assert content() == first


def test_untranscribed_training_is_kept_and_not_labelled(tree: Tree, tmp_path: Path) -> None:
    tree.add("train-other-500", 500, "F", text=False)
    summary = prepare(tree.root, tmp_path / "data", "--split", "960h")
    assert summary["sets"]["train"] == {
        "utterances": 10,
        "hours": pytest.approx(10 * 0.1 / 3600, abs=1e-4),
        "speakers": 5,
        "transcribed": 8,
    }
    assert DataDir.load(tmp_path / "data/train").text is None
    assert len(DataDir.load(tmp_path / "data/train_960h").utts) == 8


def damage(tree: Tree, kind: str, chapter: Path) -> None:
    """Break one utterance (the second) of a chapter in the way `kind` tells."""
    flac = sorted(chapter.glob("*.flac"))[1]
    trans = next(chapter.glob("*.trans.txt"))
    lines = trans.read_bytes().splitlines(keepends=True)
    if kind == "empty":
        flac.write_bytes(b"")
    elif kind == "truncated":
        flac.write_bytes(flac.read_bytes()[:-400])
    elif kind == "rate":
        write_flac(flac, 0.1, rate=8000)
    elif kind == "channels":
        write_flac(flac, 0.1, channels=2)
    elif kind == "too-short":
        write_flac(flac, 399 / 16000)
    elif kind == "too-long":
        write_flac(flac, 60.1)
    elif kind == "no-audio":
        flac.unlink()
    elif kind == "carriage-return":
        trans.write_bytes(b"".join([lines[0], lines[1].rstrip(b"\n") + b"\r\n"]))
    elif kind == "transcript":
        trans.write_bytes(lines[0] + lines[1].replace(b"A", "É".encode()))
    elif kind == "lower-case":
        trans.write_bytes(lines[0] + lines[1].lower())
    elif kind == "duplicate-utterance":
        trans.write_bytes(b"".join(lines) + lines[1])
    elif kind == "file-name":
        flac.rename(flac.with_name("77-88-0001.flac"))
    else:
        raise AssertionError(kind)


AUDIO = ("empty", "truncated", "rate", "channels", "too-short", "too-long")
TEXT = ("no-audio", "carriage-return", "transcript", "duplicate-utterance", "file-name")


@pytest.mark.parametrize("kind", [*AUDIO, *TEXT])
def test_training_defects_are_counted_and_listed(
    tree: Tree, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(tree, kind, tree.root / "train-clean-100/103/1103")
    summary = prepare(tree.root, tmp_path / "data", "--split", "960h")
    listed = (tmp_path / "data/excluded.txt").read_text(encoding="utf-8").splitlines()
    assert summary["excluded"] == len(listed) >= 1
    assert listed[0].startswith(f"train-clean-100 {kind} ") and "/103/" in "".join(listed)
    audio_lost = kind in (*AUDIO, "no-audio", "file-name")
    assert summary["sets"]["train"]["utterances"] == (7 if audio_lost else 8)
    labelled = 8 if kind == "duplicate-utterance" else 7
    assert summary["sets"]["train_960h"]["utterances"] == labelled
    assert f"1 {kind}" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [*AUDIO, *TEXT])
def test_a_test_set_never_shrinks(tree: Tree, tmp_path: Path, kind: str) -> None:
    damage(tree, kind, tree.root / "test-clean/300/1300")
    with pytest.raises(UserError, match=r"(?s)300-?.*make this set smaller"):
        prepare(tree.root, tmp_path / "data", "--split", "960h")
    assert not (tmp_path / "data" / "sets.json").exists()
    summary = prepare(tree.root, tmp_path / "data", "--split", "960h", "--allow-loss", "true")
    assert any("losses were allowed" in notice for notice in summary["notices"])
    assert summary["sets"]["test_clean"]["utterances"] == (2 if kind.startswith("dup") else 1)


def test_a_test_utterance_without_transcript_is_an_error(tree: Tree, tmp_path: Path) -> None:
    trans = tree.root / "dev-clean/200/1200/200-1200.trans.txt"
    trans.write_text(trans.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="no-transcript 200-1200-0001"):
        prepare(tree.root, tmp_path / "data")


def test_lower_case_is_not_librispeech(tree: Tree, tmp_path: Path) -> None:
    damage(tree, "lower-case", tree.root / "train-clean-100/103/1103")
    prepare(tree.root, tmp_path / "data", "--split", "960h")
    listed = (tmp_path / "data/excluded.txt").read_text(encoding="utf-8")
    assert "103-1103.trans.txt:2: transcript: character" in listed


def test_a_reader_in_train_and_test_is_refused(tree: Tree, tmp_path: Path) -> None:
    chapter = tree.root / "test-clean/103/1999"
    write_flac(chapter / "103-1999-0000.flac", 0.1)
    (chapter / "103-1999.trans.txt").write_text("103-1999-0000 HELLO\n", encoding="utf-8")
    with pytest.raises(UserError, match="reader 103 is also in train-clean-100"):
        prepare(tree.root, tmp_path / "data")


def test_an_utterance_in_two_subsets_is_refused(tree: Tree, tmp_path: Path) -> None:
    source = tree.root / "train-clean-100/103/1103/103-1103-0000.flac"
    write_flac(tree.root / "train-clean-360/103/1103/103-1103-0000.flac", 0.1)
    with pytest.raises(UserError, match="utterance 103-1103-0000 is also") as caught:
        prepare(tree.root, tmp_path / "data")
    assert str(source) in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("77 | X | train | 1.0 | N", "SPEAKERS.TXT:8: '77 | X"),
        ("77 | F", "SPEAKERS.TXT:8"),
        ("103 | F | train-clean-100 | 1.0 | N", "SPEAKERS.TXT:8: reader 103 stands here twice"),
    ],
)
def test_broken_speaker_tables(tree: Tree, tmp_path: Path, row: str, message: str) -> None:
    tree.rows.append(row)
    tree.speakers()
    with pytest.raises(UserError, match=message.replace("|", r"\|")):
        prepare(tree.root, tmp_path / "data")


def test_no_speaker_table(tree: Tree, tmp_path: Path) -> None:
    (tree.root / "SPEAKERS.TXT").unlink()
    summary = prepare(tree.root, tmp_path / "data", "--split", "100h")
    assert any("no spk2gender" in notice for notice in summary["notices"])
    assert not (tmp_path / "data/train/spk2gender").exists()
    with pytest.raises(UserError, match="is not in SPEAKERS.TXT"):
        prepare(tree.root, tmp_path / "data", "--split", "10m")


def test_not_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no LibriSpeech subset"):
        prepare(tmp_path, tmp_path / "data")
    (tmp_path / "dev-clean").mkdir()
    with pytest.raises(UserError, match="holds no flac"):
        prepare(tmp_path, tmp_path / "data")


def test_the_directory_above_will_do(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "up").mkdir()
    tree.root.rename(tmp_path / "up" / "LibriSpeech")
    summary = prepare(tmp_path / "up", tmp_path / "data", "--split", "960h")
    assert summary["corpus_dir"].endswith("up/LibriSpeech")


def test_lm_text_of_the_corpus_and_never_test_sentences(tree: Tree, tmp_path: Path) -> None:
    import gzip

    test = (tree.root / "test-clean/300/1300/300-1300.trans.txt").read_text(encoding="utf-8")
    sentence = test.splitlines()[0].partition(" ")[2]
    trans = tree.root / "train-clean-100/103/1103/103-1103.trans.txt"
    trans.write_text(f"103-1103-0000 {sentence}\n103-1103-0001 OTHER WORDS\n", encoding="utf-8")
    prepare(tree.root, tmp_path / "data", "--split", "960h")
    lines = (tmp_path / "data/lm_text").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 7 and sentence not in lines and "OTHER WORDS" in lines
    with gzip.open(tree.root / "librispeech-lm-norm.txt.gz", "wt", encoding="utf-8") as stream:
        stream.write("A BOOK\n")
    summary = prepare(tree.root, tmp_path / "data", "--split", "960h")
    with gzip.open(tmp_path / "data/lm_text", "rt", encoding="utf-8") as stream:
        assert stream.read() == "A BOOK\n"
    assert summary["lm_text"].endswith("librispeech-lm-norm.txt.gz")


# the built-in corpus and the real recordings


def test_the_built_in_corpus(tmp_path: Path) -> None:
    config = dataclasses.replace(
        SIZES["smoke"], train_minutes=0.6, labelled_minutes=0.2, dev_minutes=0.1, test_minutes=0.1
    )
    build_corpus(tmp_path / "corpus", config, jobs=2)
    summary = prepare(tmp_path / "corpus", tmp_path / "data")
    assert summary["builtin"] and not summary["partial"] and summary["notices"] == []
    assert summary["dev"] == ["dev_clean"] and summary["test"] == ["test_clean"]
    labelled = (tmp_path / "corpus/labelled.txt").read_text(encoding="utf-8").split()
    assert DataDir.load(tmp_path / "data/train_10m").utts == labelled
    for name in summary["sets"]:
        data = DataDir.load(tmp_path / "data" / name)
        ctm = (tmp_path / "data" / name / "phones.ctm").read_text(encoding="utf-8").splitlines()
        assert sorted({line.split()[0] for line in ctm}) == data.utts
        assert data.text is not None
    with pytest.raises(UserError, match="the built-in corpus has 10m"):
        prepare(tmp_path / "corpus", tmp_path / "data", "--split", "1h")


@pytest.mark.real
@pytest.mark.skipif("TRIVIUM_REAL" not in os.environ, reason="needs $TRIVIUM_REAL")
def test_real_recordings(tmp_path: Path) -> None:
    summary = prepare(Path(os.environ["TRIVIUM_REAL"]) / "LibriSpeech", tmp_path / "data")
    sets = summary["sets"]
    assert sets["train"] == {
        "utterances": 251,
        "hours": pytest.approx(52.35 / 60, abs=0.001),
        "speakers": 251,
        "transcribed": 0,
    }
    assert summary["partial"] and summary["excluded"] == 0
    assert [sets[n]["speakers"] for n in ("train_10m", "dev_part", "test_part")] == [3, 1, 1]
    assert [sets[n]["utterances"] for n in ("train_10m", "dev_part", "test_part")] == [30, 10, 10]
    assert DataDir.load(tmp_path / "data/train").text is None
    genders = (tmp_path / "data/train/spk2gender").read_text(encoding="utf-8").split()
    assert (genders.count("f"), genders.count("m")) == (125, 126)
