"""Hypotheses of other clips: what a recogniser would guess without input (steps/swap_clips.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Write the directory; see `--help`."""
    parser = argparse.ArgumentParser(prog="swap_clips", description=__doc__)
    parser.add_argument("decode_dir", type=Path, help="of steps/decode_av.sh: hyp, decode.json")
    args = parser.parse_args(argv)

    from pylib.corpus.atomic import write_json
    from pylib.corpus.jsonfile import read_object
    from pylib.corpus.tables import read_table, write_table
    from pylib.decoding.swapped import SUFFIX, swapped

    source: Path = args.decode_dir
    record = read_object(source / "decode.json", "decode again", "run steps/decode_av.sh")
    made = swapped(read_table(source / "hyp"), f"{source}/hyp")
    out = source.with_name(source.name + SUFFIX)
    record |= {"decode": f"{record.get('decode')}{SUFFIX}", "of_another_clip": source.name}
    record["empty"] = sum(not text for text in made.values())
    write_table(out / "hyp", made)
    write_json(out / "decode.json", record)
    print(f"{out}/hyp: {len(made)} utterances, each with the words of another clip")
    return 0


if __name__ == "__main__":
    run(main)
