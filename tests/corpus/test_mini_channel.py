"""Warp, equaliser, room and noise do what their units say."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.corpus.mini import channel
from pylib.corpus.mini.espeak import Synthesiser
from pylib.corpus.mini.phones import fold_phone, merge_phones


@pytest.mark.parametrize("warp", [0.85, 1.0, 1.13])
def test_warp_multiplies_frequencies_and_divides_times(warp: float) -> None:
    ratio, factor = channel.warp_fraction(22050, warp)
    assert factor == pytest.approx(warp, abs=0.004)
    assert isinstance(ratio, Fraction) and ratio.denominator <= 320
    time = np.arange(22050) / 22050
    warped = channel.resample(np.sin(2 * np.pi * 1000 * time), ratio)
    assert len(warped) / channel.RATE == pytest.approx(1 / factor, abs=1e-3)
    peak = np.argmax(np.abs(np.fft.rfft(warped * np.hanning(len(warped)))))
    assert peak * channel.RATE / len(warped) == pytest.approx(1000 * factor, rel=2e-3)


def test_equaliser_stays_within_its_strength() -> None:
    response = channel.equaliser(np.random.default_rng(1), 6.0)
    gain = 20 * np.log10(np.abs(np.fft.rfft(response, 4096)))
    frequency = np.fft.rfftfreq(4096, 1 / channel.RATE)
    assert np.abs(gain[frequency > 100]).max() < 4 * 6.0 + 1
    assert np.ptp(gain[frequency > 100]) > 1
    flat = channel.equaliser(np.random.default_rng(1), 0.0)
    gain = 20 * np.log10(np.abs(np.fft.rfft(flat, 4096)))
    assert np.abs(gain[frequency > 150]).max() < 1.0
    assert np.argmax(np.abs(flat)) == 0  # minimum phase: no delay, phone times stay right


def test_room_decays_at_its_reverberation_time() -> None:
    response = channel.room(np.random.default_rng(2), 0.5)
    assert response[0] == 1 and np.argmax(np.abs(response)) == 0
    energy = np.cumsum(response[100:][::-1] ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0])
    at = [int(np.argmax(level < mark)) / channel.RATE for mark in (-5, -35)]
    assert 2 * (at[1] - at[0]) == pytest.approx(0.5, rel=0.15)
    assert channel.room(np.random.default_rng(2), 0.0).tolist() == [1.0]


def test_record_keeps_snr_level_and_range() -> None:
    rng = np.random.default_rng(3)
    speech = np.sin(2 * np.pi * 440 * np.arange(32000) / channel.RATE)
    noise = channel.coloured_noise(rng, 32000, 1.0)
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(1.0)
    clean = channel.record(speech, np.ones(1), noise, 200.0, 26.0).astype(float) / 32767
    noisy = channel.record(speech, np.ones(1), noise, 10.0, 26.0).astype(float) / 32767
    assert 20 * np.log10(np.sqrt(np.mean(clean**2))) == pytest.approx(-26, abs=0.3)
    snr = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
    assert snr == pytest.approx(10, abs=0.3)
    loud = channel.record(speech, np.ones(1), noise, 10.0, 0.0)
    assert np.abs(loud.astype(int)).max() <= 0.975 * 32767


@pytest.mark.parametrize(
    ("mnemonic", "phone"),
    [
        ("'aI@", "aI@"),
        ("I#", "I"),
        ("@2", "@"),
        (",0", "0"),
        ("_:", "SIL"),
        ("", "SIL"),
        ("t2", "t"),
        ("a#", "@"),
        (";", "j"),
    ],
)
def test_phones_are_folded(mnemonic: str, phone: str) -> None:
    assert fold_phone(mnemonic) == phone


def test_merged_phones_tile_the_time() -> None:
    phones = [("SIL", 0.0), ("SIL", 0.1), ("a", 0.2), ("b", 0.2), ("c", 0.5)]
    assert merge_phones(phones, 0.9) == [
        ("SIL", 0.0, 0.2),
        ("b", 0.2, 0.5),
        ("c", 0.5, 0.9),
    ]


def test_an_unknown_voice_is_refused() -> None:
    """espeak itself would go on with the voice before."""
    with pytest.raises(UserError, match="unknown"):
        Synthesiser().set_voice("en-gb+m3")
