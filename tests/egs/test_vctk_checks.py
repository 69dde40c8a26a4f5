"""Data on which egs/vctk could only fail, or measure less, is met before anything is trained."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

import pytest

from pylib.corpus.mini.vctk import build_vctk
from pylib.corpus.mini.vctk_config import VCTK_SIZES
from pylib.corpus.tables import read_table
from pylib.units.phones import read_phones
from tests.egs.vctk_trees import LOCAL, VctkTree, prepare

ROOT = LOCAL.parents[2]
SEEN, UNSEEN = ("p226", "p228", "p229", "p230"), ("p225", "p227", "p231")


@pytest.fixture
def tree(tmp_path: Path) -> VctkTree:
    made = VctkTree(tmp_path / "VCTK-Corpus-0.92")
    for spk in sorted((*SEEN, *UNSEEN)):
        made.speaker(spk, "M" if spk in ("p226", "p228", "p231") else "F")
    return made


def prepared(tree: VctkTree, unseen: tuple[str, ...] = UNSEEN) -> Path:
    """Data directories of a tree with these unseen speakers."""
    data = tree.root.parent / "data"
    listed = tree.root.parent / "unseen.txt"
    listed.write_text("".join(f"{spk}\n" for spk in unseen), "utf-8")
    prepare(tree.root, data, "--unseen", str(listed))
    return data


def check(data: Path, code: int = 0, **options: str) -> str:
    """What `check_sets` of choices.sh leaves of sets, phones and fill, after what it logged."""
    given = {
        "preset": "mini", "systems": "fhvae cfhvae_strong", "methods": "shift", "text": "true",
        "phones": "true", "set_train": "", "train_set": "", "dry_run": "false", "status": "false",
        "data": str(data),
    } | options  # fmt: skip
    script = f"""set -euo pipefail
. {ROOT}/path.sh
. {ROOT}/local/lib.sh
cd {ROOT}/egs/vctk
. ../../local/configurations.sh
. local/choices.sh
sets=(train dev test unseen parallel_unseen) fill=''
check_sets
echo "sets=${{sets[*]}} phones=$phones fill=$fill"
"""
    words = [f"{name}={value}" for name, value in given.items()]
    done = subprocess.run(
        ["env", *words, "bash", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


SMALL = "segments.speakers=2"  # the trees here have four speakers in train


def test_a_part_of_the_corpus_is_drawn_whole_in_each_pass(tree: VctkTree) -> None:
    """mini draws 400 utterances a pass, train has 16: said and settled before stage 4."""
    data = prepared(tree)
    told = check(data, set_train=SMALL)
    assert "segments.cached = 400 of conf/fhvae_mini.toml" in told
    assert f"{data}/train has 16 utterances to draw from, each pass takes all" in told
    assert "sets=train dev test unseen parallel_unseen phones=true fill= segments.cached=0" in told
    given = check(data, set_train=f"{SMALL} segments.cached=16")
    assert given.endswith("fill=\n") and "takes all" not in given
    told = check(data, code=1, set_train=f"{SMALL},segments.cached=17")
    assert "--set-train segments.cached=17" in told and "16 or less" not in told
    assert "16 utterances" in told


def test_all_utterances_have_a_row_where_the_table_is_of_all(tree: VctkTree) -> None:
    """large draws no utterances: there is nothing to settle."""
    told = check(prepared(tree), preset="large", systems="fhvae fhvae_speaker")
    assert told.endswith("fill=\n")


def test_too_few_speakers_for_a_batch(tree: VctkTree) -> None:
    told = check(prepared(tree), code=1)
    assert "segments.speakers = 16" in told and "4 speakers with two utterances" in told
    assert "--set-train segments.speakers=N, 2 to 4" in told


def test_an_unseen_list_of_one_speaker_gives_no_trials(tree: VctkTree) -> None:
    told = check(prepared(tree, UNSEEN[:1]), code=1, set_train=SMALL)
    assert "no unseen/trials" in told and "give --unseen a list of two speakers or more" in told


def test_no_parallel_texts_give_no_conversions(tree: VctkTree) -> None:
    for spk in UNSEEN:
        for number in (1, 2, 3):
            tree.path(f"{spk}_{number:03d}").unlink()
            tree.text(f"{spk}_{number:03d}").unlink()
    data = prepared(tree)
    told = check(data, code=1, set_train=SMALL)
    assert "no parallel/pairs" in told and "leave conversions out with --methods ''" in told
    told = check(data, set_train=SMALL, methods="")
    assert "sets=train dev test unseen phones=true" in told  # nothing is made of what is not there


def test_no_transcripts_are_met_before_a_recogniser_is_trained(tmp_path: Path) -> None:
    tree = VctkTree(tmp_path / "VCTK-Corpus-0.92")
    for spk in (*SEEN, *UNSEEN):
        tree.speaker(spk, "F", text=False)
    data = prepared(tree)
    assert "no transcripts" in check(data, code=1, methods="", set_train=SMALL)
    told = check(data, methods="", text="false", set_train=SMALL)  # with --ssl only speakers count
    assert "sets=train dev test unseen phones" in told


def test_the_gap_between_genders_needs_both(tmp_path: Path) -> None:
    """Said before the trainings; the rest is measured."""
    tree = VctkTree(tmp_path / "VCTK-Corpus-0.92")
    for spk in (*SEEN, *UNSEEN):
        tree.speaker(spk, "F")
    told = check(prepared(tree), set_train=SMALL)
    assert "the gap from men to women are not measured" in told and "phones=false" in told


def test_speakers_of_few_utterances_leave_no_dev_set(tmp_path: Path) -> None:
    tree = VctkTree(tmp_path / "VCTK-Corpus-0.92")
    for spk in (*SEEN, *UNSEEN):
        tree.speaker(spk, "F", own=3)
    told = check(prepared(tree), code=1, set_train=SMALL)
    assert "no dev set" in told and "four utterances" in told


def test_conversion_sets_say_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", str(LOCAL / "conversion_sets.sh"), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 1 and "run local/prepare_data.sh on a corpus that has" in done.stderr


def test_conversions_need_no_genders(tree: VctkTree) -> None:
    """0.80 has no line for some speakers, and then there is no spk2gender."""
    (tree.root / "speaker-info.txt").unlink()
    data = prepared(tree)
    assert not (data / "unseen" / "spk2gender").exists()
    subprocess.run(["bash", str(LOCAL / "conversion_sets.sh"), str(data)], check=True)
    assert (data / "parallel_unseen" / "wav.scp").read_text("utf-8").count("\n") == 9


@pytest.mark.slow
def test_phone_times_are_made_of_text_and_speech(tmp_path: Path) -> None:
    """By name they are CMUdict's, so only how much of an utterance they cover can be compared."""
    config = dataclasses.replace(
        VCTK_SIZES["smoke"], speakers=4, utterances=8, parallel=2, voices=4
    )
    build_vctk(tmp_path / "corpus", config, jobs=1)
    prepare(tmp_path / "corpus", tmp_path / "data")
    sets = [tmp_path / "data" / name for name in ("train", "unseen")]
    for path in sets:
        (path / "phones.ctm").unlink()
    words = ["--nj", "1", *map(str, sets), str(tmp_path / "arks")]
    subprocess.run(["bash", str(LOCAL / "align_content.sh"), *words], check=True)
    for path in sets:
        times = read_phones(path / "phones.ctm")
        lasts = read_table(path / "utt2dur", fields=2)
        assert times.keys() == lasts.keys()
        for utt, phones in times.items():
            assert abs(phones.ends[-1] - float(lasts[utt])) < 0.1
            assert len(phones.names) >= 5 and set(phones.names) - {"SIL"}
