"""What several tests of the data layer share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np


def noise(count: int, seed: int = 0) -> np.ndarray:
    """float32 (count,) in [-0.5, 0.5]."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, count).astype(np.float32)


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Rewrite a text file."""
    path.write_bytes(change(path.read_bytes().decode("utf-8")).encode("utf-8"))


def snapshot(path: Path) -> dict[str, bytes]:
    """Every file below a directory with its bytes."""
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
