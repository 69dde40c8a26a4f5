"""A data directory of text alone, with phones and units (steps/make_text_units.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, parts


def main(argv: list[str]) -> int:
    """Make one shard, join shards, or both; see `--help`."""
    parser = argparse.ArgumentParser(prog="make_text_units", description=__doc__)
    parser.add_argument("text_dir", type=Path, help="directory with text and utt2spk")
    parser.add_argument("out_data", type=Path, help="data directory to be made")
    parser.add_argument("--ark-dir", type=Path, help="default: <out-data>/arks")
    parser.add_argument("--checkpoint", type=Path, help="of phone2unit")
    parser.add_argument("--labels-of", type=Path, help="data directory with the model's labels")
    parser.add_argument("--lexicon", type=Path, help="default: CMUdict")
    parser.add_argument("--oov", choices=("drop", "g2p"), default="g2p")
    parser.add_argument("--silence", type=float, default=0.25)
    parser.add_argument("--min-duration", type=int, default=1)
    parser.add_argument("--duration-scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    add_parts(parser)
    args = parser.parse_args(argv)

    from pylib.training.text_units import TextUnitStage, UnitOptions
    from pylib.units.pronounce import Pronouncer, read_lexicon
    from pylib.units.text_phones import TextOptions

    index, jobs, merge = parts(args)
    stage = TextUnitStage(
        args.text_dir,
        args.out_data,
        args.ark_dir or args.out_data / "arks",
        Pronouncer(read_lexicon(args.lexicon), args.oov),
        TextOptions(args.silence, args.seed),
        UnitOptions(
            args.checkpoint, args.labels_of, args.duration_scale, args.min_duration, args.device
        ),
        jobs,
    )
    if index:
        stage.make_shard(index)
    if merge:
        print(stage.commit())
    return 0


if __name__ == "__main__":
    run(main)
