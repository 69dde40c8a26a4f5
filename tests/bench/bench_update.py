"""One pre-training update, ours beside transformers' HubertModel with an equivalent loss.

    OMP_NUM_THREADS=2 python tests/bench/bench_update.py [--rows 8] [--seconds 10] [--micro 4]

An update is forward and backward of `rows` clips, `micro` at a time, without the optimiser's
step, which is the same for all. The peer is transformers' model as it stands, its mask vector,
one linear layer over the masked frames and cross-entropy: what HuBERT's loss needs and no more.
Dropouts, threads and inputs are the same; runs are interleaved, the best of each is kept, in CPU
seconds of the process, so that a busy machine does not decide. LayerDrop is off on both sides: it
would only add luck. Lines:

    hubert       our HuBERT (offline targets, linear head): the peer's architecture and loss
    offte, mt4ssl, data2vec: the same encoder with MT4SSL's front end and positions; what mt4ssl
                 takes more than offte is the teacher and the second head

The exit status is 1 if ours is slower than the peer in any precision.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pylib.interop.transformers import config_to_transformers, state_to_transformers
from pylib.nn.batch import Batch
from pylib.nn.encoder import EncoderConfig
from pylib.nn.masks import MaskConfig, draw_mask
from pylib.systems.mt4ssl import MT4SSL, TargetsConfig

HUBERT = {"conv_norm": "group", "pos_conv_depth": 1, "pos_conv_width": 128}
CLUSTERS = 500


class Peer(nn.Module):
    """transformers' HubertModel, mask, linear layer over the masked frames, cross-entropy."""

    def __init__(self, config: EncoderConfig, source: MT4SSL) -> None:
        super().__init__()
        from transformers import HubertConfig, HubertModel

        kwargs = config_to_transformers(config) | {"apply_spec_augment": True}
        self.hubert = HubertModel(HubertConfig(**kwargs, attn_implementation="sdpa"))
        self.hubert.load_state_dict(state_to_transformers(source.encoder.state_dict()))
        self.head = nn.Linear(config.dim, CLUSTERS)

    def forward(self, batch: Batch, mask: Tensor) -> Tensor:
        hidden = self.hubert(batch.inputs, mask_time_indices=mask).last_hidden_state
        logits = self.head(hidden[mask]).float()
        return F.cross_entropy(logits, batch.labels[mask], reduction="sum") / mask.sum()


def batches(rows: int, micro: int, seconds: float, device: str) -> list[Batch]:
    """Noise with random labels, `micro` rows each."""
    draw = torch.Generator().manual_seed(0)
    samples = int(16000 * seconds)
    frames = (samples - 400) // 320 + 1
    made = []
    for start in range(0, rows, micro):
        count = min(micro, rows - start)
        x = torch.randn(count, samples, generator=draw)
        labels = torch.randint(0, CLUSTERS, (count, frames), generator=draw)
        made.append(Batch(x, torch.full((count,), samples), labels).to(device))
    return made


def contenders(layers: int, device: str, names: list[str]) -> dict[str, Callable]:
    """Name -> function that runs one update's forward and backward over a list of batches."""
    torch.manual_seed(0)
    config = EncoderConfig(layers=layers, layerdrop=0.0)
    hubert = replace(config, **HUBERT)
    only_ce = TargetsConfig(clusters=CLUSTERS, online_weight=0.0)
    both = TargetsConfig(clusters=CLUSTERS, teacher_layers=min(8, layers))
    mask = MaskConfig()
    systems: dict[str, nn.Module] = {}
    if "transformers" in names:
        systems["transformers"] = Peer(hubert, MT4SSL(hubert, only_ce, mask))
    for name, model, targets in (
        ("hubert", hubert, only_ce),
        ("offte", config, only_ce),
        ("mt4ssl", config, both),
        ("data2vec", config, replace(both, offline_weight=0.0)),
    ):
        if name in names:
            systems[name] = MT4SSL(model, targets, mask)

    def update(system: nn.Module) -> Callable:
        system.to(device).train()

        def run(given: list[Batch]) -> None:
            draw = torch.Generator().manual_seed(1)
            for batch in given:
                if isinstance(system, Peer):
                    frames = torch.full((len(batch),), batch.labels.shape[1])
                    system(batch, draw_mask(frames, mask, draw).to(device)).backward()
                else:
                    out = system(batch, draw)
                    (out.loss_sum / out.count).backward()
            system.zero_grad()

        return run

    return {name: update(system) for name, system in systems.items()}


def measure(options: argparse.Namespace, precision: str) -> dict[str, float]:
    """Best CPU seconds of an update (wall seconds on a GPU) for each contender."""
    device = options.device
    runs = contenders(options.layers, device, options.only)
    given = batches(options.rows, options.micro, options.seconds, device)
    best: dict[str, float] = {}
    clock = time.process_time if device == "cpu" else time.perf_counter
    for turn in range(options.repeats + 1):
        for name, run in runs.items():
            cast = torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext()
            # The first turn is a warm-up and one micro-batch of it is enough.
            start = clock()
            with cast:
                run(given if turn else given[:1])
            if device != "cpu":
                torch.cuda.synchronize()
            if turn:
                best[name] = min(best.get(name, float("inf")), clock() - start)
    return best


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=8, help="clips of an update (8)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip (10)")
    parser.add_argument("--micro", type=int, default=4, help="clips of a micro-batch (4)")
    parser.add_argument("--layers", type=int, default=12, help="blocks (12)")
    parser.add_argument("--repeats", type=int, default=2, help="timed runs of each (2)")
    parser.add_argument("--threads", type=int, default=1, help="threads (1)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (cpu)")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    parser.add_argument(
        "--only", nargs="+", default=["transformers", "hubert", "offte", "mt4ssl", "data2vec"]
    )
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = parse(argv)
    torch.set_num_threads(options.threads)
    audio = options.rows * options.seconds
    unit = "CPU-s" if options.device == "cpu" else "s"
    print(
        f"update of {options.rows} x {options.seconds:g} s, {options.layers} layers, "
        f"{options.threads} thread(s), {options.device}, torch {torch.__version__}"
    )
    numbers: dict[str, dict[str, float]] = {}
    slower = False
    for precision in options.precision:
        best = numbers[precision] = measure(options, precision)
        peer = best.get("transformers")
        for name, seconds in best.items():
            ratio = f"{peer / seconds:5.2f} x transformers" if peer else ""
            print(
                f"{precision}  {name:13s} {seconds:7.2f} {unit}  {audio / seconds:7.2f} audio-s/"
                f"{unit}  {ratio}",
                flush=True,
            )
        if "mt4ssl" in best and "offte" in best:
            share = 1 - best["offte"] / best["mt4ssl"]
            print(f"{precision}  teacher and its head: {100 * share:.0f} % of an mt4ssl update")
        slower |= bool(peer) and best.get("hubert", 0.0) > peer
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return int(slower)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
