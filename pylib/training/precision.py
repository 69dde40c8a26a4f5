"""What `run.precision = "auto"` stands for on the machine at hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from pylib.corpus.jsonfile import read_object
from pylib.training.config import TrainConfig
from pylib.training.distributed import Processes

KINDS = ("fp32", "bf16", "fp16")


def computes_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 itself; one that imitates it is slower than in fp32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def settle(config: TrainConfig, folder: Path, where: Processes) -> TrainConfig:
    """The configuration with a precision instead of `auto`, the same on all processes.

    A run that has begun in `folder` keeps what it began with, wherever it goes on; else it is bf16
    where the first process's device computes it, and fp32 elsewhere.
    """
    if config.run.precision != "auto":
        return config
    precision = "bf16" if computes_bf16(where.device) else "fp32"
    begun = folder / "config.json"
    if where.first and begun.is_file():
        kept = read_object(begun, "remove the directory to train again").get("run")
        if isinstance(kept, dict) and kept.get("precision") in KINDS:
            precision = kept["precision"]
    precision = where.tell(precision)
    return replace(config, run=replace(config.run, precision=precision))
