"""Trials and conversion pairs: complete, reproducible, and bad ones refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from pylib.bin import make_pairs as pairs_verb
from pylib.bin import make_trials as trials_verb
from pylib.corpus.atomic import sha256_file
from pylib.corpus.datadir import write_datadir
from pylib.corpus.errors import UserError
from pylib.corpus.pairs import PairOptions, make_pairs, read_pairs, write_pairs
from pylib.corpus.trials import make_trials, read_trials, write_trials


def speakers(count: int, utterances: int) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """(utt2spk, gender, text) of p225, p226, ...: women and men in turn, all texts different."""
    utt2spk = {
        f"p{225 + spk}_{utt:03d}": f"p{225 + spk}"
        for spk in range(count)
        for utt in range(1, utterances + 1)
    }
    gender = {f"p{225 + spk}": "fm"[spk % 2] for spk in range(count)}
    return utt2spk, gender, {utt: f"TEXT {utt}" for utt in utt2spk}


def test_counts_of_the_full_list() -> None:
    """20 speakers of 20 utterances: the numbers of pairs by hand."""
    made = make_trials(*speakers(20, 30), per_speaker=20)
    targets = [trial for trial in made.trials if trial.target]
    assert (len(made.trials), len(targets)) == (400 * 399 // 2, 20 * 190) == (79800, 3800)
    assert all(trial.gender == "same" for trial in targets)
    assert sum(trial.gender == "cross" for trial in made.trials) == 10 * 10 * 20 * 20


def test_the_same_trials_for_a_seed(tmp_path: Path) -> None:
    utt2spk, gender, text = speakers(4, 9)
    backwards = dict(reversed(utt2spk.items()))
    for name, table, seed in (("a", utt2spk, 1), ("b", backwards, 1), ("c", utt2spk, 2)):
        write_trials(tmp_path / name, make_trials(table, gender, text, 5, seed).trials)
    digests = [sha256_file(tmp_path / name) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    assert digests[0] == "2589a1ffb3848a00dd6967953cf2297704890514b43fee03bcd82c3ed0a5391d"


def test_no_two_of_the_same_text_and_lone_speakers_counted() -> None:
    utt2spk, gender, text = speakers(3, 3)
    utt2spk["p300_001"] = "p300"
    text["p300_001"] = "ALONE"
    text["p226_001"] = text["p225_001"]
    made = make_trials(utt2spk, gender, text)
    assert made.lone_speakers == ("p300",) and made.same_text == 1
    named = {utt for trial in made.trials for utt in (trial.enrol, trial.test)}
    assert len(named) == 8 and not {"p226_001", "p225_001"} <= named
    assert {t.gender for t in make_trials(utt2spk, None, text).trials} == {"unknown"}


def test_chunks_of_one_recording_are_not_tried_against_each_other() -> None:
    utt2spk = {f"{s}_{r}-c{c:02d}": s for s in ("p1", "p2") for r in (1, 2) for c in (1, 2)}
    made = make_trials(utt2spk)
    assert len(made.trials) == 8 * 7 // 2 - 4 and made.same_recording == 4
    assert sum(trial.target for trial in made.trials) == 2 * (6 - 2)
    with pytest.raises(UserError, match="two recordings of a speaker"):
        make_trials({utt: spk for utt, spk in utt2spk.items() if "_1" in utt})


def test_trials_need_two_speakers() -> None:
    with pytest.raises(UserError, match="two speakers are needed"):
        make_trials(*speakers(1, 5))
    with pytest.raises(UserError, match="--per-speaker 1"):
        make_trials(*speakers(2, 5), per_speaker=1)


def test_trials_are_read_back(tmp_path: Path) -> None:
    utt2spk, gender, text = speakers(3, 4)
    made = make_trials(utt2spk, gender, text)
    write_trials(tmp_path / "trials", made.trials)
    assert read_trials(tmp_path / "trials", utt2spk) == list(made.trials)
    assert read_trials(tmp_path / "trials", set(utt2spk)) == list(made.trials)


GOOD = "p225_001 p225_002 target same\np225_001 p226_001 nontarget cross\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 target and 0 nontarget"),
        ("p225_001 p225_002 target same\n", "both kinds"),
        (GOOD + "p225_001 p226_001 maybe cross\n", ":3: "),
        (GOOD + "p225_001 p226_001 nontarget\n", "is not `<utt> <utt>"),
        (GOOD + "p226_001 p225_001 nontarget cross\n", "line 2 again"),
        (GOOD + "p225_001 p225_001 target same\n", "against itself"),
        (GOOD + "p225_001 p999_001 nontarget same\n", "'p999_001' that the data does not have"),
        (GOOD + "p225_002 p226_002 target same\n", "two speakers by utt2spk"),
    ],
)
def test_bad_trials_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "trials").write_text(text, "utf-8")
    with pytest.raises(UserError, match=message):
        read_trials(tmp_path / "trials", speakers(2, 3)[0])


def test_missing_files_are_named(tmp_path: Path) -> None:
    for read in (read_trials, read_pairs):
        with pytest.raises(UserError, match="no such file"):
            read(tmp_path / "none")


def test_pairs_of_the_full_list(tmp_path: Path) -> None:
    """20 speakers: 10 sources and 10 other targets, 5 of each sex, 4 utterances a pair."""
    utt2spk, gender, text = speakers(20, 12)
    made = make_pairs(utt2spk, gender, text)
    sources = {utt2spk[pair.source] for pair in made.pairs}
    targets = {pair.target for pair in made.pairs}
    assert len(made.pairs) == 400 and not sources & targets and made.notices == ()
    for group in (sources, targets):
        assert sorted(gender[spk] for spk in group) == ["f"] * 5 + ["m"] * 5
    assert {len(pair.references) for pair in made.pairs} == {10}
    assert len({pair.source for pair in made.pairs}) == 40
    write_pairs(tmp_path / "pairs", made.pairs)
    assert read_pairs(tmp_path / "pairs", utt2spk) == list(made.pairs)
    assert make_pairs(dict(reversed(utt2spk.items())), gender, text).pairs == made.pairs
    assert (
        sha256_file(tmp_path / "pairs")
        == "a03c26867e9ecc5f7c24930ecbd1d33205e39114c7c9938905f996e0660afefd"
    )


def test_few_speakers_play_both_roles() -> None:
    made = make_pairs(*speakers(4, 6))
    assert len(made.pairs) == 4 * 3 * 4
    assert any("4 sources and 4 targets" in notice for notice in made.notices)
    assert any("6 references at the least" in notice for notice in made.notices)


def test_references_are_of_other_texts() -> None:
    utt2spk, gender, text = speakers(2, 4)
    shared = {utt: f"TEXT {utt.rpartition('_')[2]}" for utt in text}
    for pair in make_pairs(utt2spk, gender, shared).pairs:
        assert len(pair.references) == 3
        assert all(shared[ref] != shared[pair.source] for ref in pair.references)
        assert all(utt2spk[ref] == pair.target != utt2spk[pair.source] for ref in pair.references)


def test_pairs_need_speakers_and_sense() -> None:
    with pytest.raises(UserError, match="two speakers are needed"):
        make_pairs(*speakers(1, 5))
    with pytest.raises(UserError, match="--references 0"):
        PairOptions(references=0)
    utt2spk, gender, text = speakers(2, 2)
    with pytest.raises(UserError, match="no target has an utterance of another text"):
        make_pairs(utt2spk, gender, dict.fromkeys(text, "ONE TEXT"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("p225_001 p226\n", "is not `<source-utt>"),
        ("p225_001 p226 p226_001,\n", "is not `<source-utt>"),
        ("p225_001 p226 p999_001\n", "'p999_001' that the data does not have"),
        ("p225_001 p226 p225_002\n", "is of 'p225', not of 'p226'"),
        ("p225_001 p225 p225_002\n", "of its target"),
        ("p225_001 p226 p226_001\np225_001 p226 p226_002\n", "line 1 again"),
        ("", "holds no pair"),
    ],
)
def test_bad_pairs_are_refused(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pairs").write_text(line, "utf-8")
    with pytest.raises(UserError, match=message):
        read_pairs(tmp_path / "pairs", speakers(2, 3)[0])


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Data directories of p225 to p228, of p225, and of p300 (another file each)."""
    utt2spk, gender, text = speakers(4, 3)
    tables = {"unseen": utt2spk, "seen": {u: s for u, s in utt2spk.items() if s == "p225"}}
    tables["apart"] = {"p300_001": "p300", "p300_002": "p300"}
    for name, table in tables.items():
        write_datadir(
            tmp_path / name,
            wav={utt: f"/x/{utt}.flac" for utt in table},
            utt2spk=table,
            text={utt: text.get(utt, utt) for utt in table},
            spk2gender={spk: gender.get(spk, "f") for spk in table.values()},
        )
    return tmp_path / "unseen", tmp_path / "seen", tmp_path / "apart"


def test_a_speaker_of_training_is_refused(sets: tuple[Path, Path, Path]) -> None:
    unseen, seen, apart = sets
    for verb in (trials_verb, pairs_verb):
        out = unseen.parent / "list"
        with pytest.raises(UserError, match="'p225'"):
            verb.main(["--train", str(seen), str(unseen), str(out)])
        assert not out.exists()
        assert verb.main(["--train", str(apart), str(unseen), str(out)]) == 0
        out.unlink()


def test_pairs_of_listed_speakers(sets: tuple[Path, Path, Path]) -> None:
    unseen, out = sets[0], sets[0].parent / "pairs"
    names = sets[0].parent / "names"
    names.write_text("p226\np227\n", "utf-8")
    assert pairs_verb.main(["--spk-list", str(names), str(unseen), str(out)]) == 0
    assert {pair.target for pair in read_pairs(out)} == {"p226", "p227"}
    names.write_text("p226\np999\n", "utf-8")
    with pytest.raises(UserError, match="'p999'"):
        pairs_verb.main(["--spk-list", str(names), str(unseen), str(out)])
