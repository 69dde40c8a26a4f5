"""Noise at a chosen ratio: levels, repetition, overflow; what is drawn, what stays the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.corpus.errors import UserError
from pylib.corpus.tables import write_table
from pylib.features.noise import Condition, NoiseSet, mix


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def quiet(count: int, seed: int, level: float = 0.02) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, count).astype(np.float32)


@pytest.mark.parametrize("snr", [-10, -5, 0, 2.5, 10])
@pytest.mark.parametrize("length", [100, 8000, 20_000])
def test_the_ratio_is_the_one_asked_for(snr: float, length: int) -> None:
    speech = quiet(16_000, 0)
    mixed = mix(speech, quiet(length, 1, 0.1), snr, 30)
    assert mixed.dtype == np.float32 and mixed.shape == speech.shape
    assert 20 * np.log10(rms(speech) / rms(mixed - speech)) == pytest.approx(snr, abs=1e-3)


def test_short_noise_is_repeated_from_its_offset() -> None:
    speech, noise = quiet(1000, 0), quiet(300, 1)
    added = mix(speech, noise, 0.0, 7 + 5 * 300) - speech
    want = np.resize(np.roll(noise, -7), 1000)
    np.testing.assert_allclose(added, want * rms(speech) / rms(want), atol=1e-6)


def test_overflow_makes_all_of_it_smaller() -> None:
    speech = (0.9 * np.sin(np.arange(4000) * 0.1)).astype(np.float32)
    noise = quiet(4000, 2)
    mixed = mix(speech, noise, 0.0)
    assert mixed.max() <= 32767 / 32768 and mixed.min() >= -1
    plain = speech + noise.astype(np.float64) * rms(speech) / rms(noise)
    ratio = mixed / plain
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)


def test_silence_changes_nothing() -> None:
    speech, nothing = quiet(500, 0), np.zeros(500, dtype=np.float32)
    np.testing.assert_array_equal(mix(speech, nothing, 0.0), speech)
    np.testing.assert_array_equal(mix(nothing, speech, 0.0), nothing)
    with pytest.raises(ValueError, match="0 of noise"):
        mix(speech, speech[:0], 0.0)


@pytest.mark.parametrize(
    ("text", "suffix"),
    [("clean", ""), ("babble:-5", "_babble_-5"), ("music:0", "_music_0"),
     ("speech:2.5", "_speech_2.5"), ("natural:-0", "_natural_0"), ("natural:+10.0", "_natural_10")],
)  # fmt: skip
def test_conditions(text: str, suffix: str) -> None:
    condition = Condition.parse(text)
    assert condition.suffix == suffix
    assert Condition.parse(str(condition)) == condition
    assert condition.clean is (text == "clean")


@pytest.mark.parametrize(
    "text", ["", "babble", "babble:", "babble:x", "rain:0", "clean:0", "babble:nan"]
)
def test_other_conditions_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected"):
        Condition.parse(text)


@pytest.fixture
def noises(tmp_path: Path) -> Path:
    for category in ("babble", "music"):
        for part, count in (("train", 4), ("test", 3)):
            table = {}
            for i in range(count):
                path = tmp_path / f"{category}-{part}-{i}.wav"
                soundfile.write(path, quiet(1000 + i, 10 * i), 16000, subtype="PCM_16")
                table[f"n{i}"] = str(path)
            write_table(tmp_path / f"{category}.{part}.scp", table)
    return tmp_path


def test_a_test_utterance_always_hears_the_same(noises: Path) -> None:
    one, other = NoiseSet(noises, "test"), NoiseSet(noises, "test", ["babble"])
    for utt in ("a", "b"):
        np.testing.assert_array_equal(one.pick("babble", utt, 1), other.pick("babble", utt, 1))
    drawn = {one.pick("babble", f"u{i}", 1).tobytes() for i in range(20)}
    assert len(drawn) > 10  # other files, other beginnings
    assert one.pick("babble", "a", 1).tobytes() != one.pick("babble", "a", 2).tobytes()
    speech = quiet(3000, 5)
    assert one.apply(speech, Condition(), "a", 1) is speech
    want = mix(speech, one.pick("music", "a", 1), -5)
    np.testing.assert_array_equal(one.apply(speech, Condition.parse("music:-5"), "a", 1), want)


def test_draws_follow_the_generator(noises: Path) -> None:
    found = NoiseSet(noises, "train")
    assert found.categories == ["babble", "music"]
    rng, same = np.random.default_rng(3), np.random.default_rng(3)
    drawn = [found.draw(rng) for _ in range(30)]
    for samples in drawn:
        np.testing.assert_array_equal(samples, found.draw(same))
    assert len({len(samples) for samples in drawn}) == 4
    assert found.identity == NoiseSet(noises, "train").identity != NoiseSet(noises, "test").identity


def test_what_is_not_there_is_named(noises: Path) -> None:
    with pytest.raises(UserError, match="no natural for train.*there: babble, music.*--musan"):
        NoiseSet(noises, "train", ["natural"])
    with pytest.raises(UserError, match="no noise for valid"):
        NoiseSet(noises, "valid")
    with pytest.raises(UserError, match="part 'dev'"):
        NoiseSet(noises, "dev")
    with pytest.raises(UserError, match="no noise 'speech' for test"):
        NoiseSet(noises, "test").pick("speech", "a", 1)


def test_lists_with_bad_entries_are_named(tmp_path: Path) -> None:
    scp = tmp_path / "babble.test.scp"
    scp.write_text("n-1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"babble\.test\.scp:1: 'n-1' has no path: "):
        NoiseSet(tmp_path, "test")
    scp.write_text("n-1 sox x.wav |\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"babble\.test\.scp:1: 'n-1' is a shell pipe"):
        NoiseSet(tmp_path, "test")
    scp.write_text("n-1 gone.wav\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"babble\.test\.scp: 'n-1': gone\.wav: no such audio"):
        NoiseSet(tmp_path, "test").read("babble", "n-1")
