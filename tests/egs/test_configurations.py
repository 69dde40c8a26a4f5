"""Every configuration of every recipe loads, and its model builds on the meta device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pylib.training.build import build_system
from pylib.training.config import load_config

ROOT = Path(__file__).resolve().parents[2]
# encoder_*.toml are shapes that others extend.
CONFIGS = sorted(
    path for path in ROOT.glob("egs/*/conf/*.toml") if not path.stem.startswith("encoder_")
)
ENCODERS = {"mt4ssl_base": 93_164_288, "data2vec_base": 93_164_288, "hubert_base": 94_371_712}
# Parameters of whole systems: vatlm's one vector that stands for hidden phones is ours.
SYSTEMS = {
    "avhubert_base": 103_330_280,
    "avhubert_large": 325_398_504,
    "vatlm_base": 107_497_448 + 768,
    "vatlm_large": 332_789_736 + 1024,
}
PRESETS = ("smoke", "mini", "small", "base", "large")


def test_all_configurations_are_swept() -> None:
    names = {path.stem for path in CONFIGS if path.parts[-3] == "librispeech"}
    for preset in PRESETS:
        assert {f"{s}_{preset}" for s in ("mt4ssl", "hubert", "data2vec", "offte")} <= names
        assert any(name.startswith(f"ctc_{preset}") for name in names)
    presets = sorted(path.stem for path in ROOT.glob("egs/librispeech/conf/preset_*.conf"))
    assert presets == sorted(f"preset_{p}" for p in PRESETS)
    names = {path.stem for path in CONFIGS if path.parts[-3] == "lrs3"}
    kinds = ("vatlm", "avhubert", "bootstrap", "scratch", "seq2seq", "phone2unit")
    assert names >= {f"{kind}_{preset}" for kind in kinds for preset in PRESETS}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_configuration_builds(path: Path) -> None:
    config = load_config(path).config
    with torch.device("meta"):
        system = build_system(config, vocab_size=1000 if config.system == "seq2seq" else 0)
    if path.stem in ENCODERS:
        assert sum(p.numel() for p in system.encoder.parameters()) == ENCODERS[path.stem]
    if path.stem in SYSTEMS:
        assert sum(p.numel() for p in system.parameters()) == SYSTEMS[path.stem]
