"""Sets that must share no speakers, such as training and test."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from pylib.corpus.checker import MAX_LISTED
from pylib.corpus.errors import Defect, UserError
from pylib.corpus.tables import scan_table, table_path


def check_disjoint(paths: Sequence[str | os.PathLike[str]], what: str) -> list[Defect]:
    """Defects where two data directories share speakers, utterances or audio.

    Args:
        paths: data directories.
        what: `speakers` (which implies utterances and audio), or `utterances` (and audio).

    Raises:
        UserError: a missing utt2spk.
    """
    if what not in ("speakers", "utterances"):
        raise UserError(f"--disjoint {what}: unknown: use speakers, utterances or none")
    defects = []
    seen: dict[str, dict[str, str]] = {"speaker": {}, "utterance": {}, "audio file": {}}
    for path in map(Path, paths):
        utt2spk = scan_table(table_path(path, "utt2spk"), 2).rows
        groups: dict[str, tuple[str, Iterable[str]]] = {"utterance": ("utt2spk", utt2spk)}
        if what == "speakers":
            groups["speaker"] = ("utt2spk", dict.fromkeys(utt2spk.values()))
        if (path / "wav.scp").is_file():
            wav = scan_table(path / "wav.scp").rows
            groups["audio file"] = ("wav.scp", dict.fromkeys(wav.values()))
        for kind, (name, items) in groups.items():
            shared = [(item, seen[kind][item]) for item in items if item in seen[kind]]
            for item, other in shared[:MAX_LISTED]:
                text = f"{kind} '{item}' is also in {other}"
                fix = "these sets must not share any: prepare them again"
                defects.append(Defect(f"{path / name}", 0, "disjoint", text, fix))
            if len(shared) > MAX_LISTED:
                text = f"{len(shared)} of one kind ({kind}) in all"
                defects.append(Defect(f"{path / name}", 0, "disjoint", text, "prepare them again"))
            seen[kind].update(dict.fromkeys(items, str(path)))
    return defects
