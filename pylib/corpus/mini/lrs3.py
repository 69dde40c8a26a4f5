"""The built-in talking-face corpus in the layout of LRS3, and what is trained beside it.

<corpus>/lrs3/{pretrain,trainval,test}/<speaker>/<clip>.{mp4,txt} as LRS3 has them: 224 x 224
pictures at 25 frames a second with 16 kHz sound, texts with word times. tedlium3/ (audio and
text), audio/ (audio only), text/lm.txt.gz (text only) and musan/ (noises) stand beside it. What
the real corpora have not: phones/<set>.ctm (true phone times; the first field is <speaker>/<clip>
in the sets of lrs3, the recording's name in the others), landmarks/<speaker>/<clip>.npy (true
points (T, 8, 2), see `face_shape.POINTS`) and trivium-mini.json (how it was made).
"""

from __future__ import annotations

import dataclasses
import gzip
import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path

from pylib.corpus.atomic import atomic_dir, require_free_space, write_json
from pylib.corpus.errors import UserError
from pylib.corpus.mini.build import (
    BYTES_PER_SECOND,
    MARKER,
    check_place,
    read_all,
    sorted_phone_text,
)
from pylib.corpus.mini.lrs3_clips import FaceReading, film_speaker
from pylib.corpus.mini.lrs3_config import FORMAT_VERSION, Lrs3MiniConfig
from pylib.corpus.mini.lrs3_plan import SEEN, TEST, cast_lists, name_of, text_lines
from pylib.corpus.mini.lrs3_sound import record_speaker
from pylib.corpus.mini.plan import ReadingList

_VIDEO_BYTES_PER_SECOND = 40000  # generously


def read_part(job: tuple[ReadingList, Lrs3MiniConfig, str]) -> FaceReading:
    """Write all that one speaker says below the corpus directory.

    Must run in a process that has not used espeak before (see `espeak`).

    Raises:
        UserError: too few sentences for the seconds asked for.
    """
    item, config, root = job
    film = item.speaker.subset in (SEEN, TEST)
    try:
        return (film_speaker if film else record_speaker)(item, config, Path(root))
    except IndexError:
        raise UserError(
            f"built-in corpus: speaker {name_of(item.speaker)}: {len(item.sentences)} sentences "
            f"are less than the {item.seconds:.0f} s asked for: set a smaller mean_seconds"
        ) from None


def _write_text(path: Path, lines: Iterable[str]) -> int:
    """Lines as gzip without name and time in its header; returns their number."""
    path.parent.mkdir(parents=True)
    count = 0
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
        for line in lines:
            stream.write(f"{line}\n".encode())
            count += 1
    return count


def _subsets(readings: list[FaceReading]) -> dict[str, dict[str, float]]:
    """Speakers, utterances and minutes of each set."""
    rows: dict[str, dict[str, float]] = {}
    for reading in readings:
        for name, share in reading.shares.items():
            row = rows.setdefault(name, {"speakers": 0, "utterances": 0, "minutes": 0.0})
            row["speakers"] += 1
            row["utterances"] += share.utterances
            row["minutes"] = round(row["minutes"] + share.seconds / 60, 4)
    order = ("pretrain", "trainval", "test")
    return dict(sorted(rows.items(), key=lambda row: (row[0] not in order, row[0])))


def _write_phones(root: Path, readings: list[FaceReading]) -> None:
    (root / "phones").mkdir()
    for name in sorted({name for reading in readings for name in reading.shares}):
        lines = [ln for r in readings if name in r.shares for ln in r.shares[name].phones]
        if lines:
            (root / "phones" / f"{name}.ctm").write_text(sorted_phone_text(lines), "utf-8")


def _summary(
    lists: list[ReadingList], readings: list[FaceReading], config: Lrs3MiniConfig, lines: int
) -> dict[str, object]:
    used = ("sex", "accent", "voice", "pitch", "pitch_range", "rate", "warp")
    speakers = []
    for item in lists:
        speaker = dataclasses.asdict(item.speaker)
        about = {name: speaker[name] for name in used}
        speakers.append({"name": name_of(item.speaker), "of": item.speaker.subset, **about})
    versions = ("espeakng-loader", "opencv-python-headless", "av")
    return {
        "corpus": "trivium-mini",
        "layout": "lrs3",
        "format_version": FORMAT_VERSION,
        "config": dataclasses.asdict(config),
        **{name: importlib.metadata.version(name) for name in versions},
        "subsets": _subsets(readings),
        "text_lines": lines,
        "speakers": speakers,
    }


def build_lrs3(
    corpus_dir: Path,
    config: Lrs3MiniConfig,
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
    lists, held_out = cast_lists(config)
    faces = sum(item.seconds for item in lists if item.speaker.subset in (SEEN, TEST))
    seconds = sum(item.seconds for item in lists)
    size = int(seconds * BYTES_PER_SECOND + faces * _VIDEO_BYTES_PER_SECOND)
    require_free_space(corpus_dir.parent, size)
    with atomic_dir(corpus_dir) as root:
        work = [(item, config, str(root)) for item in lists]
        readings = read_all(work, read_part, jobs, progress, __name__)
        _write_phones(root, readings)
        lines = _write_text(root / "text" / "lm.txt.gz", text_lines(config, held_out))
        summary = _summary(lists, readings, config, lines)
        write_json(root / MARKER, summary)
    return summary
