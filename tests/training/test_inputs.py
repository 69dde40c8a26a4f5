"""Inputs are read, normalised and counted as the model counts them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.corpus.atomic import write_json
from pylib.corpus.datadir import DataDir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import write_table
from pylib.nn.encoder import Encoder, EncoderConfig
from pylib.training.inputs import InputReader, normalise
from tests.training.helpers import PRETRAIN, make_set

SMALL = PRETRAIN["model"]
WAVE = EncoderConfig(**SMALL | {"frontend": "waveform", "conv_dim": 16})
FBANK = EncoderConfig(**SMALL)


def reader(data: Path, model: EncoderConfig, **options: object) -> InputReader:
    return InputReader(DataDir.load(data), model, **({"normalise": True} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [WAVE, FBANK, EncoderConfig(**SMALL | {"fbank_stack": 3})])
def test_frames_are_the_encoders(model: EncoderConfig, tmp_path: Path) -> None:
    read = reader(make_set(tmp_path, "a", [1.0], 1), model)
    lengths = torch.arange(400, 3000, 7)
    assert [read.frames(int(n)) for n in lengths] == Encoder(model).frame_lengths(lengths).tolist()
    assert read.frame_rate == pytest.approx(model.frame_rate)
    assert read.frames(1) == 0


def test_waveform_is_normalised_over_the_utterance(tmp_path: Path) -> None:
    data = make_set(tmp_path, "a", [1.0, 0.5], 1, frontend="waveform")
    read = reader(data, WAVE)
    value = read.read(read.data.utts[0])
    assert value.shape == (16000,) and value.dtype == np.float32
    assert abs(value.mean()) < 1e-4 and value.std() == pytest.approx(1, abs=1e-3)
    raw = reader(data, WAVE, normalise=False).read(read.data.utts[0])
    assert raw.std() == pytest.approx(0.1, rel=0.05)
    expected = torch.nn.functional.layer_norm(torch.from_numpy(raw), raw.shape).numpy()
    np.testing.assert_allclose(value, expected, atol=2e-5)


def test_channels_are_normalised_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    value = normalise((rng.standard_normal((50, 4)) * [1, 5, 9, 3] + 7).astype(np.float32))
    np.testing.assert_allclose(value.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(value.std(axis=0), 1, atol=1e-3)
    assert np.isfinite(normalise(np.ones((5, 2), np.float32))).all()


def test_memory_is_bounded(tmp_path: Path) -> None:
    data = make_set(tmp_path, "a", [1.0, 1.0, 1.0], 1)
    read = reader(data, FBANK, cache_gb=98 * 80 * 4 * 2.5 / 1e9)  # room for two of three
    values = [read.read(utt) for utt in read.data.utts]
    kept = [read.read(utt) is value for utt, value in zip(read.data.utts, values, strict=True)]
    assert kept == [True, True, False]
    assert read.holds(read.data.utts[:2]) and not read.holds(read.data.utts)


def test_padded(tmp_path: Path) -> None:
    read = reader(make_set(tmp_path, "a", [1.0, 0.5], 1), FBANK)
    values, lengths = read.read_padded(read.data.utts)
    assert values.shape == (2, 98, 80) and lengths.tolist() == [98, 48]
    assert not values[1, 48:].any()


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    data = make_set(tmp_path, "a", [1.0, 0.5], 1)
    write_json(data / "feats.json", {"kind": "mfcc", "dim": 39, "rate": 100})
    with pytest.raises(UserError, match="kind = 'mfcc', the model expects 'fbank'"):
        reader(data, FBANK)
    write_json(data / "feats.json", {"kind": "fbank", "dim": 80, "rate": 100})
    counts = dict.fromkeys(DataDir.load(data).utts, 98)
    write_table(data / "utt2num_frames", counts)
    read = reader(data, FBANK)
    with pytest.raises(UserError, match="has 48 samples or frames, its table says 98"):
        read.read(read.data.utts[1])
    (data / "utt2num_frames").unlink()
    with pytest.raises(UserError, match="utt2num_frames: missing"):
        reader(data, FBANK)
