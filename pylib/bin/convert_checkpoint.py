"""Convert a model of speech between Trivium, transformers, fairseq and torchaudio."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylib.bin.entry import run
from pylib.corpus.errors import UserError

if TYPE_CHECKING:
    from pylib.interop.model import Model

FORMATS = ("trivium", "transformers", "fairseq", "torchaudio")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="convert_checkpoint", description=__doc__)
    parser.add_argument("source", type=Path, help="file, or directory of transformers")
    parser.add_argument("out", type=Path, help="file to write; for transformers a directory")
    parser.add_argument(
        "--from", default="auto", choices=("auto", *FORMATS), dest="kind",
        help="format of the source; auto = what the file says",
    )  # fmt: skip
    parser.add_argument(
        "--to", default="auto", choices=("auto", *FORMATS),
        help="format to write; auto = transformers for a checkpoint of Trivium, else trivium",
    )  # fmt: skip
    parser.add_argument("--heads", type=int, default=0, help="attention heads (torchaudio)")
    parser.add_argument(
        "--norm", default="auto", choices=("auto", "post", "pre"),
        help="where norms of the blocks stand (torchaudio)",
    )  # fmt: skip
    parser.add_argument(
        "--normalise", default="auto", choices=("auto", "true", "false"),
        help="whether the model reads waveforms of zero mean and unit variance",
    )  # fmt: skip
    return parser


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    from pylib.interop.convert import Asked, write_foreign

    if args.source.resolve() == args.out.resolve():
        raise UserError(f"{args.out}: is the source: give another name")
    told = None if args.normalise == "auto" else args.normalise == "true"
    kind, model = _read(args.source, args.kind, Asked(args.heads, args.norm, told))
    to = args.to
    if to == "auto":
        to = "transformers" if kind == "trivium" else "trivium"
    if kind == to:
        raise UserError(f"{args.source}: is of {kind} already: give --to")
    notes = model.notes
    if to == "trivium":
        _write(model, args.out, args.source, kind)
    else:
        notes = (*notes, *write_foreign(model, to, args.out))
    print(f"{args.out}: {to} from {kind}" + "".join(f"; {note}" for note in notes))
    return 0


def _read(source: Path, kind: str, asked: Any) -> tuple[str, Model]:
    """Format and model of what there is to convert."""
    from pylib.interop.convert import kind_of, read_foreign
    from pylib.interop.files import read_torch

    payload = None
    if not source.exists():
        raise UserError(f"{source}: no such file or directory: check the path")
    if source.is_file() and source.suffix != ".safetensors":
        payload = read_torch(source)
    kind = kind_of(source, payload) if kind == "auto" else kind
    if kind == "trivium":
        return kind, _own(source)
    return kind, read_foreign(source, kind, asked, payload)


def _own(source: Path) -> Model:
    """The model of a checkpoint of Trivium."""
    from pylib.interop.model import Model
    from pylib.nn.masks import MaskConfig
    from pylib.training.checkpoint import encoder_weights, load_system

    _, config, payload = load_system(source)
    if config.model is None:
        raise UserError(
            f"{source}: a {config.system} model has no encoder of speech that the others know: "
            "give one of mt4ssl or ctc"
        )
    provenance = payload.get("provenance") or {}
    heads: dict[str, Any] = {}
    if config.system == "mt4ssl" and provenance.get("heads", True):
        own = ("offline_head.", "online_head.", "teacher.")
        heads = {name: value for name, value in payload["model"].items() if name.startswith(own)}
    return Model(
        encoder=config.encoder,
        weights=encoder_weights(payload),
        name=str(provenance.get("system_name", config.system)),
        normalise=config.reading.normalise,
        targets=config.targets if heads else None,
        heads=heads,
        mask=config.mask or MaskConfig(),
    )


def _write(model: Model, out: Path, source: Path, kind: str) -> None:
    """Write a checkpoint of Trivium that --init and extractors take."""
    from pylib.corpus.atomic import atomic_path, require_free_space
    from pylib.training import checkpoint
    from pylib.training.config import from_dict
    from pylib.training.provenance import code_version, versions

    config = from_dict(model.sections(), str(source))
    payload = {
        "format": checkpoint.FORMAT,
        "system": config.system,
        "config": config.as_dict(),
        "model": model.state(),
        "optimizer": None,
        "update": 0,
        "progress": {"update": 0, "validated": 0, "finished": "converted"},
        "vocab": None,
        "identity": {"converted": kind},
        "provenance": {
            **code_version(),
            "versions": versions(),
            "system_name": model.name,
            "preset": "",
            "seed": 0,
            "converted": kind,
            "heads": model.targets is not None,
        },
    }
    require_free_space(out, checkpoint.size(payload))
    with atomic_path(out) as temporary:
        checkpoint.write(temporary, payload)
        checkpoint.load_system(temporary)  # nothing that the readers would refuse is left there


if __name__ == "__main__":
    run(main)
