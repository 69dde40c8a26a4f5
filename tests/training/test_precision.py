"""`run.precision = "auto"`: by the device, and kept where a run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pylib.corpus.errors import UserError
from pylib.training import precision
from pylib.training.config import load_config
from pylib.training.distributed import single


def settled(folder: Path, *overrides: str) -> str:
    return precision.settle(load_config(None, overrides).config, folder, single()).run.precision


@pytest.mark.parametrize(
    "able,expected",
    [
        ({"avx2": True, "avx512_bf16": False, "cpu_name": "x"}, "fp32"),
        ({"avx512_f": True}, "fp32"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"bf16": True}, "bf16"),
    ],
)
def test_auto_follows_the_processor(tmp_path: Path, able: dict, expected: str, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert settled(tmp_path, "run.precision=auto") == expected
    for written in precision.KINDS:
        assert settled(tmp_path, f"run.precision={written}") == written


@pytest.mark.parametrize("begun", precision.KINDS)
def test_a_run_keeps_what_it_began_with(tmp_path: Path, begun: str, monkeypatch) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"run": {"precision": begun}}), "utf-8")
    for able in ({}, {"amx_bf16": True}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda able=able: able)
        assert settled(tmp_path, "run.precision=auto") == begun
    assert settled(tmp_path, "run.precision=fp32") == "fp32"


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"run"', encoding="utf-8")
    with pytest.raises(UserError, match="config.json: not readable as JSON"):
        settled(tmp_path, "run.precision=auto")
    (tmp_path / "config.json").write_text('{"run": 3}', encoding="utf-8")
    assert settled(tmp_path, "run.precision=auto") in ("fp32", "bf16")
