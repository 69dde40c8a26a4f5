"""Runs of training one after the other in the same processes: torchrun's start takes 10 s.

    python -m torch.distributed.run ... -m tests.training.many_runs RUNS.json

RUNS.json: a list of {config, train, dev, folder, overrides, stop, restore}. `stop`: after so many
updates, as if a signal had come. `restore`: instead of training, write what the run goes on from as
the whole file of that name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from pylib.training import loop
from pylib.training.session import Request, train
from pylib.training.signals import StopRequest
from tests.training.test_resume import StopAfter


def all_of(path: Path, patch: pytest.MonkeyPatch) -> None:
    """Do the runs of a file."""
    train_on = loop.Trainer.run

    for item in json.loads(path.read_text(encoding="utf-8")):

        def run(self: loop.Trainer, stop: StopRequest, item: dict = item) -> str:
            if item.get("restore"):
                self.save(item["restore"])
                return "restored"
            if item.get("stop"):
                stop = StopAfter(item["stop"])
                stop.trainer = self
            return train_on(self, stop)

        patch.setattr(loop.Trainer, "run", run)
        train(
            Request(
                Path(item["train"]), Path(item["dev"]), Path(item["folder"]), Path(item["config"]),
                tuple(item.get("overrides", ())), device="cpu",
            )
        )  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    # Joined once: a second group of the same processes would find the first one's addresses.
    dist.init_process_group("gloo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dist, "init_process_group", lambda *_: None)
        patch.setattr(dist, "destroy_process_group", lambda: None)
        all_of(Path(sys.argv[1]), patch)
    dist.destroy_process_group()
