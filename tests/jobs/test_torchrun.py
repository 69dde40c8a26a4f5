"""The command line of torchrun, tested as words."""

from __future__ import annotations

import pytest

from pylib.jobs import torchrun

RUN = ["py", "-m", "torch.distributed.run"]
TAIL = ["--max-restarts=0", "-m", "pylib.bin.train", "--config", "a.toml"]


def words(**options: object) -> list[str]:
    return torchrun.argv("py", "pylib.bin.train", ["--config", "a.toml"], **options)  # type: ignore[arg-type]


def test_one_process_needs_no_torchrun() -> None:
    assert words() == ["py", "-m", "pylib.bin.train", "--config", "a.toml"]


def test_one_node_has_a_rendezvous_of_its_own() -> None:
    assert words(nproc=8) == [*RUN, "--nproc-per-node=8", "--standalone", *TAIL]


def test_several_nodes_meet_at_the_place_given() -> None:
    assert words(nproc=8, nodes=2, rendezvous="n1:29500", run_id="exp7") == [
        *RUN, "--nproc-per-node=8", "--nnodes=2", "--rdzv-backend=c10d",
        "--rdzv-endpoint=n1:29500", "--rdzv-id=exp7", *TAIL,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options", [{"nproc": 0}, {"nodes": 0}, {"nodes": 2}, {"nodes": 2, "rendezvous": "n1"}]
)
def test_worlds_that_cannot_be(options: dict[str, object]) -> None:
    with pytest.raises(torchrun.UsageError):
        words(**options)


def test_printing(capsys: pytest.CaptureFixture[str]) -> None:
    assert torchrun.main(["--nproc", "2", "--print", "--", "pylib.bin.train", "a b"]) == 0
    assert "--standalone --max-restarts=0 -m pylib.bin.train 'a b'" in capsys.readouterr().out
    assert torchrun.main(["--what", "2", "--", "m"]) == 2
    assert torchrun.main(["--nproc", "2", "--"]) == 2
