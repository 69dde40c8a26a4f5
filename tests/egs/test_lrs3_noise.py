"""Noise of a MUSAN tree and of other speakers: apart, repeatable, of any size."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import soundfile

from pylib.corpus.audio import read_audio
from pylib.corpus.datadir import DataDir, Segment, write_datadir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table
from pylib.features.noise import NoiseSet
from tests.features.helpers import audio_dir

LOCAL = Path(__file__).parents[2] / "egs" / "lrs3" / "local"
SMALL = ("--talkers", "4", "--seconds", "2", "--min", "0.5")


def module(name: str) -> ModuleType:
    """A module of egs/lrs3/local, imported as its scripts import it."""
    if str(LOCAL) not in sys.path:
        sys.path.insert(0, str(LOCAL))
    return importlib.import_module(name)


def prepare(data: Path, noise: Path, *options: str) -> dict[str, Any]:
    main = module("prepare_noise").main
    assert main([*SMALL, *options, str(data), str(noise)]) == 0
    summary: dict[str, Any] = json.loads((noise / "noise.json").read_text("utf-8"))
    return summary


@pytest.fixture(autouse=True)
def few_babbles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module("noise_pieces"), "MIN_BABBLES", 10)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """5 speakers with 3 utterances of 0.4 s each and a long one."""
    samples = {f"{spk}-{i}": 6400 for spk in "abcde" for i in range(3)}
    return audio_dir(tmp_path / "speech", "train", {**samples, "a-9": 5 * 16000})


@pytest.fixture
def musan(tmp_path: Path) -> Path:
    root = tmp_path / "musan"
    for folder, lengths in (("music", [1.0] * 5 + [5.2]), ("noise", [0.2, *[0.7] * 5])):
        for i, seconds in enumerate(lengths):
            _write(root / folder / "set" / f"{folder}-{i:02d}.wav", seconds, i)
    for i in range(10):
        _write(root / "speech" / "read" / f"speech-{i:02d}.wav", 1.5, i)
    return root


def _write(path: Path, seconds: float, seed: int, rate: int = 16000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate))
    soundfile.write(path, noise, rate, subtype="PCM_16")


def sources(noise: Path, category: str, cut: int) -> list[set[str]]:
    """What the ids of train, valid and test begin with."""
    parts = (read_table(noise / f"{category}.{part}.scp") for part in ("train", "valid", "test"))
    return [{name[:cut] for name in table} for table in parts]


def apart(parts: list[set[str]]) -> bool:
    return all(parts) and sum(map(len, parts)) == len(set.union(*parts))


def test_all_four_categories(data: Path, musan: Path, tmp_path: Path) -> None:
    _write(musan / "noise" / "set" / "other-rate.wav", 2.0, 1, rate=8000)
    (musan / "noise" / "set" / "broken.wav").write_bytes(b"no audio")
    noise = tmp_path / "noise"
    about = prepare(data, noise, "--musan", str(musan))
    assert about["categories"] == ["babble", "music", "natural", "speech"]
    assert about["left_out"] == {
        "not readable": 1, "not 16 kHz mono": 1, "noise shorter than 0.5 s": 1,
    }  # fmt: skip
    assert apart(sources(noise, "speech", 1))
    assert apart(sources(noise, "music", len("set-music-00")))
    assert apart(sources(noise, "natural", len("set-noise-00")))
    for part in ("train", "valid", "test"):
        found = NoiseSet(noise, part)
        assert found.categories == about["categories"]
        for category, table in found.tables.items():
            for name in table:
                length = len(found.read(category, name)) / 16000
                assert length == 2 if category == "babble" else 0.5 <= length <= 2


def test_what_fits_is_not_copied(data: Path, musan: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    prepare(data, noise, "--musan", str(musan))
    paths = [
        p
        for part in ("train", "valid", "test")
        for p in NoiseSet(noise, part).tables["music"].values()
    ]
    assert len([path for path in paths if path.startswith(str(musan))]) == 5
    assert len([path for path in paths if path.startswith(str(noise))]) == 3  # of the long one


def test_without_musan_the_speakers_babble(data: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    about = prepare(data, noise)
    assert about["categories"] == ["babble", "speech"]
    plan = module("noise_pieces")
    options = plan.Options(1, 4, 2.0, 0.5)
    pieces = plan.plan_noise(DataDir.load(data), None, options).pieces
    heard = {
        part: {s.path for p in pieces if p.part == part for s in p.stretches} for part in plan.PARTS
    }
    assert apart([{Path(path).stem[:7] for path in heard[part]} for part in plan.PARTS])


def test_one_speaker_is_enough_and_said(tmp_path: Path) -> None:
    data = audio_dir(tmp_path, "train", {f"a-{i}": 8000 for i in range(6)})
    about = prepare(data, tmp_path / "noise")
    assert any("fewer than 3 speakers" in notice for notice in about["notices"])
    assert apart(sources(tmp_path / "noise", "speech", 10))


def test_too_little_is_refused(tmp_path: Path) -> None:
    data = audio_dir(tmp_path, "train", {"a-0": 8000})
    with pytest.raises(UserError, match="at least 3 are needed"):
        prepare(data, tmp_path / "noise")


def test_a_babble_is_the_mean_of_its_voices() -> None:
    pieces, made = module("noise_pieces"), module("prepare_noise")
    voices = {"a": np.full(700, 0.2, np.float32), "b": np.full(1500, -0.4, np.float32)}
    stretches = tuple(pieces.Stretch(name, 0, len(voice)) for name, voice in voices.items())
    piece = pieces.Piece("babble-x", "babble", "test", stretches)
    got = made.babble(piece, 0.1, 1, lambda stretch: voices[stretch.path])
    np.testing.assert_allclose(got, np.full(1600, -0.5), atol=1e-6)


@pytest.mark.parametrize("jobs", [2, 3])
def test_shards_make_the_same_bytes(data: Path, musan: Path, tmp_path: Path, jobs: int) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    prepare(data, one, "--musan", str(musan))
    main = module("prepare_noise").main
    common = [*SMALL, "--musan", str(musan)]
    with pytest.raises(UserError, match="missing"):
        main([*common, "--merge", str(jobs), str(data), str(many)])
    for index in range(1, jobs + 1):
        main([*common, "--shard", f"{index}/{jobs}", str(data), str(many)])
    main([*common, "--merge", str(jobs), str(data), str(many)])
    for path in (one / "audio").rglob("*.wav"):
        assert (many / path.relative_to(one)).read_bytes() == path.read_bytes()
    assert (one / "noise.json").read_bytes() == (many / "noise.json").read_bytes()


def test_another_seed_splits_otherwise(data: Path, tmp_path: Path) -> None:
    found = set()
    for seed in range(1, 6):
        prepare(data, tmp_path / str(seed), "--seed", str(seed))
        found.add(frozenset(sources(tmp_path / str(seed), "speech", 1)[2]))
    assert len(found) > 1
    assert read_audio(next((tmp_path / "1" / "audio" / "babble").rglob("*.wav"))).any()


def test_speech_in_segments_of_recordings(tmp_path: Path) -> None:
    wav, segments, speakers = {}, {}, {}
    for i, speaker in enumerate("abcd"):
        path = tmp_path / f"{speaker}.wav"
        _write(path, 4.0, i)
        wav[speaker] = str(path)
        for k in range(4):
            utt = f"{speaker}-{k}"
            speakers[utt] = speaker
            segments[utt] = Segment(speaker, 1.0 * k, 1.0 * k + (1.005 if k == 3 else 0.9))
    data = tmp_path / "data"
    seconds = {utt: part.end - part.begin for utt, part in segments.items()}
    write_datadir(data, wav=wav, utt2spk=speakers, segments=segments, utt2dur=seconds)
    about = prepare(data, tmp_path / "noise")
    assert about["files"]["speech.train"] == 8
    assert apart(sources(tmp_path / "noise", "speech", 1))
