"""Hours, utterances, speakers, words and durations of data directories (steps/data_info.sh)."""

from __future__ import annotations

import argparse
import json

from pylib.bin.entry import run


def main(argv: list[str]) -> int:
    """Print the numbers as text or JSON; see `--help`."""
    parser = argparse.ArgumentParser(prog="data_info.sh", description=__doc__)
    parser.add_argument("data", nargs="+", help="data directories")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="what to print")
    parser.add_argument("--json", default="", help="write JSON to this file too")
    args = parser.parse_args(argv)

    from pylib.corpus.atomic import write_json
    from pylib.corpus.info import data_info, format_info

    infos = [data_info(path) for path in args.data]
    if args.json:
        write_json(args.json, infos)
    if args.format == "json":
        print(json.dumps(infos, indent=2, ensure_ascii=False))
    else:
        print("\n".join(format_info(info) for info in infos), end="")
    return 0


if __name__ == "__main__":
    run(main)
