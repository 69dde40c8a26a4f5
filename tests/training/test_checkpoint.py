"""Checkpoints are whole, plain, and need nothing but themselves."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from pylib.corpus.errors import UserError
from pylib.nn.batch import Batch
from pylib.training import checkpoint
from pylib.training.session import Request, train
from tests.training.helpers import FINETUNE, PRETRAIN, ROOT


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.randn(2, 100, 80, generator=generator), torch.tensor([100, 80]))


def test_loads_without_data_labels_or_configuration(sets, config_file, tmp_path) -> None:
    folder = tmp_path / "exp"
    path = config_file(FINETUNE)
    assert train(Request(*sets, folder, path, device="cpu")) == 0
    system, config, payload = checkpoint.load_system(folder / "checkpoint_best.pt")
    expected, lengths = system.log_probs(batch())
    moved = tmp_path.parent / f"{tmp_path.name}-moved.pt"
    shutil.copy(folder / "checkpoint_best.pt", moved)
    for item in tmp_path.iterdir():
        shutil.rmtree(item) if item.is_dir() else item.unlink()
    again, config_again, payload = checkpoint.load_system(moved)
    assert torch.equal(again.log_probs(batch())[0], expected)
    assert config_again == config and not again.training
    assert payload["vocab"][:5] == ["<s>", "<pad>", "</s>", "<unk>", "|"]
    assert payload["provenance"]["versions"]["torch"]
    assert lengths.tolist() == [25, 20]


def test_pretraining_checkpoint_has_teacher_and_provenance(sets, config_file, tmp_path) -> None:
    folder = tmp_path / "exp"
    assert train(Request(*sets, folder, config_file(PRETRAIN), device="cpu")) == 0
    payload = checkpoint.load(folder / checkpoint.LAST)
    assert any(key.startswith("teacher.") for key in payload["model"])
    assert payload["update"] == 8 and payload["vocab"] is None
    assert {"commit", "dirty", "argv", "data", "versions"} <= set(payload["provenance"])
    names = sorted(item.name for item in folder.glob("*.pt"))
    assert names == ["checkpoint_00000006.pt", "checkpoint_00000008.pt", "checkpoint_last.pt"]
    assert not any(item.is_symlink() for item in folder.iterdir())
    hidden, lengths = checkpoint.load_system(folder / checkpoint.LAST)[0].encoder.extract(
        batch(), 1
    )
    assert hidden.shape == (2, 25, 32) and lengths.tolist() == [25, 20]


def payload(update: int) -> dict:
    return {"format": 1, "system": "ctc", "config": {}, "model": {"w": torch.ones(4) * update}}


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path) -> None:
    """Files may not grow beyond 2 kB, as on a full disk: what the system says comes through."""
    checkpoint.save(tmp_path, ["a.pt", "b.pt"], payload(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2048, before[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            checkpoint.save(tmp_path, ["a.pt", "b.pt"], payload(2) | {"more": torch.ones(4096)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(tmp_path / "a.pt")
    for name in ("a.pt", "b.pt"):
        assert checkpoint.load(tmp_path / name)["model"]["w"][0] == 1
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.pt", "b.pt"]


def test_too_little_space_is_found_before_writing(tmp_path, monkeypatch) -> None:
    from pylib.corpus import atomic

    monkeypatch.setattr(atomic.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(UserError, match="GB needed"):
        checkpoint.save(tmp_path, ["a.pt"], payload(1))


def test_names_of_one_update_share_a_file_until_one_is_replaced(tmp_path) -> None:
    checkpoint.save(tmp_path, ["last.pt", "best.pt"], payload(1))
    assert (tmp_path / "last.pt").stat().st_ino == (tmp_path / "best.pt").stat().st_ino
    checkpoint.save(tmp_path, ["last.pt"], payload(2))
    assert checkpoint.load(tmp_path / "best.pt")["model"]["w"][0] == 1
    assert checkpoint.load(tmp_path / "last.pt")["model"]["w"][0] == 2


@pytest.mark.parametrize(
    ("keep", "left"), [(0, []), (2, [3, 4]), (9, [1, 2, 3, 4]), (-1, [1, 2, 3, 4])]
)
def test_numbered_are_pruned(tmp_path, keep: int, left: list[int]) -> None:
    for update in (1, 2, 3, 4):
        (tmp_path / checkpoint.numbered(update)).touch()
    (tmp_path / checkpoint.LAST).touch()
    checkpoint.prune(tmp_path, keep)
    found = sorted(item.name for item in tmp_path.glob("checkpoint_0*"))
    assert found == [checkpoint.numbered(update) for update in left]
    assert (tmp_path / checkpoint.LAST).exists()


class Evil:
    def __reduce__(self):
        return os.mkdir, ("/tmp/trivium-evil-checkpoint",)


@pytest.mark.parametrize("content", ["missing", "empty", "cut", "pickle", "other", "format"])
def test_what_is_no_checkpoint_is_refused(tmp_path, content: str) -> None:
    path = tmp_path / "x.pt"
    if content == "empty":
        path.touch()
    elif content == "cut":
        checkpoint.save(tmp_path, ["x.pt"], payload(1))
        path.write_bytes(path.read_bytes()[:300])
    elif content == "pickle":
        path.write_bytes(pickle.dumps(Evil()))
    elif content == "other":
        torch.save({"state_dict": {}}, path)
    elif content == "format":
        torch.save(payload(1) | {"format": 99}, path)
    with pytest.raises(UserError, match=str(path)):
        checkpoint.load(path)
    assert not os.path.exists("/tmp/trivium-evil-checkpoint")


def test_weights_of_another_model_are_named() -> None:
    module = torch.nn.Linear(3, 2)
    with pytest.raises(UserError, match=r"x.pt: .*lacks bias.*weight is \(2, 4\), expected"):
        checkpoint.restore(module, {"weight": torch.zeros(2, 4)}, "x.pt")


SMALL = {
    "system": "phone2unit",
    "phone2unit": {
        "clusters": 5, "dim": 8, "heads": 2, "encoder_layers": 1, "decoder_layers": 1,
        "ffn_dim": 8, "kernel": 3, "duration_dim": 4,
    },
    "phone_data": {}, "optim": {}, "run": {},
}  # fmt: skip


def small() -> dict:
    from pylib.training.build import build_system
    from pylib.training.config import from_dict

    model = build_system(from_dict(SMALL, "it")).state_dict()
    return {"format": 1, "system": "phone2unit", "config": SMALL, "model": model}


@pytest.mark.parametrize(
    "key,value",
    [
        ("config", []),
        ("config", {**SMALL, "phone2unit": 3}),
        ("config", {**SMALL, "phone2unit": {"dim": 2**31}}),
        ("config", {**SMALL, "phone2unit": {"encoder_layers": -1}}),
        ("config", {**SMALL, "phone2unit": {"encoder_layers": 2**31}}),
        ("config", {**SMALL, "phone2unit": {**SMALL["phone2unit"], "dim": 65536}}),
        ("model", []),
        ("model", {"x": 3}),
        ("vocab", 3),
        ("rows", "many"),
        ("format", None),
    ],
)
def test_values_that_cannot_be_are_refused(tmp_path, key: str, value: object) -> None:
    """Whole files with hostile values: no other exception, no memory for sizes nobody trained."""
    path = tmp_path / "x.pt"
    torch.save(small(), path)
    assert checkpoint.load_system(path)[1].system == "phone2unit"
    torch.save({**small(), key: value}, path)
    with pytest.raises(UserError, match=str(path)):
        checkpoint.load_system(path)


@pytest.mark.parametrize("stream", [b"\x80\x02(.", b"\x80\x02)a.", b"\x80\x02Nb.", b"\x80\x02e."])
def test_damaged_pickles_are_refused(tmp_path, stream: bytes) -> None:
    """Operations without operands fail as IndexError, TypeError, AttributeError ..."""
    path = tmp_path / "x.pt"
    path.write_bytes(stream)
    with pytest.raises(UserError, match="x.pt: not a readable checkpoint"):
        checkpoint.load(path)


@pytest.mark.parametrize("size", [1, 10, 21, 22, 100, 1000])
def test_files_cut_short_are_named(tmp_path, size: int) -> None:
    """Before the end of a short archive torch fails as an OSError without a name."""
    torch.save(small(), tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    for part in (data[:size], data[-size:], b"PK\x03\x04" * (size // 4)):
        (tmp_path / "x.pt").write_bytes(part)
        with pytest.raises(UserError, match="x.pt: not a readable checkpoint"):
            checkpoint.load(tmp_path / "x.pt")


def test_loading_does_not_import_the_compiler(tmp_path) -> None:
    """Its import takes longer than most of what a checkpoint is loaded for."""
    code = """
import sys, torch
from dataclasses import replace
from pathlib import Path
from pylib.training.build import build_system
from pylib.training.checkpoint import load_system
from pylib.training.config import load_config
path = Path(sys.argv[1])
bodies = {}
for name in sys.argv[2:]:
    config = load_config(name).config
    # Fine-tuning has the sizes of its encoder from pre-training, whose turn was just before: by
    # itself it says those of the published models, 400 MB each.
    field = "av_model" if config.av_model else "model"
    if config.system in ("mt4ssl", "vatlm"):
        bodies[field] = getattr(config, field)
    elif field in bodies:
        config = replace(config, **{field: bodies.pop(field)})
    rows = 3 if config.system == "fhvae" else 0
    model = build_system(config, 5, rows).state_dict()
    about = {"format": 1, "system": config.system, "vocab": list("abcde"), "rows": rows}
    torch.save({**about, "config": config.as_dict(), "model": model}, path)
    system = load_system(path)[0].state_dict()
    assert all(torch.equal(system[key], model[key]) for key in model)
    assert "torch._dynamo" not in sys.modules, name
"""
    names = {"librispeech": ("mt4ssl", "ctc"), "lrs3": ("vatlm", "seq2seq", "phone2unit")}
    names["vctk"] = ("fhvae", "ctc")
    paths = [
        f"egs/{recipe}/conf/{name}_smoke.toml" for recipe, parts in names.items() for name in parts
    ]
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.pt"), *paths], check=True, cwd=ROOT
    )
