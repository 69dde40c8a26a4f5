"""Preparation of VCTK trees: both editions, their quirks, damaged, partial, built in, real."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.corpus.atomic import sha256_file
from pylib.corpus.checker import Options
from pylib.corpus.datadir import DataDir
from pylib.corpus.disjoint import check_disjoint
from pylib.corpus.errors import UserError
from pylib.corpus.mini.vctk import build_vctk
from pylib.corpus.mini.vctk_config import VCTK_SIZES
from pylib.corpus.pairs import read_pairs
from pylib.corpus.tables import read_list
from pylib.corpus.trials import read_trials
from pylib.corpus.validate import validate
from tests.egs.vctk_trees import LISTED, VctkTree, module, prepare

SEEN, UNSEEN = ("p226", "p228", "p229", "p230"), ("p225", "p227")


@pytest.fixture
def tree(tmp_path: Path) -> VctkTree:
    made = VctkTree(tmp_path / "VCTK-Corpus-0.92")
    for spk in sorted((*SEEN, *UNSEEN)):
        made.speaker(spk, "F" if int(spk[1:]) % 2 else "M")
    return made


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    path = tmp_path / "unseen.txt"
    path.write_text("".join(f"{spk}\n" for spk in UNSEEN), "utf-8")
    return path


def test_a_whole_tree(tree: VctkTree, listed: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    summary = prepare(tree.root.parent, data, "--unseen", str(listed))
    assert {n: row["utterances"] for n, row in summary["sets"].items()} == {
        "train": 16, "dev": 4, "test": 4, "unseen": 12, "parallel": 18,
    }  # fmt: skip
    assert summary["excluded"] == {} and summary["unseen"] == list(UNSEEN)
    assert summary["edition"] == "0.92" and not summary["builtin"] and not summary["partial"]
    for name in summary["sets"]:
        assert validate(data / name, Options(no_feats=True, check_audio="full")).defects == []
        part = DataDir.load(data / name)
        assert part.text is not None and (data / name / "spk2gender").is_file()
        assert {soundfile.info(path).samplerate for path in part.wav.values()} == {16000}
        for utt in part.utts:
            level = 10 * np.log10(np.mean(part.read_utt(utt).astype(np.float64) ** 2))
            assert level == pytest.approx(-27, abs=0.02)
    assert check_disjoint([data / "train", data / "unseen"], "speakers") == []
    assert check_disjoint([data / n for n in summary["sets"]], "utterances") == []
    unseen = DataDir.load(data / "unseen")
    trials = read_trials(data / "unseen" / "trials", unseen.utt2spk)
    assert len(trials) == summary["trials"] == 12 * 11 // 2
    parallel = DataDir.load(data / "parallel")
    assert parallel.text is not None
    assert Counter(parallel.text.values()) == {
        "PLEASE CALL STELLA": 6, "ASK HER TO BRING THESE THINGS": 6, "SIX SPOONS": 6,
    }  # fmt: skip
    pairs = read_pairs(data / "parallel" / "pairs", parallel.utt2spk)
    assert len(pairs) == summary["pairs"] > 0
    assert {pair.target for pair in pairs} == {*UNSEEN}
    assert unseen.text is not None and unseen.text["p225_025"].startswith("IT'S PCCF THE X")


def test_checksums_are_those_of_the_files(tree: VctkTree, listed: Path, tmp_path: Path) -> None:
    prepare(tree.root, tmp_path / "data", "--unseen", str(listed))
    sums = sorted((tmp_path / "data" / "lists").glob("*.sha256"))
    assert {path.stem for path in sums} >= {"train.utts", "unseen_trials", "parallel_pairs"}
    for path in sums:
        digest, name = path.read_text("utf-8").split()
        assert digest == sha256_file(tmp_path / "data" / name)
    before = {path.name: path.read_text("utf-8") for path in sums}
    prepare(tree.root, tmp_path / "again", "--unseen", str(listed))
    again = (tmp_path / "again" / "lists").glob("*.sha256")
    assert {path.name: path.read_text("utf-8") for path in again} == before


def test_the_quirks_of_092(tree: VctkTree, listed: Path, tmp_path: Path) -> None:
    tree.speaker("p280", "F", more="(mic2 files unavailable)")
    tree.speaker("p315", "M", text=False, more="(Text and mic2 files unavailable)")
    tree.speaker("s5", "F")
    tree.text("p230_030").with_name("p230_099.txt").write_text("No audio.\n", "utf-8")
    tree.text("p230_029").unlink()
    tree.text("p230_028").write_text("In 1999 it was.\n", "utf-8")
    tree.path("p230_027").write_bytes(b"")
    summary = prepare(tree.root, tmp_path / "data", "--unseen", str(listed))
    assert summary["excluded"] == {
        "no-audio": 1,
        "no-transcript": 1,
        "no-transcripts-of-speaker": 1,
        "speaker-id": 1,
        "transcript": 1,
        "unreadable": 1,
    }
    speakers = {*summary["seen"], *summary["unseen"]}
    assert "p280" in speakers and not {"p315", "s5"} & speakers
    excluded = (tmp_path / "data" / "excluded.txt").read_text("utf-8")
    assert "speaker-id s5" in excluded and "no-audio p230_099" in excluded
    second = prepare(tree.root, tmp_path / "mic2", "--unseen", str(listed), "--mic", "mic2")
    assert second["excluded"]["no-audio-of-speaker"] == 2
    assert "p280" not in {*second["seen"], *second["unseen"]}


def test_edition_080(listed: Path, tmp_path: Path) -> None:
    tree = VctkTree(tmp_path / "VCTK-Corpus", "0.80")
    for spk in (*SEEN, *UNSEEN):
        tree.speaker(spk, "F" if int(spk[1:]) % 2 else "M")
    tree.speaker("p280", "F")
    info = tree.root / "speaker-info.txt"
    info.write_text("".join(x for x in info.open() if not x.startswith("280")), "utf-8")
    summary = prepare(tmp_path, tmp_path / "data", "--unseen", str(listed))
    assert summary["edition"] == "0.80" and summary["sets"]["train"]["speakers"] == 5
    genders = (tmp_path / "data" / "train" / "spk2gender").read_text("utf-8")
    assert "p280 f\n" in genders and "p226 m\n" in genders
    with pytest.raises(UserError, match="has one microphone"):
        prepare(tmp_path, tmp_path / "data", "--mic", "mic2")


def test_only_equal_texts_are_parallel(tree: VctkTree, listed: Path, tmp_path: Path) -> None:
    tree.text("p226_002").write_text("Something else altogether.\n", "utf-8")
    tree.text("p226_025").write_text("Six spoons\n", "utf-8")
    summary = prepare(tree.root, tmp_path / "data", "--unseen", str(listed))
    assert summary["excluded"] == {"parallel-text-differs": 1, "parallel-text-elsewhere": 1}
    parallel = DataDir.load(tmp_path / "data" / "parallel")
    assert "p226_002" not in parallel.utts and "p226_001" in parallel.utts
    for name in ("train", "dev", "test"):
        assert not {"p226_002", "p226_025"} & set(DataDir.load(tmp_path / "data" / name).utts)


def test_shared_sentences_are_told(tree: VctkTree, listed: Path, tmp_path: Path) -> None:
    for spk in ("p225", "p226", "p228"):
        for number in range(25, 31):
            tree.text(f"{spk}_{number:03d}").write_text(f"Shared {'y ' * number}\n", "utf-8")
    summary = prepare(tree.root, tmp_path / "data", "--unseen", str(listed))
    assert any("of unseen have a text that train has too" in n for n in summary["notices"])


def test_lists_that_do_not_fit_are_refused(tree: VctkTree, listed: Path, tmp_path: Path) -> None:
    listed.write_text("p225\np999\n", "utf-8")
    with pytest.raises(UserError, match="p999 are not in"):
        prepare(tree.root, tmp_path / "data", "--unseen", str(listed))
    listed.write_text("".join(f"{spk}\n" for spk in (*SEEN, *UNSEEN)), "utf-8")
    with pytest.raises(UserError, match="none is left to train on"):
        prepare(tree.root, tmp_path / "data", "--unseen", str(listed))
    with pytest.raises(UserError, match="holds no VCTK"):
        prepare(tmp_path / "nowhere", tmp_path / "data")
    assert not (tmp_path / "data" / "sets.json").exists()


def test_a_part_of_the_corpus_draws_its_own_list(tree: VctkTree, tmp_path: Path) -> None:
    summary = prepare(tree.root, tmp_path / "data")
    assert summary["partial"] and len(summary["unseen"]) == 2
    assert any("figures are not those of VCTK" in notice for notice in summary["notices"])


def test_no_speaker_info_and_no_text(tree: VctkTree, tmp_path: Path) -> None:
    (tree.root / "speaker-info.txt").unlink()
    (tree.root / "txt").rename(tmp_path / "away")
    summary = prepare(tree.root, tmp_path / "data")
    assert "parallel" not in summary["sets"] and summary["sets"]["train"]["transcribed"] == 0
    assert {t.gender for t in read_trials(tmp_path / "data/unseen/trials")} == {"unknown"}
    assert sum("is missing" in notice for notice in summary["notices"]) == 2


def test_silent_utterances_are_left_out(tree: VctkTree, listed: Path, tmp_path: Path) -> None:
    soundfile.write(tree.path("p226_025"), np.zeros(48000), 48000)
    summary = prepare(tree.root, tmp_path / "data", "--unseen", str(listed))
    assert summary["excluded"] == {"silence": 1}
    assert "silence p226_025" in (tmp_path / "data" / "excluded.txt").read_text("utf-8")


def test_silence_labels_are_used_where_they_are(
    tree: VctkTree, listed: Path, tmp_path: Path
) -> None:
    place = tree.root / "vctk-silences.0.92.txt"
    place.write_text("p226_025 0.12 0.28\np226_026\np999_001 0.1 0.2\n", "utf-8")
    summary = prepare(tree.root, tmp_path / "data", "--unseen", str(listed))
    seconds = DataDir.load(tmp_path / "data" / "local" / "clean").utt2dur
    assert seconds["p226_025"] == pytest.approx(0.36, abs=0.001)
    assert seconds["p226_026"] == pytest.approx(0.4, abs=0.001)
    assert any("labels of 1 of 54 utterances" in notice for notice in summary["notices"])
    place.write_text("p226_025 early late\n", "utf-8")
    with pytest.raises(UserError, match="0.92.txt:1: "):
        prepare(tree.root, tmp_path / "data", "--unseen", str(listed))


def test_nothing_of_another_corpus_stays(tree: VctkTree, listed: Path, tmp_path: Path) -> None:
    prepare(tree.root, tmp_path / "data", "--unseen", str(listed))
    assert (tmp_path / "data" / "parallel").is_dir()
    names = (tmp_path / "data" / "lists" / "unseen.spks").read_text("utf-8").split()
    assert names == list(UNSEEN)
    (tree.root / "txt").rename(tmp_path / "away")
    prepare(tree.root, tmp_path / "data", "--unseen", str(listed))
    assert not (tmp_path / "data" / "parallel").exists()
    assert not list((tmp_path / "data" / "lists").glob("parallel*"))


def test_a_broken_speaker_table_is_named(tree: VctkTree, tmp_path: Path) -> None:
    path = tree.root / "speaker-info.txt"
    path.write_text(path.read_text("utf-8") + "p999 23\n", "utf-8")
    with pytest.raises(UserError, match="speaker-info.txt:8: 'p999 23'"):
        prepare(tree.root, tmp_path / "data")


def test_the_committed_list() -> None:
    rows = [line.split() for line in LISTED.read_text("utf-8").splitlines()]
    assert len(rows) == 20 == len(read_list(LISTED))
    assert Counter(row[1] for row in rows) == {"f": 10, "m": 10}
    yourtts = "p225 p234 p238 p245 p248 p261 p294 p302 p326 p335 p347"
    assert [row[0] for row in rows if row[3] == "yourtts"] == yourtts.split()
    assert sha256_file(LISTED) == "63ca66e5a251444a865b944fb194d9a72b73a1edc4a31e5fccce1e2c9f67fcf4"


def test_the_draw_balances_sexes_and_accents() -> None:
    draw = module("vctk_sets").draw_unseen
    sex = {f"p{n}": "fm"[n % 2] for n in range(300, 340)}
    accent = {f"p{n}": ("English", "Irish")[n % 4 // 2] for n in range(300, 340)}
    drawn = draw(sex, accent, 8, 1)
    assert len(set(drawn)) == 8 and drawn == draw(sex, accent, 8, 1) != draw(sex, accent, 8, 2)
    assert Counter(sex[s] for s in drawn) == {"f": 4, "m": 4}
    assert Counter(accent[s] for s in drawn) == {"English": 4, "Irish": 4}
    assert set(draw(sex, accent, 8, 1, ("p301", "p303"))) >= {"p301", "p303"}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ("Please call Stella.", "PLEASE CALL STELLA"),
        ("\u201cIt\u2019s a well-known caf\u00e9,\u201d I said!", "IT'S A WELL KNOWN CAFE I SAID"),
        ("'Quoted' words; don't", "QUOTED WORDS DON'T"),
    ],
)  # fmt: skip
def test_transcripts_as_librispeech_writes_them(raw: str, words: str) -> None:
    assert module("vctk_tree").normalise(raw) == (words, "")


@pytest.mark.parametrize("raw", ["", "...", "It cost 5 pounds", "100 %"])
def test_transcripts_of_no_use(raw: str) -> None:
    assert module("vctk_tree").normalise(raw)[1]


def test_the_built_in_corpus(tmp_path: Path) -> None:
    config = dataclasses.replace(
        VCTK_SIZES["smoke"], speakers=4, utterances=6, parallel=2, voices=4
    )
    build_vctk(tmp_path / "corpus", config, jobs=1)
    summary = prepare(tmp_path / "corpus", tmp_path / "data")
    assert summary["builtin"] and not summary["partial"] and summary["excluded"] == {}
    assert summary["sets"]["parallel"]["utterances"] == 8 and len(summary["unseen"]) == 1
    for name in summary["sets"]:
        lines = (tmp_path / "data" / name / "phones.ctm").read_text("utf-8").splitlines()
        assert {line.split()[0] for line in lines} == set(
            DataDir.load(tmp_path / "data" / name).utts
        )
    assert any("no unseen/trials" in notice for notice in summary["notices"])


@pytest.mark.real
@pytest.mark.skipif("TRIVIUM_REAL" not in os.environ, reason="needs $TRIVIUM_REAL")
def test_real_recordings(tmp_path: Path) -> None:
    corpus = Path(os.environ["TRIVIUM_REAL"]) / "VCTK-Corpus-0.92"
    summary = prepare(corpus, tmp_path / "data")
    assert summary["partial"] and sum(r["utterances"] for r in summary["sets"].values()) == 20
    assert sum("is missing" in notice for notice in summary["notices"]) == 2
    part = DataDir.load(tmp_path / "data" / "unseen")
    assert all(1 < seconds < 20 for seconds in part.utt2dur.values())


@pytest.mark.slow
def test_the_script(tree: VctkTree, listed: Path, tmp_path: Path) -> None:
    script = LISTED.parents[1] / "local" / "prepare_data.sh"
    words = ["--nj", "2", "--min", "0.2", "--unseen", str(listed), str(tree.root)]
    done = subprocess.run(
        ["bash", str(script), *words, str(tmp_path / "data")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out: none" in done.stdout and (tmp_path / "data" / "sets.json").is_file()
