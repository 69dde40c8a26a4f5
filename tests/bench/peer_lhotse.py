"""lhotse's equivalents of a data directory's verbs, run by `bench_scale.py`."""

from __future__ import annotations

from pathlib import Path

from lhotse import (
    AudioSource,
    Recording,
    RecordingSet,
    SupervisionSegment,
    SupervisionSet,
    combine,
    validate_recordings_and_supervisions,
)

from pylib.corpus.tables import read_table

KINDS = (("recordings", RecordingSet), ("supervisions", SupervisionSet))


def make() -> None:
    """Manifests `l/recordings.jsonl` and `l/supervisions.jsonl` of the data directory `d`."""
    names = ("wav.scp", "utt2num_samples", "text", "utt2spk")
    wav, samples, text, utt2spk = (read_table(f"d/{name}") for name in names)
    recordings = RecordingSet.from_recordings(
        Recording(
            id=utt,
            sources=[AudioSource(type="file", channels=[0], source=path)],
            sampling_rate=16000,
            num_samples=int(samples[utt]),
            duration=int(samples[utt]) / 16000,
        )
        for utt, path in wav.items()
    )
    supervisions = SupervisionSet.from_segments(
        SupervisionSegment(
            id=utt,
            recording_id=utt,
            start=0.0,
            duration=int(samples[utt]) / 16000,
            text=text[utt],
            speaker=spk,
        )
        for utt, spk in utt2spk.items()
    )
    Path("l").mkdir()
    recordings.to_file("l/recordings.jsonl")
    supervisions.to_file("l/supervisions.jsonl")


def check() -> None:
    """Read both and compare them, without opening audio."""
    recordings, supervisions = (kind.from_file(f"l/{name}.jsonl") for name, kind in KINDS)
    validate_recordings_and_supervisions(recordings, supervisions)


def split(parts: int) -> None:
    """Write both in so many parts: `l/<parts>/<kind>.<part>.jsonl`."""
    folder = Path("l", str(parts))
    folder.mkdir()
    for name, kind in KINDS:
        for number, part in enumerate(kind.from_file(f"l/{name}.jsonl").split(parts), 1):
            part.to_file(folder / f"{name}.{number}.jsonl")


def join() -> None:
    """Write the two halves of `split(2)` as one."""
    for name, kind in KINDS:
        halves = [kind.from_file(f"l/2/{name}.{number}.jsonl") for number in (1, 2)]
        combine(*halves).to_file(f"l/{name}.joined.jsonl")
