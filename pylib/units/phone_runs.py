"""Aligned phones as read back: ids at 100 Hz, length of each phone, durations at 25 Hz, times."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pylib.corpus.ark import ArkReader, as_ints
from pylib.corpus.derived import open_derived
from pylib.corpus.errors import UserError
from pylib.units.phone_set import COUNT, FRAMES, RATE, SYMBOLS, require_symbols
from pylib.units.phones import PhoneTimes, read_phones

Ids = npt.NDArray[np.int32]


class RunReader:
    """Reads `phones` and `phone_runs` of a data directory.

    Attributes:
        utts: utterances, sorted.
        made: names of the generations of arks, which say from what the phones were made.

    Raises:
        UserError: no phones, or of other symbols.
    """

    def __init__(self, data: str | os.PathLike[str]) -> None:
        self._where = Path(data) / "phones.scp"
        meta, self._phones = open_derived(data, "phones")
        require_symbols(meta.get("symbols"), f"{data}/phones.json")
        self._runs: dict[str, str] = {}
        if (Path(data) / "phone_runs.scp").is_file():
            _, self._runs = open_derived(data, "phone_runs")
        self.utts = list(self._phones)
        self.made = sorted({_generation(rx) for rx in self._phones.values()})
        self._arks = ArkReader()

    def read(self, utt: str) -> tuple[Ids, Ids]:
        """Phone ids (F,) at 100 Hz and lengths of the phones (P,), which add up to F.

        Without `phone_runs` a phone lasts as long as its id does not change.

        Raises:
            UserError: unknown utterance; unreadable; ids or lengths that cannot be.
        """
        if utt not in self._phones:
            raise UserError(f"{self._where}: no phones of utterance '{utt}': align again")
        rx = self._phones[utt]
        ids = as_ints(self._arks.read(rx, utt), rx, utt)
        if not len(ids) or ids.min() < 0 or ids.max() >= COUNT:
            raise UserError(f"{self._where}: '{utt}': ids of no phones: align again")
        if utt not in self._runs:
            return ids, run_lengths(ids)
        rx = self._runs[utt]
        lengths = as_ints(self._arks.read(rx, utt), rx, utt)
        if not len(lengths) or lengths.min() < 1 or lengths.sum() != len(ids):
            raise UserError(
                f"{self._where}: '{utt}': {len(ids)} phones at 100 Hz, their lengths add up to "
                f"{lengths.sum()}: align again"
            )
        return ids, lengths


def run_lengths(ids: npt.NDArray[np.integer]) -> Ids:
    """Lengths (P,) of the runs of equal ids in (F,)."""
    borders = np.flatnonzero(np.diff(ids, prepend=int(ids[0]) - 1))
    return np.diff(borders, append=len(ids)).astype(np.int32)


def durations(lengths: npt.NDArray[np.integer], frames: int) -> npt.NDArray[np.int64]:
    """Durations (P,) at 25 Hz of phones with lengths (P,) at 100 Hz; they add up to `frames`.

    Every border moves to the nearest border of a frame, so that no phone is lost: one that
    covers the middle of no frame lasts 0 frames.
    """
    ends = np.minimum((np.cumsum(lengths, dtype=np.int64) + FRAMES // 2) // FRAMES, frames)
    ends[-1] = frames
    return np.diff(ends, prepend=0)


def phone_times(
    data: str | os.PathLike[str],
) -> tuple[dict[str, PhoneTimes], Literal["known", "aligned"]]:
    """Times of the phones of a data directory, and where they are from.

    `known`: phones.ctm, as the built-in corpora or somebody else's aligner give them. Where there
    is none, `aligned`: phones.scp of steps/align_phones.sh, which lacks utterances whose text has
    no phones.

    Raises:
        UserError: neither file; unreadable.
    """
    folder = Path(data)
    if (folder / "phones.ctm").is_file() or not (folder / "phones.scp").is_file():
        return read_phones(folder / "phones.ctm"), "known"
    reader = RunReader(folder)
    return {utt: _times(*reader.read(utt)) for utt in reader.utts}, "aligned"


def _times(ids: Ids, lengths: Ids) -> PhoneTimes:
    """Times in seconds of phones given by ids (F,) at 100 Hz and lengths (P,)."""
    ends = np.cumsum(lengths, dtype=np.int64)
    names = tuple(SYMBOLS[number] for number in ids[ends - 1])
    return PhoneTimes((ends - lengths) / RATE, ends / RATE, names)


def _generation(rx: str) -> str:
    """Directory of an ark, without the number of shards: `pylib.corpus.derived.Derived`."""
    return Path(rx).parent.name.rpartition(".n")[0]
