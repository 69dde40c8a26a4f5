"""utt2dur and utt2num_samples (and reco2dur) from the audio's headers: `get_utt2dur.sh`."""

from __future__ import annotations

import os
from contextlib import ExitStack

from pylib.corpus.atomic import atomic_path
from pylib.corpus.datadir import SEGMENT_OVERSHOOT, DataDir, format_seconds
from pylib.corpus.errors import UserError
from pylib.corpus.headers import inspect_files
from pylib.corpus.tables import format_table

_MAX_SHOWN = 20


def measure(data: DataDir, nj: int = 1) -> dict[str, dict[str, str]]:
    """Durations of all utterances from the headers of their files.

    Args:
        data: the data directory.
        nj: number of processes.

    Returns:
        Tables `utt2dur`, `utt2num_samples` and, with segments, `reco2dur`.

    Raises:
        UserError: lists every file that cannot be read and every segment that ends too late.
    """
    paths = list(dict.fromkeys(data.wav.values()))
    files = dict(inspect_files(paths, "tail", nj))
    problems = [found.error for found in files.values() if found.error]
    tables: dict[str, dict[str, str]] = {"utt2dur": {}, "utt2num_samples": {}}
    for utt in data.utts:
        path, segment = data.wav_of(utt)
        found = files[path]
        if found.error:
            continue
        count = found.samples
        if segment is not None:
            start, stop = segment.samples(found.rate)
            if stop > count + SEGMENT_OVERSHOOT * found.rate:
                problems.append(
                    f"{data.path / 'segments'}: '{utt}' ends at {segment.end:g} s, its recording "
                    f"at {count / found.rate:.3f} s: correct the times"
                )
                continue
            count = min(stop, count) - start
        tables["utt2dur"][utt] = format_seconds(count / found.rate)
        tables["utt2num_samples"][utt] = str(count)
    if problems:
        more = [f"... and {len(problems) - _MAX_SHOWN} more"] if len(problems) > _MAX_SHOWN else []
        raise UserError("\n".join(problems[:_MAX_SHOWN] + more))
    if data.segments is not None:
        tables["reco2dur"] = {
            reco: format_seconds(files[path].samples / files[path].rate)
            for reco, path in data.wav.items()
        }
    return tables


def write_durations(path: str | os.PathLike[str], nj: int = 1) -> float:
    """Write the tables of `measure` into the data directory; returns hours of audio.

    Raises:
        UserError: see `DataDir.load` and `measure`; nothing is written then.
    """
    data = DataDir.load(path)
    tables = measure(data, nj)
    with ExitStack() as stack:
        for name, table in tables.items():
            temp = stack.enter_context(atomic_path(data.path / name))
            temp.write_text(format_table(table, str(data.path / name)), encoding="utf-8")
    return sum(map(float, tables["utt2dur"].values())) / 3600
