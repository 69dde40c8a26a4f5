"""Let the judges hear utterances, natural or converted (jobs of steps/judge_*.sh)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pylib.bin.entry import run
from pylib.bin.feature_args import add_parts, parts

if TYPE_CHECKING:
    from pylib.conversion.judge_files import Hearing


def hearings(
    kinds: list[str], natural: Path, converted: Path | None, jobs: int, limit: int
) -> list[Hearing]:
    """What is to be heard: of natural speech alone, or of conversions and what they need of it.

    limit: of the utterances whose quality is judged, by far the slowest; 0 = all.
    """
    from pylib.conversion.judge_files import Hearing, load_conversions, parallel_of
    from pylib.corpus.datadir import DataDir

    data = DataDir.load(natural)
    if converted is None:
        limits = {"speaker": 0, "quality": limit}
        return [Hearing(kind, data, jobs, limit=limits[kind]) for kind in kinds if kind in limits]
    conversions = load_conversions(converted)
    out = []
    if "speaker" in kinds:
        out += [Hearing("speaker", data, jobs), Hearing("speaker", conversions.data, jobs)]
    if "quality" in kinds:
        out.append(Hearing("quality", conversions.data, jobs, limit=limit))
    if "parallel" in kinds:
        pairs = parallel_of(conversions, data)
        if pairs:
            out.append(Hearing("parallel", conversions.data, jobs, pairs, data))
    return out


def main(argv: list[str]) -> int:
    """Hear one part, join parts, or both; see `--help`."""
    parser = argparse.ArgumentParser(prog="judge_utts", description=__doc__)
    parser.add_argument("natural", type=Path, help="data directory of natural speech")
    parser.add_argument("converted", type=Path, nargs="?", help="data directory of conversions")
    parser.add_argument("--kinds", default="speaker,quality", help="of speaker,quality,parallel")
    parser.add_argument("--quality-utts", type=int, default=100, help="at most; 0 = all")
    add_parts(parser)
    args = parser.parse_args(argv)
    index, jobs, merge = parts(args)
    kinds = args.kinds.split(",")
    for hearing in hearings(kinds, args.natural, args.converted, jobs, args.quality_utts):
        where = f"{hearing.data.path}/{hearing.derived.stem}.scp"
        if hearing.is_done():
            print(f"{where}: there already, made of this audio")
            continue
        if index:
            hearing.make_shard(index)
        if merge:
            hearing.derived.commit(hearing.utts)
            print(f"{where}: {len(hearing.utts)} utterances")
    return 0


if __name__ == "__main__":
    run(main)
