"""The built-in corpus in VCTK's layout: the same bytes, equal texts, speakers that differ."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.bin import make_mini_corpus
from pylib.corpus.errors import UserError
from pylib.corpus.mini.config import with_overrides
from pylib.corpus.mini.vctk import build_vctk, draw_voices, vctk_lists
from pylib.corpus.mini.vctk_config import VCTK_SIZES, VctkMiniConfig
from tests.corpus.test_mini import tree_bytes

TINY = VctkMiniConfig(words=120, utterances=4, parallel=2, speakers=3, voices=8, room=0.1)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vctk") / "corpus"
    build_vctk(root, TINY, jobs=1)
    return root


def test_same_bytes_whatever_the_number_of_jobs(corpus: Path, tmp_path: Path) -> None:
    build_vctk(tmp_path / "again", TINY, jobs=2)
    first, second = tree_bytes(corpus), tree_bytes(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_layout(corpus: Path) -> None:
    ids = {f"p{spk}_{utt:03d}" for spk in (225, 226, 227) for utt in range(1, 5)}
    texts = {path.stem for path in corpus.glob("txt/*/*.txt")}
    audio = list(corpus.glob("wav48_silence_trimmed/*/*_mic1.flac"))
    assert texts == ids == {path.stem.removesuffix("_mic1") for path in audio}
    for path in audio:
        assert path.parent.name == path.name[:4]
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert 1.0 < info.duration < 6.0
    lines = (corpus / "speaker-info.txt").read_text("utf-8").splitlines()
    assert lines[0].split()[:3] == ["ID", "AGE", "GENDER"]
    assert [line.split()[::2][:2] for line in lines[1:]] == [
        ["p225", "F"],
        ["p226", "M"],
        ["p227", "F"],
    ]
    summary = json.loads((corpus / "trivium-mini.json").read_text("utf-8"))
    assert summary["layout"] == "vctk" and summary["parallel"] == 2
    assert summary["config"] == dataclasses.asdict(TINY)


def test_the_first_texts_are_those_of_all_and_the_others_differ(corpus: Path) -> None:
    said = Counter(path.read_text("utf-8") for path in corpus.glob("txt/*/*.txt"))
    assert sorted(said.values()) == [1] * 6 + [3] * 2
    for number in (1, 2):
        assert len({p.read_text("utf-8") for p in corpus.glob(f"txt/*/*_{number:03d}.txt")}) == 1
    for text in said:
        assert text.endswith(".\n") and text[0].isupper()


def test_phone_times_tile_the_audio(corpus: Path) -> None:
    rows = [line.split() for line in (corpus / "phones/all.ctm").read_text("utf-8").splitlines()]
    for path in corpus.glob("wav48_silence_trimmed/*/*.flac"):
        utt = path.stem.removesuffix("_mic1")
        clock = 0.0
        for row in (row for row in rows if row[0] == utt):
            assert float(row[2]) == pytest.approx(clock, abs=2e-4)
            clock = float(row[2]) + float(row[3])
        assert clock == pytest.approx(soundfile.info(path).duration, abs=2e-3)


@pytest.mark.parametrize("size", sorted(VCTK_SIZES))
def test_speakers_of_a_size_differ(size: str) -> None:
    speakers = draw_voices(VCTK_SIZES[size])
    assert len({(s.accent, s.voice, s.pitch, round(s.warp, 2)) for s in speakers}) == len(speakers)
    for sex in "FM":
        some = [s for s in speakers if s.sex == sex]
        assert len(some) == len(speakers) // 2
        assert len({s.pitch for s in some}) >= 0.75 * len(some)
        assert np.ptp([s.warp for s in some]) > 0.1


def test_sizes_are_what_the_claims_need() -> None:
    for size in ("easy", "full"):
        config = VCTK_SIZES[size]
        assert config.speakers >= 32 and config.utterances >= 40 and config.parallel == 24
        assert config.utterances - config.parallel >= 20  # of an unseen speaker, for the trials
    lists = vctk_lists(VCTK_SIZES["easy"])
    assert len({item.sentences[:24] for item in lists}) == 1
    own = [sentence for item in lists for sentence in item.sentences[24:]]
    assert len(set(own)) == len(own) and not set(own) & set(lists[0].sentences[:24])
    assert {5 <= len(s.split()) <= 11 for s in own} == {True}


def test_another_seed_says_other_things() -> None:
    first, second = (vctk_lists(dataclasses.replace(TINY, seed=seed)) for seed in (1, 2))
    assert first[0].sentences != second[0].sentences
    assert [i.speaker.pitch for i in first] != [i.speaker.pitch for i in second]


@pytest.mark.parametrize("setting", ["speakers=1", "parallel=60", "speaker=3", "warp=1"])
def test_bad_settings_are_refused(setting: str) -> None:
    with pytest.raises(UserError):
        with_overrides(VCTK_SIZES["easy"], [setting])


def test_impossible_lengths_are_told() -> None:
    config = dataclasses.replace(TINY, min_seconds=1.0, mean_seconds=1.02, max_seconds=1.05)
    with pytest.raises(UserError, match="language|no sentence of|no new sentence"):
        vctk_lists(dataclasses.replace(config, utterances=900))


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("data", "utf-8")
    with pytest.raises(UserError, match="not a built-in corpus"):
        build_vctk(tmp_path, TINY, jobs=1)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = "words=120,utterances=2,parallel=1,speakers=2,voices=4,room=0"
    argv = ["--layout", "vctk", "--size", "smoke", "--seed", "3", "--nj", "1", "--set", settings]
    assert make_mini_corpus.main([*argv, str(tmp_path / "c")]) == 0
    assert "2 speakers" in capsys.readouterr().out
    assert len(list((tmp_path / "c").glob("txt/*/*.txt"))) == 4
