"""Encoding and decoding whole utterances; what conversion does to features and to the s-vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.conversion.latents import LatentVoices, load_model, replaced, shifted
from pylib.corpus.atomic import write_json
from pylib.corpus.derived import read_meta
from pylib.corpus.errors import UserError
from pylib.features.config import SpectrumConfig
from pylib.features.spectrum import SpectrumFrontend
from pylib.nn.segments import SegmentBatch
from tests.conversion.helpers_model import features, fresh, saved, train
from tests.conversion.helpers_voice import voice_dir


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return voice_dir(tmp_path_factory.mktemp("voices"), 4)


@pytest.fixture(scope="module")
def trained(data: Path) -> LatentVoices:
    torch.set_num_threads(1)
    return LatentVoices(train(fresh(data), data, 250))


def test_converting_to_the_source_is_reconstruction(data: Path) -> None:
    voices = LatentVoices(fresh(data))
    for _, frames in features(data)[:2]:
        windows = voices.windows(frames)
        own = voices.s_vector([voices.segments(frames)])
        again = voices.decode(shifted(windows, own, own))
        assert again.shape == frames.shape
        np.testing.assert_allclose(again, voices.decode(windows), atol=1e-4)


def test_s_vector_is_the_closed_form_over_segments_of_all_utterances(data: Path) -> None:
    voices = LatentVoices(fresh(data))
    two = [frames for _, frames in features(data)[:2]]
    segments = [frames[s : s + 20] for frames in two for s in range(0, len(frames) - 19, 20)]
    with torch.inference_mode():
        mean = voices.system.encode(torch.from_numpy(np.stack(segments))).z2_mean
    wanted = mean.sum(0) / (len(segments) + 0.25)
    got = voices.s_vector([voices.segments(frames) for frames in two])
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_contents_of_frames_follow_the_window_around_them(data: Path) -> None:
    voices = LatentVoices(fresh(data))
    frames = features(data)[0][1]
    contents = voices.frame_contents(frames)
    assert contents.shape == (len(frames), 8)
    with torch.inference_mode():
        middle = voices.system.encode(torch.from_numpy(frames[None, 31:51])).z1_mean[0]
    np.testing.assert_allclose(contents[40], middle, atol=1e-5)
    assert (contents[:10] == contents[0]).all() and (contents[-11:] == contents[-1]).all()


def test_replace_gives_every_window_the_targets_voice(data: Path) -> None:
    voices = LatentVoices(fresh(data))
    windows = voices.windows(features(data)[0][1])
    target = torch.arange(8.0)
    changed = replaced(windows, target)
    assert changed.z2.shape == windows.z2.shape and (changed.z2 == target).all()
    assert changed.z1 is windows.z1


@pytest.mark.slow
@pytest.mark.parametrize("way", ["shift", "replace"])
def test_converted_features_are_nearer_to_the_target(
    data: Path, trained: LatentVoices, way: str
) -> None:
    """A check of the model by itself, not of how well it converts."""
    sets = dict(features(data))
    vectors = {
        spk: trained.s_vector([trained.segments(sets[f"{spk}-{i}"]) for i in (2, 3)])
        for spk in "abcd"
    }
    nearer = []
    for source in "abcd":
        frames = sets[f"{source}-0"]
        windows = trained.windows(frames)
        own = trained.s_vector([trained.segments(frames)])
        for target in set("abcd") - {source}:
            aim = vectors[target]
            changed = shifted(windows, own, aim) if way == "shift" else replaced(windows, aim)
            made = trained.s_vector([trained.segments(trained.decode(changed))])
            nearer.append(bool((made - aim).norm() < (made - vectors[source]).norm()))
    assert np.mean(nearer) > 0.9, nearer


@pytest.mark.slow
def test_reconstruction_is_that_of_a_trained_model(data: Path, trained: LatentVoices) -> None:
    """Nearer than the mean of all frames, on its own scale: normalisation was undone."""
    every = np.concatenate([frames for _, frames in features(data)])
    spread = every.std(0)
    for _, frames in features(data)[::3]:
        made = trained.decode(trained.windows(frames))
        error = np.mean(((made - frames) / spread) ** 2)
        assert error < 0.7 * np.mean(((every.mean(0) - frames) / spread) ** 2)


def test_silence_is_encoded_decoded_and_trained_on_without_a_nan(data: Path) -> None:
    model = fresh(data)
    silence = SpectrumFrontend(SpectrumConfig.preset("logmel"))(np.zeros(16000, dtype=np.float32))
    voices = LatentVoices(model)
    assert np.isfinite(voices.decode(voices.windows(silence))).all()
    one = torch.zeros(2, dtype=torch.int64)
    batch = SegmentBatch(
        segments=torch.from_numpy(np.stack([silence[:20], silence[20:40]])),
        sequences=one, counts=torch.ones(2), speakers=one, utterances=one,
        input_lengths=torch.full((2,), 20), utts=("a", "b"), refresh=None,
    )  # fmt: skip
    model.train()
    loss = model(batch, torch.Generator().manual_seed(0)).loss_sum
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_what_a_model_cannot_take_is_refused(data: Path, tmp_path: Path) -> None:
    voices = LatentVoices(fresh(data))
    with pytest.raises(UserError, match="'x'.*19 frames, a segment has 20"):
        voices.require(np.zeros((19, 80), dtype=np.float32), "x")
    with pytest.raises(UserError, match="'x'.*201 numbers"):
        voices.require(np.zeros((40, 201), dtype=np.float32), "x")
    path = saved(tmp_path / "checkpoint_best.pt", data, fresh(data))
    model = load_model(path)
    assert (model.stem, model.provenance["seed"]) == ("logmel", 5)
    meta = read_meta(data, "logmel")
    model.check(meta, "here")
    with pytest.raises(UserError, match="here: made with other settings"):
        model.check({**meta, "config": {**meta["config"], "floor": 1e-8}}, "here")
    write_json(tmp_path / "no.pt", {})
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_model(tmp_path / "no.pt")
