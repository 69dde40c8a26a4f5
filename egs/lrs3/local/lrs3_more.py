"""What is trained beside the videos: TED-LIUM (audio with text), audio only, text only."""

from __future__ import annotations

import gzip
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrs3_sets import Phones, phone_lines
from lrs3_tree import Loss, normalise

from pylib.corpus.atomic import atomic_dir, write_text
from pylib.corpus.audio import audio_info
from pylib.corpus.audit import AudioRules, audit_audio
from pylib.corpus.datadir import Segment, write_datadir
from pylib.corpus.errors import UserError

RATE = 16000
AUDIO = (".flac", ".wav", ".sph", ".ogg", ".opus", ".mp3")
DEV_TALKS = 20  # one talk in so many is for development, where the corpus has no dev set
_VARIANT = re.compile(r"\([0-9]+\)")  # `word(2)`: a pronunciation
_JOIN = re.compile(r" (?='(?:S|M|LL|RE|VE|D|T)\b)")  # `it 's`: TED-LIUM parts them
_UNKNOWN = "<unk>"


@dataclass
class SoundSet:
    """Utterances that are stretches of recordings.

    Attributes:
        segments: utterance -> stretch.
        text: utterance -> words in capitals; empty for a set of audio only.
        utt2spk: utterance -> speaker.
        wav: recording -> path.
        samples: utterance -> samples at 16 kHz.
        dropped: tokens of the text that are no words.
    """

    segments: dict[str, Segment] = field(default_factory=dict)
    text: dict[str, str] = field(default_factory=dict)
    utt2spk: dict[str, str] = field(default_factory=dict)
    wav: dict[str, str] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)

    def add(self, utt: str, spk: str, segment: Segment, path: str) -> None:
        """One more utterance."""
        self.segments[utt], self.utt2spk[utt], self.wav[segment.reco] = segment, spk, path
        first, last = segment.samples(RATE)
        self.samples[utt] = last - first

    def remove(self, utts: Iterable[str]) -> None:
        """Take utterances out, and recordings that none is left of."""
        for utt in utts:
            del self.segments[utt], self.utt2spk[utt], self.samples[utt]
            self.text.pop(utt, None)
        kept = {segment.reco for segment in self.segments.values()}
        self.wav = {reco: path for reco, path in self.wav.items() if reco in kept}

    def write(self, path: Path, truth: Mapping[str, Phones] | None = None) -> None:
        """Write the data directory, and phones.ctm if the true phones of all are known."""
        whole = all(utt == segment.reco for utt, segment in self.segments.items())
        write_datadir(
            path,
            wav=self.wav,
            utt2spk=self.utt2spk,
            text=self.text or None,
            segments=None if whole else self.segments,
            utt2dur={utt: count / RATE for utt, count in self.samples.items()},
            utt2num_samples=self.samples,
        )
        if truth and self.wav.keys() <= truth.keys():
            lines: list[str] = []
            for utt, part in sorted(self.segments.items()):
                lines += phone_lines(utt, truth[part.reco], part.begin, part.end - part.begin)
            write_text(path / "phones.ctm", "\n".join(lines) + "\n")

    def row(self) -> dict[str, Any]:
        """Counts."""
        return {
            "utterances": len(self.segments),
            "hours": round(sum(self.samples.values()) / RATE / 3600, 4),
            "speakers": len(set(self.utt2spk.values())),
            "transcribed": len(self.text),
            "words": sum(len(text.split()) for text in self.text.values()),
            "video": False,
        }


def _stm_rows(path: Path) -> Iterator[tuple[int, float, float, str]]:
    """(line, start s, end s, raw text) of an stm file.

    Raises:
        UserError: a line of another form.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        fields = line.split(None, 6)
        if not fields or line.startswith(";;"):
            continue
        try:
            start, end = float(fields[3]), float(fields[4])
        except (IndexError, ValueError) as error:
            raise UserError(
                f"{path}:{number}: '{line[:60]}' is not `talk channel speaker start end <label> "
                "words`: unpack TED-LIUM again"
            ) from error
        words = fields[5:] if len(fields) > 5 and not fields[5].startswith("<") else fields[6:]
        yield number, start, end, " ".join(words)


def stm_text(raw: str, dropped: Counter[str] | None = None) -> str:
    """Words in capitals of TED-LIUM's text: variants and marks go, `it 's` is one word.

    `dropped` counts tokens that are no words, see `normalise`.
    """
    return _JOIN.sub("", normalise(_VARIANT.sub("", raw), dropped))


def _scan_talk(stm: Path, sph: Path, made: SoundSet, losses: list[Loss], longest: float) -> None:
    talk = stm.stem
    try:
        count, rate, channels = audio_info(sph)
    except UserError as error:
        losses.append(Loss(talk, "unreadable", str(error)))
        return
    if rate != RATE or channels != 1:
        what = f"{sph}: {rate} Hz, {channels} channels, {RATE} Hz mono expected"
        losses.append(Loss(talk, "rate", what))
        return
    for number, start, end, raw in _stm_rows(stm):
        utt = f"{talk}-{round(start * 100):07d}-{round(end * 100):07d}"
        end = min(end, count / RATE)
        where = f"{stm}:{number}:"
        if "ignore_time_segment_in_scoring" in raw:
            losses.append(Loss(utt, "ignored-segment", f"{where} not transcribed"))
        elif _UNKNOWN in raw.lower():
            losses.append(Loss(utt, "unknown-word", f"{where} holds {_UNKNOWN}"))
        elif not (words := stm_text(raw, made.dropped)):
            losses.append(Loss(utt, "no-text", f"{where} no word"))
        elif end - start < 0.2 or utt in made.segments:
            losses.append(Loss(utt, "too-short", f"{where} {start:g} to {end:g} s"))
        elif longest and end - start > longest:
            losses.append(Loss(utt, "too-long", f"{where} {end - start:.2f} s"))
        else:
            made.add(utt, talk, Segment(talk, start, end), str(sph))
            made.text[utt] = words


def scan_tedlium(path: Path, longest: float) -> tuple[dict[str, SoundSet], list[Loss]]:
    """audiotext and audiotext_dev of TED-LIUM 3 (legacy/), 2 or 1.

    Raises:
        UserError: no train/stm there, or nothing usable in it.
    """
    root = path / "legacy" if (path / "legacy").is_dir() else path
    if not (root / "train" / "stm").is_dir():
        raise UserError(f"{root}: holds no train/stm: give the directory of TED-LIUM 3")
    sets = {"audiotext": SoundSet(), "audiotext_dev": SoundSet()}
    losses: list[Loss] = []
    has_dev = (root / "dev" / "stm").is_dir()
    talks = sorted((root / "train" / "stm").glob("*.stm"))
    order = sorted(talks, key=lambda t: hashlib.sha256(t.stem.encode()).digest())
    held_out = set() if has_dev else set(order[: math.ceil(len(talks) / DEV_TALKS)])
    places = [(t, "audiotext_dev" if t in held_out else "audiotext") for t in talks]
    places += [(t, "audiotext_dev") for t in sorted((root / "dev" / "stm").glob("*.stm"))]
    for stm, name in places:
        _scan_talk(stm, stm.parent.parent / "sph" / f"{stm.stem}.sph", sets[name], losses, longest)
    for name, found in sets.items():
        if not found.segments:
            raise UserError(f"{root}: no usable segment for {name}: unpack TED-LIUM again")
    return sets, losses


def scan_audio(path: Path, longest: float, jobs: int) -> tuple[SoundSet, list[Loss]]:
    """onlyaudio: every audio file below a directory; longer ones are cut in equal pieces.

    Raises:
        UserError: no usable file there.
    """
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in AUDIO)
    wav: dict[str, str] = {}
    spk: dict[str, str] = {}
    for file in files:
        parts = ["_".join(part.split()) for part in file.relative_to(path).with_suffix("").parts]
        # Speakers without '-': utterances then sort as their speakers do.
        speaker = parts[0].replace("-", "_")
        # LibriSpeech and the built-in corpus say the speaker in the name too.
        told = len(parts) > 1 and parts[-1].startswith(f"{speaker}-")
        name = parts[-1] if told else "-".join([speaker, *parts[1:]])
        if name in wav:
            name = "-".join([speaker, *parts[1:], file.suffix[1:]])
        wav[name], spk[name] = str(file), speaker
    if not wav:
        raise UserError(f"{path}: holds no audio file ({' '.join(AUDIO)}): check the directory")
    made, losses = SoundSet(), []
    rules = AudioRules(RATE, RATE // 5, 1e9, "header")
    for name, found in audit_audio(wav, rules, jobs).items():
        if found.kind:
            losses.append(Loss(name, found.kind, found.what))
            continue
        seconds = found.samples / RATE
        count = math.ceil(seconds / longest) if longest else 1
        for number in range(count):
            utt = name if count == 1 else f"{name}-c{number + 1:04d}"
            first, last = (round(found.samples * n / count) / RATE for n in (number, number + 1))
            made.add(utt, spk[name], Segment(name, first, last), wav[name])
    if not made.segments:
        raise UserError(f"{path}: none of its {len(wav)} audio files can be used: {losses[0].what}")
    return made, losses


def _lines(path: Path) -> Iterator[str]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else open(path, encoding="utf-8") as stream
        ):
            yield from stream
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as lines of text ({error}): check it") from error


def write_text_set(
    source: Path, path: Path, held_out: set[str], dropped: Counter[str] | None = None
) -> tuple[dict[str, Any], dict[str, int]]:
    """onlytext: text and utt2spk; each line is a speaker of its own.

    Args:
        source: lines of text, may be gzipped.
        path: data directory to make.
        held_out: sentences that must not be in it.
        dropped: counts tokens that are no words.

    Returns:
        Counts of the set, and of the lines left out by kind.

    Raises:
        UserError: an unreadable file, or no line left.
    """
    lost = {"empty-line": 0, "held-out-sentence": 0}
    kept = spoken = 0
    with atomic_dir(path) as temp, ExitStack() as stack:
        text, utt2spk, spk2utt = (
            stack.enter_context(open(temp / name, "w", encoding="utf-8"))
            for name in ("text", "utt2spk", "spk2utt")
        )
        # Ids grow with the lines, so that millions of them need not be held to be sorted.
        for number, line in enumerate(_lines(source), 1):
            words = normalise(line, dropped)
            if not words:
                lost["empty-line"] += 1
            elif words in held_out:
                lost["held-out-sentence"] += 1
            else:
                utt = f"text-{number:09d}"
                text.write(f"{utt} {words}\n")
                utt2spk.write(f"{utt} {utt}\n")
                spk2utt.write(f"{utt} {utt}\n")
                kept, spoken = kept + 1, spoken + len(words.split())
        if not kept:
            raise UserError(f"{source}: no line is left for text only: give another file")
    row = {
        "utterances": kept,
        "hours": 0.0,
        "speakers": 0,
        "transcribed": kept,
        "words": spoken,
        "video": False,
    }
    return row, {kind: count for kind, count in lost.items() if count}
