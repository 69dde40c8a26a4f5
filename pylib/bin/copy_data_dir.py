"""A data directory under another name, with other ids if asked (steps/copy_data_dir.sh)."""

from __future__ import annotations

import argparse
import os
import sys

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Copy and validate a data directory; see `--help`."""
    parser = argparse.ArgumentParser(prog="copy_data_dir.sh", description=__doc__)
    parser.add_argument("source", help="data directory")
    parser.add_argument("destination", help="its copy")
    for name in ("spk-prefix", "utt-prefix", "spk-suffix", "utt-suffix"):
        parser.add_argument(f"--{name}", default="", help="put at that end of every id")
    parser.add_argument("--validate-opts", default="", help="options of validate_data_dir.sh")
    args = parser.parse_args(argv)

    from pylib.bin import validate_data_dir

    options = args.validate_opts.split()
    return validate_data_dir.main([args.destination, *options, *_copy(args, options)])


def _copy(args: argparse.Namespace, options: list[str]) -> list[str]:
    """Copy; returns further options of the validation: what the copy has not."""
    from pylib.corpus.combine import Renaming, rename, write_contents
    from pylib.corpus.errors import UserError
    from pylib.corpus.layout import Contents

    if os.path.realpath(args.source) == os.path.realpath(args.destination):
        raise UserError(f"{args.destination}: is the source itself: name another directory")
    new = Renaming(args.spk_prefix, args.utt_prefix, args.spk_suffix, args.utt_suffix)
    contents = Contents.open(args.source)
    copy = rename(contents, new, sort_check="--no-spk-sort" not in options)
    for name in contents.unknown:
        text = f"{args.source}/{name} is not understood and left out"
        print(f"copy_data_dir.sh: {text}", file=sys.stderr)
    backup = write_contents(copy, args.destination)
    if backup is not None:
        print(f"copy_data_dir.sh: files that the source has not are now in {backup}")
    print(f"copy_data_dir.sh: copied data from {args.source} to {args.destination}")
    parts = (
        ("feats", copy.utt, "feats.scp"),
        ("text", copy.utt, "text"),
        ("wav", copy.reco, "wav.scp"),
    )
    return [f"--no-{part}" for part, group, name in parts if name not in group]


if __name__ == "__main__":
    run(main)
