"""Look at every audio file of a corpus before anything is built on it, in parallel.

Data preparation decides here what can be used: the header of each file is read, and its end, which
a truncated file cannot give (0.1 ms a file; decoding it all costs ten times that).
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice

import soundfile

from pylib.corpus import audio
from pylib.corpus.errors import UserError

_CHUNK = 500  # files a task
_CHECKS = ("header", "tail", "full")


@dataclass(frozen=True)
class AudioRules:
    """What an utterance's file must be.

    Attributes:
        rate: Hz.
        min_samples: fewest samples at `rate`, the receptive field of the models.
        max_seconds: longest duration.
        check: `header`, `tail` (also the last sample) or `full` (decode everything).
    """

    rate: int = 16000
    min_samples: int = 400
    max_seconds: float = 60.0
    check: str = "tail"

    def __post_init__(self) -> None:
        if self.check not in _CHECKS:
            raise UserError(f"check '{self.check}': unknown: choose one of {', '.join(_CHECKS)}")


@dataclass(frozen=True)
class Finding:
    """What was found in one file: its samples, or why it cannot be used.

    `kind` is a short name that findings are counted by, such as `truncated`; empty when good.
    """

    utt: str
    samples: int
    kind: str = ""
    what: str = ""


def inspect_file(utt: str, path: str, rules: AudioRules) -> Finding:
    """Check one file against `rules`; never raises for what is wrong with the file."""
    try:
        count, rate, channels = audio.audio_info(path)
    except UserError as error:
        text = str(error)
        kind = "empty" if "0 bytes" in text or "no samples" in text else "unreadable"
        return Finding(utt, 0, kind, text)
    if rate != rules.rate:
        return Finding(utt, count, "rate", f"{path}: {rate} Hz, {rules.rate} expected")
    if channels != 1:
        return Finding(utt, count, "channels", f"{path}: {channels} channels, mono expected")
    if count < rules.min_samples:
        what = f"{path}: {count} samples, at least {rules.min_samples} are needed"
        return Finding(utt, count, "too-short", what)
    if count > rules.max_seconds * rate:
        what = f"{path}: {count / rate:.1f} s, at most {rules.max_seconds:g} s are taken"
        return Finding(utt, count, "too-long", what)
    try:
        if rules.check == "full":
            audio.read_audio(path, rules.rate)
        elif rules.check == "tail":
            _read_last(path, count)
    except UserError as error:
        return Finding(utt, count, "truncated", str(error))
    return Finding(utt, count)


def _read_last(path: str, count: int) -> None:
    """Raises UserError when the last sample that the header promises cannot be read."""
    try:
        with soundfile.SoundFile(path) as stream:
            stream.seek(count - 1)
            found = len(stream.read(1))
    except soundfile.LibsndfileError:
        found = 0
    if found != 1:
        raise UserError(f"{path}: truncated, its end cannot be read: copy it again")


def _inspect_chunk(items: list[tuple[str, str]], rules: AudioRules) -> list[Finding]:
    return [inspect_file(utt, path, rules) for utt, path in items]


def _chunks(wav: Mapping[str, str]) -> Iterator[list[tuple[str, str]]]:
    items = iter(wav.items())
    while chunk := list(islice(items, _CHUNK)):
        yield chunk


def audit_audio(wav: Mapping[str, str], rules: AudioRules, jobs: int = 1) -> dict[str, Finding]:
    """Check every file.

    Args:
        wav: utterance -> path.
        rules: what the files must be.
        jobs: processes; a small corpus is done in this one.

    Returns:
        utterance -> finding, in the order of `wav`.
    """
    work = partial(_inspect_chunk, rules=rules)
    if jobs <= 1 or len(wav) <= 4 * _CHUNK:
        return {finding.utt: finding for chunk in _chunks(wav) for finding in work(chunk)}
    context = multiprocessing.get_context("forkserver")
    with context.Pool(jobs) as pool:
        groups = pool.imap(work, _chunks(wav))
        return {finding.utt: finding for group in groups for finding in group}


def count_kinds(findings: Mapping[str, Finding]) -> str:
    """`3 empty, 1 truncated`, most frequent first; `none` when all are good."""
    counts = Counter(finding.kind for finding in findings.values() if finding.kind)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {kind}" for kind, count in ordered) or "none"
