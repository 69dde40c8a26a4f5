"""Write the phones that steps/align_phones.sh found as the times that the phone probe reads."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from pylib.bin.entry import run
from pylib.corpus.atomic import write_text
from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some, read_table
from pylib.units.phone_runs import RunReader
from pylib.units.phone_set import BORDER, RATE, SILENCE, SYMBOLS


def write_ctm(data: Path) -> int:
    """<data>/phones.ctm of its phones.scp; returns how many phones.

    Raises:
        UserError: no alignment, or utterances without one.
    """
    reader = RunReader(data)
    lacks = set(read_table(data / "utt2spk", fields=2)) - set(reader.utts)
    if lacks:
        raise UserError(
            f"{data}/phones.scp: no phones of {names_some(lacks)}: their text has none (see "
            "steps/align_phones.sh --oov): correct text, or remove them with "
            "steps/subset_data_dir.sh"
        )
    lines = []
    for utt in reader.utts:
        ids, lengths = reader.read(utt)
        ends = np.cumsum(lengths, dtype=np.int64)
        for end, length in zip(ends.tolist(), lengths.tolist(), strict=True):
            name = SYMBOLS[int(ids[end - 1])]
            if name != BORDER:
                name = "SIL" if name == SILENCE else name  # as the built-in corpora call it
                lines.append(f"{utt} 1 {(end - length) / RATE:.2f} {length / RATE:.2f} {name}\n")
    write_text(data / "phones.ctm", "".join(lines))
    return len(lines)


def main(argv: list[str]) -> int:
    """Write the times of each data directory."""
    parser = argparse.ArgumentParser(prog="write_ctm", description=__doc__)
    parser.add_argument("data", type=Path, nargs="+", help="data directory with aligned phones")
    for data in parser.parse_args(argv).data:
        print(f"{data}/phones.ctm: {write_ctm(data)} phones")
    return 0


if __name__ == "__main__":
    run(main)
