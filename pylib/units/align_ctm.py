"""Phones of a data directory from an alignment that somebody else made (a ctm), and how well two
alignments agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pylib.corpus.atomic import sha256_file
from pylib.corpus.derived import write_shards
from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some
from pylib.units.align_stage import Ids, both
from pylib.units.g2p import from_espeak
from pylib.units.phone_set import FRAMES, RATE, SIL, SYMBOLS, phone_id
from pylib.units.phones import PhoneTimes, read_phones

TOLERANCES = (0.02, 0.05)  # seconds


class CtmStage:
    """Phones at 100 Hz of one data directory from `<utt> 1 <start> <duration> <phone>` lines."""

    def __init__(
        self, data: Path, frames: Mapping[str, int], ark_dir: Path, ctm: Path, jobs: int = 1
    ) -> None:
        """
        Args:
            data: the data directory.
            frames: utterance -> frames at 25 Hz.
            ark_dir: where the arks go.
            ctm: CMUdict's phones, stress and positions are left aside; gaps are silence.
            jobs: number of shards.

        Raises:
            UserError: utterances without phones, or a phone that is not in the set.
        """
        self.data, self.frames = data, frames
        self.times = read_phones(ctm)
        missing = [utt for utt in frames if utt not in self.times]
        if missing:
            raise UserError(
                f"{ctm}: {len(missing)} of {len(frames)} utterances have no phones: "
                f"{names_some(missing)}: add them, or leave them out of {data} first"
            )
        try:
            names = {name for utt in frames for name in self.times[utt].names}
            self.ids = {name: phone_id(name) for name in sorted(names)}
        except UserError as error:
            raise UserError(f"{ctm}: {error}") from None
        self._derived = both(data, ark_dir, "ctm", (sha256_file(ctm).encode(),), jobs)
        self._utts = list(frames)

    def make_shard(self, index: int) -> None:
        """Write the arks of shard `index` (from 1)."""
        write_shards(
            self._derived,
            index,
            self._utts,
            lambda utt: from_times(self.times[utt], self.ids, FRAMES * self.frames[utt]),
        )

    def commit(self) -> str:
        """Join the shards; returns the line to be printed."""
        for derived in reversed(self._derived):
            frames = sum(derived.commit(self._utts).values())
        return (
            f"phones of {self.data}: {len(self._utts)} utterances, {frames / 360000:.2f} h at "
            f"{RATE} Hz, from a ctm"
        )


def from_times(times: PhoneTimes, ids: Mapping[str, int], wanted: int) -> tuple[Ids, Ids]:
    """Phone ids (wanted,) at 100 Hz and the lengths of the phones, int32.

    A frame belongs to the phone at its middle, or to silence; phones shorter than a frame that
    holds no middle are left out.
    """
    middles = (np.arange(wanted) + 0.5) / RATE
    where = np.searchsorted(times.starts, middles + 1e-9, side="right") - 1
    inside = (where >= 0) & (middles < times.ends[np.maximum(where, 0)])
    codes = np.array([ids[name] for name in times.names], dtype=np.int32)
    phones = np.where(inside, codes[where], SIL).astype(np.int32)
    # Each stretch of silence between phones is one phone, whatever it follows.
    owner = np.where(inside, 2 * where + 1, 2 * np.cumsum(inside))
    joined = np.where(phones == SIL, -1, owner)
    borders = np.flatnonzero(np.diff(joined, prepend=-2))
    return phones, np.diff(borders, append=wanted).astype(np.int32)


def compare(
    found: Mapping[str, tuple[Ids, Ids]], truth: Mapping[str, PhoneTimes]
) -> dict[str, float]:
    """How well phones agree with true times (of the built-in corpus: espeak's names).

    Args:
        found: utterance -> phone ids at 100 Hz and lengths of the phones.
        truth: utterance -> true times; names of espeak or of CMUdict.

    Returns:
        `frames`: share of the frames whose phone is the true one; `within_20ms`, `within_50ms`:
        share of the phones found in the right order (by editing one list into the other) whose
        beginning is that near to the true one; `matched`: share of the true phones so found.
    """
    right = total = matched = phones = 0
    apart: list[float] = []
    for utt, (ids, lengths) in found.items():
        if utt not in truth:
            continue
        times = truth[utt]
        names = [_true_names(name) for name in times.names]
        middles = (np.arange(len(ids)) + 0.5) / RATE
        where = np.clip(np.searchsorted(times.starts, middles, side="right") - 1, 0, None)
        right += sum(SYMBOLS[i] in names[w] for i, w in zip(ids, where, strict=True))
        total += len(ids)
        starts = np.cumsum(lengths) - lengths
        said = [SYMBOLS[i] for i in ids[starts]]
        pairs = _pairs(said, names)
        apart += [abs(starts[a] / RATE - float(times.starts[b])) for a, b in pairs]
        matched += len(pairs)
        phones += len(names)
    if not total:
        raise UserError("no utterance has true times: is the ctm that of this data directory?")
    near = np.array(apart)
    result = {"frames": right / total, "matched": matched / phones}
    for limit in TOLERANCES:
        share = float((near <= limit + 1e-6).mean()) if len(near) else 0.0
        result[f"within_{round(1000 * limit)}ms"] = share
    return result


def _true_names(name: str) -> tuple[str, ...]:
    from pylib.units.phone_set import SILENCE, fold

    return from_espeak(name) or ((SILENCE,) if fold(name) == SILENCE else (fold(name),))


def _pairs(said: Sequence[str], names: Sequence[tuple[str, ...]]) -> list[tuple[int, int]]:
    """Places of the phones that a cheapest edit of one list into the other keeps."""
    rows, cols = len(said), len(names)
    cost: npt.NDArray[np.int64] = np.zeros((rows + 1, cols + 1), dtype=np.int64)
    cost[:, 0], cost[0] = np.arange(rows + 1), np.arange(cols + 1)
    equal = np.array([[phone in name for name in names] for phone in said])
    for row in range(1, rows + 1):
        for col in range(1, cols + 1):
            cost[row, col] = min(
                cost[row - 1, col] + 1,
                cost[row, col - 1] + 1,
                cost[row - 1, col - 1] + 1 - equal[row - 1, col - 1],
            )
    pairs, row, col = [], rows, cols
    while row and col:
        if equal[row - 1, col - 1] and cost[row, col] == cost[row - 1, col - 1]:
            pairs.append((row - 1, col - 1))
            row, col = row - 1, col - 1
        elif cost[row, col] == cost[row - 1, col - 1] + 1:
            row, col = row - 1, col - 1
        elif cost[row, col] == cost[row - 1, col] + 1:
            row -= 1
        else:
            col -= 1
    return pairs[::-1]
