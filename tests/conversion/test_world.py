"""WORLD: copy synthesis, pitch moved to another voice, envelope changed where it was asked."""

from __future__ import annotations

import numpy as np
import pytest

from pylib.conversion import world
from pylib.conversion.world import Pitch
from pylib.features.config import SpectrumConfig
from pylib.features.spectrum import SpectrumFrontend, mel_banks
from tests.conversion.helpers_voice import RATE, SPEAKERS, voice

CONFIG = SpectrumConfig.preset("logmel")


def test_copy_synthesis_keeps_length_and_features() -> None:
    front = SpectrumFrontend(CONFIG)
    for f0, scale in SPEAKERS.values():
        samples = voice(1, f0, scale)
        made = world.synthesise(world.analyse(samples, RATE))
        assert made.dtype == np.float32 and len(made) == len(samples)
        loud = front(samples) > -4
        assert np.abs(front(made) - front(samples))[loud].mean() < 0.5


def test_pitch_is_that_of_the_voice() -> None:
    for f0, scale in SPEAKERS.values():
        found = world.pitch_of([world.log_f0(voice(i, f0, scale), RATE) for i in range(2)])
        assert found.frames > 100
        assert abs(np.exp(found.mean) / f0 - 1) < 0.08


def test_moved_pitch_has_the_targets_statistics() -> None:
    samples = voice(1, 110, 1.0)
    analysis = world.analyse(samples, RATE)
    voiced = analysis.f0 > 0
    own = Pitch(float(np.log(analysis.f0[voiced]).mean()),
                float(np.log(analysis.f0[voiced]).std()), int(voiced.sum()))  # fmt: skip
    moved = world.move_pitch(analysis, own, Pitch(np.log(200.0), own.std * 1.5, 500))
    assert ((moved.f0 > 0) == voiced).all()
    log = np.log(moved.f0[voiced])
    assert log.mean() == pytest.approx(np.log(200.0), abs=0.01)
    assert log.std() == pytest.approx(own.std * 1.5, rel=0.05)
    heard = world.pitch_of([world.log_f0(world.synthesise(moved), RATE)])
    assert abs(np.exp(heard.mean) / 200.0 - 1) < 0.08
    # What tells nothing moves nothing.
    for source, target in ((own, Pitch(5.0, 0.1, 3)), (Pitch(4.0, 0.0, 90), own)):
        assert world.move_pitch(analysis, source, target) is analysis


def test_a_change_of_nothing_changes_nothing() -> None:
    analysis = world.analyse(voice(1, 110, 1.0), RATE)
    frames = CONFIG.num_frames(analysis.samples)
    same = world.change_envelope(analysis, np.zeros((frames, 80), np.float32), CONFIG)
    np.testing.assert_allclose(same.envelope, analysis.envelope)


@pytest.mark.parametrize("kind", ["logmel", "logspec", "logspec200"])
def test_a_tilt_of_the_features_is_a_tilt_of_the_envelope(kind: str) -> None:
    config = SpectrumConfig.preset(kind)
    analysis = world.analyse(voice(1, 110, 1.0), RATE)
    frames = config.num_frames(analysis.samples)
    hz = world.centre_hz(config)
    assert len(hz) == config.dim and (np.diff(hz) > 0).all() and hz[-1] <= 8000
    tilt = np.tile(np.cos(np.pi * np.arange(config.dim) / config.dim), (frames, 1))
    changed = world.change_envelope(analysis, tilt.astype(np.float32), config)
    gain = 0.5 * np.log(changed.envelope / analysis.envelope)
    bins = np.linspace(0, 8000, gain.shape[1])
    at = [int(np.abs(bins - f).argmin()) for f in hz[5:-5]]
    np.testing.assert_allclose(gain[10][at], tilt[10, 5:-5], atol=0.05)


def test_centres_are_where_the_mels_peak() -> None:
    banks = mel_banks(CONFIG).numpy()
    hz = world.centre_hz(CONFIG)
    peaks = banks.argmax(0) * 16000 / 1024
    assert np.abs(peaks - hz).max() < 16


def test_a_step_in_time_arrives_at_its_time() -> None:
    analysis = world.analyse(voice(1, 110, 1.0), RATE)
    frames = CONFIG.num_frames(analysis.samples)
    step = np.zeros((frames, 80), np.float32)
    step[50:] = 1.0  # frame 50 is centred on 0.5125 s
    changed = world.change_envelope(analysis, step, CONFIG)
    gain = 0.5 * np.log(changed.envelope / analysis.envelope)[:, 100]
    times = np.arange(len(gain)) * world.PERIOD / 1000
    assert np.abs(gain[times < 0.5]).max() < 1e-6
    np.testing.assert_allclose(gain[times > 0.5125], 1.0, atol=1e-6)


def test_silence_and_a_single_frame_pass() -> None:
    analysis = world.analyse(np.zeros(800, dtype=np.float32), RATE)
    changed = world.change_envelope(analysis, np.ones((1, 80), np.float32), CONFIG)
    assert np.isfinite(world.synthesise(changed)).all()
    assert world.pitch_of([world.log_f0(np.zeros(4000, np.float32), RATE)]).frames == 0
    assert world.pitch_of([]).frames == 0
