"""What each layer of a checkpoint knows about phones (steps/probe_layers.sh)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import positive


def main(argv: list[str]) -> int:
    """Probe and write; see `--help`."""
    parser = argparse.ArgumentParser(prog="probe_layers", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("train", type=Path, help="data directory to fit on")
    parser.add_argument("test", type=Path, help="data directory to judge on, other speakers")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--layers", default="", help="such as 0,3,6; default: all")
    parser.add_argument("--clusters", type=positive, default=100)
    parser.add_argument("--max-frames", type=positive, default=100_000)
    parser.add_argument("--memory-gb", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="in the rows (default: the run's)")
    parser.add_argument("--system", default="", help="in the rows (default: the run's)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    args = parser.parse_args(argv)

    from pylib.corpus.atomic import write_json
    from pylib.training.extract import LayerExtractor, run_identity
    from pylib.units.probe_layers import LayerOptions, PhoneFrames, probe_layers

    options = LayerOptions(args.clusters, args.seed or 0, args.max_frames, args.memory_gb)
    model = LayerExtractor(args.checkpoint, args.train, args.device)
    other = model.over(args.test)
    layers = [int(text) for text in args.layers.split(",") if text] or list(range(model.layers + 1))
    meta = model.meta(layers[0])
    system, seed = run_identity(args.checkpoint, args.system, args.seed)
    rows = probe_layers(
        PhoneFrames(args.train, model, meta["align"], options),
        PhoneFrames(args.test, other, meta["align"], options),
        layers,
        meta["dim"],
        options,
        {"system": system, "seed": seed, "set": args.test.name},
        os.fspath(args.out),
    )
    del meta["layer"]
    write_json(args.out, {"results": rows, "features": meta, "fitted_on": os.fspath(args.train)})
    for item in rows:
        print(f"{item['set']} {item['measure']} {item['decode']} {item['value']:.4f}")
    return 0


if __name__ == "__main__":
    run(main)
