"""Latents of utterances: closed forms, frame counts, files, what is left out or refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pylib.bin import dump_latents, validate_data_dir
from pylib.corpus.ark import iter_scp
from pylib.corpus.derived import open_derived
from pylib.corpus.errors import UserError
from pylib.corpus.layout import Contents
from pylib.corpus.tables import read_table
from pylib.training.data import open_set
from pylib.training.extract import LayerExtractor
from pylib.training.latents import LatentExtractor, spread
from pylib.training.session import Request, train
from tests.training.helpers import FINETUNE, ROOT, make_set, process_env
from tests.training.segment_helpers import FHVAE, make_segment_set

D1, D2 = 3, 4


@pytest.fixture
def checkpoint(segment_sets: tuple[Path, Path], config_file, tmp_path) -> Path:
    """A model trained for a few updates."""
    path = config_file(FHVAE, optim__updates=20)
    train(Request(*segment_sets, tmp_path / "exp", path, device="cpu", preset="smoke"))
    return tmp_path / "exp" / "checkpoint_last.pt"


@pytest.fixture
def unseen(tmp_path) -> Path:
    """Two speakers that training has not heard; one utterance is shorter than a segment."""
    return make_segment_set(tmp_path, "unseen", {"u0": [45, 19, 100], "u1": [20]}, 4)


def arrays(directory: Path, stem: str) -> dict[str, np.ndarray]:
    return dict(iter_scp(directory / f"{stem}.scp"))


def test_windows_are_spread_over_frames() -> None:
    windows = np.arange(11, dtype=np.float32)[:, None]
    made = spread(windows, 20, len(windows) + 19)[:, 0]
    assert len(made) == 30
    np.testing.assert_array_equal(made[:10], 0)
    np.testing.assert_array_equal(made[-11:], 10)
    np.testing.assert_array_equal(made[9:20], np.arange(11))


def test_frames_between_windows_take_the_nearest() -> None:
    """Windows of 20 at frames 0, 4, 8: window w is centred on frame 4 w + 9."""
    windows = np.arange(3, dtype=np.float32)[:, None]
    made = spread(windows, 20, 28, hop=4)[:, 0]
    centres = 4 * np.arange(3) + 9
    distance = np.abs(np.arange(28)[:, None] - centres)
    assert len(made) == 28
    assert all(distance[t, int(w)] == distance[t].min() for t, w in enumerate(made))


def test_latents_are_those_of_the_definition(checkpoint, unseen, tmp_path) -> None:
    assert dump_latents.main([str(checkpoint), str(unseen), str(tmp_path / "out")]) == 0
    out = tmp_path / "out"
    extractor = LatentExtractor(checkpoint, unseen)
    z1, z2 = arrays(out, "z1"), arrays(out, "z2")
    vectors, contents = arrays(out, "svector"), arrays(out, "z1mean")
    assert list(z1) == ["u0-unseen0", "u0-unseen2", "u1-unseen0"]
    sums: dict[str, list] = {}
    for utt, matrix in iter_scp(unseen / "logmel.scp"):
        if len(matrix) < 20:
            continue
        assert z1[utt].shape == (len(matrix), 2 * D1) and z2[utt].shape == (len(matrix), D2)
        for frame in (0, 9, len(matrix) // 2, len(matrix) - 1):
            start = min(max(frame - 9, 0), len(matrix) - 20)
            made = extractor.system.encode(torch.from_numpy(matrix[None, start : start + 20]))
            expected = torch.cat([made.z1_mean, made.z1_logvar], 1)[0]
            np.testing.assert_allclose(z1[utt][frame], expected, atol=1e-5)
            np.testing.assert_allclose(z2[utt][frame], made.z2_mean[0], atol=1e-5)
        starts = range(0, len(matrix) - 19, 20)
        made = extractor.system.encode(
            torch.from_numpy(np.stack([matrix[s : s + 20] for s in starts]))
        )
        count = len(starts)
        np.testing.assert_allclose(
            vectors[utt], made.z2_mean.sum(0) / (count + 0.25), atol=1e-5, rtol=1e-4
        )
        np.testing.assert_allclose(
            contents[utt], made.z1_mean.sum(0) / (count + 0.25), atol=1e-5, rtol=1e-4
        )
        sums.setdefault(utt.split("-")[0], []).append(made.z2_mean)
    speakers = arrays(out, "spk_svector")
    assert list(speakers) == ["u0", "u1"]
    for spk, parts in sums.items():
        whole = torch.cat(parts)
        expected = whole.sum(0) / (len(whole) + 0.25)
        np.testing.assert_allclose(speakers[spk], expected, atol=1e-5, rtol=1e-4)


def test_the_copy_is_a_valid_directory(checkpoint, unseen, tmp_path) -> None:
    out = tmp_path / "out"
    assert dump_latents.main([str(checkpoint), str(unseen), str(out)]) == 0
    origin = json.loads((out / "latents.json").read_text())
    assert (origin["system"], origin["seed"], origin["preset"]) == ("cfhvae_a1", 1, "smoke")
    assert origin["excluded"] == ["u0-unseen1"] and origin["features"] == "logmel"
    assert read_table(out / "utt2spk").keys() == {"u0-unseen0", "u0-unseen2", "u1-unseen0"}
    assert Contents.load(out).select(["u1-unseen0"]).spk["spk_svector.scp"].keys() == {"u1"}
    meta, _ = open_derived(out, "z1")
    assert (meta["dim"], meta["rate"], meta["kind"]) == (2 * D1, 100.0, "z1")
    options = ["--no-feats", "--no-wav", "--check-ark", "full"]
    assert validate_data_dir.main([str(out), *options]) == 0


def test_shards_and_repetitions_change_nothing(checkpoint, unseen, tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert dump_latents.main([str(checkpoint), str(unseen), str(one)]) == 0
    for part in ("1/2", "2/2"):
        dump_latents.main(["--shard", part, str(checkpoint), str(unseen), str(two)])
    assert not (two / "latents.json").exists()
    for _ in range(2):
        dump_latents.main(["--merge", "2", str(checkpoint), str(unseen), str(two)])
    for stem in ("z1", "z2", "svector", "z1mean", "spk_svector"):
        first, second = arrays(one, stem), arrays(two, stem)
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[key], second[key]) for key in first)
    # Vectors only: the same, and what was at frame rate goes.
    dump_latents.main(["--frames", "false", str(checkpoint), str(unseen), str(two)])
    assert not (two / "z1.scp").exists()
    first, second = arrays(one, "svector"), arrays(two, "svector")
    for key, value in first.items():
        np.testing.assert_allclose(second[key], value, atol=1e-6)


def test_files_of_others_are_kept(checkpoint, unseen, tmp_path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "text.old").write_text("mine\n")
    dump_latents.main(["--frames", "false", str(checkpoint), str(unseen), str(out)])
    assert not (out / "text.old").exists()
    assert [path.read_text() for path in out.glob(".backup/*/text.old")] == ["mine\n"]
    assert Contents.load(out).utt2spk


def test_layers_are_asked_for_in_vain(checkpoint, unseen) -> None:
    with pytest.raises(UserError, match=r"a fhvae model has no layers.*dump_latents"):
        LayerExtractor(checkpoint, unseen)


def test_a_merge_without_its_shards_leaves_nothing_finished(checkpoint, unseen, tmp_path) -> None:
    out = tmp_path / "out"
    assert dump_latents.main([str(checkpoint), str(unseen), str(out)]) == 0
    with pytest.raises(UserError, match="is missing"):
        dump_latents.main(["--merge", "3", str(checkpoint), str(unseen), str(out)])
    assert not (out / "latents.json").exists()


def test_what_does_not_fit_is_refused(checkpoint, unseen, tmp_path) -> None:
    with pytest.raises(UserError, match="is the source itself"):
        dump_latents.main([str(checkpoint), str(unseen), str(unseen)])
    short = make_segment_set(tmp_path, "short", {"u0": [5]}, 4)
    with pytest.raises(UserError, match="no utterance has a segment"):
        dump_latents.main([str(checkpoint), str(short), str(tmp_path / "out")])
    other = shutil.copytree(unseen, tmp_path / "other")
    meta = json.loads((other / "logmel.json").read_text())
    (other / "logmel.json").write_text(json.dumps(meta | {"config": {"mel_bins": 9}}))
    with pytest.raises(UserError, match="describes other features than"):
        LatentExtractor(checkpoint, other)


def test_other_checkpoints_are_refused(
    sets: tuple[Path, Path], config_file, unseen, tmp_path
) -> None:
    train(Request(*sets, tmp_path / "ctc", config_file(FINETUNE, optim__updates=1), device="cpu"))
    with pytest.raises(UserError, match="a ctc model has no latents"):
        LatentExtractor(tmp_path / "ctc" / "checkpoint_last.pt", unseen)


@pytest.mark.parametrize(("stem", "dim"), [("z1", 2 * D1), ("z2", D2), ("logmel", 8)])
def test_the_recogniser_reads_them(
    stem, dim, checkpoint, segment_sets, config_file, tmp_path
) -> None:
    out = tmp_path / "latents"
    dump_latents.main([str(checkpoint), str(segment_sets[0]), str(out)])
    path = config_file(FINETUNE, "ctc.toml", optim__updates=2, data__features=stem,
                       run__validate_every=0)  # fmt: skip  # the width is the features'
    assert train(Request(out, out, tmp_path / "ctc", path, device="cpu")) == 0
    wrong = config_file(FINETUNE, "wrong.toml", data__features=stem, model__fbank_dim=dim + 1)
    with pytest.raises(UserError, match=rf"{stem}\.json: dim = {dim}, the model expects"):
        train(Request(out, out, tmp_path / "wrong", wrong, device="cpu"))


def test_filter_banks_are_known_as_before(tmp_path, config_file) -> None:
    """A run on `feats` has the identity that it had before other features could be named."""
    from pylib.training.config import load_config

    config = load_config(config_file(FINETUNE)).config
    assert "features" not in config.identity()["data"]
    other = load_config(config_file(FINETUNE, data__features="z1")).config
    assert other.identity()["data"]["features"] == "z1"
    assert other.hash() != config.hash()
    data = make_set(tmp_path, "plain", [1.0, 2.0], 3)
    meta = json.loads((data / "feats.json").read_text())
    (data / "feats.json").write_text(json.dumps(meta | {"kind": "mfcc"}))
    with pytest.raises(UserError, match="kind = 'mfcc', the model expects 'fbank'"):
        open_set(data, config, training=True)


@pytest.mark.slow
def test_the_step_as_recipes_call_it(checkpoint, unseen, tmp_path) -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "steps" / "dump_latents.sh"), "--nj", "2", str(checkpoint),
         str(unseen), "latents/unseen"],
        cwd=tmp_path, capture_output=True, text=True, timeout=180,
        env=process_env(TRIVIUM_PYTHON=sys.executable),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 utterances left out, shorter than a segment: u0-unseen1" in done.stdout
    assert (tmp_path / "latents" / "unseen" / "latents.json").is_file()
