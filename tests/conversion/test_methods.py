"""Each method of conversion against its definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pylib.conversion.latents import LatentVoices
from pylib.conversion.methods import METHODS, Converter, Request, nearest_mean
from pylib.conversion.requests import plan
from pylib.conversion.voices import Voices
from pylib.corpus.atomic import write_json
from pylib.corpus.datadir import DataDir
from pylib.corpus.derived import read_meta
from pylib.corpus.errors import UserError
from tests.conversion.helpers_model import fresh
from tests.conversion.helpers_voice import voice_dir

REQUEST = Request("c-a-0", "a-0", "c", ("c-1", "c-2"), "a-0")


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Voices:
    return Voices(voice_dir(tmp_path_factory.mktemp("voices")))


@pytest.fixture(scope="module")
def latent(voices: Voices) -> LatentVoices:
    return LatentVoices(fresh(voices.data.path))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_frames(method: str, voices: Voices, latent: LatentVoices) -> None:
    made = Converter(method, voices, latent)(REQUEST)
    assert made.features.shape == made.baseline.shape == voices.features("a-0").shape
    assert made.features.dtype == np.float32 and np.isfinite(made.features).all()


def test_copies_change_nothing(voices: Voices) -> None:
    for carrier in ("a-0", "c-0"):
        request = Request("c-a-0", "a-0", "c", ("c-1",), carrier)
        made = Converter("target", voices)(request)
        np.testing.assert_array_equal(made.features, voices.features(carrier))
        np.testing.assert_array_equal(made.baseline, made.features)


def test_meanvar_has_the_targets_statistics(voices: Voices) -> None:
    """All the source's frames converted have the references' mean and deviation."""
    converter = Converter("meanvar", voices)
    refs = ("c-0", "c-1", "c-2")
    requests = [Request("x", f"a-{i}", "c", refs, f"a-{i}") for i in range(3)]
    assert [set(converter.known(r)) for r in requests] == [{"a-0", "a-1", "a-2"}] * 3
    made = np.concatenate([converter(r).features for r in requests])
    wanted = voices.joined(refs)
    np.testing.assert_allclose(made.mean(0), wanted.mean(0), atol=1e-3)
    np.testing.assert_allclose(made.std(0), wanted.std(0), rtol=1e-3)


def test_as_much_is_known_of_the_source_as_of_the_target(voices: Voices) -> None:
    assert Converter("meanvar", voices).known(REQUEST) == ("a-0", "a-1")
    assert voices.company("a-1", 1) == ("a-1",)


def test_nearest_mean_by_hand() -> None:
    keys = np.array([[0, 0], [1, 0], [0, 1], [5, 5], [9, 9]], dtype=np.float32)
    values = np.array([[0], [3], [6], [9], [100]], dtype=np.float32)
    queries = np.array([[0.1, 0.1], [8, 8]], dtype=np.float32)
    np.testing.assert_allclose(nearest_mean(queries, keys, values, 3), [[3], [115 / 3]], rtol=1e-6)
    np.testing.assert_allclose(nearest_mean(queries, keys, values, 1), [[0], [100]])
    np.testing.assert_allclose(nearest_mean(queries, keys[:2], values[:2]), [[1.5], [1.5]])
    rng = np.random.default_rng(0)
    many = rng.standard_normal((600, 8)).astype(np.float32)
    np.testing.assert_allclose(nearest_mean(many, many, many, 1), many)


def test_neighbours_of_the_source_itself_are_the_source(
    voices: Voices, latent: LatentVoices
) -> None:
    """With the source's own frames as the pool, the nearest of each is itself and its like."""
    own = Request("a-a-0", "a-0", "a", ("a-0",), "a-0")
    spread = voices.features("a-0").std(0)
    for method in ("knn_mel", "knn_z1"):
        made = Converter(method, voices, latent)(own)
        error = np.abs((made.features - made.baseline) / spread).mean()
        assert error < 0.5, (method, error)


def test_baseline_of_fhvae_is_its_reconstruction(voices: Voices, latent: LatentVoices) -> None:
    made = Converter("shift", voices, latent)(REQUEST)
    frames = voices.features("a-0")
    np.testing.assert_allclose(made.baseline, latent.decode(latent.windows(frames)), atol=1e-5)
    own = Request("a-a-0", "a-0", "a", ("a-0",), "a-0")
    made = Converter("shift", voices, latent)(own)
    np.testing.assert_allclose(made.features, made.baseline, atol=1e-4)


def test_unknown_methods_and_missing_models_are_refused(voices: Voices) -> None:
    with pytest.raises(UserError, match="--method swap"):
        Converter("swap", voices)
    for method in ("shift", "replace", "knn_z1"):
        with pytest.raises(UserError, match="give --checkpoint"):
            Converter(method, voices)


def test_features_that_hold_no_magnitudes_are_refused(voices: Voices, tmp_path: Path) -> None:
    meta = read_meta(voices.data.path, "logmel")
    write_json(tmp_path / "hidden6.json", {"kind": "hidden", "dim": 8})
    with pytest.raises(UserError, match="'hidden' cannot be turned into sound"):
        Voices(tmp_path, "hidden6")
    write_json(tmp_path / "logmel.json", {**meta, "config": {**meta["config"], "fft": 512}})
    with pytest.raises(UserError, match="another version"):
        Voices(tmp_path, "logmel")


def test_plan_names_conversions_and_chooses_whose_words_are_heard(
    voices: Voices, tmp_path: Path
) -> None:
    data = voices.data
    pairs = tmp_path / "pairs"
    pairs.write_text("b-0 c c-1,c-2\na-0 d d-1\na-0 c c-1\na-1 c c-0\n", encoding="utf-8")
    made = plan(data, pairs, "shift")
    assert [r.name for r in made] == ["c-a-0", "c-a-1", "c-b-0", "d-a-0"]
    assert [r.carrier for r in made] == ["a-0", "a-1", "b-0", "a-0"]
    # The target's own recording of the same words ...
    assert [r.carrier for r in plan(data, pairs, "target")] == ["c-0", "c-1", "c-0", "d-0"]
    # ... else one that is no reference, in turn ...
    other = DataDir(data.path)
    other.text = None  # type: ignore[misc]
    assert [r.carrier for r in plan(other, pairs, "target")] == ["c-2", "c-1", "c-0", "d-0"]
    # ... else a reference.
    pairs.write_text("a-0 c c-0,c-1,c-2\n", encoding="utf-8")
    assert [r.carrier for r in plan(other, pairs, "target")] == ["c-0"]
    pairs.write_text("a-0 c c-0,d-0\n", encoding="utf-8")
    with pytest.raises(UserError, match="d-0"):
        plan(data, pairs, "shift")
