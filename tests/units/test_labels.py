"""Labels at the model's rate, aligned with its frames, and nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pylib.corpus.errors import UserError
from pylib.units.labels import (
    LabelReader,
    check_ids,
    decimate,
    frame_times,
    num_frames,
    ratio,
    require_variety,
    usage,
    waveform_frames,
)


def lengths() -> np.ndarray:
    """Sample counts from 400 to 600,000: all residues near both ends, and a random lot."""
    rng = np.random.default_rng(0)
    return np.concatenate(
        [np.arange(400, 4000), rng.integers(400, 600_000, 2000), np.arange(599_000, 600_001)]
    )


def test_a_ramp_to_50_hz_has_the_conv_length_and_starts() -> None:
    """Label t of the conv front end is the 100 Hz frame that starts at its first sample, 320 t."""
    for samples in lengths():
        ramp = np.arange((samples - 400) // 160 + 1)  # frame i starts at sample 160 i
        conv = waveform_frames(int(samples))
        assert conv == (samples - 400) // 320 + 1
        got = decimate(ramp, 100.0, 50.0, conv, centre=False)
        assert got.dtype == np.int32 and len(got) == conv
        np.testing.assert_array_equal(got * 160, np.arange(conv) * 320)
        assert num_frames(len(ramp), 100.0, 50.0, "start") == conv


@pytest.mark.parametrize("stack", [2, 3, 4])
def test_stacked_filter_banks_take_the_middle_frame(stack: int) -> None:
    for samples in lengths()[::7]:
        frames = (int(samples) - 400) // 160 + 1
        if frames < stack:
            continue
        got = decimate(np.arange(frames), 100.0, 100.0 / stack, frames // stack, centre=True)
        np.testing.assert_array_equal(got, np.arange(frames // stack) * stack + stack // 2)
        assert num_frames(frames, 100.0, 100.0 / stack, "centre") == frames // stack


def test_same_rate_changes_nothing() -> None:
    ids = np.array([3, 1, 2])
    for centre in (False, True):
        np.testing.assert_array_equal(decimate(ids, 25.0, 25.0, 3, centre), ids)


def test_a_crop_at_a_multiple_of_the_hop_keeps_its_labels() -> None:
    """Labels of samples [320 s, ...) are those of the whole from frame s on."""
    ramp = np.arange(1000)
    whole = decimate(ramp, 100.0, 50.0, 500, centre=False)
    for start in (1, 7, 100):
        samples = 400 + 160 * 999 - 320 * start
        frames = waveform_frames(samples)
        part = decimate(ramp[2 * start :], 100.0, 50.0, frames, centre=False)
        np.testing.assert_array_equal(part, whole[start : start + frames])


def test_lengths_that_disagree_raise() -> None:
    ids = np.arange(99)
    for wrong in (49, 51):
        with pytest.raises(UserError, match=rf"99 labels.*= 50 at 50 Hz.*makes {wrong}"):
            decimate(ids, 100.0, 50.0, wrong, centre=False)
        with pytest.raises(UserError, match="99 // 4 = 24"):
            decimate(ids, 100.0, 25.0, wrong, centre=True)


@pytest.mark.parametrize("rate", [40.0, 200.0, 30.0])
def test_rates_without_a_whole_ratio_raise(rate: float) -> None:
    with pytest.raises(UserError, match=f"100 Hz cannot become {rate:g} Hz"):
        decimate(np.arange(10), 100.0, rate, 5, centre=False)


def test_ratio_of_a_third_is_three() -> None:
    assert ratio(100.0, 100.0 / 3) == 3


def test_short_long_and_unknown_labels_raise() -> None:
    ids = np.array([0, 1, 2])
    check_ids(ids, 3, 3)
    with pytest.raises(UserError, match="3 labels, 4 frames.*short"):
        check_ids(ids, 3, 4)
    with pytest.raises(UserError, match="3 labels, 2 frames.*long"):
        check_ids(ids, 3, 2)
    with pytest.raises(UserError, match="label 2 is unknown: ids are 0 to 1"):
        check_ids(ids, 2)
    with pytest.raises(UserError, match="label -1 is unknown"):
        check_ids(np.array([-1, 0]), 2)
    with pytest.raises(UserError, match="at least one"):
        check_ids(np.array([], dtype=np.int32), 2)


def test_usage_and_variety() -> None:
    counts = usage([np.array([0, 0, 2]), np.array([2], dtype=np.int32)], 4)
    np.testing.assert_array_equal(counts, [2, 0, 2, 0])
    require_variety(counts, "x")
    with pytest.raises(UserError, match="every frame has unit 1"):
        require_variety(np.array([0, 5, 0]), "x")


def test_frame_times_are_the_middle_of_the_window() -> None:
    np.testing.assert_allclose(frame_times(3, 50.0, "start"), [0.0125, 0.0325, 0.0525])
    np.testing.assert_allclose(frame_times(2, 100.0, "centre"), [0.0125, 0.0225])
    # 25 Hz: label t is 100 Hz frame 4t + 2, which sees 0.02 to 0.045 s for t = 0.
    np.testing.assert_allclose(frame_times(2, 25.0, "centre"), [0.0325, 0.0725])
    np.testing.assert_allclose(frame_times(1, 100.0 / 3, "centre"), [0.0225])


@pytest.mark.parametrize("key,value", [("clusters", 0), ("rate", 0), ("rate", -50), ("align", [])])
def test_descriptions_without_sense_are_refused(tmp_path, key, value) -> None:
    meta = {"kind": "labels", "rate": 50.0, "align": "start", "clusters": 3, key: value}
    (tmp_path / "labels.json").write_text(json.dumps(meta), encoding="utf-8")
    (tmp_path / "labels.scp").write_text("a labels.ark:2\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"labels\.json: not of a label stage.*: label again"):
        LabelReader(tmp_path)
