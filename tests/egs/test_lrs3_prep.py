"""Preparation of talking faces: layouts, cutting, bad clips, what is trained beside them."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.corpus.checker import Options
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table
from pylib.corpus.validate import validate
from pylib.corpus.video import read_audio
from pylib.corpus.video_tables import read_clips
from pylib.units.pronounce import Pronouncer, read_lexicon
from tests.corpus.videos import rotate_by_metadata
from tests.egs.lrs3_trees import FaceTree, excluded, module, prepare, talk

FULL = Options(no_feats=True, check_audio="full")
TEXT_ONLY = Options(no_feats=True, no_wav=True)
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> FaceTree:
    made = FaceTree(tmp_path_factory.mktemp("trees") / "LRS3")
    made.small()
    return made


@pytest.fixture
def tree(original: FaceTree, tmp_path: Path) -> FaceTree:
    """A copy of the small tree, to be damaged."""
    made = FaceTree(tmp_path / "LRS3")
    shutil.copytree(original.root, made.root)
    made.made = original.made
    return made


def contents(data: Path) -> dict[str, bytes]:
    """Everything that a run makes but its shards."""
    files = [p for p in data.rglob("*") if p.is_file() and "local" not in p.parts]
    return {str(path): path.read_bytes() for path in files}


def utterances(data: Path, name: str) -> list[str]:
    return DataDir.load(data / name).utts


def test_a_whole_tree(tree: FaceTree, tmp_path: Path) -> None:
    data = tmp_path / "data"
    summary = prepare(tree.root, data)
    assert {name: row["utterances"] for name, row in summary["sets"].items()} == {
        "pretrain": 10, "labelled": 9, "dev": 1, "test": 2, "audiotext": 9, "audiotext_dev": 1,
    }  # fmt: skip
    assert summary["excluded"] == {} and summary["notices"] == [] and not summary["builtin"]
    for name in summary["sets"]:
        assert validate(data / name, FULL).defects == []
    assert "spk0-pretrain-00001" in utterances(data, "pretrain")
    assert not set(utterances(data, "pretrain")) & set(utterances(data, "dev"))
    part = DataDir.load(data / "test")
    clip = read_clips(part)["spk8-00001"]
    assert clip.path.endswith("test/spk8/00001.mp4") and (clip.first, clip.frames) == (0, 50)
    samples = part.read_utt("spk8-00001")
    assert len(samples) == 32000 and part.utt2num_samples["spk8-00001"] == 32000
    np.testing.assert_allclose(samples, read_audio(clip.path)[:32000], atol=1e-4)
    assert not (data / "audiotext" / "video.scp").exists()
    assert len(part.text["spk8-00001"].split()) == 3


def test_shards_and_runs_change_nothing(tree: FaceTree, tmp_path: Path) -> None:
    data = tmp_path / "data"
    prepare(tree.root, data)
    before = contents(data)
    summary = prepare(tree.root, data, jobs=3)
    assert contents(data) == before and summary["sets"]["pretrain"]["utterances"] == 10
    with pytest.raises(UserError, match=r"cut.1-4.json: no such file"):
        module("prepare_lrs3").main(["write", "--nj", "4", str(tree.root), str(data)])
    options = ["--max-skew", "2", "--nj", "3", str(tree.root), str(data)]
    with pytest.raises(UserError, match="of other options"):
        module("prepare_lrs3").main(["write", *options])


def test_433h_and_a_list_for_dev(tree: FaceTree, tmp_path: Path) -> None:
    listed = tmp_path / "valid.txt"
    listed.write_text("trainval/spk0/50000\nspk1/50001.mp4\nspk1/99999\n", "utf-8")
    options = ("--labelled", "433h", "--valid-list", str(listed))
    summary = prepare(tree.root, tmp_path / "data", *options)
    assert utterances(tmp_path / "data", "dev") == ["spk0-50000", "spk1-50001"]
    assert utterances(tmp_path / "data", "labelled") == utterances(tmp_path / "data", "pretrain")
    assert any("'spk1/99999'" in notice for notice in summary["notices"])
    listed.write_text("x/y\n", "utf-8")
    with pytest.raises(UserError, match="0 of the 10 clips"):
        prepare(tree.root, tmp_path / "data", *options)


def test_long_clips_of_pretrain_are_cut(tree: FaceTree, tmp_path: Path) -> None:
    table = [("ONE", 0.5, 1.0), ("TWO", 4.03, 5.0), ("THREE", 5.2, 6.0), ("FOUR", 15.5, 16.0)]
    path = tree.clip("pretrain/spk1/00007", frames=420, words=table)
    data = tmp_path / "data"
    prepare(tree.root, data)
    part = DataDir.load(data / "pretrain")
    names = [f"spk1-pretrain-00007_00{n}" for n in range(3)]
    assert [part.text[utt] for utt in names] == ["ONE", "TWO THREE", "FOUR"]
    clips = read_clips(part)
    assert [(clips[u].first, clips[u].frames) for u in names] == [(0, 62), (62, 206), (268, 152)]
    assert read_clips(part)["spk0-pretrain-00001"].frames == 50
    whole = read_audio(path)
    np.testing.assert_allclose(part.read_utt(names[1]), whole[62 * 640 : 268 * 640], atol=1e-4)
    assert validate(data / "pretrain", FULL).defects == []


def test_bad_clips_are_named_and_counted(tree: FaceTree, tmp_path: Path) -> None:
    tree.clip("trainval/spk0/60000", sound=0)
    tree.clip("trainval/spk0/60001", sound=2.3)
    tree.clip("trainval/spk0/60002").write_bytes(b"nothing")
    whole = tree.clip("trainval/spk0/60003", faststart=True)
    whole.write_bytes(whole.read_bytes()[:3000])
    tree.clip("trainval/spk0/60004").with_suffix(".txt").unlink()
    tree.clip("trainval/spk0/60005").with_suffix(".txt").write_text("Conf: 1\n", "utf-8")
    tree.clip("trainval/spk0/60006").with_suffix(".txt").write_text("Text: {NS}\n", "utf-8")
    tree.clip("trainval/spk0/60007", frames=4)
    tree.clip("trainval/spk0/60008", frames=510)
    tree.clip("test/spk9/60009", frames=510)
    tree.clip("test/spk9/60010", sound=0)
    data = tmp_path / "data"
    summary = prepare(tree.root, data)
    assert excluded(data) == {
        "spk0-60000": "no-audio", "spk0-60001": "audio-video", "spk0-60002": "corrupt",
        "spk0-60003": "corrupt", "spk0-60004": "no-text", "spk0-60005": "no-text",
        "spk0-60006": "no-text", "spk0-60007": "too-short", "spk0-60008": "too-long",
        "spk9-60010": "no-audio",
    }  # fmt: skip
    assert summary["excluded"] == {
        "audio-video": 1, "corrupt": 2, "no-audio": 2, "no-text": 3, "too-long": 1, "too-short": 1,
    }  # fmt: skip
    assert summary["notices"] == ["test lost 1 of its 4 clips, see excluded.txt"]
    assert "spk9-60009" in utterances(data, "test")


def test_other_frame_rates(tree: FaceTree, tmp_path: Path) -> None:
    tree.clip("trainval/spk0/60000", frames=60, sound=2.0, fps=Fraction(30000, 1001))
    times = list(np.cumsum(np.where(np.arange(50) % 2, 0.05, 0.03)) - 0.03)
    tree.clip("trainval/spk0/60001", times=times)
    rotate_by_metadata(tree.clip("trainval/spk0/60002", size=(320, 240)))
    data = tmp_path / "data"
    summary = prepare(tree.root, data)
    assert summary["resampled"] == 2 and summary["excluded"] == {}
    assert DataDir.load(data / "pretrain").utt2num_video["spk0-60000"] == 50
    summary = prepare(tree.root, data, "--fps", "refuse")
    assert summary["excluded"] == {"frame-rate": 1, "variable-rate": 1}
    assert "spk0-60002" in utterances(data, "pretrain") + utterances(data, "dev")


def test_sound_a_little_longer_than_video_is_taken_and_listed(
    tree: FaceTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.clip("trainval/spk0/60000", sound=2.06)
    tree.clip("test/spk9/60001", sound=1.94)
    tree.clip("trainval/spk0/60002", sound=2.03)
    tree.clip("trainval/spk0/60003", frames=60, sound=2.0, fps=Fraction(30000, 1001))
    tree.clip("test/spk9/60004", sound=2.12)
    data = tmp_path / "data"
    summary = prepare(tree.root, data)
    assert (summary["skewed"], summary["resampled"]) == (2, 1)
    assert summary["excluded"] == {"audio-video": 1}
    assert (data / "irregular.txt").read_text("utf-8").splitlines() == [
        "spk0-60003 resampled 29.97 frames a second",
        "spk0-60000 skewed sound 1.50 frames longer than video",
        "spk9-60001 skewed sound 1.50 frames shorter than video",
    ]
    assert "more than a frame, sound was cut or filled up: 2 utterances" in capsys.readouterr().out
    assert "spk9-60001" in utterances(data, "test")


def test_lrs2(tmp_path: Path) -> None:
    tree = FaceTree(tmp_path / "LRS2")
    ids = [f"5535415/0000{n}" for n in range(6)]
    for ident in ids:
        tree.clip(f"main/{ident}", table=False)
    tree.clip("pretrain/6000000/00001")
    (tree.root / "train.txt").write_text("".join(f"{i}\n" for i in ids[:3]), "utf-8")
    (tree.root / "val.txt").write_text(f"{ids[3]}\n{ids[4]}\n", "utf-8")
    (tree.root / "test.txt").write_text(f"{ids[5]} MD\n1/2 MD\n", "utf-8")
    summary = prepare(tmp_path, tmp_path / "data")
    assert summary["layout"] == "LRS2" and summary["valid_source"].endswith("val.txt")
    counts = {name: row["utterances"] for name, row in summary["sets"].items()}
    assert counts["pretrain"] == 4 and counts["dev"] == 2 and counts["test"] == 1
    assert summary["excluded"] == {"no-video": 1}


def test_voxceleb_joins_pretrain(tree: FaceTree, tmp_path: Path) -> None:
    vox = FaceTree(tmp_path / "vox")
    for number in range(3):
        vox.clip(f"dev/mp4/id0001{number}/abc/00001")
    listed = tmp_path / "english.txt"
    listed.write_text("id00010/abc/00001.mp4\nid00012/abc/00001\n", "utf-8")
    data = tmp_path / "data"
    options = ("--vox", str(vox.root), "--labelled", "433h")
    summary = prepare(tree.root, data, *options, "--vox-list", str(listed))
    part = DataDir.load(data / "pretrain")
    assert [utt for utt in part.utts if utt[0] == "i"] == ["id00010-abc-00001", "id00012-abc-00001"]
    assert part.text["id00010-abc-00001"] == "" and summary["sets"]["pretrain"]["utterances"] == 12
    allowed = Options(no_feats=True, allow_empty_text=True)
    assert validate(data / "pretrain", allowed).defects == []
    assert not [utt for utt in utterances(data, "labelled") if utt[0] == "i"]


def test_tedlium(tree: FaceTree, tmp_path: Path) -> None:
    ted = tmp_path / "ted" / "legacy"
    talk(ted / "train", "Ann_2010", [
        "0.00 2.50 <o,f0,female> it 's a test(2) of {NOISE} don 't",
        "2.50 4.00 <o,f0,female> ignore_time_segment_in_scoring",
        "4.00 5.00 <o,f0,female> an <unk> word", "5.00 9.00 <o,f0,female> late",
        "7.95 9.00 <o,f0,female> later",
    ])  # fmt: skip
    talk(ted / "train", "Bob_2011", ["0.00 25.00 <o,f0,male> long", "1.0 2.0 <o,f0,male> b"], 30)
    talk(ted / "train", "Cat_2012", ["0.00 1.00 <o,f0,male> c"], rate=8000)
    talk(ted / "dev", "Dan_2012", ["0.00 1.00 <o,f0,male> d"])
    data = tmp_path / "data"
    summary = prepare(tree.root, data, "--tedlium", str(tmp_path / "ted"))
    part = DataDir.load(data / "audiotext")
    assert part.text == {
        "Ann_2010-0000000-0000250": "IT'S A TEST OF DON'T",
        "Ann_2010-0000500-0000900": "LATE",
        "Bob_2011-0000100-0000200": "B",
    }
    assert len(part.read_utt("Ann_2010-0000500-0000900")) == 48000
    assert summary["excluded"] == {
        "ignored-segment": 1, "rate": 1, "too-long": 1, "too-short": 1, "unknown-word": 1,
    }  # fmt: skip
    assert utterances(data, "audiotext_dev") == ["Dan_2012-0000000-0000100"]
    assert validate(data / "audiotext", FULL).defects == []
    with pytest.raises(UserError, match="holds no train/stm"):
        prepare(tree.root, data, "--tedlium", str(tree.root))


def test_what_nobody_can_say_is_left_out(tree: FaceTree, tmp_path: Path) -> None:
    """Lone marks go and are counted; utterances with a word that has no phones go whole."""
    tree.clip("trainval/spk0/60000").with_suffix(".txt").write_text(
        "Text: A -- B ' {NS}\n", "utf-8"
    )
    tree.clip("trainval/spk0/60001").with_suffix(".txt").write_text("Text: -- '\n", "utf-8")
    listed = tmp_path / "valid.txt"
    listed.write_text("spk1/50001\n", "utf-8")
    data = tmp_path / "data"
    summary = prepare(tree.root, data, "--valid-list", str(listed))
    assert DataDir.load(data / "labelled").text["spk0-60000"] == "A B"
    assert excluded(data) == {"spk0-60001": "no-text"}
    assert summary["dropped_tokens"] == {"--": 2, "'": 2}
    ted = tmp_path / "ted" / "legacy"
    talk(ted / "train", "Ann_2010", [
        "0.00 2.50 <o,f0,female> ' it 's a -- test", "2.50 4.00 <o,f0,female> -- '",
        "4.00 5.00 <o,f0,female> a \u2460 word",
    ])  # fmt: skip
    talk(ted / "dev", "Dan_2012", ["0.00 1.00 <o,f0,male> d"])
    text = tmp_path / "lm.txt"
    text.write_text("a -- line\n--\n", "utf-8")
    options = ("--tedlium", str(tmp_path / "ted"), "--text", str(text))
    summary = prepare(tree.root, data, *options)
    part = DataDir.load(data / "audiotext")
    assert part.text == {"Ann_2010-0000000-0000250": "IT'S A TEST"}
    assert excluded(data) == {
        "spk0-60001": "no-text", "Ann_2010-0000250-0000400": "no-text",
        "Ann_2010-0000400-0000500": "no-phones",
    }  # fmt: skip
    assert summary["excluded"] == {"empty-line": 1, "no-phones": 1, "no-text": 2}
    assert summary["dropped_tokens"] == {"--": 6, "'": 4}
    assert validate(data / "audiotext", FULL).defects == []


@pytest.mark.parametrize("source", ["clips", "talks"])
def test_the_aligner_finds_phones_for_all(tree: FaceTree, tmp_path: Path, source: str) -> None:
    """As it reads the sets, so that no table lacks what another has (AVReader refuses that)."""
    tree.clip("pretrain/spk0/00002").with_suffix(".txt").write_text("Text: A \u2460\n", "utf-8")
    ted = tmp_path / "ted"
    talk(ted / "train", "Ann_2010", ["0.0 2.5 <o> a \u2460", "2.5 4.0 <o> a test"])
    talk(ted / "dev", "Dan_2012", ["0.00 1.00 <o,f0,male> d"])
    options = ("--tedlium", str(ted)) if source == "talks" else ("--labelled", "433h")
    data = tmp_path / "data"
    prepare(tree.root, data, *options)
    pronouncer = Pronouncer(read_lexicon(None), "g2p")
    for name in ("audiotext", "audiotext_dev"):
        texts = DataDir.load(data / name).text.values()
        assert texts and all(pronouncer.words(text) for text in texts)
    assert list(excluded(data).values()) == ["no-phones"]


def test_audio_only_and_text_only(tree: FaceTree, tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    for name, seconds, rate in (
        ("s1/a b/x", 1.0, 16000), ("s1/y", 45.0, 16000), ("s2/z", 1.0, 8000), ("top", 1.0, 16000),
        ("s3/s3-1", 1.0, 16000), ("s3-a/x", 1.0, 16000), ("s3/z", 1.0, 16000),
    ):  # fmt: skip
        (audio / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(audio / f"{name}.flac", np.zeros(int(seconds * rate)) + 0.1, rate)
    test = (tree.root / "test/spk8/00001.txt").read_text("utf-8").splitlines()[0][5:]
    text = tmp_path / "lm.txt.gz"
    with gzip.open(text, "wt", encoding="utf-8") as out:
        out.write(f"a line\n\n{test.lower()}\nanother  one {{NS}}\n")
    data = tmp_path / "data"
    options = ("--audio-dir", str(audio), "--text", str(text))
    summary = prepare(tree.root, data, *options)
    assert utterances(data, "onlyaudio") == [
        "s1-a_b-x", "s1-y-c0001", "s1-y-c0002", "s1-y-c0003", "s3-1", "s3-z", "s3_a-x",
        "top",
    ]  # fmt: skip
    assert DataDir.load(data / "onlyaudio").utt2num_samples["s1-y-c0002"] == 15 * 16000
    assert validate(data / "onlyaudio", Options(no_feats=True, no_text=True)).defects == []
    assert read_table(data / "onlytext" / "text") == {
        "text-000000001": "A LINE", "text-000000004": "ANOTHER ONE",
    }  # fmt: skip
    assert validate(data / "onlytext", TEXT_ONLY).defects == []
    assert summary["excluded"] == {"empty-line": 1, "held-out-sentence": 1, "rate": 1}
    summary = prepare(tree.root, data)
    assert not (data / "onlyaudio").exists() and not (data / "onlytext").exists()


def test_what_cannot_be_prepared(tree: FaceTree, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds neither LRS3"):
        prepare(tree.root / "test", tmp_path / "data")
    with pytest.raises(UserError, match="--text .*no such file"):
        prepare(tree.root, tmp_path / "data", "--text", str(tmp_path / "none"))
    with pytest.raises(UserError, match="--fps x"):
        prepare(tree.root, tmp_path / "data", "--fps", "x")
    for path in (tree.root / "test").glob("*/*.mp4"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="test: no clip is left"):
        prepare(tree.root, tmp_path / "data")
    assert excluded(tmp_path / "data") == {"spk8-00001": "corrupt", "spk9-00002": "corrupt"}
    assert not (tmp_path / "data" / "sets.json").exists()


def test_the_parts_share_speakers(tree: FaceTree, tmp_path: Path) -> None:
    tree.clip("test/spk0/00003")
    summary = prepare(tree.root, tmp_path / "data")
    assert summary["notices"] == ["test shares 1 of its 3 speakers with training"]
    (tree.root.parent / "trivium-mini.json").write_text('{"layout": "lrs3"}', "utf-8")
    with pytest.raises(UserError, match="test: has speaker 'spk0'"):
        prepare(tree.root, tmp_path / "data")


def test_true_times_of_the_built_in_corpus(tree: FaceTree, tmp_path: Path) -> None:
    (tree.root.parent / "trivium-mini.json").write_text('{"layout": "lrs3"}', "utf-8")
    phones = tree.root.parent / "phones"
    phones.mkdir()
    for part in ("pretrain", "trainval", "test"):
        idents = [f"{p.parent.name}/{p.stem}" for p in (tree.root / part).glob("*/*.mp4")]
        rows = [f"{i} 1 {t} 0.5000 {n}\n" for i in idents for t, n in ((0, "a"), (1.8, "b"))]
        (phones / f"{part}.ctm").write_text("".join(rows), "utf-8")
    data = tmp_path / "data"
    summary = prepare(tree.root, data)
    assert summary["builtin"] and summary["corpus"].startswith("built-in")
    lines = (data / "test" / "phones.ctm").read_text("utf-8").splitlines()
    assert lines[:2] == ["spk8-00001 1 0.0000 0.5000 a", "spk8-00001 1 1.8000 0.2000 b"]
    words = (data / "test" / "words.ctm").read_text("utf-8").splitlines()
    assert len(words) == 6 and words[0].split()[2:4] == ["0.2000", "0.4000"]
    for name in ("pretrain", "audiotext"):
        assert validate(data / name, FULL).defects == []
        assert (data / name / "phones.ctm").is_file()


@pytest.mark.slow
def test_the_script_on_real_clips(tmp_path: Path) -> None:
    real = Path(os.environ.get("TRIVIUM_REAL", "/nonexistent")) / "LRS3"
    if not real.is_dir():
        pytest.skip("$TRIVIUM_REAL/LRS3 is not there")
    script = ROOT / "egs" / "lrs3" / "local" / "prepare_data.sh"
    command = ["bash", str(script), "--nj", "1", str(real), str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "left out: none" in done.stdout and "test shares 1 of its 1 speakers" in done.stdout
    assert len(utterances(tmp_path / "data", "dev")) == 30
    frames = DataDir.load(tmp_path / "data" / "test").utt2num_video
    assert len(frames) == 60 and set(frames.values()) == {75}
