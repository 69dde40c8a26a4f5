"""The data layer on real recordings; only where $TRIVIUM_REAL names them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.audio import audio_info, read_audio
from pylib.corpus.checker import Options
from pylib.corpus.datadir import DataDir, write_datadir
from pylib.corpus.durations import write_durations
from pylib.corpus.errors import UserError
from pylib.corpus.info import data_info
from pylib.corpus.validate import validate

REAL = os.environ.get("TRIVIUM_REAL", "")
pytestmark = [pytest.mark.real, pytest.mark.skipif(not REAL, reason="TRIVIUM_REAL is not set")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("real") / "test_other"
    wav, text = {}, {}
    for trans in sorted(Path(REAL, "LibriSpeech", "test-other").rglob("*.trans.txt")):
        for line in trans.read_text(encoding="utf-8").splitlines():
            utt, _, words = line.partition(" ")
            wav[utt], text[utt] = str(trans.parent / f"{utt}.flac"), words
    # Speakers of different width: as they are, 1688-... sorts before 367-... and so do speakers.
    write_datadir(out, wav=wav, utt2spk={utt: utt.split("-")[0] for utt in wav}, text=text)
    write_durations(out, nj=1)
    return out


def test_validates_to_the_last_sample(data):
    report = validate(data, Options(no_feats=True, check_audio="full", rate=16000))
    assert not report.defects, "\n".join(map(str, report.defects))
    assert report.utterances == 50
    info = data_info(data)
    assert info["speakers"] == 5
    assert info["hours"] * 60 == pytest.approx(6.05, abs=0.01)


def test_lengths_are_what_decoding_gives(data):
    d = DataDir.load(data)
    for utt in d.utts[::7]:
        samples = d.read_utt(utt)
        assert len(samples) == d.utt2num_samples[utt]
        assert samples.dtype == np.float32
        assert 0.01 < np.abs(samples).max() <= 1


def test_every_cut_of_a_real_flac_is_refused(data, tmp_path):
    source = Path(next(iter(DataDir.load(data).wav.values()))).read_bytes()
    cut = tmp_path / "cut.flac"
    for size in np.linspace(0, len(source) - 1, 25).astype(int):
        cut.write_bytes(source[:size])
        with pytest.raises(UserError, match=r"cut\.flac"):
            read_audio(cut)


def test_vctk_rate_is_read_from_the_file():
    files = sorted(Path(REAL, "VCTK-Corpus-0.92").rglob("*.flac"))
    assert len(files) == 20
    for path in files:
        count, rate, channels = audio_info(path)
        assert (rate, channels) == (16000, 1)
        with pytest.raises(UserError, match=r"16000 Hz, 48000 Hz expected"):
            read_audio(path, 48000)
        assert abs(len(read_audio(path, 48000, resample=True)) - 3 * count) <= 1
