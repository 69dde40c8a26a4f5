"""Parts of a sharded state: any number of readers, none damaged; what cannot be sharded is told."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from pylib.corpus.errors import UserError
from pylib.nn.encoder import EncoderConfig
from pylib.nn.transformer import Transformer
from pylib.training import checkpoint, sharding, shards
from pylib.training.config import load_config
from pylib.training.distributed import single
from pylib.training.session import Request, train
from pylib.training.signals import EXIT_PREEMPTED
from tests.training.helpers import PRETRAIN, same_state
from tests.training.test_checkpoint import Evil
from tests.training.test_resume import stopped

LAST = "checkpoint_last.pt"
FULL = "run.sharding=full"


@pytest.mark.parametrize("world", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("count", [1, 2, 5, 8, 9])
def test_rows_are_shared_out_as_torch_does(count: int, world: int) -> None:
    """FSDP2 splits as `torch.chunk`, with nothing for processes that come too late."""
    rows = torch.arange(count)
    expected = list(rows.chunk(world))
    expected += [rows[:0]] * (world - len(expected))
    for rank in range(world):
        first, end = sharding.rows_of(count, rank, world)
        assert torch.equal(rows[first:end], expected[rank])


def whole() -> dict:
    """A checkpoint of two parameters and a buffer."""
    generator = torch.Generator().manual_seed(0)
    model = {"w": torch.randn(5, 3, generator=generator), "b": torch.randn(1, generator=generator),
             "mean": torch.randn(2, generator=generator)}  # fmt: skip
    state = {
        index: {
            "step": torch.tensor(7.0),
            "exp_avg": model[name] + 1,
            "exp_avg_sq": model[name] + 2,
        }
        for index, name in enumerate(("w", "b"))
    }
    return {
        "update": 7, "progress": {"update": 7}, "vocab": None, "model": model,
        "optimizer": {"state": state, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]},
    }  # fmt: skip


def parts_of(payload: dict, folder: Path, world: int) -> Path:
    """What `world` processes would write of it."""
    folder.mkdir()

    def rows(value: torch.Tensor, rank: int) -> torch.Tensor:
        first, end = sharding.rows_of(value.shape[0], rank, world)
        return value[first:end].clone()

    model, optimizer = payload["model"], payload["optimizer"]
    about = {key: item for key, item in payload.items() if key not in ("model", "optimizer")}
    for rank in range(world):
        part = {
            "format": 1, "world": world, "rank": rank, "update": payload["update"],
            "model": {name: rows(model[name], rank) for name in ("w", "b")},
            "optimizer": {
                index: {key: rows(item, rank) for key, item in values.items() if item.dim()}
                for index, values in optimizer["state"].items()
            },
        }  # fmt: skip
        if rank == 0:
            part["whole"] = {
                "about": about, "names": ["w", "b"], "model": {"mean": model["mean"]},
                "shapes": {name: list(item.shape) for name, item in model.items()},
                "param_groups": optimizer["param_groups"],
                "optimizer": {i: {"step": v["step"]} for i, v in optimizer["state"].items()},
            }  # fmt: skip
        checkpoint.write(folder / f"{rank:05d}-of-{world:05d}.pt", part)
    return folder


@pytest.mark.parametrize("readers", [1, 2, 4, 7])
@pytest.mark.parametrize("writers", [1, 2, 3, 4])
def test_any_number_reads_what_any_number_wrote(writers: int, readers: int, tmp_path: Path) -> None:
    payload = whole()
    folder = parts_of(payload, tmp_path / "shards_00000007_0", writers)
    for rank in range(readers):
        read = shards.load(folder, rank, readers)
        assert read["progress"] == {"update": 7} and read["vocab"] is None
        for name, value in payload["model"].items():
            first, end = sharding.rows_of(len(value), rank, readers)
            expected = value if name == "mean" else value[first:end]
            assert torch.equal(read["model"][name], expected)
        for index, values in payload["optimizer"]["state"].items():
            assert read["optimizer"]["state"][index]["step"] == 7
            first, end = sharding.rows_of(len(values["exp_avg"]), rank, readers)
            for key in ("exp_avg", "exp_avg_sq"):
                mine = read["optimizer"]["state"][index][key]
                assert torch.equal(mine, values[key][first:end])
    assert read["optimizer"]["param_groups"] == payload["optimizer"]["param_groups"]


def _other_update(folder: Path) -> None:
    parts_of(whole() | {"update": 8}, folder.parent / "other", 2)
    os.replace(folder.parent / "other" / "00001-of-00002.pt", folder / "00001-of-00002.pt")


def _twice_the_same(folder: Path) -> None:
    (folder / "00001-of-00002.pt").write_bytes((folder / "00000-of-00002.pt").read_bytes())


def _short_rows(folder: Path) -> None:
    part = checkpoint.read(folder / "00001-of-00002.pt")
    part["model"]["w"] = part["model"]["w"][:1]
    checkpoint.write(folder / "00001-of-00002.pt", part)


def _cut_off(folder: Path) -> None:
    path = folder / "00001-of-00002.pt"
    path.write_bytes(path.read_bytes()[:-200])


DAMAGES = {
    "no part 1": (lambda folder: (folder / "00001-of-00002.pt").unlink(), "no such checkpoint"),
    "no part 0": (lambda folder: (folder / "00000-of-00002.pt").unlink(), "no such checkpoint"),
    "other update": (_other_update, "of different updates"),
    "twice": (_twice_the_same, "it is not part 1 of 2"),
    "short": (_short_rows, "do not fit together"),
    "cut off": (_cut_off, "not a readable checkpoint"),
    "pickle": (lambda f: torch.save(Evil(), f / "00001-of-00002.pt"), "not a readable checkpoint"),
    "other file": (lambda f: torch.save({}, f / "00000-of-00002.pt"), "not a part of a state"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_states_are_refused(name: str, tmp_path: Path) -> None:
    damage, message = DAMAGES[name]
    folder = parts_of(whole(), tmp_path / "shards_00000007_0", 2)
    damage(folder)  # type: ignore[operator]
    with pytest.raises(UserError, match=message) as caught:
        shards.load(folder)
    assert "shards_00000007_0" in str(caught.value)
    assert not Path("/tmp/trivium-evil-checkpoint").exists()


def test_states_are_found_in_order_and_removed_as_a_whole(tmp_path: Path) -> None:
    names = ("shards_00000009_0", "shards_00000010_0", "shards_00000010_1", "shards_123456789_0")
    for name in (*reversed(names), "shards_x_0", ".shards_00000011_0.tmp-h-1-0"):
        (tmp_path / name).mkdir()
    assert [path.name for path in shards.found(tmp_path)] == list(names)
    shards.remove(shards.found(tmp_path)[:-1])
    shards.sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards_123456789_0", "shards_x_0"]


def test_a_full_disk_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    shards.write(tmp_path, single(), module, optimizer, {"update": 3})

    def full(path: Path, payload: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write", full)
        with pytest.raises(OSError, match="No space left"):
            shards.write(tmp_path, single(), module, optimizer, {"update": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["shards_00000003_0"]
    shards.write(tmp_path, single(), module, optimizer, {"update": 3})  # after a stop, say
    assert [path.name for path in tmp_path.iterdir()] == ["shards_00000003_1"]
    read = shards.load(tmp_path / "shards_00000003_1")
    assert torch.equal(read["model"]["weight"], module.weight)


def test_one_process_goes_on_from_parts(sets, config_file, tmp_path, monkeypatch) -> None:
    """The newer of parts and checkpoint_last counts; once done, the whole file alone is left."""
    path = config_file(run__keep=0)
    request = Request(*sets, tmp_path / "whole", path, (FULL,), device="cpu")
    assert train(request) == 0  # one process is never sharded
    folder = tmp_path / "parts"
    request = Request(*sets, folder, path, (FULL,), device="cpu")
    with monkeypatch.context() as patch:
        stopped(patch, 5)
        assert train(request) == EXIT_PREEMPTED
    payload = checkpoint.load(folder / LAST)
    _old_as_parts(payload, folder)
    with monkeypatch.context() as patch:
        stopped(patch, 5)
        patch.setattr(shards, "load", lambda *_: payload | {"progress": _progress(payload, 2)})
        assert train(request) == EXIT_PREEMPTED
        assert checkpoint.load(folder / LAST)["update"] == 7  # not from the older parts
    assert shards.found(folder) == []
    _old_as_parts(payload, folder)
    monkeypatch.setattr(shards, "load", lambda *_: checkpoint.load(folder / "new.pt"))
    os.replace(folder / LAST, folder / "new.pt")
    assert train(request) == 0
    assert same_state(tmp_path / "whole" / LAST, folder / LAST) == []
    assert shards.found(folder) == []


def _old_as_parts(payload: dict, folder: Path) -> None:
    (folder / f"shards_{payload['update']:08d}_0").mkdir()


def _progress(payload: dict, update: int) -> dict:
    return payload["progress"] | {"update": update}


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["system=fhvae"], "--set run.sharding: run.sharding = full: fhvae has no layers"),
        (["run.compile=true"], "run.sharding = full and run.compile = true"),
    ],
)
def test_what_cannot_be_sharded_is_told(overrides: list[str], told: str) -> None:
    sharding.check(load_config(None, overrides))
    sharding.check(load_config(None, [FULL]))
    with pytest.raises(UserError, match=told) as caught:
        sharding.check(load_config(None, [FULL, *overrides]))
    assert "set" in str(caught.value)


def test_sharding_is_no_part_of_what_a_run_is() -> None:
    """A run may go on sharded, or no longer."""
    assert load_config(None, [FULL]).config.hash() == load_config(None).config.hash()
    with pytest.raises(UserError, match="expected one of none, full"):
        load_config(None, ["run.sharding=half"])


def test_a_plan_tells_what_a_process_holds(sets, config_file, tmp_path, capsys) -> None:
    overrides = (FULL, "run.precision=bf16")
    request = Request(*sets, tmp_path / "exp", config_file(), overrides, device="cpu")
    assert train(Request(**vars(request) | {"plan_only": True})) == 0
    said = capsys.readouterr().out
    assert "sharded (run.sharding = full): a process holds 0.00 GB over 2 processes" in said
    assert "of weights in bf16" in said


def test_visiting_skipped_blocks_changes_nothing() -> None:
    torch.manual_seed(0)
    context = Transformer(EncoderConfig(**PRETRAIN["model"] | {"layerdrop": 0.5}).transformer())
    x, index = torch.randn(2, 9, 32), torch.tensor([[0, 3], [1, 8]])
    for seed in range(6):  # all patterns of two blocks
        outcomes = []
        for visit in (False, True):
            context.visit_all = visit
            context.zero_grad()
            torch.manual_seed(seed)
            y = context(x, index=index)
            y.square().sum().backward()
            grads = [p.grad if p.grad is not None else torch.zeros_like(p)
                     for p in context.parameters()]  # fmt: skip
            outcomes.append([y.detach(), *(grad.clone() for grad in grads)])
        assert all(torch.equal(*pair) for pair in zip(*outcomes, strict=True))
