"""Readers with every fault that the engine is there to find; only its own tests ask for them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from pylib.corpus.errors import UserError
from tests.mutations.case import HERE, Reader

GOOD = b"one 1\ntwo 2\nthree 3\n"


def _make() -> None:
    HERE.mkdir(exist_ok=True)
    (HERE / "f").write_bytes(GOOD)


def _if_damaged(fault: Any) -> Any:
    return lambda: fault() if (HERE / "f").read_bytes() != GOOD else None


def _hang() -> None:
    while True:
        pass


def _eat() -> None:
    held = []
    while True:  # untouched: the kernel takes longer to hand out pages than to refuse addresses
        held.append(np.empty(1 << 26, np.uint8))


def _half() -> None:
    (HERE / "out.tmp").write_bytes(b"half")
    raise UserError("ex/f:1: broken: mend it")


def _raise(error: Exception) -> Any:
    def fault() -> None:
        raise error

    return fault


FAULTS = {
    "hangs": _hang,
    "eats memory": _eat,
    "crashes": os.abort,
    "leaves a half": _half,
    "runs the data": lambda: Path("PWNED").touch(),
    "escapes": lambda: Path("..", "escaped").touch(),
    "raises": _raise(KeyError("x")),
    "names nothing": _raise(UserError("it is broken: somehow: mend it")),
    "gives no advice": _raise(UserError("ex/f: broken")),
    "exits": _raise(SystemExit(2)),  # type: ignore[arg-type]
}
READERS = tuple(
    Reader(name, "none", _make, _if_damaged(fault), lambda _: "", ("f",))
    for name, fault in FAULTS.items()
)
