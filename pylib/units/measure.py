"""Measures of the labels of a data directory, and the rows that reports are made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some, read_table, table_path
from pylib.units.labels import LabelReader, frame_times, usage
from pylib.units.phones import PhoneTimes, mean_duration, phone_ids, read_phones
from pylib.units.quality import joint_table, mean_run, perplexity, with_intervals


def row(
    identity: Mapping[str, Any],
    measure: str,
    decode: str,
    values: tuple[float, float, float],
    n: int,
    file: str,
) -> dict[str, Any]:
    """One number of `exp/report/summary.json`.

    Args:
        identity: `system`, `seed` and `set`.
        measure: `pnmi`, `phone_purity` ...
        decode: which units or layer: `kmeans`, `layer3` ...
        values: value, low and high end of its 95 % interval.
        n: frames it was measured on.
        file: the file the row is in.
    """
    value, low, high = (float(number) for number in values)
    return {
        "system": identity["system"],
        "seed": identity["seed"],
        "set": identity["set"],
        "measure": measure,
        "decode": decode,
        "value": value,
        "low": low,
        "high": high,
        "n": n,
        "file": file,
    }


def speaker_tables(
    phones: Mapping[str, npt.NDArray[np.int64]],
    units: Mapping[str, npt.NDArray[np.integer]],
    utt2spk: Mapping[str, str],
    num_phones: int,
    num_units: int,
) -> npt.NDArray[np.int64]:
    """Joint table of each speaker, int64 (S, P, K), speakers in order of name.

    Args:
        phones: utterance -> phone of each frame (T,), negative where there is none.
        units: utterance -> unit of each frame (T,).
        utt2spk: utterance -> speaker.
        num_phones: P.
        num_units: K.
    """
    speakers = {name: i for i, name in enumerate(sorted({utt2spk[utt] for utt in units}))}
    tables = np.zeros((len(speakers), num_phones, num_units), dtype=np.int64)
    for utt, ids in units.items():
        table = tables[speakers[utt2spk[utt]]]
        table += joint_table(phones[utt], ids, num_phones, num_units)
    return tables


def measure_labels(
    data: str | os.PathLike[str], identity: Mapping[str, Any], file: str
) -> dict[str, Any]:
    """Quality and use of the labels of a data directory.

    Use (histogram, perplexity) and run length are of all labels; PNMI and purities are of the
    frames whose middle lies in a phone of `<data>/phones.ctm`, with 95 % intervals by resampling
    speakers. Without phone times only the former are given.

    Args:
        data: data directory with labels.
        identity: `system`, `seed` and `set` of the rows.
        file: where the result will be written, for the rows.

    Returns:
        {"results": rows, "units": {...}}.

    Raises:
        UserError: missing or broken labels or phone times, or times of other utterances.
    """
    reader = LabelReader(data)
    labels = {utt: reader.read(utt) for utt in reader.utts}
    counts = usage(labels.values(), reader.clusters)
    frames = int(counts.sum())
    run = mean_run(list(labels.values()), reader.rate)
    spread = perplexity(counts)
    units: dict[str, Any] = {
        "rate": reader.rate,
        "clusters": reader.clusters,
        "frames": frames,
        "used": int((counts > 0).sum()),
        "perplexity": spread,
        "mean_unit_seconds": run,
        "counts": counts.tolist(),
        "labels": reader.meta,
    }
    rows = [
        row(identity, "unit_perplexity", "kmeans", (spread, spread, spread), frames, file),
        row(identity, "unit_seconds", "kmeans", (run, run, run), frames, file),
    ]
    path = Path(data) / "phones.ctm"
    if not path.is_file():
        return {"results": rows, "units": units}
    times = read_phones(path)
    units["mean_phone_seconds"] = mean_duration(times)
    phones, names = frame_phones(times, labels, reader.rate, reader.align, path)
    utt2spk = read_table(table_path(data, "utt2spk"), fields=2)
    tables = speaker_tables(phones, labels, utt2spk, len(names), reader.clusters)
    known = int(tables.sum())
    if not known:
        raise UserError(f"{path}: no frame lies in a phone: are the times in seconds?")
    units["frames_with_phone"] = known
    for name, values in with_intervals(tables).items():
        rows.append(row(identity, name, "kmeans", values, known, file))
    return {"results": rows, "units": units}


def frame_phones(
    times: dict[str, PhoneTimes],
    frames: Mapping[str, npt.NDArray[Any]],
    rate: float,
    align: Any,
    where: str | os.PathLike[str],
    names: dict[str, int] | None = None,
) -> tuple[dict[str, npt.NDArray[np.int64]], dict[str, int]]:
    """Phone of each frame of some utterances.

    Args:
        times: of `read_phones`.
        frames: utterance -> anything whose length is the utterance's number of frames.
        rate: Hz of the frames.
        align: how they lie, see `pylib.units.labels`.
        where: the phone file, for messages.
        names: phone -> id; by default of all phones in `times`.

    Raises:
        UserError: an utterance has no phone times.
    """
    missing = frames.keys() - times.keys()
    if missing:
        raise UserError(
            f"{os.fspath(where)}: no phones of {names_some(missing)}: prepare the data again"
        )
    ids = phone_ids(times) if names is None else names
    return {
        utt: times[utt].at(frame_times(len(value), rate, align), ids)
        for utt, value in frames.items()
    }, ids
