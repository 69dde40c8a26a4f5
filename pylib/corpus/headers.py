"""Lengths and rates of many audio files, read by several processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from pylib.corpus import audio
from pylib.corpus.errors import UserError

LEVELS = ("header", "tail", "full")
_CHUNK = 256


@dataclass(frozen=True)
class AudioFile:
    """What one file holds, or why it cannot be used.

    Attributes:
        samples: number of samples of one channel.
        rate: Hz.
        channels: number of channels.
        error: empty for a good file.
    """

    samples: int = 0
    rate: int = 0
    channels: int = 0
    error: str = ""


def inspect(path: str, level: str = "header") -> AudioFile:
    """Look at one file.

    Args:
        path: the file.
        level: `header`; `tail` reads the last sample too, which a truncated file has not; `full`
            decodes all of it and looks for NaN.
    """
    try:
        samples, rate, channels = audio.audio_info(path)
        if level == "tail":
            audio.read_audio(path, None, mix=True, start=samples - 1)
        elif level == "full":
            audio.read_audio(path, None, mix=True)
    except UserError as error:
        return AudioFile(error=str(error))
    return AudioFile(samples, rate, channels)


def _inspect_all(paths: Sequence[str], level: str) -> list[AudioFile]:
    return [inspect(path, level) for path in paths]


def _no_interrupts() -> None:
    # Ctrl-C reaches the whole group; only the parent reports it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def inspect_files(
    paths: Sequence[str], level: str = "header", nj: int = 1
) -> Iterator[tuple[str, AudioFile]]:
    """Yield (path, what it holds) in the order of `paths`.

    Args:
        paths: files.
        level: see `inspect`.
        nj: number of processes.
    """
    if level not in LEVELS:
        raise ValueError(f"level {level}: one of {LEVELS}")
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    work = partial(_inspect_all, level=level)
    if nj <= 1 or len(chunks) <= 1:
        for chunk in chunks:
            yield from zip(chunk, work(chunk), strict=True)
        return
    # spawn: a fork of a process that holds open decoders or threads is not safe.
    with ProcessPoolExecutor(
        min(nj, len(chunks)), mp_context=get_context("spawn"), initializer=_no_interrupts
    ) as pool:
        for chunk, found in zip(chunks, pool.map(work, chunks), strict=True):
            yield from zip(chunk, found, strict=True)
