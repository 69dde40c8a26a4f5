"""What a recipe leaves on disk: compared between two runs, and looked at for anything half-written.

Times of the clock differ between two runs and nothing else may: files that hold some are compared
without them (`masked`; a digest of a checkpoint that holds some counts as its name), files that are
nothing but an account of a run are named and left out (`ACCOUNTS`).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: Accounts of a run, by a pattern of their path: not compared, counted by name.
ACCOUNTS = {
    "ledger (.stages/)": r"(^|/)\.stages/",
    "logs (log/, *.log)": r"(^|/)log/|\.log$",
    "TensorBoard events (tensorboard/)": r"(^|/)tensorboard/",
}
#: A name that is not final yet, or a directory of jobs under way.
PASSING = re.compile(r"(^|/)\.[^/]*\.tmp-[^/]*|\.tmp$|\.new$|(^|/)q/|code\.cache\.\d+$")
#: Keys of JSON that hold clock times or memory.
CLOCK = {
    "wall_s", "seconds", "peak_memory_gb", "audio_per_s", "updates_per_s", "wait_share", "when",
}  # fmt: skip
#: Times in the text of a report: "12 s", and the column before a commit.
REPORT_TIMES = re.compile(
    r"(?<=, )\d+ s(?=\.)|(?<=, )\d+ s$|(?<=<td>)\d+(?=</td><td>[0-9a-f]{12})"
    r"|(?<=\| )\d+(?= \| [0-9a-f]{12})",
    re.MULTILINE,
)


def files_of(folder: Path) -> dict[str, Path]:
    """Files below a folder by their path relative to it."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path for path in sorted(found)}


def account_of(name: str) -> str:
    """Which kind of account a file is, or "" for an output."""
    return next((kind for kind, pattern in ACCOUNTS.items() if re.search(pattern, name)), "")


# ---- comparison


def without_clock(value: Any, known: Mapping[str, str]) -> Any:
    """Plain values without the keys of CLOCK, and with `known` words replaced, at any depth."""
    if isinstance(value, dict):
        return {
            known.get(key, key): without_clock(item, known)
            for key, item in value.items()
            if key not in CLOCK
        }
    if isinstance(value, list | tuple):
        return [without_clock(item, known) for item in value]
    return known.get(value, value) if isinstance(value, str) else value


def same_payload(first: Any, second: Any) -> bool:
    """Whether two values hold the same tensors, bit for bit, and the same plain values."""
    import torch

    if isinstance(first, torch.Tensor) or isinstance(second, torch.Tensor):
        return (
            isinstance(first, torch.Tensor)
            and isinstance(second, torch.Tensor)
            and first.dtype == second.dtype
            and first.shape == second.shape
            and first.contiguous().numpy().tobytes() == second.contiguous().numpy().tobytes()
        )
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(
            same_payload(first[key], second[key]) for key in first
        )
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(same_payload, first, second))
    return type(first) is type(second) and (first == second or first != first and second != second)


def _checkpoint(path: Path, known: Mapping[str, str]) -> Any:
    import torch

    return without_clock(torch.load(path, weights_only=True), known)


def _json(path: Path, known: Mapping[str, str]) -> Any:
    return without_clock(json.loads(path.read_text(encoding="utf-8")), known)


def _cache(path: Path, known: Mapping[str, str]) -> Any:
    """Trials of a search; their key is a digest of digests, which are compared where they stand."""
    return _json(path, known)["trials"]


def _json_lines(path: Path, known: Mapping[str, str]) -> Any:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [without_clock(json.loads(line), known) for line in lines]


def _report(path: Path, known: Mapping[str, str]) -> str:
    text = REPORT_TIMES.sub("-", path.read_text(encoding="utf-8"))
    return re.sub(r"[0-9a-f]{64}", lambda found: known.get(found[0], found[0]), text)


#: What files hold besides clock times. JSON tells digests of checkpoints, which hold some.
CONTENT: dict[str, Callable[[Path, Mapping[str, str]], Any]] = {
    r"\.pt$": _checkpoint,
    r"(^|/)metrics\.jsonl$": _json_lines,
    r"(^|/)tuned\.cache\.json$": _cache,
    r"\.json$": _json,
    r"(^|/)report/.*\.(html|md)$": _report,
}


def _known(files: Mapping[str, Path]) -> dict[str, str]:
    """Digests of checkpoints -> their names."""
    names = [name for name in files if name.endswith(".pt")]
    return {hashlib.sha256(files[name].read_bytes()).hexdigest(): name for name in names}


@dataclass
class Comparison:
    """Names of the outputs of two runs by what became of them."""

    identical: list[str] = field(default_factory=list)  # byte for byte
    masked: list[str] = field(default_factory=list)  # equal but for clock times
    differing: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # only in the undisturbed run
    extra: list[str] = field(default_factory=list)  # only in the other one
    left_out: Counter[str] = field(default_factory=Counter)  # accounts, by kind

    @property
    def compared(self) -> int:
        return len(self.identical) + len(self.masked) + len(self.bad)

    @property
    def bad(self) -> list[str]:
        return [*self.differing, *self.missing, *self.extra]


def compare(undisturbed: Path, other: Path) -> Comparison:
    """Every output of two runs made at the same path, the first one moved away since."""
    result = Comparison()
    first, second = files_of(undisturbed), files_of(other)
    known = _known(first), _known(second)
    for name in sorted({*first, *second}):
        kind = account_of(name)
        if kind:
            result.left_out[kind] += name in first
        elif name not in second:
            result.missing.append(name)
        elif name not in first:
            result.extra.append(name)
        elif first[name].read_bytes() == second[name].read_bytes():
            result.identical.append(name)
        else:
            read = next((CONTENT[rule] for rule in CONTENT if re.search(rule, name)), None)
            equal = read is not None and same_payload(
                read(first[name], known[0]), read(second[name], known[1])
            )
            (result.masked if equal else result.differing).append(name)
    return result


# ---- nothing half-written under a final name


class Watch:
    """Looks at what is under final names, again only at what changed since the last look."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[int, int]] = {}

    def faults(self) -> list[str]:
        """One line for every file that cannot be read whole."""
        return list(self._faults())

    def _faults(self) -> Iterator[str]:
        for name, path in files_of(self.folder).items():
            if PASSING.search(name) or account_of(name).startswith(("logs", "Tensor")):
                continue
            stat = path.stat()
            if self._seen.get(name) == (stat.st_size, stat.st_mtime_ns):
                continue
            try:
                read_whole(path)
            except Exception as error:  # whatever a reader says of it is the finding
                yield f"{name}: {type(error).__name__}: {str(error).splitlines()[0][:200]}"
            else:
                self._seen[name] = (stat.st_size, stat.st_mtime_ns)

    def passing(self) -> list[str]:
        """Files under names that are not final: after the end of a run there must be none."""
        return [name for name in files_of(self.folder) if PASSING.search(name)]


def read_whole(path: Path) -> None:
    """Read a file as its name promises. Raises whatever its reader does."""
    name = path.name
    if path.suffix == ".scp":
        _read_scp(path)
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".jsonl":
        # Appended to line by line: only the last one may be cut, and going on removes it.
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            json.loads(line)
    elif path.suffix == ".pt":
        import torch

        torch.load(path, map_location="cpu", weights_only=True)
    elif path.suffix in (".npy", ".npz"):
        import numpy as np

        np.load(path, allow_pickle=False)
    elif path.suffix == ".gz":
        gzip.decompress(path.read_bytes())
    elif path.suffix in (".flac", ".wav", ".sph"):
        import soundfile

        soundfile.read(path)
    elif path.suffix == ".mp4":
        from pylib.corpus.video import probe

        probe(path)
    elif name == "text" or name.startswith(("utt2", "spk2")) or name in ("hyp", "trials"):
        text = path.read_bytes().decode("utf-8")
        assert not text or text.endswith("\n"), "its last line is cut"


def _read_scp(path: Path) -> None:
    """Every entry is there: of an archive read, of anything else a file."""
    from pylib.corpus.ark import ArkReader, read_scp

    entries = read_scp(path)
    with ArkReader() as reader:
        for key, place in entries.items():
            if re.search(r"\.ark:\d+$", place):
                reader.read(place, key)
            else:
                target = Path(place)
                assert target.is_file() and target.stat().st_size, f"{key}: {place} is not there"
