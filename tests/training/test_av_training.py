"""Training of VATLM and seq2seq: stops, splits and mixtures change nothing; each mixture runs."""

from __future__ import annotations

import copy
import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pylib.corpus.errors import UserError
from pylib.corpus.tables import write_table
from pylib.training import checkpoint
from pylib.training.av_data import open_av
from pylib.training.av_text import subwords_of
from pylib.training.checkpoint import load_system
from pylib.training.config import load_config
from pylib.training.session import Request, train
from pylib.training.signals import EXIT_PREEMPTED
from pylib.units.subwords import train as train_subwords
from tests.training.av_helpers import SEQ2SEQ, VATLM, WORDS, make_av_set
from tests.training.forks import Forks
from tests.training.helpers import PRETRAIN, same_state, toml
from tests.training.test_resume import metrics, stopped

LAST, BEST = "checkpoint_last.pt", "checkpoint_best.pt"
KINDS = ("audiotext", "onlytext", "onlyaudio")


class World:
    """Data directories of all kinds and what writes configurations over them."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)

        def some(count: int) -> list[int]:
            return rng.integers(8, 50, count).tolist()

        self.folder = folder
        self.train = make_av_set(folder, "train", some(18), 1)
        self.dev = make_av_set(folder, "dev", some(5), 2)
        self.audiotext = make_av_set(folder, "at", some(8), 3, "audiotext")
        self.onlytext = make_av_set(folder, "ot", some(9), 4, "onlytext")
        self.onlyaudio = make_av_set(folder, "oa", some(10), 5, "onlyaudio", extra=300)
        self.subwords = folder / "spm.model"
        self.subwords.write_bytes(train_subwords([" ".join(WORDS)] * 5, 40))

    def at(self, folder: Path) -> World:
        """The same data, with configurations and runs in another folder."""
        other = copy.copy(self)
        other.folder = folder
        return other

    def config(self, base: dict, *kinds: str, name: str = "conf.toml", **changes: object) -> Path:
        sections = {k: dict(v) if isinstance(v, dict) else v for k, v in base.items()}
        if base["system"] == "vatlm":
            sections["mixture"] |= {kind: str(getattr(self, kind)) for kind in kinds}
            sections["optim"]["micro_batches"] = 1 + len(kinds)
        else:
            sections["av_data"]["subwords"] = str(self.subwords)
        for key, value in changes.items():
            section, _, item = key.partition("__")
            sections.setdefault(section, {})[item] = value
        path = self.folder / name
        path.write_text(toml(sections), encoding="utf-8")
        return path

    def go(self, config: Path, exp: str, *overrides: str, init: Path | None = None) -> Path:
        folder = self.folder / exp
        request = Request(self.train, self.dev, folder, config, overrides, init=init, device="cpu")
        assert train(request) == 0
        return folder


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("stock"))


@pytest.fixture
def world(stock: World, tmp_path: Path) -> World:
    """Data that are only read."""
    return stock.at(tmp_path)


@pytest.fixture
def own_world(tmp_path: Path) -> World:
    """Data that a test may change."""
    return World(tmp_path)


@pytest.fixture(scope="module")
def pretrained(stock: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    """A world and a checkpoint of all four kinds."""
    world = stock.at(tmp_path_factory.mktemp("av"))
    return world, world.go(world.config(VATLM, *KINDS), "vatlm") / LAST


MIXTURES = [kinds for n in range(4) for kinds in itertools.combinations(KINDS, n)]


@pytest.mark.parametrize("kinds", MIXTURES, ids=lambda kinds: "+".join(("va", *kinds)))
def test_every_mixture_trains(kinds: tuple[str, ...], world: World) -> None:
    path = world.config(VATLM, *kinds, optim__updates=2, run__validate_every=2)
    folder = world.go(path, "exp")
    rows = metrics(folder)
    seen = rows[0]
    assert math.isfinite(seen["loss"])
    for kind in ("videoaudio", *KINDS):
        assert (f"ce_{kind}" in seen) == (kind == "videoaudio" or kind in kinds)
    assert "ce_videoaudio" in rows[-1] and "ce_onlytext" not in rows[-1]


def test_one_utterance_a_batch(world: World) -> None:
    path = world.config(VATLM, *KINDS, av_data__batch_seconds=2.0, av_data__max_seconds=2.0)
    folder = world.go(path, "exp")
    assert all(math.isfinite(row["loss"]) for row in metrics(folder))


CASES = {
    "vatlm": (VATLM, KINDS, {}),
    "vatlm-bf16": (VATLM, ("onlyaudio",), {"run__precision": "bf16"}),
    "seq2seq": (SEQ2SEQ, (), {"seq2seq__ctc_weight": 0.5, "seq2seq__modality_dropout": 0.5}),
    "seq2seq-frozen": (SEQ2SEQ, (), {"seq2seq__freeze_updates": 4}),
}


@pytest.mark.parametrize(("case", "at"), [("vatlm", 4), *((case, 3) for case in CASES)])
def test_a_stop_changes_nothing(
    case: str, at: int, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, kinds, changes = CASES[case]
    path = world.config(base, *kinds, **changes)
    whole = world.go(path, "whole")
    parts = world.folder / "parts"
    with monkeypatch.context() as patch:
        stopped(patch, at)
        request = Request(world.train, world.dev, parts, path, device="cpu")
        assert train(request) == EXIT_PREEMPTED
    assert world.go(path, "parts") == parts
    assert same_state(whole / LAST, parts / LAST) == []
    assert [row["update"] for row in metrics(whole)] == [row["update"] for row in metrics(parts)]


def test_other_data_is_another_run(own_world: World) -> None:
    world = own_world
    path = world.config(VATLM, "onlyaudio", optim__updates=2)
    world.go(path, "exp")
    other = make_av_set(world.folder, "oa2", [20, 30, 40], 9, "onlyaudio")
    with pytest.raises(UserError, match="other settings"):
        world.go(path, "exp", f"mixture.onlyaudio={other}")
    moved = world.onlyaudio.with_name("moved")
    world.onlyaudio.rename(moved)
    world.go(path, "exp", f"mixture.onlyaudio={moved}")


def test_what_disturbs_a_batch_depends_on_its_number_alone(world: World, tmp_path: Path) -> None:
    """Crop, mirror and noise are the same whoever makes the batch, and differ between epochs."""
    noise = tmp_path / "noise"
    noise.mkdir()
    wave = 0.1 * np.random.default_rng(3).standard_normal(20000)
    soundfile.write(noise / "n.wav", wave, 16000, subtype="PCM_16")
    write_table(noise / "babble.train.scp", {"n": str(noise / "n.wav")})
    settings = ("av_data.noise_prob=1.0", f"av_data.noise={noise}", "av_data.noise_snr=[-5, 5]")
    path = world.config(VATLM, "onlyaudio")
    first = open_av(world.train, load_config(path, settings).config, training=True)
    more = (*settings, "av_data.threads=2", "av_data.cache_gb=0.0")
    second = open_av(world.train, load_config(path, more).config, training=True)
    clean = open_av(world.train, load_config(path).config, training=True)
    for index in (3, 0, 8):
        one, two, quiet = first.batch(index), second.batch(index), clean.batch(index)
        assert one.utts == two.utts == quiet.utts
        assert torch.equal(one.audio, two.audio) and not torch.equal(one.audio, quiet.audio)
        assert torch.equal(one.labels, quiet.labels)  # targets are of the clean audio
        if one.video is not None:
            assert torch.equal(one.video, two.video) and torch.equal(one.video, quiet.video)
    assert first.identity == second.identity != clean.identity
    views = [first.make.view(first.parts[0], "u", index, 0) for index in range(40)]
    assert len({view.offset for view in views}) > 20
    assert {view.flip for view in views} == {True, False}
    assert len({view.snr for view in views}) == 40 and all(-5 <= v.snr <= 5 for v in views)


def test_measures_and_lists_of_the_configuration(world: World, config_file) -> None:
    path = world.config(SEQ2SEQ, av_data__noise_snr=5)
    config = load_config(path).config
    assert config.av_data is not None and config.av_data.noise_snr == (5.0,)
    with pytest.raises(UserError, match="expected a list"):
        load_config(path, ("seq2seq.modalities=audio",))
    path = config_file(PRETRAIN, run__best_metric="accuracy")
    with pytest.raises(UserError, match="best_metric = accuracy: mt4ssl has none"):
        world.go(path, "exp")


def test_kinds_need_their_turns(world: World) -> None:
    path = world.config(VATLM, "onlyaudio", optim__micro_batches=3)
    with pytest.raises(UserError, match="micro_batches = 3.*multiple of 2"):
        world.go(path, "exp")


def test_units_of_another_kmeans_are_refused(own_world: World) -> None:
    world = own_world
    meta = json.loads((world.onlyaudio / "labels.json").read_text())
    (world.onlyaudio / "labels.json").write_text(json.dumps(meta | {"sha256": "y"}))
    with pytest.raises(UserError, match="same k-means"):
        world.go(world.config(VATLM, "onlyaudio"), "exp")
    (world.onlyaudio / "labels.json").write_text(json.dumps(meta | {"rate": 50}))
    with pytest.raises(UserError, match="rate = 50.0"):
        world.go(world.config(VATLM, "onlyaudio"), "exp")


def test_av_hubert_has_no_phones(world: World) -> None:
    path = world.config(VATLM, av_model__streams=["audio", "video"])
    folder = world.go(path, "exp")
    assert json.loads((folder / "run.json").read_text())["system"] == "avhubert"
    path = world.config(VATLM, "onlytext", av_model__streams=["audio", "video"])
    with pytest.raises(UserError, match="mixture.onlytext.*stream 'phone'"):
        world.go(path, "exp2")


def test_fine_tuning_begins_at_the_checkpoint(pretrained: tuple[World, Path]) -> None:
    world, init = pretrained
    base = {key: value for key, value in SEQ2SEQ.items() if key != "av_model"}
    path = world.config(base, optim__updates=1, av_model__dropout=0.0, optim__lr=1e-30)
    folder = world.go(path, "tuned", init=init)
    system, config, payload = load_system(folder / BEST)
    assert config.av_model is not None
    assert (config.av_model.resnet_width, config.av_model.dropout) == (8, 0.0)
    assert config.av_model.layerdrop == 0.2
    given = checkpoint.encoder_weights(checkpoint.load(init))
    for key, value in system.encoder.state_dict().items():
        if not key.endswith(("running_mean", "running_var", "num_batches_tracked")):
            torch.testing.assert_close(value, given[key], msg=key)
    assert json.loads((folder / "run.json").read_text())["system"] == "vatlm"
    assert json.loads((folder / "run.json").read_text())["best_metric"] == "accuracy"
    world.subwords.rename(world.subwords.with_name("gone"))
    try:
        model = subwords_of(payload)
        assert list(model.pieces) == payload["vocab"]
        assert model.decode(model.encode("hello test")) == "HELLO TEST"
        load_system(folder / BEST)
    finally:
        world.subwords.with_name("gone").rename(world.subwords)
    with pytest.raises(UserError, match=r"av_model.resnet_width = 12, .* has 8"):
        path = world.config(base, av_model__resnet_width=12)
        world.go(path, "clash", init=init)


def test_a_head_of_ctc_alone(world: World) -> None:
    folder = world.go(world.config(SEQ2SEQ, seq2seq__ctc_weight=1.0), "exp")
    assert json.loads((folder / "run.json").read_text())["best_metric"] == "loss"
    with pytest.raises(UserError, match="subwords: missing"):
        world.go(world.config(SEQ2SEQ, av_data__subwords=""), "exp2")


def test_long_utterances_are_validated(world: World) -> None:
    """Training leaves what is too long out, validation does not."""
    long = make_av_set(world.folder, "long", [30, 120, 40], 8)
    request = Request(
        world.train, long, world.folder / "exp", world.config(SEQ2SEQ, run__validate_every=3),
        device="cpu",
    )  # fmt: skip
    assert train(request) == 0
    log = (world.folder / "exp" / "train.log").read_text()
    assert "long: 3 utterances" in log and "left out" not in log


@pytest.mark.slow
def test_processes_and_accumulation_are_the_same(world: World, forks: Forks) -> None:
    """Two processes, each of which sees two of four kinds, do what one does."""
    path = world.config(
        VATLM, *KINDS, optim__updates=3, run__validate_every=0, av_model__layerdrop=0.0
    )
    for processes, name in ((1, "one"), (2, "two")):
        words = ("--device", "cpu", "--config", path, world.train, world.dev, world.folder / name)
        forks.run(processes, "pylib.bin.train", *words)
    one = checkpoint.load(world.folder / "one" / LAST)["model"]
    two = checkpoint.load(world.folder / "two" / LAST)["model"]
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-5, rtol=1e-4, msg=key)
