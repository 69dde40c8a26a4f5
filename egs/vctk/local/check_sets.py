"""Refuse data directories on which something later could only fail (choices.sh of the recipe).

Prints the sets that are there, what is known of them (`timed`, `genders`), and how many utterances
and speakers a training can draw from: `utterances=N speakers=N`.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from pylib.bin.entry import run
from pylib.corpus.errors import UserError
from pylib.corpus.tables import read_table


def _notice(summary: dict[str, Any], about: str) -> str:
    """What the preparation said of a list that it could not draw."""
    told = [notice for notice in summary["notices"] if notice.startswith(f"no {about}")]
    return told[0] if told else f"no {about}"


def check_vctk(data: Path, conversions: bool, words: bool) -> bool:
    """Refuse sets of prepare_data.sh that lack what a run needs.

    Args:
        data: holds the sets and sets.json.
        conversions: whether voices will be converted.
        words: whether recognisers will be trained.

    Returns:
        Whether the corpus tells when each phone is said, as the built-in one does.

    Raises:
        UserError: no dev set, transcripts, trials or pairs.
    """
    summary = json.loads((data / "sets.json").read_text(encoding="utf-8"))
    where, more = summary["corpus_dir"], "take more of the corpus"
    if "dev" not in summary["sets"]:
        raise UserError(
            f"{where}: no dev set: no seen speaker has four utterances of his own texts, and "
            f"trainings are validated on one of them: {more}"
        )
    if words and not all(row["transcribed"] for row in summary["sets"].values()):
        raise UserError(
            f"{where}: no transcripts, so that no recogniser can be trained: unpack txt/ too, or "
            "use --train-set and --unseen-set, which measure speakers only"
        )
    if not summary["trials"]:
        raise UserError(
            f"{data}/unseen: {_notice(summary, 'unseen/trials')}: unseen speakers are "
            f"{' '.join(summary['unseen'])} ({summary['unseen_source']}): give --unseen a list of "
            f"two speakers or more with two utterances of their own texts each, or {more}"
        )
    if conversions and not summary["pairs"]:
        raise UserError(
            f"{data}/parallel: {_notice(summary, 'parallel')}: conversions are of texts 001 to "
            f"024, which all speakers read, by two unseen speakers or more: {more}, or "
            "leave conversions out with --methods ''"
        )
    return bool(summary["builtin"])


def genders(data: Path) -> bool:
    """Whether there are men to fit a phone probe on, and men and women to judge it on."""
    found = []
    for name in ("train", "unseen"):
        path = data / name / "spk2gender"
        found.append(set(read_table(path, fields=2).values()) if path.is_file() else set())
    return "m" in found[0] and {"m", "f"} <= found[1]


def main(argv: list[str]) -> int:
    """Check the directory; raises UserError on what a run could only fail on."""
    parser = argparse.ArgumentParser(prog="check_sets", description=__doc__)
    parser.add_argument("--conversions", action="store_true", help="voices will be converted")
    parser.add_argument("--words", action="store_true", help="recognisers will be trained")
    parser.add_argument("data", type=Path)
    args = parser.parse_args(argv)
    timed = False
    if (args.data / "sets.json").is_file():
        timed = check_vctk(args.data, args.conversions, args.words)
    found = [name for name in ("train", "dev", "test", "unseen") if (args.data / name).is_dir()]
    if (args.data / "parallel" / "pairs").is_file():
        found.append("parallel_unseen")
    if timed:
        found.append("timed")
    if genders(args.data):
        found.append("genders")
    utt2spk = read_table(args.data / "train" / "utt2spk", fields=2)
    dev = read_table(args.data / "dev" / "utt2spk", fields=2)
    spoken = Counter(spk for utt, spk in utt2spk.items() if utt not in dev)
    several = [count for count in spoken.values() if count > 1]
    print(*found, f"utterances={sum(several)}", f"speakers={len(several)}")
    return 0


if __name__ == "__main__":
    run(main)
