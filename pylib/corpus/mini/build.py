"""The built-in speech corpus on disk, in LibriSpeech's layout.

<corpus>/<subset>/<reader>/<chapter>/ holds <reader>-<chapter>-<nnnn>.flac and
<reader>-<chapter>.trans.txt; <corpus>/SPEAKERS.TXT and <corpus>/librispeech-lm-norm.txt.gz are
beside the subsets. What the real corpus has not: <corpus>/phones/<subset>.ctm (true phone times),
<corpus>/labelled.txt (ids of the labelled split), <corpus>/trivium-mini.json (how it was made).
"""

from __future__ import annotations

import dataclasses
import gzip
import importlib.metadata
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from pylib.corpus.atomic import atomic_dir, require_free_space, write_json
from pylib.corpus.errors import UserError
from pylib.corpus.mini.config import FORMAT_VERSION, MiniCorpusConfig
from pylib.corpus.mini.plan import ReadingList, lm_text, reading_lists
from pylib.corpus.mini.reader import Reading, read_aloud

MARKER = "trivium-mini.json"
LM_TEXT = "librispeech-lm-norm.txt.gz"
LABELLED = "labelled.txt"
BYTES_PER_SECOND = 24000  # of FLAC, generously

_SPEAKERS_HEADER = """\
; Readers of Trivium's built-in corpus: synthetic voices of espeak-ng, not people.
; Laid out as LibriSpeech's SPEAKERS.TXT, fields separated by pipes (|):
;
; reader_id: numeric ID of the reader
; gender: 'F' for female, 'M' for male
; subset: the corpus subset to which the reader's audio is assigned
; duration: total number of minutes of speech by the reader, included in the corpus
; name: the voice and its settings
;
;ID  |SEX| SUBSET           |MINUTES| NAME
"""


class Indexed(Protocol):
    """What a speaker's process returns: `index` is the speaker's."""

    index: int


Made = TypeVar("Made", bound=Indexed)
Config = TypeVar("Config")


def _work(job: tuple[ReadingList, MiniCorpusConfig, str]) -> Reading:
    item, config, root = job
    return read_aloud(item, config, Path(root))


def read_all(
    work: Sequence[tuple[ReadingList, Config, str]],
    read: Callable[[tuple[ReadingList, Config, str]], Made],
    jobs: int,
    progress: Callable[[int, int], None],
    module: str = "pylib.corpus.mini.reader",
) -> list[Made]:
    """Every speaker in a process of its own, `jobs` at a time; results in speaker order.

    The processes are forked from a server that has imported the libraries but never spoken, so
    each starts in the same state, whatever ran before it.

    Args:
        work: what to read, the configuration and the corpus directory, for each speaker.
        read: a function of a module, so that other processes find it.
        module: what the server imports.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    ordered = sorted(work, key=lambda job: -job[0].seconds)  # long ones first: no lone straggler
    readings: list[Made] = []
    with context.Pool(jobs, maxtasksperchild=1) as pool:
        for reading in pool.imap_unordered(read, ordered, chunksize=1):
            readings.append(reading)
            progress(len(readings), len(ordered))
    return sorted(readings, key=lambda reading: reading.index)


def check_place(corpus_dir: Path, jobs: int) -> None:
    """Raises UserError when the corpus cannot go there, or `jobs` is below 1."""
    if jobs < 1:
        raise UserError(f"--nj {jobs}: must be at least 1: give the number of processes")
    if corpus_dir.exists() and any(corpus_dir.iterdir()) and not (corpus_dir / MARKER).is_file():
        raise UserError(
            f"{corpus_dir}: is not empty and not a built-in corpus (no {MARKER}): choose another "
            "directory, nothing there was touched"
        )


def sorted_phone_text(lines: Iterable[str]) -> str:
    """CTM lines by utterance, those of one utterance in the order given (by time)."""
    ordered = sorted(lines, key=lambda line: line.split(" ", 1)[0].encode())
    return "\n".join(ordered) + "\n"


def _write_shared(
    root: Path, lists: list[ReadingList], readings: list[Reading], config: MiniCorpusConfig
) -> None:
    """SPEAKERS.TXT, phone times and the list of the labelled split."""
    pairs = sorted(
        ((item.speaker, reading) for item, reading in zip(lists, readings, strict=True)),
        key=lambda pair: pair[0].reader,
    )
    rows = [
        f"{s.reader:<4} | {s.sex} | {s.subset:<16} | {r.seconds / 60:5.2f} | {s.name}\n"
        for s, r in pairs
    ]
    (root / "SPEAKERS.TXT").write_text(_SPEAKERS_HEADER + "".join(rows), "utf-8")
    (root / "phones").mkdir()
    for subset in sorted({speaker.subset for speaker, _ in pairs}):
        text = sorted_phone_text(line for s, r in pairs if s.subset == subset for line in r.phones)
        (root / "phones" / f"{subset}.ctm").write_text(text, "utf-8")
    labelled = sorted((name for _, r in pairs for name in r.labelled), key=str.encode)
    (root / LABELLED).write_text("\n".join(labelled) + "\n", "utf-8")


def _write_gzip(path: Path, lines: Iterable[str]) -> None:
    """Lines as gzip without name and time in its header, so that bytes depend on them alone."""
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
        for line in lines:
            stream.write(f"{line}\n".encode())


def _summary(
    lists: list[ReadingList], readings: list[Reading], config: MiniCorpusConfig
) -> dict[str, object]:
    subsets: dict[str, dict[str, float]] = {}
    for item, reading in zip(lists, readings, strict=True):
        row = subsets.setdefault(
            item.speaker.subset, {"speakers": 0, "utterances": 0, "minutes": 0.0}
        )
        row["speakers"] += 1
        row["utterances"] += reading.utterances
        row["minutes"] = round(row["minutes"] + reading.seconds / 60, 4)
    return {
        "corpus": "trivium-mini",
        "format_version": FORMAT_VERSION,
        "config": dataclasses.asdict(config),
        "espeakng-loader": importlib.metadata.version("espeakng-loader"),
        "subsets": subsets,
        "labelled_minutes": round(sum(r.labelled_seconds for r in readings) / 60, 4),
        "speakers": [dataclasses.asdict(item.speaker) for item in lists],
    }


def build_corpus(
    corpus_dir: Path,
    config: MiniCorpusConfig,
    jobs: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, object]:
    """Make the corpus below `corpus_dir`, which appears only when it is complete.

    The bytes depend on `config` alone, not on `jobs`. A built-in corpus that is there already is
    replaced.

    Args:
        progress: called with (speakers done, speakers) in this process.

    Returns:
        What `trivium-mini.json` holds.

    Raises:
        UserError: `corpus_dir` holds something that is not a built-in corpus, no space, or a
            configuration that cannot be met.
    """
    check_place(corpus_dir, jobs)
    minutes = config.train_minutes + config.dev_minutes + config.test_minutes
    require_free_space(corpus_dir.parent, int(60 * minutes * BYTES_PER_SECOND))
    lists, held_out = reading_lists(config)
    with atomic_dir(corpus_dir) as root:
        work = [(item, config, str(root)) for item in lists]
        readings = read_all(work, _work, jobs, progress)
        _write_shared(root, lists, readings, config)
        _write_gzip(root / LM_TEXT, lm_text(config, held_out))
        summary = _summary(lists, readings, config)
        write_json(root / MARKER, summary)
    return summary
