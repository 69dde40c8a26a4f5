"""Data directories: Kaldi's files, read and written with their rules checked.

A data directory describes a set of utterances. By hand (or by data preparation) come `wav.scp`,
`utt2spk`, `text` and, for long recordings, `segments`; the rest is derived. `utt2num_samples`
(`<utt> <int>`, at the file's own rate) is an addition of ours: batches are planned without
opening audio. Paths are absolute or relative to the recipe's directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pylib.corpus import audio
from pylib.corpus.atomic import atomic_dir
from pylib.corpus.errors import UserError
from pylib.corpus.tables import (
    Number,
    format_table,
    invert,
    names_some,
    parse_number,
    read_numbers,
    read_table,
    table_path,
)

# Files keyed by utterance, by speaker, by recording; every verb treats them alike.
UTT_FILES = (
    "utt2spk", "text", "segments", "utt2dur", "utt2num_samples", "utt2num_frames", "feats.scp",
    "mfcc.scp", "labels.scp", "vad.scp", "utt2lang", "utt2uniq", "utt2warp", "roi.scp", "video.scp",
    "video_segments", "utt2num_video", "mouth_quality",
)  # fmt: skip
SPK_FILES = ("spk2utt", "spk2gender", "cmvn.scp", "spk2warp", "spk_svector.scp")
RECO_FILES = ("reco2dur", "reco2file_and_channel")
# Not keyed: one value for the whole directory, the same in every part of it.
COMMON_FILES = ("frame_shift", "labels.json", "feats.json", "mfcc.json")
# NIST files; the recording or the utterance is in their first field.
NIST_FILES = ("stm", "glm", "ctm", "phones.ctm", "words.ctm")

# Frames of video a second, in every data directory that has video.scp.
VIDEO_RATE = 25


# A segment may end this much after its recording (seconds): rounding of its times. It is cut there.
SEGMENT_OVERSHOOT = 0.01


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording: its name and the two times in seconds."""

    reco: str
    begin: float
    end: float

    def samples(self, rate: int) -> tuple[int, int]:
        """First sample and the sample after the last one, at `rate` Hz, rounded half up."""
        return int(self.begin * rate + 0.5), int(self.end * rate + 0.5)


def check_audio_path(key: str, path: str, where: str) -> str:
    """The path of a wav.scp entry, if it is one.

    Raises:
        UserError: an empty path or a shell pipe, which is never run.
    """
    if not path:
        raise UserError(f"{where}: '{key}' has no path: give each recording an audio file")
    if path.endswith("|") or path.startswith("|") or path == "-":
        raise UserError(
            f"{where}: '{key}' is a shell pipe ({path[:60]}), which is not run: "
            "convert the audio to files once and list those"
        )
    return path


def check_speaker_order(utt2spk: Mapping[str, str], where: str) -> None:
    """Refuse utterances whose order differs from their speakers' (Kaldi's prefix rule).

    Raises:
        UserError: names the two offending utterances.
    """
    previous_utt, previous_spk = "", ""
    for utt in sorted(utt2spk):
        spk = utt2spk[utt]
        if spk < previous_spk:
            raise UserError(
                f"{where}: sorted by utterance, '{previous_utt} {previous_spk}' comes before "
                f"'{utt} {spk}', but the speakers sort the other way: begin each utterance with "
                "its speaker and '-', for example '<spk>-<utt>'"
            )
        previous_utt, previous_spk = utt, spk


def read_segments(path: str | os.PathLike[str]) -> dict[str, Segment]:
    """Read a `segments` file: utterance -> stretch of a recording.

    Raises:
        UserError: rules of a table; times that are not numbers, or end not after begin.
    """
    out: dict[str, Segment] = {}
    for number, (utt, value) in enumerate(read_table(path, fields=4).items(), 1):
        reco, begin, end = value.split()
        try:
            segment = Segment(reco, parse_number(begin, float), parse_number(end, float))
        except ValueError as error:
            raise UserError(
                f"{os.fspath(path)}:{number}: '{begin} {end}' are not times in seconds: correct it"
            ) from error
        if not 0 <= segment.begin < segment.end:
            raise UserError(
                f"{os.fspath(path)}:{number}: '{utt}' from {begin} to {end} s: "
                "0 <= begin < end is needed"
            )
        out[utt] = segment
    return out


class DataDir:
    """A data directory that has been checked for what a program needs of it.

    Tables are read on first use and kept. `steps/validate_data_dir.sh` checks all the rest.

    Attributes:
        path: the directory.
        utts: utterance ids, sorted by bytes.
        wav: recording (without `segments`: utterance) -> audio path.
        utt2spk: utterance -> speaker.
        spk2utt: speaker -> utterances, both sorted.
        text: utterance -> transcript, or None without transcripts.
        segments: utterance -> Segment, or None where recordings are utterances.
        utt2dur: utterance -> seconds.
        utt2num_samples: utterance -> samples at the file's own rate.
        utt2num_video: utterance -> frames of video at VIDEO_RATE.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DataDir:
        """Open a data directory and check that utterances, speakers and recordings agree.

        Raises:
            UserError: missing directory, utt2spk or wav.scp; broken tables; a pipe in wav.scp; an
                utterance without a recording; transcripts of other utterances than utt2spk's.
        """
        data = cls(path)
        if not data.path.is_dir():
            raise UserError(f"{data.path}: no such data directory: check the name, or prepare it")
        if not data.utt2spk:
            raise UserError(f"{data.path / 'utt2spk'}: is empty: prepare the data again")
        data._check_recordings()
        if data.text is not None:
            data._same_keys(data.text, "text")
        return data

    @cached_property
    def utt2spk(self) -> dict[str, str]:
        return read_table(table_path(self.path, "utt2spk"), fields=2)

    @cached_property
    def utts(self) -> list[str]:
        return list(self.utt2spk)

    @cached_property
    def spk2utt(self) -> dict[str, list[str]]:
        return invert(self.utt2spk)

    @cached_property
    def wav(self) -> dict[str, str]:
        path = table_path(self.path, "wav.scp")
        table = read_table(path)
        for number, (key, value) in enumerate(table.items(), 1):
            if not value or value[-1] == "|" or value[0] in "|-":
                check_audio_path(key, value, f"{path}:{number}")
        return table

    @cached_property
    def text(self) -> dict[str, str] | None:
        path = self.path / "text"
        return read_table(path) if path.is_file() else None

    @cached_property
    def segments(self) -> dict[str, Segment] | None:
        path = self.path / "segments"
        return read_segments(path) if path.is_file() else None

    @cached_property
    def utt2num_samples(self) -> dict[str, int]:
        return self._numbers("utt2num_samples", int)

    @cached_property
    def utt2dur(self) -> dict[str, float]:
        return self._numbers("utt2dur", float)

    @cached_property
    def utt2num_video(self) -> dict[str, int]:
        return self._numbers("utt2num_video", int)

    def _numbers(self, name: str, kind: type[Number]) -> dict[str, Number]:
        path = self.path / name
        if not path.is_file():
            fix = f"make it with steps/get_utt2dur.sh {self.path}"
            fix = "prepare the video data again" if name == "utt2num_video" else fix
            raise UserError(f"{path}: no such file: {fix}")
        table = read_numbers(path, kind)
        self._same_keys(table, name)
        for number, (utt, value) in enumerate(table.items(), 1):
            if value <= 0:
                raise UserError(f"{path}:{number}: '{utt}' has {value}: must be above 0")
        return table

    def _check_recordings(self) -> None:
        if self.segments is None:
            self._same_keys(self.wav, "wav.scp")
            return
        self._same_keys(self.segments, "segments")
        missing = {seg.reco for seg in self.segments.values()} - self.wav.keys()
        if missing:
            raise UserError(
                f"{self.path / 'segments'}: recordings {names_some(missing)} are not in wav.scp: "
                "add them, or run steps/fix_data_dir.sh"
            )

    def _same_keys(self, table: Mapping[str, object], name: str) -> None:
        if table.keys() == self.utt2spk.keys():
            return
        only, lacks = table.keys() - self.utt2spk.keys(), self.utt2spk.keys() - table.keys()
        parts = [f"lacks {names_some(lacks)}"] if lacks else []
        parts += [f"has {names_some(only)} that utt2spk lacks"] if only else []
        raise UserError(
            f"{self.path / name}: {'; '.join(parts)}: run steps/validate_data_dir.sh "
            f"{self.path} for the whole list, steps/fix_data_dir.sh to drop them"
        )

    def wav_of(self, utt: str) -> tuple[str, Segment | None]:
        """Audio path of an utterance and its stretch of it (None = all).

        Raises:
            UserError: no such utterance.
        """
        if utt not in self.utt2spk:
            raise UserError(f"{self.path}: no utterance '{utt}': check the id")
        if self.segments is None:
            return self.wav[utt], None
        segment = self.segments[utt]
        return self.wav[segment.reco], segment

    def read_utt(
        self, utt: str, rate: int | None = 16000, *, resample: bool = False, mix: bool = False
    ) -> audio.Samples:
        """Samples of an utterance, only its stretch of the recording being read.

        Args:
            utt: utterance id.
            rate, resample, mix: as `pylib.corpus.audio.read_audio`.

        Returns:
            float32 (N,).

        Raises:
            UserError: as `read_audio`, with the utterance's id; a segment that ends after the
                recording, with both durations.
        """
        path, segment = self.wav_of(utt)
        try:
            if segment is None:
                return audio.read_audio(path, rate, resample=resample, mix=mix)
            count, file_rate, _ = audio.audio_info(path)
            start, stop = segment.samples(file_rate)
            if stop > count + SEGMENT_OVERSHOOT * file_rate:
                raise UserError(
                    f"{path}: the segment ends at {segment.end:.3f} s, the recording at "
                    f"{count / file_rate:.3f} s: correct {self.path / 'segments'}"
                )
            return audio.read_audio(
                path, rate, resample=resample, mix=mix, start=start, stop=min(stop, count)
            )
        except UserError as error:
            raise UserError(f"utterance '{utt}': {error}") from error


def write_datadir(
    path: str | os.PathLike[str],
    *,
    wav: Mapping[str, str],
    utt2spk: Mapping[str, str],
    text: Mapping[str, str] | None = None,
    segments: Mapping[str, Segment] | None = None,
    utt2dur: Mapping[str, float] | None = None,
    utt2num_samples: Mapping[str, int] | None = None,
    spk2gender: Mapping[str, str] | None = None,
    extra: Mapping[str, Mapping[str, object]] | None = None,
    spk_sort: bool = True,
) -> None:
    """Write a whole data directory in one step, replacing one of that name.

    Files of later stages (features, labels) in a replaced directory go with it: they described
    the old utterances.

    Args:
        path: the directory.
        wav: recording (without `segments`: utterance) -> audio path.
        utt2spk: utterance -> speaker; primary for everything else.
        text: utterance -> transcript.
        segments: utterance -> stretch of a recording.
        utt2dur: utterance -> seconds, written with up to 6 decimals.
        utt2num_samples: utterance -> samples at the file's own rate.
        spk2gender: speaker -> `m` or `f`.
        extra: file name -> table, written as they are.
        spk_sort: whether utterance order and speaker order must agree.

    Raises:
        UserError: no utterances, keys that disagree, the speaker order, a pipe as a path, or
            names that a table cannot hold.
    """
    where = os.fspath(path)
    if not utt2spk:
        raise UserError(f"{where}: no utterances to write: check the corpus directory and options")
    if spk_sort:
        check_speaker_order(utt2spk, f"{where}/utt2spk")
    for reco, name in wav.items():
        check_audio_path(reco, name, f"{where}/wav.scp")
    tables: dict[str, Mapping[str, object]] = {"wav.scp": wav, "utt2spk": utt2spk}
    tables["spk2utt"] = {spk: " ".join(utts) for spk, utts in invert(utt2spk).items()}
    if segments is None:
        _agree(where, "wav.scp", wav, utt2spk)
    else:
        tables["segments"] = _segment_lines(where, segments, wav, utt2spk)
    for name, table in (("text", text), ("utt2num_samples", utt2num_samples)):
        if table is not None:
            _agree(where, name, table, utt2spk)
            tables[name] = table
    if utt2dur is not None:
        _agree(where, "utt2dur", utt2dur, utt2spk)
        tables["utt2dur"] = {utt: format_seconds(dur) for utt, dur in utt2dur.items()}
    if spk2gender is not None:
        _agree(where, "spk2gender", spk2gender, tables["spk2utt"])
        tables["spk2gender"] = spk2gender
    tables.update(extra or {})
    write_tables(path, tables)


def _segment_lines(
    where: str,
    segments: Mapping[str, Segment],
    wav: Mapping[str, str],
    utt2spk: Mapping[str, str],
) -> dict[str, str]:
    _agree(where, "segments", segments, utt2spk)
    recos = {segment.reco: None for segment in segments.values()}
    _agree(where, "wav.scp (against segments)", wav, recos)
    return {utt: f"{seg.reco} {seg.begin:.6f} {seg.end:.6f}" for utt, seg in segments.items()}


def write_tables(
    path: str | os.PathLike[str],
    tables: Mapping[str, Mapping[str, object]],
    copies: Iterable[Path] = (),
) -> None:
    """Write tables (and verbatim copies of other files) as a new directory, in one step."""
    with atomic_dir(path) as temp:
        for name, table in tables.items():
            text = format_table(table, f"{os.fspath(path)}/{name}")
            (temp / name).write_bytes(text.encode("utf-8"))
        for source in copies:
            (temp / source.name).write_bytes(source.read_bytes())


def format_seconds(value: float) -> str:
    """Seconds with at most 6 decimals, without trailing zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _agree(
    where: str, name: str, table: Mapping[str, object], wanted: Mapping[str, object]
) -> None:
    if table.keys() == wanted.keys():
        return
    only, lacks = table.keys() - wanted.keys(), wanted.keys() - table.keys()
    detail = f"missing {names_some(lacks)}" if lacks else f"superfluous {names_some(only)}"
    raise UserError(f"{where}: keys of {name} and utt2spk disagree: {detail}: fix the preparation")
