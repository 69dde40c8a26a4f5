"""One training step of FHVAE, ours beside the same model as a port to plain PyTorch has it.

    OMP_NUM_THREADS=2 python tests/bench/bench_fhvae.py [--threads 2] [--batch 256] [--rows 2000]

A step is forward, backward and Adam on one batch of segments, log q over the whole table and the
default contrastive term included. Peers, with our weights, our noise and equal loss, which is
asserted:

    plain    an nn.LSTMCell a layer and step, latents tiled over time and concatenated to the
             frames, two linear heads at each step, logits from (B, rows, D) differences
    nn.LSTM  the same with nn.LSTM over the tiled input and the heads over all frames at once

Runs are interleaved and the best of each is kept: CPU seconds of the process with one thread, so
that a busy machine does not decide, wall seconds with more. The exit status is 1 if ours is less
than 1.5 times as fast as the plain form.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pylib.nn.segments import SegmentBatch
from pylib.systems.fhvae import FHVAE, FHVAEConfig, ObjectiveConfig
from pylib.training.settings import OptimConfig
from pylib.training.step import make_optimizer

TARGET = 1.5
OPTIM = OptimConfig(lr=1e-3, betas=(0.95, 0.999), eps=1e-8, weight_decay=0.0)
# Name of a size -> the networks; the published ones first.
SIZES = {
    "scalable": FHVAEConfig(),
    "first": FHVAEConfig(layers=1),
    "first200": FHVAEConfig(layers=1, feature_dim=200),
    "small": FHVAEConfig(layers=1, hidden=128, z1_dim=16, z2_dim=16),
}


class Cells(nn.Module):
    """LSTM layers one step at a time, or torch's nn.LSTM."""

    def __init__(self, source: nn.LSTM, whole: bool) -> None:
        super().__init__()
        self.whole, hidden = whole, source.hidden_size
        if whole:
            self.lstm = nn.LSTM(source.input_size, hidden, source.num_layers)
            self.lstm.load_state_dict(source.state_dict())
            return
        self.cells = nn.ModuleList(
            nn.LSTMCell(hidden if index else source.input_size, hidden)
            for index in range(source.num_layers)
        )
        for index, cell in enumerate(self.cells):
            cell.load_state_dict(
                {name: getattr(source, f"{name}_l{index}") for name in cell.state_dict()}
            )

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """x (B, T, F) -> top output (B, H) of each step, final h of all layers (B, L * H)."""
        if self.whole:
            out, (last, _) = self.lstm(x.transpose(0, 1))
            return out, torch.cat(list(last), 1)
        shape = (x.shape[0], self.cells[0].hidden_size)
        states = [(x.new_zeros(shape), x.new_zeros(shape)) for _ in self.cells]
        outputs = []
        for t in range(x.shape[1]):
            below = x[:, t]
            for index, cell in enumerate(self.cells):
                states[index] = cell(below, states[index])
                below = states[index][0]
            outputs.append(below)
        return outputs, torch.cat([h for h, _ in states], 1)


class Heads(nn.Module):
    """Mean and log-variance from two linear layers."""

    def __init__(self, source: nn.Module) -> None:
        super().__init__()
        self.bounds = source.bounds
        weight, bias = source.linear.weight.detach(), source.linear.bias.detach()
        self.mean, self.logvar = (nn.Linear(weight.shape[1], len(bias) // 2) for _ in range(2))
        for layer, w, b in zip(
            (self.mean, self.logvar), weight.chunk(2), bias.chunk(2), strict=True
        ):
            layer.load_state_dict({"weight": w, "bias": b})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.mean(x), self.logvar(x).clamp(*self.bounds)


class Peer(nn.Module):
    """The model and its loss as the papers write them."""

    def __init__(self, source: FHVAE, whole: bool) -> None:
        super().__init__()
        self.parts = nn.ModuleDict()
        for name in ("z2_encoder", "z1_encoder", "decoder"):
            part = getattr(source, name)
            self.parts[name] = nn.ModuleList([Cells(part.lstm, whole), Heads(part.head)])
        self.whole, self.objective = whole, source.objective
        self.table = nn.Parameter(source.table.detach().clone())

    def _encode(self, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
        cells, heads = self.parts[name]
        return heads(cells(x)[1])

    def forward(self, batch: SegmentBatch, generator: torch.Generator) -> Tensor:
        """Mean loss of a segment."""
        x = batch.segments
        rows, steps, _ = x.shape
        m2, lv2 = self._encode("z2_encoder", x)
        width2, width1 = m2.shape[1], self.parts["z1_encoder"][1].mean.out_features
        noise = torch.randn(rows, width2 + width1, generator=generator)
        z2 = m2 + torch.exp(0.5 * lv2) * noise[:, :width2]
        tiled = z2.unsqueeze(1).repeat(1, steps, 1)
        m1, lv1 = self._encode("z1_encoder", torch.cat([x, tiled], 2))
        z1 = m1 + torch.exp(0.5 * lv1) * noise[:, width2:]
        cells, heads = self.parts["decoder"]
        out = cells(torch.cat([z1, z2], 1).unsqueeze(1).repeat(1, steps, 1))[0]
        if self.whole:
            xm, xlv = (item.transpose(0, 1) for item in heads(out))
        else:
            made = [heads(item) for item in out]
            xm, xlv = (torch.stack(items, 1) for items in zip(*made, strict=True))
        mu2 = self.table[batch.sequences]
        log_px = -0.5 * (LOG_2PI + xlv + (x - xm) ** 2 * torch.exp(-xlv)).sum((1, 2))
        kl1 = -0.5 * (1 + lv1 - m1**2 - torch.exp(lv1)).sum(1)
        ratio = ((m2 - mu2) ** 2 + torch.exp(lv2)) / 0.25
        kl2 = -0.5 * (1 + lv2 - torch.log(torch.tensor(0.25)) - ratio).sum(1)
        prior = -0.5 * (LOG_2PI + mu2**2).sum(1)
        bound = log_px - kl1 - kl2 + prior / batch.counts
        logits = -((m2.unsqueeze(1) - self.table.unsqueeze(0)) ** 2).sum(2) / (2 * 0.25)
        log_q = -F.cross_entropy(logits, batch.sequences, reduction="none")
        loss = -(bound + self.objective.alpha * log_q).mean()
        return loss + self.objective.contrast_weight * self._supcon(m2, batch.speakers)

    def _supcon(self, m2: Tensor, speakers: Tensor) -> Tensor:
        v = F.normalize(m2, dim=1)
        scores = v @ v.t() / self.objective.temperature
        own = torch.eye(len(v), dtype=torch.bool)
        scores = scores.masked_fill(own, float("-inf"))
        log_probs = scores - torch.logsumexp(scores, 1, keepdim=True)
        same = (speakers[:, None] == speakers[None, :]) & ~own
        return -(log_probs.masked_fill(~same, 0.0).sum(1) / same.sum(1)).mean()


LOG_2PI = torch.log(torch.tensor(2 * torch.pi))


def make_batch(model: FHVAEConfig, size: int, rows: int) -> SegmentBatch:
    """Segments of noise: 16 speakers, 4 utterances each."""
    draw = torch.Generator().manual_seed(0)
    index = torch.arange(size)
    return SegmentBatch(
        torch.randn(size, model.segment, model.feature_dim, generator=draw),
        torch.randint(0, rows, (64,), generator=draw)[index % 64],
        torch.full((size,), 36.0),
        index % 64 // 4,
        index % 64,
        torch.full((size,), model.segment),
    )


def contenders(name: str, options: argparse.Namespace) -> dict[str, Callable[[], float]]:
    """Name -> function that takes one step and returns the loss."""
    torch.manual_seed(0)
    model = SIZES[name]
    ours = FHVAE(model, ObjectiveConfig(contrast="supcon"), options.rows)
    batch = make_batch(model, options.batch, options.rows)

    def step(system: nn.Module) -> Callable[[], float]:
        if system is ours:
            optimizer = make_optimizer(system, OPTIM)
        else:
            optimizer = torch.optim.Adam(system.parameters(), OPTIM.lr, OPTIM.betas, OPTIM.eps)
        noise = torch.Generator().manual_seed(1)

        def run() -> float:
            optimizer.zero_grad(set_to_none=False)
            made = system(batch, noise)
            loss = made if isinstance(made, Tensor) else made.loss_sum / made.count
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        return run

    peers = {"plain": Peer(ours, whole=False), "nn.LSTM": Peer(ours, whole=True)}
    return {"ours": step(ours)} | {key: step(peer) for key, peer in peers.items()}


def measure(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Best seconds of a step of each contender; raises SystemExit where losses differ."""
    runs = contenders(name, options)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    best: dict[str, float] = {}
    for turn in range(options.repeats + 1):
        losses = {}
        for key, run in runs.items():
            start = clock()
            losses[key] = run()
            if turn:  # the first turn is a warm-up
                best[key] = min(best.get(key, float("inf")), clock() - start)
        for key, loss in losses.items():
            # Three Adam steps on, roundings have grown; the first steps must agree closely.
            if turn < 3 and abs(loss - losses["ours"]) > 1e-4 * abs(loss):
                raise SystemExit(f"{name}, step {turn}: loss {losses['ours']}, {key} has {loss}")
    return best


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256, help="segments of a step (256)")
    parser.add_argument("--rows", type=int, default=2000, help="rows of the table (2000)")
    parser.add_argument("--repeats", type=int, default=5, help="timed steps of each (5)")
    parser.add_argument("--threads", type=int, default=2, help="threads (2)")
    parser.add_argument("--only", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = parse(argv)
    torch.set_num_threads(options.threads)
    print(
        f"step of {options.batch} segments, table of {options.rows}, {options.threads} thread(s), "
        f"torch {torch.__version__}"
    )
    numbers: dict[str, dict[str, float]] = {}
    slow = False
    for name in options.only:
        best = numbers[name] = measure(name, options)
        for key, seconds in best.items():
            print(
                f"{name:9s} {key:8s} {1000 * seconds:8.1f} ms   ours is "
                f"{seconds / best['ours']:5.2f} times as fast",
                flush=True,
            )
        slow |= best["plain"] < TARGET * best["ours"]
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
