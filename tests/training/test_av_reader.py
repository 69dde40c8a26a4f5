"""Streams of audio-visual data keep step, and are refused where they do not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table, write_table
from pylib.features.logfbank import logfbank, stack4
from pylib.features.noise import Condition, NoiseSet, mix
from pylib.training.av_reader import AVReader, View, collate, number_of
from pylib.units.labels import picture_frames
from tests.training.av_helpers import make_av_set


@pytest.fixture
def av(tmp_path: Path) -> Path:
    return make_av_set(tmp_path, "train", [12, 30, 7], 1)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    folder = tmp_path / "noise"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for part in ("train", "test"):
        for i in range(2):
            wave = 0.1 * rng.standard_normal(9000)
            soundfile.write(folder / f"{part}{i}.wav", wave, 16000, subtype="PCM_16")
        rows = {f"n{i}": str(folder / f"{part}{i}.wav") for i in range(2)}
        write_table(folder / f"babble.{part}.scp", rows)
    return folder


@pytest.mark.parametrize("samples", [399, 400, 640, 6400, 6400 + 240, 6400 + 399, 6400 + 400, 6999])
def test_frames_of_a_length(samples: int) -> None:
    """As many as MFCC labels that are decimated from the start; T for 640 T samples."""
    whole = (samples - 400) // 160 + 1 if samples >= 400 else 0
    assert picture_frames(samples) == len(np.arange(whole)[::4])
    if samples % 640 == 0:
        assert picture_frames(samples) == samples // 640


def test_streams_are_those_of_the_files(av: Path) -> None:
    reader = AVReader(av, ("video", "audio"))
    assert reader.streams == ("audio", "video") and reader.kind == "videoaudio"
    utt = reader.utts[0]
    frames = reader.frames[utt]
    assert reader.video(utt).shape == (frames, 96, 96) and reader.video(utt).dtype == np.uint8
    wave = soundfile.read(read_table(av / "wav.scp")[utt], dtype="float32")[0]
    expected = stack4(logfbank(wave), frames)
    np.testing.assert_array_equal(reader.audio(utt), expected)
    assert (reader.audio(utt)[-1, 78:] == 0).all()
    # Noise that is silence: the way through the waveform gives the same, bit for bit.
    np.testing.assert_array_equal(reader.audio(utt, np.zeros(50, np.float32), 0.0), expected)


def test_noise_is_mixed_into_the_waveform(av: Path, noise: Path) -> None:
    reader = AVReader(av, ("audio",))
    utt = reader.utts[1]
    wave = soundfile.read(read_table(av / "wav.scp")[utt], dtype="float32")[0]
    some = NoiseSet(noise, "test").pick("babble", utt, 7)
    wanted = stack4(logfbank(mix(wave, some, -5.0)), reader.frames[utt])
    condition = Condition.parse("babble:-5")
    batch = reader.batch([utt], condition, NoiseSet(noise, "test"), seed=7)
    np.testing.assert_array_equal(batch.audio[0].numpy(), wanted)
    many = reader.batch(reader.utts, condition, NoiseSet(noise, "test"), seed=7)
    np.testing.assert_array_equal(many.audio[1, : reader.frames[utt]].numpy(), wanted)
    clean = reader.batch([utt], Condition.parse("clean"))
    np.testing.assert_array_equal(clean.audio[0].numpy(), reader.audio(utt))
    with pytest.raises(UserError, match="needs noise"):
        reader.batch([utt], condition)


def test_a_batch_is_padded_and_cropped(av: Path) -> None:
    reader = AVReader(av, ("audio", "video"), cache_gb=1.0)
    batch = reader.batch(reader.utts)
    assert batch.kind == "videoaudio" and batch.phones is None and batch.labels is None
    assert batch.lengths.tolist() == [reader.frames[utt] for utt in reader.utts]
    for row, utt in enumerate(reader.utts):
        frames = reader.frames[utt]
        np.testing.assert_array_equal(batch.video[row, :frames], reader.video(utt)[:, 4:92, 4:92])
        assert not batch.audio[row, frames:].any()
    assert reader.holds(reader.utts)
    utt = reader.utts[0]
    row = reader.row(utt, View(offset=(0, 8), flip=True))
    np.testing.assert_array_equal(row["video"], reader.video(utt)[:, :88, 8:][:, :, ::-1])
    assert torch.equal(collate(reader, [utt], [row]).audio[0], torch.tensor(reader.audio(utt)))
    assert number_of("a") != number_of("b")


def test_phones_are_cut_and_padded_to_the_audio(tmp_path: Path) -> None:
    data = make_av_set(tmp_path, "at", [10, 20], 2, "audiotext")
    reader = AVReader(data, ("audio", "phone"))
    assert reader.kind == "audiotext"
    batch = reader.batch(reader.utts)
    assert batch.phones.shape == (2, 80) and (batch.phones[0, 40:] == 1).all()
    text = make_av_set(tmp_path, "ot", [10, 20], 3, "onlytext")
    reader = AVReader(text, ("phone",))
    assert reader.kind == "onlytext" and reader.frames[reader.utts[1]] == 20
    assert reader.batch(reader.utts).audio is None


def test_what_is_absent_is_named_with_its_step(tmp_path: Path, av: Path) -> None:
    with pytest.raises(UserError, match="no phone here.*align_phones.sh"):
        AVReader(av, ("audio", "phone"))
    audio = make_av_set(tmp_path, "oa", [10], 2, "onlyaudio")
    with pytest.raises(UserError, match="no video here.*make_mouth.sh"):
        AVReader(audio, ("audio", "video"))
    with pytest.raises(UserError, match="no stream"):
        AVReader(av, ())
    with pytest.raises(UserError, match="no such data directory"):
        AVReader(tmp_path / "nowhere", ("audio",))


def test_streams_of_other_lengths_are_refused(av: Path) -> None:
    samples = read_table(av / "utt2num_samples")
    first = next(iter(samples))
    write_table(av / "utt2num_samples", samples | {first: str(int(samples[first]) * 3)})
    with pytest.raises(UserError, match="need 16 kHz"):
        AVReader(av, ("audio",))
    (av / "utt2dur").unlink()
    write_table(av / "utt2num_samples", samples | {first: str(int(samples[first]) + 160)})
    with pytest.raises(UserError, match="1 utterances have other than 640 samples a picture"):
        AVReader(av, ("audio", "video"))
    write_table(av / "utt2num_samples", samples)
    pictures = read_table(av / "utt2num_video")
    write_table(av / "utt2num_video", pictures | {first: "99"})
    with pytest.raises(UserError, match="99"):
        AVReader(av, ("video",))


def test_features_of_another_kind_are_refused(av: Path) -> None:
    meta = json.loads((av / "logfbank.json").read_text())
    for change, match in (({"dim": 80}, "dim = 80, 26 expected"), ({"rate": 50}, "rate = 50")):
        (av / "logfbank.json").write_text(json.dumps(meta | change))
        with pytest.raises(UserError, match=match):
            AVReader(av, ("audio",))


def test_audio_that_has_changed_is_noticed(av: Path) -> None:
    shutil.copy(av / "wav.scp", av / "old")
    samples = {utt: str(640 * 40) for utt in read_table(av / "utt2num_samples")}
    write_table(av / "utt2num_samples", samples)
    (av / "utt2num_video").unlink()
    (av / "utt2dur").unlink()
    reader = AVReader(av, ("audio",))
    with pytest.raises(UserError, match=r"\(159, 26\) expected"):
        reader.audio(reader.utts[0])
