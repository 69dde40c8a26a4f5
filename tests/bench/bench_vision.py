"""One audio-visual update, ours beside the straightforward PyTorch form with the same weights.

    OMP_NUM_THREADS=2 python tests/bench/bench_vision.py [--rows 4] [--seconds 2] [--layers 12]

An update is forward and backward of VATLM Base on video and audio, without the optimiser's step.
The peer is what one writes first: a 3-D convolution, 3-D batch norm and pooling over the padded
batch, blocks in torchvision's manner, attention as matrix product, softmax, dropout, product,
`nn.functional` linear layers and dropout. It shares the parameters, so that its loss must be
ours: compared first, with dropout off. Runs are interleaved, the best of each is kept, in CPU
seconds of the process, so that a busy machine does not decide.

    equal    rows of one length: no padding to save on
    spread   rows of 1 to 1/2 of the length: what a batch looks like
    front    the visual front end alone, rows of one length

The exit status is 1 if losses differ or `equal` is below --least times the peer.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pylib.nn.av_encoder import AVEncoder, AVModelConfig
from pylib.nn.av_masks import AVMaskConfig, Hide, draw_hide
from pylib.nn.modal_batch import ModalBatch
from pylib.nn.transformer import Block
from pylib.nn.vision import MEAN, STD, BasicBlock, VideoFrontend
from pylib.systems.vatlm import SPECIALS, VATLM, UnitsConfig

CLUSTERS = 500
MASK = AVMaskConfig(modality_dropout=0.0)


def plain_block(block: BasicBlock, x: Tensor) -> Tensor:
    """A residual block, one module after the other."""
    y = block.act1(block.norm1(block.conv1(x)))
    y = block.norm2(block.conv2(y))
    return block.act2(y + (x if block.shortcut is None else block.shortcut(x)))


def plain_front(front: VideoFrontend, video: Tensor, padding: Tensor, shown: Tensor) -> Tensor:
    """The visual front end over the whole padded batch."""
    rows, frames = video.shape[:2]
    x = (video.float() / 255 - MEAN) / STD
    x = x.masked_fill(padding[:, :, None, None], 0.0)
    x = x[torch.arange(rows)[:, None], shown]
    x = front.conv(x.unsqueeze(1))
    norm = front.norm
    x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training)
    x = F.max_pool3d(front.act(x), (1, 3, 3), (1, 2, 2), (0, 1, 1))
    x = x.transpose(1, 2).flatten(0, 1).contiguous()
    for block in front.trunk:
        x = plain_block(block, x)
    return F.adaptive_avg_pool2d(x, 1).view(rows, frames, -1)


def plain_attention(block: Block, x: Tensor, padding: Tensor) -> Tensor:
    """Eager attention over (B, T, D)."""
    own = block.attention
    rows, frames, dim = x.shape
    packed = F.linear(x, own.qkv.weight, own.qkv.bias)
    q, k, v = (
        part.view(rows, frames, own.heads, -1).transpose(1, 2) for part in packed.chunk(3, 2)
    )
    scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
    scores = scores.masked_fill(padding[:, None, None], float("-inf"))
    weights = F.dropout(scores.softmax(3), own.p, block.training)
    y = (weights @ v).transpose(1, 2).reshape(rows, frames, dim)
    return F.linear(y, own.out.weight, own.out.bias)


def plain_context(encoder: AVEncoder, x: Tensor, padding: Tensor) -> Tensor:
    """Positions and pre-norm blocks."""
    context = encoder.context
    p = encoder.config.dropout
    training = context.training
    x = x.masked_fill(padding.unsqueeze(2), 0.0)
    x = F.dropout(x + context.pos_conv(x), p, training)
    for block in context.blocks:
        y = plain_attention(block, block.attention_norm(x), padding)
        x = x + F.dropout(y, p, training)
        y = F.linear(block.ffn_norm(x), block.ffn.fc1.weight, block.ffn.fc1.bias)
        y = F.linear(F.gelu(y), block.ffn.fc2.weight, block.ffn.fc2.bias)
        x = x + F.dropout(y, p, training)
    return context.norm(x)


def plain_loss(system: VATLM, batch: ModalBatch, hide: Hide, mask: Tensor) -> Tensor:
    """loss_sum of the straightforward form."""
    encoder = system.encoder
    padding = torch.arange(batch.frames) >= batch.lengths[:, None]
    sound = F.layer_norm(batch.audio, batch.audio.shape[2:])
    sound = torch.where(hide.audio.unsqueeze(2), encoder.mask_embedding, sound)
    audio = F.linear(sound, encoder.audio.projection.weight, encoder.audio.projection.bias)
    made = plain_front(encoder.video.resnet, batch.video, padding, hide.shown)
    video = F.linear(made, encoder.video.projection.weight, encoder.video.projection.bias)
    x = torch.cat([audio, video], dim=2)
    penalty = x.square().masked_fill(padding.unsqueeze(2), 0.0).sum()
    penalty = penalty / ((~padding).sum() * x.shape[2])
    x = F.linear(encoder.norm(x), encoder.projection.weight, encoder.projection.bias)
    x = F.dropout(x, encoder.config.dropout_input, encoder.training)
    logits = system.head(plain_context(encoder, x, padding)[mask])
    ce = F.cross_entropy(logits, batch.labels[mask] + SPECIALS, reduction="sum")
    return ce + system.units.feature_penalty * penalty * mask.sum()


def clips(rows: int, seconds: float, spread: bool) -> ModalBatch:
    """Noise with random labels; rows of one length or of 1 to 1/2 of it."""
    draw = torch.Generator().manual_seed(0)
    frames = int(25 * seconds)
    lengths = torch.full((rows,), frames)
    if spread:
        lengths = torch.linspace(frames, frames // 2, rows).long()
    valid = torch.arange(frames) < lengths[:, None]
    audio = torch.randn(rows, frames, 104, generator=draw) * valid.unsqueeze(2)
    video = torch.randint(0, 256, (rows, frames, 88, 88), generator=draw, dtype=torch.uint8)
    labels = torch.randint(0, CLUSTERS, (rows, frames), generator=draw).masked_fill(~valid, -1)
    return ModalBatch("videoaudio", lengths, audio, video, labels=labels)


def best(contenders: dict[str, Callable[[], Tensor]], system: nn.Module, repeats: int) -> dict:
    """Name -> least CPU seconds of forward and backward; the first turn warms up."""
    found: dict[str, float] = {}
    for turn in range(repeats + 1):
        for name, run in contenders.items():
            start = time.process_time()
            run().backward()
            seconds = time.process_time() - start
            system.zero_grad()
            if turn:
                found[name] = min(found.get(name, float("inf")), seconds)
    return found


def build(config: AVModelConfig) -> VATLM:
    torch.manual_seed(0)
    units = UnitsConfig(clusters=CLUSTERS)
    return VATLM(replace(config, streams=("audio", "video")), units, MASK).train()


def same_loss(layers: int) -> float:
    """Relative difference of the two losses with dropout off."""
    system = build(
        AVModelConfig(layers=layers, dropout=0, attention_dropout=0, layerdrop=0, dropout_input=0)
    )
    batch = clips(3, 1.0, False)
    hide, mask = draw_hide(batch, MASK, True, torch.Generator().manual_seed(1))
    theirs = plain_loss(system, batch, hide, mask)
    ours = system(batch, torch.Generator().manual_seed(1)).loss_sum
    return float(((ours - theirs).abs() / theirs).detach())


def measure(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Case -> contender -> seconds."""
    system = build(AVModelConfig(layers=options.layers, layerdrop=0.0))
    found = {}
    for case in ("equal", "spread"):
        batch = clips(options.rows, options.seconds, case == "spread")
        hide, mask = draw_hide(batch, MASK, True, torch.Generator().manual_seed(1))
        contenders = {
            "plain": lambda b=batch, h=hide, m=mask: plain_loss(system, b, h, m),
            "ours": lambda b=batch: system(b, torch.Generator().manual_seed(1)).loss_sum,
        }
        found[case] = best(contenders, system, options.repeats)
    front = system.encoder.video.resnet
    batch = clips(options.rows, options.seconds, False)
    shown = torch.arange(batch.frames).repeat(len(batch), 1)
    padding = torch.zeros(len(batch), batch.frames, dtype=torch.bool)
    contenders = {
        "plain": lambda: plain_front(front, batch.video, padding, shown).square().sum(),
        "ours": lambda: front(batch.video, batch.lengths).square().sum(),
    }
    found["front"] = best(contenders, system, options.repeats)
    return found


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=4, help="clips of a micro-batch (4)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a clip (2)")
    parser.add_argument("--layers", type=int, default=12, help="blocks (12)")
    parser.add_argument("--repeats", type=int, default=2, help="timed runs of each (2)")
    parser.add_argument("--threads", type=int, default=2, help="threads (2)")
    parser.add_argument("--least", type=float, default=1.5, help="factor asked for (1.5)")
    parser.add_argument("--json", type=Path, help="write the numbers there too")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    options = parse(argv)
    torch.set_num_threads(options.threads)
    apart = same_loss(min(options.layers, 2))
    print(
        f"{options.rows} x {options.seconds:g} s of video and audio, {options.layers} layers, "
        f"{options.threads} thread(s), torch {torch.__version__}; losses differ by {apart:.1e}"
    )
    numbers = measure(options)
    for case, seconds in numbers.items():
        ratio = seconds["plain"] / seconds["ours"]
        print(
            f"{case:7s} plain {seconds['plain']:6.2f} CPU-s   ours {seconds['ours']:6.2f} CPU-s   "
            f"{ratio:5.2f} x",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    equal = numbers["equal"]
    return int(apart > 1e-4 or equal["plain"] / equal["ours"] < options.least)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
