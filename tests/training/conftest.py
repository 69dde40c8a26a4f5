"""Fixtures of the tests of training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.helpers import PRETRAIN, make_set, toml


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    """Training set of 24 and development set of 6 utterances, filter banks."""
    rng = np.random.default_rng(0)
    train = make_set(tmp_path, "train", list(rng.uniform(0.8, 3.5, 24)), 1)
    dev = make_set(tmp_path, "dev", list(rng.uniform(0.8, 3.5, 6)), 2)
    return train, dev


@pytest.fixture
def config_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration: sections of PRETRAIN or FINETUNE with changes `section__key`."""

    def write(base: dict = PRETRAIN, name: str = "conf.toml", **changes: object) -> Path:
        sections = {key: dict(value) if isinstance(value, dict) else value
                    for key, value in base.items()}  # fmt: skip
        for key, value in changes.items():
            section, _, item = key.partition("__")
            sections.setdefault(section, {})[item] = value
        path = tmp_path / name
        path.write_text(toml(sections), encoding="utf-8")
        return path

    return write


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
