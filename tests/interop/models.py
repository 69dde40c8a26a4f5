"""Small models with random weights, norms and biases too, for the tests of conversion."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch

from pylib.nn.batch import Batch
from pylib.nn.encoder import Encoder, EncoderConfig
from pylib.nn.masks import MaskConfig
from pylib.systems.mt4ssl import MT4SSL, TargetsConfig
from pylib.training import checkpoint
from pylib.training.config import from_dict

TINY = EncoderConfig(
    conv_dim=16, dim=32, ffn_dim=64, layers=2, heads=4, pos_conv_groups=4, mask_pos_conv=False
)
HUBERT = replace(TINY, conv_norm="group", pos_conv_depth=1, pos_conv_width=128)
LARGE = replace(TINY, pos_conv_depth=1, pos_conv_width=128, norm="pre", conv_bias=True)
CONFIGS = {"data2vec": TINY, "hubert": HUBERT, "hubert_large": LARGE}
K = 7
COSINE = TargetsConfig(
    clusters=K, offline_head="cosine", cosine_dim=8, feature_penalty=10.0, online_weight=0.0
)
BOTH = TargetsConfig(clusters=K, teacher_layers=2)
ONLINE = TargetsConfig(teacher_layers=2, offline_weight=0.0)
TARGETS = {"data2vec": ONLINE, "hubert": COSINE, "hubert_large": COSINE, "mt4ssl": BOTH}


def shaken(module: torch.nn.Module, seed: int = 5) -> torch.nn.Module:
    """The module with every number of it random, in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def system(name: str, encoder: EncoderConfig | None = None) -> MT4SSL:
    """A random system of pre-training."""
    torch.manual_seed(5)
    made = MT4SSL(encoder or CONFIGS.get(name, TINY), TARGETS[name], MaskConfig())
    shaken(made)
    return made


def saved(path: Path, made: MT4SSL, name: str, normalise: bool = True) -> Path:
    """A checkpoint of Trivium as a training writes it."""
    sections = {
        "system": "mt4ssl",
        "model": asdict(made.encoder.config),
        "targets": asdict(made.targets),
        "mask": asdict(made.mask_config),
        "data": {"normalise": normalise},
    }
    payload = {
        "format": checkpoint.FORMAT,
        "system": "mt4ssl",
        "config": from_dict(sections, "test").as_dict(),
        "model": made.state_dict(),
        "optimizer": {},
        "update": 8,
        "vocab": None,
        "provenance": {"system_name": name, "seed": 1, "preset": ""},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write(path, payload)
    return path


def waveform(samples: int = 8000) -> torch.Tensor:
    """(2, N) noise."""
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(3))


def outputs(encoder: Encoder, x: torch.Tensor) -> torch.Tensor:
    """Last layer (B, T, D) of our encoder."""
    with torch.no_grad():
        return encoder(Batch(x, torch.full((x.shape[0],), x.shape[1])))[0]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    """Assert that two state dicts are equal to the last bit."""
    assert first.keys() == second.keys(), first.keys() ^ second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
