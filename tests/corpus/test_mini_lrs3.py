"""The built-in talking faces in LRS3's layout: the same bytes, true times, honest sets."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from pylib.bin import make_mini_corpus
from pylib.corpus.errors import UserError
from pylib.corpus.mini.config import with_overrides
from pylib.corpus.mini.lrs3 import build_lrs3
from pylib.corpus.mini.lrs3_clips import FIRST_TRAINVAL
from pylib.corpus.mini.lrs3_config import LRS3_SIZES, Lrs3MiniConfig
from pylib.corpus.mini.lrs3_plan import SEEN, TEST, cast_lists, draw_cast, language, text_lines
from pylib.corpus.mini.slots import SLOTS, SlotGenerator
from tests.corpus.test_mini import tree_bytes

TINY = Lrs3MiniConfig(
    words=50,
    mean_seconds=2.0,
    max_seconds=3.0,
    text_sentences=50,
    speakers=2,
    test_speakers=1,
    pretrain_minutes=0.1,
    trainval_minutes=0.1,
    test_minutes=0.05,
    long_clips=1,
    text_speakers=2,
    text_minutes=0.2,
    audio_speakers=1,
    audio_minutes=0.08,
    noise_speakers=1,
    noise_minutes=0.08,
    voices=8,
)
PARTS = ("pretrain", "trainval", "test")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("lrs3") / "corpus"
    build_lrs3(root, TINY, jobs=1)
    return root


def clips(corpus: Path, part: str = "*") -> list[Path]:
    return sorted(corpus.glob(f"lrs3/{part}/*/*.mp4"))


def read_words(path: Path) -> list[tuple[str, float, float]]:
    """Words of a clip's text file with their times."""
    lines = path.with_suffix(".txt").read_text("utf-8").splitlines()
    assert lines[1:4] == ["Conf:  5", "", "WORD START END ASDSCORE"]
    rows = [line.split() for line in lines[4:]]
    assert lines[0] == "Text:  " + " ".join(row[0] for row in rows)
    return [(row[0], float(row[1]), float(row[2])) for row in rows]


def read_phones(path: Path) -> dict[str, list[tuple[str, float, float]]]:
    """Phones of a ctm by recording."""
    found: dict[str, list[tuple[str, float, float]]] = {}
    for line in path.read_text("utf-8").splitlines():
        name, channel, start, length, phone = line.split()
        assert channel == "1"
        found.setdefault(name, []).append((phone, float(start), float(start) + float(length)))
    return found


@pytest.mark.slow
def test_same_bytes_whatever_the_number_of_jobs(corpus: Path, tmp_path: Path) -> None:
    build_lrs3(tmp_path / "again", TINY, jobs=2)
    first, second = tree_bytes(corpus), tree_bytes(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_clips_are_those_of_lrs3(corpus: Path) -> None:
    spoken = {part: {path.parent.name for path in clips(corpus, part)} for part in PARTS}
    assert spoken["pretrain"] == spoken["trainval"] == {"s001", "s002"}
    assert spoken["test"] == {"s003"}
    numbers = [int(path.stem) for path in clips(corpus, "trainval")]
    assert min(numbers) == FIRST_TRAINVAL
    for path in clips(corpus):
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.width, video.height, video.average_rate) == (224, 224, 25)
            assert (audio.rate, audio.channels) == (16000, 1)
            frames = video.frames
        points = np.load(corpus / "landmarks" / path.parent.name / f"{path.stem}.npy")
        assert points.shape == (frames, 8, 2) and points.dtype == np.float32
    lengths = [read_words(path)[-1][2] for path in clips(corpus, "pretrain")]
    assert sum(length > 15 for length in lengths) == 1
    assert max(len(np.load(path)) for path in corpus.glob("landmarks/*/5*.npy")) < 5 * 25


def test_times_are_true(corpus: Path) -> None:
    for part in PARTS:
        phones = read_phones(corpus / "phones" / f"{part}.ctm")
        assert sorted(phones) == [f"{p.parent.name}/{p.stem}" for p in clips(corpus, part)]
        for path in clips(corpus, part):
            name = f"{path.parent.name}/{path.stem}"
            clock = 0.0
            for _, start, end in phones[name]:
                assert start == pytest.approx(clock, abs=3e-4)
                clock = end
            frames = len(np.load(corpus / "landmarks" / f"{name}.npy"))
            assert clock == pytest.approx(frames / 25, abs=2e-3)
            clock = 0.0
            borders = np.array([t for phone in phones[name] for t in phone[1:]])
            for _, start, end in read_words(path):
                assert start >= clock - 1e-9 and end > start
                assert np.abs(borders - start).min() < 6e-3 > np.abs(borders - end).min()
                clock = end


def test_sets_beside_the_faces(corpus: Path) -> None:
    said: dict[str, set[str]] = {part: set() for part in (*PARTS, "talks")}
    for part in PARTS:
        for path in clips(corpus, part):
            said[part].add(" ".join(word for word, _, _ in read_words(path)))
    for part in ("train", "dev"):
        (stm,) = (corpus / "tedlium3/legacy" / part / "stm").glob("*.stm")
        sph = corpus / "tedlium3/legacy" / part / "sph" / f"{stm.stem}.sph"
        info = soundfile.info(sph)
        assert (info.format, info.samplerate, info.channels) == ("NIST", 16000, 1)
        rows = [line.split(" ", 6) for line in stm.read_text("utf-8").splitlines()]
        assert {row[0] for row in rows} == {stm.stem}
        assert float(rows[-1][4]) == pytest.approx(info.duration, abs=0.02)
        said["talks"] |= {row[6].upper() for row in rows}
        assert stm.stem in read_phones(corpus / "phones" / f"tedlium3_{part}.ctm")
    lines = set(gzip.decompress((corpus / "text/lm.txt.gz").read_bytes()).decode().split("\n"))
    assert len(lines - {""}) == TINY.text_sentences
    assert not said["test"] & (lines | said["talks"] | said["pretrain"] | said["trainval"])
    audio = sorted(corpus.glob("audio/*/*.flac"))
    assert {path.stem for path in audio} == set(read_phones(corpus / "phones/audio.ctm"))
    for kind in ("music", "noise", "speech"):
        files = list(corpus.glob(f"musan/{kind}/*/*.wav"))
        assert files and all(soundfile.info(path).samplerate == 16000 for path in files)
        for path in files:
            samples, _ = soundfile.read(path)
            assert 0.05 < np.abs(samples).max() <= 1.0


def test_summary_tells_how_it_was_made(corpus: Path) -> None:
    summary = json.loads((corpus / "trivium-mini.json").read_text("utf-8"))
    assert summary["layout"] == "lrs3" and summary["config"] == dataclasses.asdict(TINY)
    assert {*PARTS, "audio", "musan_speech", "tedlium3_dev"} <= set(summary["subsets"])
    assert summary["subsets"]["test"]["speakers"] == 1


@pytest.mark.parametrize("size", sorted(LRS3_SIZES))
def test_speakers_and_sentences_are_apart(size: str) -> None:
    config = LRS3_SIZES[size]
    lists, held_out = cast_lists(config)
    spoken = [s for item in lists if item.speaker.subset != TEST for s in item.sentences]
    assert len(set(spoken)) == len(spoken) and not held_out & set(spoken)
    assert not held_out & set(text_lines(dataclasses.replace(config, text_sentences=300), held_out))
    words = {word for sentence in spoken for word in sentence.split()}
    assert 0.8 * config.words <= len(words) <= config.words
    faces = [item.speaker for item in lists if item.speaker.subset in (SEEN, TEST)]
    assert len({(s.accent, s.voice, s.pitch, round(s.warp, 2)) for s in faces}) == len(faces)


def test_sizes_are_what_the_claims_need() -> None:
    for size, minutes in (("easy", 20), ("full", 40)):
        config = LRS3_SIZES[size]
        assert config.speakers + config.test_speakers >= 24 and config.test_speakers >= 6
        assert config.pretrain_minutes + config.trainval_minutes + config.test_minutes >= minutes


def test_small_languages_speak_in_slots() -> None:
    generator = language(LRS3_SIZES["easy"])
    assert isinstance(generator, SlotGenerator) and not isinstance(
        language(LRS3_SIZES["full"]), SlotGenerator
    )
    everything = [word for items in SLOTS.values() for word in items]
    assert len(set(everything)) == len(everything)
    assert all(len(items) >= 2 for items in SlotGenerator(40).slots.values())


def test_another_seed_says_other_things_with_other_voices() -> None:
    first, second = (dataclasses.replace(TINY, seed=seed) for seed in (1, 2))
    assert cast_lists(first)[0][0].sentences != cast_lists(second)[0][0].sentences
    assert [s.pitch for s in draw_cast(first)] != [s.pitch for s in draw_cast(second)]


@pytest.mark.parametrize("setting", ["speakers=0", "scale=2", "grains=1", "words=20", "turn=60"])
def test_bad_settings_are_refused(setting: str) -> None:
    with pytest.raises(UserError):
        with_overrides(LRS3_SIZES["easy"], [setting])


def test_a_language_that_is_used_up_is_told() -> None:
    config = dataclasses.replace(TINY, words=40, min_seconds=1.0, mean_seconds=1.2, max_seconds=1.4)
    with pytest.raises(UserError, match="no new sentence"):
        cast_lists(dataclasses.replace(config, text_minutes=60.0))


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("data", "utf-8")
    with pytest.raises(UserError, match="not a built-in corpus"):
        build_lrs3(tmp_path, TINY, jobs=1)


@pytest.mark.slow
def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = (
        "speakers=1,test_speakers=1,pretrain_minutes=0,trainval_minutes=0.03,test_minutes=0.03,"
        "text_speakers=0,audio_speakers=0,noise_speakers=0,text_sentences=5"
    )
    argv = ["--layout", "lrs3", "--size", "smoke", "--seed", "3", "--nj", "1", "--set", settings]
    assert make_mini_corpus.main([*argv, str(tmp_path / "c")]) == 0
    out = capsys.readouterr().out
    assert "1 speakers" in out and "5 lines of text" in out
    assert not (tmp_path / "c" / "musan").exists()
