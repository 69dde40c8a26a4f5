"""What each layer of an audio-visual model makes of each modality (steps/analyse_modalities.sh)."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylib.bin.entry import run
from pylib.bin.feature_args import positive
from pylib.corpus.errors import UserError

if TYPE_CHECKING:
    from pylib.units.modalities import Analysis


def chosen_layers(text: str, count: int) -> list[int]:
    """`all` or `0,3,6` of layers 0 to `count`.

    Raises:
        UserError: another text, a layer that is not there.
    """
    if text in ("", "all"):
        return list(range(count + 1))
    try:
        layers = sorted({int(word) for word in text.split(",") if word})
    except ValueError:
        layers = []
    if not layers or not 0 <= layers[0] <= layers[-1] <= count:
        raise UserError(f"--layers {text}: the model has layers 0 to {count}: all, or such as 0,3")
    return layers


def picture_of(found: Analysis) -> dict[str, Any]:
    """The points of an analysis in two planes, for the report."""
    from pylib.scoring.pictures import neighbour_embedding, principal_components

    points = found.points.astype("float64")
    planes = {"pca": principal_components(points), "tsne": neighbour_embedding(points)}
    return {
        "layer": found.layer,
        "modalities": found.modalities,
        "phones": found.phones,
        **{
            name: [[round(x, 4) for x in pair] for pair in p.tolist()] for name, p in planes.items()
        },
    }


def with_phones(data: Path) -> set[str] | None:
    """Utterances that the model can be shown as phones, of which the others are to be compared;
    None (all) where none are aligned."""
    from pylib.corpus.derived import open_derived

    if not (data / "phones.scp").is_file():
        return None
    return set(open_derived(data, "phones")[1])


def main(argv: list[str]) -> int:
    """Analyse and write; see `--help`."""
    parser = argparse.ArgumentParser(prog="analyse_modalities", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="data directory with phones.ctm or phones.scp")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--layers", default="all", help="such as 0,3,6; default: all")
    parser.add_argument("--clusters", type=positive, default=100)
    parser.add_argument("--max-frames", type=positive, default=20_000)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--candidates", type=positive, default=100)
    parser.add_argument("--memory-gb", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=None, help="in the rows (default: the run's)")
    parser.add_argument("--system", default="", help="in the rows (default: the run's)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    args = parser.parse_args(argv)

    from pylib.corpus.atomic import write_json
    from pylib.training.av_extract import AVLayerExtractor
    from pylib.training.extract import run_identity
    from pylib.units.modalities import ModalOptions, analyse, available

    system, seed = run_identity(args.checkpoint, args.system, args.seed)
    usable = with_phones(args.data)
    model = AVLayerExtractor(args.checkpoint, args.data, device=args.device, utts=usable)
    layers = chosen_layers(args.layers, model.layers)
    meta = model.meta(layers[0])
    options = ModalOptions(
        clusters=args.clusters,
        seed=seed,
        max_frames=args.max_frames,
        memory_gb=args.memory_gb,
        seconds=args.seconds,
        candidates=args.candidates,
    )
    found = analyse(
        model,
        args.data,
        layers,
        available(model.present),
        meta["dim"],
        options,
        {"system": system, "seed": seed, "set": args.data.name},
        os.fspath(args.out),
    )
    about = {**found.details, "checkpoint": os.fspath(args.checkpoint), "system": system}
    about["seed"] = seed
    write_json(args.out, {"results": found.rows, "analysis": about, "picture": picture_of(found)})
    for item in found.rows:
        print(f"{item['set']} {item['measure']} {item['decode']} {item['value']:.4f}")
    return 0


if __name__ == "__main__":
    run(main)
