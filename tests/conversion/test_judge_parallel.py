"""Mel-cepstra in closed form; distortion and F0 measures of pairs whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from pylib.conversion.judge_parallel import (
    ALPHA,
    MIN_FRAMES,
    NUMBERS,
    ORDER,
    Analysis,
    analyse,
    compare,
    mel_cepstrum,
    warp_matrix,
)
from pylib.corpus.errors import UserError

RNG = np.random.default_rng(0)


def voice(f0: np.ndarray, gain: float = 0.2) -> np.ndarray:
    """Harmonics of a pitch contour (frames of 5 ms) through two formants that move."""
    pitch = np.repeat(f0, 80)
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    time = np.arange(len(pitch)) / 16000
    out = np.zeros(len(pitch))
    for k in range(1, 40):
        freq = k * pitch
        peak = 600 + 300 * np.sin(2 * np.pi * time)
        level = 1 / (1 + ((freq - peak) / 200) ** 2) + 0.5 / (1 + ((freq - 1800) / 300) ** 2)
        out += level * np.sin(k * phase) * (freq < 7000)
    out += 0.001 * np.random.default_rng(1).standard_normal(len(out))
    return (gain * out / np.abs(out).max()).astype(np.float32)


CONTOUR = 120 + 20 * np.sin(np.arange(300) / 30)


def numbers(first: Analysis, second: Analysis) -> dict[str, float]:
    return dict(zip(NUMBERS, compare(first, second), strict=True))


def test_no_warping_is_the_identity() -> None:
    np.testing.assert_allclose(warp_matrix(60, 39, 0.0), np.eye(40, 60))


def test_a_known_mel_cepstrum_is_found_again() -> None:
    """Spectra made of cosines on the warped axis, whose angle is the phase of the all-pass."""
    omega = np.pi * np.arange(513) / 512
    warped = omega + 2 * np.arctan2(ALPHA * np.sin(omega), 1 - ALPHA * np.cos(omega))
    wanted = RNG.standard_normal((3, ORDER + 1)) * 0.8 ** np.arange(ORDER + 1)
    log_magnitude = wanted @ np.cos(np.outer(np.arange(ORDER + 1), warped))
    np.testing.assert_allclose(mel_cepstrum(np.exp(2 * log_magnitude)), wanted, atol=1e-6)


def test_level_is_c0_alone() -> None:
    power = np.exp(RNG.standard_normal((2, 513)))
    difference = mel_cepstrum(4.0 * power) - mel_cepstrum(power)
    np.testing.assert_allclose(difference[:, 0], np.log(2), atol=1e-9)
    np.testing.assert_allclose(difference[:, 1:], 0, atol=1e-9)


def test_distortion_by_hand() -> None:
    """The same difference in one coefficient everywhere; c0 does not count."""
    cepstra = np.cumsum(RNG.standard_normal((50, ORDER + 1)), axis=0) * 5
    moved = cepstra.copy()
    moved[:, 3] += 0.1
    moved[:, 0] += 7
    f0 = np.full(50, 100.0)
    found = numbers(Analysis(f0, cepstra), Analysis(f0, moved))
    assert found["pairs"] == 50
    assert found["mcd_sum"] / 50 == pytest.approx(10 / np.log(10) * np.sqrt(2) * 0.1)


def test_pitch_by_hand() -> None:
    cepstra = np.cumsum(RNG.standard_normal((50, ORDER + 1)), axis=0)
    f0 = np.linspace(100, 200, 50)
    other = 1.1 * f0
    other[:5] = 0
    found = numbers(Analysis(f0, cepstra), Analysis(other, cepstra))
    assert found["mcd_sum"] == 0
    assert (found["f0_pairs"], found["vuv_errors"]) == (45, 5)
    assert found["f0_square_sum"] == pytest.approx(((0.1 * f0[5:]) ** 2).sum())
    assert (found["corr"], found["corr_n"]) == (pytest.approx(1.0), 1)
    flat = numbers(Analysis(np.full(50, 100.0), cepstra), Analysis(f0, cepstra))
    assert (flat["corr"], flat["corr_n"]) == (0, 0)


def test_a_copy_is_near_and_another_voice_is_far() -> None:
    same = analyse(voice(CONTOUR))
    assert same.cepstrum.shape == (len(same.f0), ORDER + 1)
    copy = numbers(same, analyse(voice(CONTOUR)))
    assert copy["mcd_sum"] == pytest.approx(0, abs=1e-6)
    assert copy["corr"] == pytest.approx(1)
    louder = numbers(same, analyse(voice(CONTOUR, gain=0.8)))
    slower = numbers(same, analyse(voice(np.repeat(CONTOUR, 2)[:450])))
    other = numbers(same, analyse(voice(CONTOUR[::-1] * 1.6)))
    mcd = {
        name: item["mcd_sum"] / item["pairs"]
        for name, item in (("louder", louder), ("slower", slower), ("other", other))
    }
    assert mcd["louder"] < 0.5
    assert mcd["louder"] < mcd["slower"] < mcd["other"]
    rmse = (other["f0_square_sum"] / other["f0_pairs"]) ** 0.5
    assert 55 < rmse < 110
    assert other["corr"] < slower["corr"]


def test_pauses_are_left_out() -> None:
    speech = voice(CONTOUR)
    quiet = 1e-4 * RNG.standard_normal(8000).astype(np.float32)
    padded = analyse(np.concatenate([quiet, speech, quiet]))
    assert abs(len(padded.f0) - len(analyse(speech).f0)) < 20


@pytest.mark.parametrize("samples", [np.zeros(16000, np.float32), np.ones(100, np.float32)])
def test_silence_is_refused(samples: np.ndarray) -> None:
    with pytest.raises(UserError, match="nothing to compare"):
        analyse(samples)


def test_a_click_is_no_speech() -> None:
    click = np.zeros(16000, np.float32)
    click[8000] = 0.9
    try:
        assert len(analyse(click).f0) >= MIN_FRAMES
    except UserError as error:
        assert "frames of speech" in str(error)
