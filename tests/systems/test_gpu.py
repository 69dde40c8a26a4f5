"""The same sums on a GPU as on the CPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pylib.nn.batch import Batch
from pylib.nn.encoder import EncoderConfig
from pylib.nn.masks import MaskConfig
from pylib.systems.ctc import CTC, CTCConfig
from pylib.systems.mt4ssl import MT4SSL, TargetsConfig

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

TINY = EncoderConfig(
    conv_dim=32,
    dim=64,
    ffn_dim=128,
    layers=3,
    heads=4,
    pos_conv_groups=4,
    dropout=0.0,
    attention_dropout=0.0,
    layerdrop=0.0,
)
HUBERT = {"conv_norm": "group", "pos_conv_depth": 1, "pos_conv_width": 128}


def both(system: torch.nn.Module, batch: Batch, precision: torch.dtype) -> tuple[float, float]:
    """loss_sum on the CPU in float32 and on the GPU in `precision`, gradients taken too."""
    here = system(batch, torch.Generator().manual_seed(1))
    here.loss_sum.backward()
    expected = {n: p.grad.clone() for n, p in system.named_parameters() if p.grad is not None}
    system.zero_grad()
    system.cuda()
    with torch.autocast("cuda", precision, enabled=precision != torch.float32):
        there = system(batch.to("cuda"), torch.Generator().manual_seed(1))
    there.loss_sum.backward()
    assert float(here.count) == float(there.count)
    assert here.metrics.keys() == there.metrics.keys()
    if precision == torch.float32:
        for name, parameter in system.named_parameters():
            if parameter.grad is not None:
                largest = expected[name].abs().max()
                difference = (parameter.grad.cpu() - expected[name]).abs().max()
                assert difference <= 1e-3 * largest + 1e-4, name
    return float(here.loss_sum), float(there.loss_sum)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("changes", [{}, HUBERT, {"frontend": "fbank"}])
def test_pre_training(changes: dict, precision: torch.dtype) -> None:
    torch.manual_seed(0)
    config = replace(TINY, **changes)
    system = MT4SSL(config, TargetsConfig(clusters=9, teacher_layers=2), MaskConfig())
    if config.frontend == "fbank":
        x, lengths, frames = torch.randn(2, 400, 80), [400, 300], [100, 75]
    else:
        x, lengths, frames = torch.randn(2, 32000), [32000, 24000], [99, 74]
    labels = torch.randint(0, 9, (2, frames[0]))
    labels[1, frames[1] :] = -1
    expected, found = both(system, Batch(x, torch.tensor(lengths), labels), precision)
    assert found == pytest.approx(expected, rel=1e-4 if precision == torch.float32 else 0.03)


def test_fine_tuning() -> None:
    torch.manual_seed(0)
    config = CTCConfig(channel_length=8, freeze_frontend=False)
    system = CTC(replace(TINY, frontend="fbank"), config, 32)
    tokens = torch.randint(5, 32, (2, 8))
    lengths = torch.tensor([400, 300])
    batch = Batch(torch.randn(2, 400, 80), lengths, None, tokens, torch.tensor([8, 5]))
    expected, found = both(system, batch, torch.float32)
    assert found == pytest.approx(expected, rel=1e-4)
