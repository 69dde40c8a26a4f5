"""What is computed beside a data directory by parallel jobs: features, labels.

`<data>/<stem>.scp` points into arks and `<data>/<stem>.json` says what the numbers are. One job
makes one shard (a contiguous part of the sorted utterances); `commit` joins the shards when every
utterance asked for is there. The arks of one state of the world lie in a directory of their own,

    <ark-dir>/<stem>.<description>.<inputs>.n<jobs>/<shard>.ark

named after digests of the json and of the inputs. So jobs that compute something new never touch
the arks that the present scp points to, a killed stage leaves the old state whole, and an scp that
does not belong to the json beside it is noticed on reading.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pylib.corpus.ark import ArkWriter, concat_scps, read_scp
from pylib.corpus.arkformat import Array
from pylib.corpus.atomic import require_free_space, write_json, write_text
from pylib.corpus.errors import UserError
from pylib.corpus.jsonfile import read_object
from pylib.corpus.tables import names_some, read_numbers, write_table

Item = TypeVar("Item")

_STEM = re.compile(r"[A-Za-z0-9_-]+")
_MAX_FAILURES = 20  # shown before a shard gives up


def parse_shard(text: str) -> tuple[int, int]:
    """`"2/4"` -> (2, 4): part 2 of 4, counted from 1.

    Raises:
        UserError: anything else.
    """
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f"--shard {text}: not a part: use i/n with 1 <= i <= n, for example 1/4")
    return int(match[1]), int(match[2])


def shard_slice(items: Sequence[Item], index: int, count: int) -> Sequence[Item]:
    """Part `index` (from 1) of `count` contiguous parts whose sizes differ by at most one."""
    total = len(items)
    return items[total * (index - 1) // count : total * index // count]


def digest(*parts: bytes) -> str:
    """First 8 hexadecimal digits of the SHA-256 of some byte strings, their borders included."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:8]


def describe(meta: Mapping[str, Any]) -> bytes:
    """Canonical bytes of a description, for digests."""
    return json.dumps(meta, sort_keys=True, ensure_ascii=False, allow_nan=False).encode("utf-8")


def input_bytes(paths: Iterable[str | os.PathLike[str]]) -> list[bytes]:
    """Contents of the input tables that exist, each with its name in front."""
    out = []
    for path in map(Path, paths):
        if path.is_file():
            out += [path.name.encode("utf-8"), path.read_bytes()]
    return out


@dataclass(frozen=True)
class Derived:
    """One set of arks in the making.

    Attributes:
        data: the data directory.
        stem: `feats`, `mfcc`, `labels`, `hidden6` ...: name of the scp and of the json.
        ark_dir: where generations of arks lie.
        meta: what the json will say. The same for every data directory described alike: nothing of
            one set (counts, names) belongs in it.
        inputs: contents of everything that decides the numbers and is not in `meta`.
        jobs: number of shards.
    """

    data: Path
    stem: str
    ark_dir: Path
    meta: Mapping[str, Any]
    inputs: tuple[bytes, ...]
    jobs: int

    def __post_init__(self) -> None:
        if not _STEM.fullmatch(self.stem):
            raise UserError(f"name '{self.stem}': use letters, digits, - and _ only")
        if self.jobs < 1:
            raise UserError(f"{self.jobs} jobs: at least 1 is needed")

    @property
    def directory(self) -> Path:
        """Directory of this generation's arks."""
        name = f"{self.stem}.{digest(describe(self.meta))}.{digest(*self.inputs)}.n{self.jobs}"
        return self.ark_dir / name

    @property
    def _owner(self) -> str:
        """Which data directory the arks belong to: several may share an ark directory."""
        return os.path.relpath(self.data, self.ark_dir) + "\n"

    @property
    def scp(self) -> Path:
        """The joined scp in the data directory."""
        return self.data / f"{self.stem}.scp"

    def require_space(self, index: int, utts: Sequence[str]) -> None:
        """Refuse to begin shard `index` (from 1) of `utts` where its float32 arks would not fit.

        As far as durations are known (utt2dur), by the `rate` and `dim` of `meta`.

        Raises:
            UserError: too little free space.
        """
        path = self.data / "utt2dur"
        if path.is_file():
            known = read_numbers(path, float)
            seconds = sum(known.get(utt, 0.0) for utt in shard_slice(utts, index, self.jobs))
            need = seconds * self.meta["rate"] * self.meta["dim"] * 4
            require_free_space(self.ark_dir, int(need))

    def write_shard(
        self,
        index: int,
        utts: Sequence[str],
        make: Callable[[str], Array],
        *,
        compression: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Compute and write shard `index` (from 1) of the sorted utterances `utts`.

        Args:
            index: which shard.
            utts: all utterances of the data directory, sorted.
            make: utterance -> matrix (F, D) or int32 vector (T,); a `UserError` of it is a failure
                of that utterance, and the others are still tried so that all are named at once.
            compression: of `ArkWriter`.
            progress: called with (done, all) after every utterance.

        Returns:
            Number of frames written.

        Raises:
            UserError: every utterance that failed (at most 20) with its reason; nothing is written.
        """
        return write_shards(
            [self], index, utts, lambda utt: (make(utt),), compression=compression,
            progress=progress,
        )[0]  # fmt: skip

    def commit(self, utts: Sequence[str]) -> dict[str, int]:
        """Join the shards: write the scp and the json, then remove what they replace.

        Args:
            utts: all utterances that were asked for, sorted.

        Returns:
            Frames of each utterance.

        Raises:
            UserError: a shard or an utterance is missing; the data directory is left as it was.
        """
        frames: dict[str, int] = {}
        for index in range(1, self.jobs + 1):
            base = self.directory / str(index)
            part = shard_slice(utts, index, self.jobs)
            if not Path(f"{base}.frames").is_file() or not Path(f"{base}.scp").is_file():
                raise UserError(
                    f"{base}.scp: shard {index}/{self.jobs} is missing: its job failed or was made "
                    "from other inputs, run the step again"
                )
            made = read_numbers(f"{base}.frames", int)
            _same(f"{base}.scp", read_scp(f"{base}.scp"), part)
            _same(f"{base}.frames", made, part)
            frames.update(made)
        # The json first: until the new scp stands, reading notices that the two disagree.
        write_json(self.data / f"{self.stem}.json", self.meta)
        concat_scps([self.directory / f"{i}.scp" for i in range(1, self.jobs + 1)], self.scp)
        self._remove_others()
        return frames

    def _remove_others(self) -> None:
        """Remove the arks of earlier generations of this stem of this data directory."""
        for other in self.ark_dir.glob(f"{self.stem}.*.n*"):
            owner = other / "owner"
            if other.name == self.directory.name or not owner.is_file():
                continue
            if owner.read_text(encoding="utf-8") == self._owner:
                shutil.rmtree(other)


def write_shards(
    together: Sequence[Derived],
    index: int,
    utts: Sequence[str],
    make: Callable[[str], Sequence[Array]],
    *,
    compression: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[int]:
    """Compute and write shard `index` of several stems of one data directory in one pass.

    Args:
        together: the stems, all with the same `data` and `jobs`.
        index, utts, compression, progress: as `Derived.write_shard`.
        make: utterance -> one array for each stem.

    Returns:
        Number of frames written, of each stem.

    Raises:
        UserError: as `Derived.write_shard`; nothing of any stem is written.
    """
    data, jobs = together[0].data, together[0].jobs
    part = shard_slice(utts, index, jobs)
    frames: list[dict[str, int]] = [{} for _ in together]
    failures: list[str] = []
    with ExitStack() as stack:
        writers = []
        for item in together:
            item.directory.mkdir(parents=True, exist_ok=True)
            write_text(item.directory / "owner", item._owner)
            base = f"{item.directory}/{index}"
            writer = ArkWriter(f"{base}.ark", f"{base}.scp", compression, len(part))
            writers.append(stack.enter_context(writer))
        for done, utt in enumerate(part, 1):
            try:
                arrays = make(utt)
            except UserError as error:
                text = str(error)
                failures.append(text if f"'{utt}'" in text else f"utterance '{utt}': {text}")
                if len(failures) == _MAX_FAILURES:
                    break
            else:
                for writer, counts, array in zip(writers, frames, arrays, strict=True):
                    writer.write(utt, array)
                    counts[utt] = len(array)
            if progress is not None:
                progress(done, len(part))
        if failures:
            more = " (gave up)" if len(failures) == _MAX_FAILURES else ""
            failures.append(
                f"{data}: {', '.join(item.stem for item in together)}: {len(frames[0])} of "
                f"{len(part)} utterances of shard {index}/{jobs} made{more}: mend or leave out "
                "those named above"
            )
            raise UserError("\n".join(failures))
    for item, counts in zip(together, frames, strict=True):
        write_table(item.directory / f"{index}.frames", counts)
    return [sum(counts.values()) for counts in frames]


def _same(name: str, found: Mapping[str, object], wanted: Sequence[str]) -> None:
    if found.keys() == set(wanted):
        return
    lacks, extra = set(wanted) - found.keys(), found.keys() - set(wanted)
    what = f"lacks {names_some(lacks)}" if lacks else f"has {names_some(extra)} not asked for"
    raise UserError(
        f"{name}: {len(found)} utterances made, {len(wanted)} asked for: {what}: run the step again"
    )


def read_meta(data: str | os.PathLike[str], stem: str) -> dict[str, Any]:
    """The description `<data>/<stem>.json`.

    Raises:
        UserError: it is missing or is not a JSON object.
    """
    missing = f"the stage that makes {stem} comes first"
    return read_object(Path(data) / f"{stem}.json", f"make {stem} again", missing)


def open_derived(data: str | os.PathLike[str], stem: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The description and the scp (utterance -> rxfilename) of a stem, checked to belong together.

    Raises:
        UserError: either is missing or broken, or the scp was made with another description.
    """
    meta = read_meta(data, stem)
    path = Path(data) / f"{stem}.scp"
    if not path.is_file():
        raise UserError(f"{path}: no such file: the stage that makes {stem} comes first")
    table = read_scp(path)
    if not table:
        raise UserError(f"{path}: is empty: make {stem} again")
    want = f"{digest(describe(meta))}"
    seen: set[str] = set()
    for utt, rx in table.items():
        parent = rx.rpartition("/")[0]
        if parent in seen:
            continue
        seen.add(parent)
        parts = parent.rpartition("/")[2].split(".")
        if len(parts) == 4 and parts[3].startswith("n") and parts[1] != want:
            raise UserError(
                f"{path}: '{utt}' was made with other settings than {stem}.json beside it says "
                "(an interrupted stage?): make it again"
            )
    return meta, table
