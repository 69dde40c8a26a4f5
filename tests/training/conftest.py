"""Fixtures of the tests of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.forks import Forks
from tests.training.helpers import PRETRAIN, make_set, toml
from tests.training.segment_helpers import make_segment_set


@pytest.fixture
def sets(tmp_path: Path) -> tuple[Path, Path]:
    """Training set of 24 and development set of 6 utterances, filter banks."""
    rng = np.random.default_rng(0)
    train = make_set(tmp_path, "train", list(rng.uniform(0.8, 3.5, 24)), 1)
    dev = make_set(tmp_path, "dev", list(rng.uniform(0.8, 3.5, 6)), 2)
    return train, dev


@pytest.fixture
def segment_sets(tmp_path: Path) -> tuple[Path, Path]:
    """Training set of 4 speakers x 3 utterances and development set of 4 x 1, log-mel of 8 bins."""
    rng = np.random.default_rng(0)
    frames = {f"s{i}": rng.integers(60, 140, 3).tolist() for i in range(4)}
    train = make_segment_set(tmp_path, "train", frames, 1, cmvn=True)
    dev = make_segment_set(tmp_path, "dev", {f"s{i}": [50 + 10 * i] for i in range(4)}, 2)
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


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Runs of training in processes of their own."""
    made = Forks(tmp_path_factory.mktemp("forks"), "pylib.training.session")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
