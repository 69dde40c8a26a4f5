"""Streams of audio-visual models: read, brought into step, joined to batches.

Training, feature dumping, decoding and analysis read through `AVReader`, so that a model never
sees streams prepared in another way. All streams keep step: a frame at 25 Hz is one picture, 640
samples, 4 frames of log filter banks, 4 phone ids.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from pylib.corpus.ark import as_float, as_ints
from pylib.corpus.datadir import DataDir
from pylib.corpus.derived import open_derived
from pylib.corpus.errors import UserError
from pylib.corpus.tables import names_some, read_numbers, read_table, table_path
from pylib.features.logfbank import logfbank, stack4
from pylib.nn.modal_batch import PAD_PHONE, ModalBatch
from pylib.training.inputs import ThreadArks
from pylib.units.labels import picture_frames
from pylib.units.phone_set import COUNT, require_symbols

if TYPE_CHECKING:
    from pylib.features.noise import Condition, NoiseSet

Floats = npt.NDArray[np.float32]
Pictures = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

RATE = 25  # frames a second
HOP = 640  # samples of a frame
STEP = 4  # frames at 100 Hz of a frame
SIDE, CROP = 96, 88  # pixels of a picture, and of the part that models see
CENTRE = (SIDE - CROP) // 2
STREAMS = ("audio", "video", "phone")
# Stream: stem, what its json must say, and the step that makes it.
_STEMS: dict[str, tuple[str, dict[str, Any], str]] = {
    "audio": ("logfbank", {"kind": "logfbank", "dim": 26, "rate": 100},
              "steps/make_feats.sh --kind logfbank"),
    "video": ("mouth", {"kind": "mouth", "dim": SIDE * SIDE, "rate": RATE}, "steps/make_mouth.sh"),
    "phone": ("phones", {"kind": "phones", "rate": 100},
              "steps/align_phones.sh, or steps/make_text_units.sh for text alone"),
}  # fmt: skip


@dataclass(frozen=True)
class View:
    """How the streams of one row of a training batch are disturbed.

    Attributes:
        offset: (down, right) first pixel of the 88 x 88 part of all pictures.
        flip: whether left and right change places.
        noise: float32 samples to be mixed in, or None.
        snr: dB.
        start: first sample taken of the noise.
    """

    offset: tuple[int, int] = (CENTRE, CENTRE)
    flip: bool = False
    noise: Floats | None = None
    snr: float = 0.0
    start: int = 0


class AVReader:
    """Reads the utterances of one data directory.

    Attributes:
        path: the data directory.
        streams: those that are read.
        utts: utterances, sorted.
        frames: utterance -> frames at 25 Hz.
        kind: of `pylib.nn.modal_batch.KINDS`, after the streams.
    """

    def __init__(
        self,
        data: str | os.PathLike[str],
        streams: Iterable[str],
        cache_gb: float = 0.0,
        utts: Collection[str] | None = None,
    ) -> None:
        """
        Args:
            data: data directory; of text alone where `phone` is the only stream.
            streams: of audio, video, phone.
            cache_gb: memory for what was read, in GB; 0 = read anew each time.
            utts: the utterances that are read; None = all.

        Raises:
            UserError: a stream that is not there (names the step that makes it), or of another
                kind, rate or length than the others.
        """
        self.path = Path(data)
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such data directory: check the name, or prepare it")
        self.streams = tuple(name for name in STREAMS if name in set(streams))
        if not self.streams:
            raise UserError(f"{self.path}: no stream is asked for: give some of {STREAMS}")
        self.kind = kind_of(self.streams)
        known = read_table(table_path(self.path, "utt2spk"), fields=2)
        self.utts = [utt for utt in known if utts is None or utt in utts]
        self._scp = {name: self._open(name) for name in self.streams}
        self._arks = ThreadArks()
        self._room = int(cache_gb * 1e9)
        self._cache: dict[tuple[str, str], npt.NDArray] = {}
        self._data = DataDir(self.path)
        self._samples: Mapping[str, int] = {}
        self.frames = self._frames()
        if "video" in self.streams:
            self._check_pictures()

    def _open(self, stream: str) -> dict[str, str]:
        stem, wanted, step = _STEMS[stream]
        if not (self.path / f"{stem}.json").is_file():
            raise UserError(f"{self.path}/{stem}.scp: no {stream} here: run {step} first")
        meta, scp = open_derived(self.path, stem)
        for key, expected in wanted.items():
            if meta.get(key) != expected:
                raise UserError(
                    f"{self.path}/{stem}.json: {key} = {meta.get(key)!r}, {expected!r} expected: "
                    f"make it with {step}"
                )
        if stream == "phone":
            require_symbols(meta.get("symbols"), f"{self.path}/{stem}.json")
        missing = [utt for utt in self.utts if utt not in scp]
        if missing:
            raise UserError(
                f"{self.path}/{stem}.scp: lacks {names_some(missing)}: run {step} again, or "
                "steps/fix_data_dir.sh"
            )
        return scp

    def _frames(self) -> dict[str, int]:
        """From the audio where there is some, which must agree with the count of the pictures."""
        counted = self.path / "utt2num_video"
        pictures = self._numbers("utt2num_video") if counted.is_file() else None
        if not (self.path / "wav.scp").is_file():
            return pictures or self._numbers("utt2num_frames")
        self._samples = self._numbers("utt2num_samples")
        self._check_rate()
        if pictures is None:
            return {utt: picture_frames(self._samples[utt]) for utt in self.utts}
        apart = [utt for utt in self.utts if self._samples[utt] != HOP * pictures[utt]]
        if apart and "audio" in self.streams:
            utt = apart[0]
            raise UserError(
                f"{self.path}: {len(apart)} utterances have other than {HOP} samples a picture, "
                f"the first is '{utt}': {self._samples[utt]} samples, {pictures[utt]} pictures: "
                "prepare the data again (egs/lrs3/local/prepare_data.sh)"
            )
        return pictures

    def _check_rate(self) -> None:
        """Refuse audio of another rate than 16 kHz: its samples would not count pictures."""
        if not (self.path / "utt2dur").is_file():
            return
        seconds = read_numbers(self.path / "utt2dur", float)
        for utt in self.utts:
            if utt in seconds and abs(self._samples[utt] - 16000 * seconds[utt]) > 16:
                raise UserError(
                    f"{self.path}: '{utt}' has {self._samples[utt]} samples in {seconds[utt]:g} s: "
                    "audio-visual models need 16 kHz: resample the audio first "
                    "(egs/lrs3/local/prepare_data.sh does)"
                )

    def _numbers(self, name: str) -> dict[str, int]:
        counts = read_numbers(table_path(self.path, name), int)
        missing = [utt for utt in self.utts if utt not in counts]
        if missing:
            raise UserError(
                f"{self.path}/{name}: lacks {names_some(missing)}: prepare the data again, or run "
                "steps/fix_data_dir.sh"
            )
        return {utt: counts[utt] for utt in self.utts}

    def _check_pictures(self) -> None:
        """Refuse pictures of another number than the data directory says."""
        for utt in self.utts:
            rows = self._arks.reader.header(self._scp["video"][utt], utt).shape[0]
            if rows != self.frames[utt]:
                raise UserError(
                    f"{self.path}/mouth.scp: '{utt}' has {rows} pictures, utt2num_video or the "
                    f"audio says {self.frames[utt]}: run steps/make_mouth.sh again"
                )

    def holds(self, utts: Sequence[str]) -> bool:
        """Whether all streams of `utts` are in memory."""
        return all((name, utt) in self._cache for name in self.streams for utt in utts)

    def _kept(self, stream: str, utt: str, value: npt.NDArray) -> npt.NDArray:
        if value.nbytes <= self._room:
            self._room -= value.nbytes
            self._cache[stream, utt] = value
        return value

    def audio(
        self, utt: str, noise: Floats | None = None, snr: float | None = None, offset: int = 0
    ) -> Floats:
        """Log filter banks of an utterance, four frames joined: float32 (T, 104), not normalised.

        Args:
            utt: the utterance.
            noise: float32 samples to be mixed in; None = clean, from the ark.
            snr: dB, with noise.
            offset: first sample taken of the noise.

        Raises:
            UserError: unreadable, or not as long as the data directory says.
        """
        if noise is not None:
            from pylib.features.noise import mix

            samples = self._data.read_utt(utt, 16000)
            mixed = mix(samples, noise, 0.0 if snr is None else snr, offset)
            return stack4(logfbank(mixed), self.frames[utt])
        cached = self._cache.get(("audio", utt))
        if cached is not None:
            return cached
        rx = self._scp["audio"][utt]
        feats = as_float(self._arks.reader.read(rx, utt), rx, utt)
        count = self._samples.get(utt)
        # 1 + ceil((N - 400) / 160) frames, see pylib/features/logfbank.py.
        expected = None if count is None else 1 + max(-((400 - count) // 160), 0)
        if feats.ndim != 2 or feats.shape[1] != 26 or len(feats) != (expected or len(feats)):
            raise UserError(
                f"{self.path}/logfbank.scp: '{utt}': shape {feats.shape}, ({expected}, 26) "
                f"expected from {count} samples: run steps/make_feats.sh --kind logfbank again"
            )
        return self._kept("audio", utt, stack4(feats, self.frames[utt]))

    def video(self, utt: str) -> Pictures:
        """Mouth pictures of an utterance, uint8 (T, 96, 96)."""
        cached = self._cache.get(("video", utt))
        if cached is not None:
            return cached
        from pylib.features.mouth_store import read_mouth

        value = read_mouth(self._arks.reader, self._scp["video"][utt], utt)
        if value.shape != (self.frames[utt], SIDE, SIDE):
            raise UserError(
                f"{self.path}/mouth.scp: '{utt}': pictures of shape {value.shape}, "
                f"({self.frames[utt]}, {SIDE}, {SIDE}) expected: run steps/make_mouth.sh again"
            )
        return self._kept("video", utt, value)

    def phones(self, utt: str) -> Ints:
        """Phone ids of an utterance at 100 Hz, int64 (4 T,), cut or padded to the other streams.

        Raises:
            UserError: unreadable, ids outside the set, or more than two frames too long or short.
        """
        cached = self._cache.get(("phone", utt))
        if cached is not None:
            return cached
        rx = self._scp["phone"][utt]
        ids = as_ints(self._arks.reader.read(rx, utt), rx, utt)
        wanted = STEP * self.frames[utt]
        if abs(len(ids) - wanted) > 2 * STEP:
            raise UserError(
                f"{self.path}/phones.scp: '{utt}': {len(ids)} phones at 100 Hz, the other streams "
                f"have {wanted} frames: align the phones again (steps/align_phones.sh)"
            )
        if len(ids) and not 0 <= ids.min() <= ids.max() < COUNT:
            raise UserError(
                f"{self.path}/phones.scp: '{utt}': phone ids are 0 to {COUNT - 1}, found "
                f"{ids.min()} to {ids.max()}: align the phones again"
            )
        out = np.full(wanted, PAD_PHONE, dtype=np.int64)
        out[: len(ids)] = ids[:wanted]
        return self._kept("phone", utt, out)

    def row(self, utt: str, view: View | None = None) -> dict[str, npt.NDArray]:
        """The streams of an utterance as a model sees them: audio (T, 104) float32, video
        (T, 88, 88) uint8, phone (4 T,) int64; those that are read only."""
        view = view or View()
        out: dict[str, npt.NDArray] = {}
        for name in self.streams:
            if name == "audio":
                out[name] = self.audio(utt, view.noise, view.snr, view.start)
            elif name == "video":
                down, right = view.offset
                part = self.video(utt)[:, down : down + CROP, right : right + CROP]
                out[name] = part[:, :, ::-1] if view.flip else part
            else:
                out[name] = self.phones(utt)
        return out

    def batch(
        self,
        utts: Sequence[str],
        condition: Condition | None = None,
        noise_set: NoiseSet | None = None,
        seed: int = 1,
    ) -> ModalBatch:
        """Utterances for evaluation: the centre of the pictures, nothing disturbed but as asked.

        Args:
            utts: the utterances.
            condition: noise and its level; None or `clean` = none.
            noise_set: where noise is taken from, with a condition.
            seed: which noise: the same for an utterance whatever is in the batch with it.
        """
        views = [self.view(utt, condition, noise_set, seed) for utt in utts]
        return collate(self, utts, [self.row(u, v) for u, v in zip(utts, views, strict=True)])

    def view(
        self, utt: str, condition: Condition | None, noise_set: NoiseSet | None, seed: int = 1
    ) -> View:
        """How `batch` disturbs an utterance: centre crop, noise from its start on."""
        if condition is None or condition.clean:
            return View()
        if noise_set is None:
            raise UserError(f"condition {condition}: needs noise: give its directory")
        noise = noise_set.pick(condition.category, utt, seed)
        return View(noise=noise, snr=condition.snr)


def kind_of(streams: Sequence[str]) -> str:
    """Which of the four kinds of data a set of these streams is."""
    if "video" in streams:
        return "videoaudio"
    if "audio" in streams:
        return "audiotext" if "phone" in streams else "onlyaudio"
    return "onlytext"


def collate(
    reader: AVReader, utts: Sequence[str], rows: Sequence[Mapping[str, npt.NDArray]]
) -> ModalBatch:
    """Rows as one batch, padded to the longest; see `ModalBatch` for what stands beyond."""
    lengths = np.array([reader.frames[utt] for utt in utts], dtype=np.int64)
    width = int(lengths.max())
    if int(lengths.min()) < 1:
        utt = utts[int(lengths.argmin())]
        raise UserError(f"{reader.path}: '{utt}' is too short for one frame: leave it out")
    shapes: dict[str, tuple[tuple[int, ...], npt.DTypeLike, int]] = {
        "audio": ((width, 104), np.float32, 0),
        "video": ((width, CROP, CROP), np.uint8, 0),
        "phone": ((STEP * width,), np.int64, PAD_PHONE),
    }
    made: dict[str, torch.Tensor] = {}
    for name in reader.streams:
        shape, dtype, fill = shapes[name]
        out = np.full((len(utts), *shape), fill, dtype=dtype)
        for place, row in enumerate(rows):
            out[place, : len(row[name])] = row[name]
        made["phones" if name == "phone" else name] = torch.from_numpy(out)
    return ModalBatch(kind=reader.kind, lengths=torch.from_numpy(lengths), utts=tuple(utts), **made)


def number_of(utt: str) -> int:
    """A number of an utterance for seeds, the same in every run and on every machine."""
    return zlib.crc32(utt.encode("utf-8"))
