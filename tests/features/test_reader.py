"""Normalisation on reading, and features that do not fit their description."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.atomic import write_json
from pylib.corpus.errors import UserError
from pylib.features.reader import FeatureReader
from tests.features.helpers import feature_dir


def matrices() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = {"a-1": 30, "a-2": 50, "b-1": 40}
    return {
        utt: (rng.standard_normal((n, 4)) * 3 + i * 10).astype(np.float32)
        for i, (utt, n) in enumerate(sizes.items())
    }


def test_cmvn_by_utterance_and_by_speaker(tmp_path: Path) -> None:
    raw = matrices()
    data = feature_dir(tmp_path, raw)
    for utt, want in raw.items():
        np.testing.assert_array_equal(FeatureReader(data, "mfcc").read(utt), want)
        got = FeatureReader(data, "mfcc", "utterance").read(utt)
        np.testing.assert_allclose(got, (want - want.mean(0)) / want.std(0), atol=1e-5)
    speaker = FeatureReader(data, "mfcc", "speaker")
    both = np.concatenate([raw["a-1"], raw["a-2"]]).astype(np.float64)
    for utt in ("a-2", "a-1"):  # the order of reading does not matter
        want = (raw[utt] - both.mean(0)) / both.std(0)
        np.testing.assert_allclose(speaker.read(utt), want, atol=1e-5)
    assert speaker.num_frames("b-1") == 40


def test_refusals(tmp_path: Path) -> None:
    data = feature_dir(tmp_path, matrices())
    with pytest.raises(UserError, match="--cmvn batch"):
        FeatureReader(data, "mfcc", "batch")
    with pytest.raises(UserError, match="feats.json"):
        FeatureReader(data, "feats")
    with pytest.raises(UserError, match="no utterance 'x'"):
        FeatureReader(data, "mfcc").read("x")
    write_json(data / "mfcc.json", {"kind": "mfcc", "dim": 39, "rate": 100.0})
    with pytest.raises(UserError, match=r"'a-1'.*\(30, 4\).*39"):
        FeatureReader(data, "mfcc").read("a-1")
    write_json(data / "mfcc.json", {"kind": "mfcc", "dim": "39"})
    with pytest.raises(UserError, match="dim '39'"):
        FeatureReader(data, "mfcc")


def test_utterances_must_be_those_of_the_data_directory(tmp_path: Path) -> None:
    data = feature_dir(tmp_path, matrices())
    lines = (data / "mfcc.scp").read_text().splitlines(keepends=True)
    (data / "mfcc.scp").write_text("".join(lines[:-1]))
    with pytest.raises(UserError, match="'b-1'"):
        FeatureReader(data, "mfcc")
