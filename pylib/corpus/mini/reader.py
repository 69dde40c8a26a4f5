"""One speaker's share of the built-in corpus, made in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from pylib.corpus.errors import UserError
from pylib.corpus.mini import channel
from pylib.corpus.mini.config import MiniCorpusConfig
from pylib.corpus.mini.espeak import Speech, Synthesiser
from pylib.corpus.mini.phones import SILENCE, fold_phone, merge_phones
from pylib.corpus.mini.plan import ReadingList

UTTERANCES_PER_CHAPTER = 40


@dataclass
class Reading:
    """What a speaker has read: lines for the files that speakers share."""

    index: int
    seconds: float = 0.0
    labelled_seconds: float = 0.0
    utterances: int = 0
    skipped: int = 0
    phones: list[str] = field(default_factory=list)  # CTM lines
    labelled: list[str] = field(default_factory=list)  # utterance ids


def _timeline(
    speech: Speech, factor: float, lead: float
) -> tuple[list[tuple[str, float, float]], float]:
    """Phones with times in the final audio, silence before the first one included.

    Returns:
        (phones, end of speech), in s; the last phone is a sound.
    """
    clock = speech.rate * factor
    times = [(fold_phone(name), lead + sample / clock) for name, sample in speech.phones]
    phones = merge_phones([(SILENCE, 0.0), *times], lead + speech.end / clock)
    if phones and phones[-1][0] == SILENCE:
        phones.pop()
    return phones, phones[-1][2] if phones else 0.0


@dataclass(frozen=True)
class Said:
    """A spoken sentence before the channel, silence around it.

    samples: float64 (N,) at 16 kHz. phones: (name, start, end) in s, they tile the audio. words:
    (word, start, end) in s, starts and ends are those of phones.
    """

    samples: np.ndarray
    phones: list[tuple[str, float, float]]
    words: list[tuple[str, float, float]]


def _word_times(
    sentence: str, starts: dict[int, float], phones: list[tuple[str, float, float]]
) -> list[tuple[str, float, float]]:
    """(word, start, end) of each word of `sentence`, snapped to phones that are no silence.

    Args:
        starts: s by the place of a word's first character, for the words that espeak told of; the
            others share the time up to the next one by their letters.
    """
    sounds = [phone for phone in phones if phone[0] != SILENCE]
    begin = np.array([start for _, start, _ in sounds])
    words, place = [], 0
    for word in sentence.split():
        words.append((word, place, starts.get(place)))
        place += len(word) + 1
    known = [(p, t) for _, p, t in words if t is not None]
    known = [(0, float(begin[0])), *(pair for pair in known if pair[0] > 0)]
    known.append((len(sentence) + 1, sounds[-1][2]))
    told_places, told_times = np.array(known).T
    guesses = np.interp([p for _, p, _ in words], told_places, told_times)
    first = [int(np.argmin(np.abs(begin - 0.01 - guess))) for guess in guesses]
    for index, (_, _, told) in enumerate(words):  # espeak tells a little early, never late
        if told is not None:
            first[index] = min(int(np.searchsorted(begin, told - 1e-4)), len(sounds) - 1)
    first[0] = 0
    for index in range(1, len(first)):  # a phone each, as long as there are enough
        first[index] = min(max(first[index], first[index - 1] + 1), len(sounds) - 1)
    last = [max(one, two - 1) for one, two in zip(first, [*first[1:], len(sounds)], strict=True)]
    return [
        (word, sounds[one][1], sounds[two][2])
        for (word, _, _), one, two in zip(words, first, last, strict=True)
    ]


def say_words(synthesiser: Synthesiser, item: ReadingList, seed: int, number: int) -> Said:
    """Sentence `number` of the list with the times of its phones and words."""
    speaker = item.speaker
    rng = np.random.default_rng([seed, speaker.index, 1, number])
    ratio, factor = channel.warp_fraction(synthesiser.rate, speaker.warp)
    sentence = item.sentences[number]
    speech = synthesiser.say(sentence.lower() + ".")
    lead, trail = rng.uniform(0.1, 0.4, size=2)
    lead = round(lead * channel.RATE) / channel.RATE
    phones, end = _timeline(speech, factor, lead)
    if not phones:
        raise UserError(f"espeak-ng: no phones for {sentence!r}: change the text")
    starts = {place: lead + sample / (speech.rate * factor) for place, sample in speech.words}
    words = _word_times(sentence, starts, phones)
    body = channel.resample(speech.samples, ratio)
    size = round((end + trail) * channel.RATE)
    samples = np.zeros(size)
    start = round(lead * channel.RATE)
    stop = min(size, start + len(body))
    samples[start:stop] = body[: stop - start]
    phones.append((SILENCE, end, size / channel.RATE))
    return Said(samples, phones, words)


def say(
    synthesiser: Synthesiser, item: ReadingList, seed: int, number: int
) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
    """Audio at 16 kHz before the channel (silence around it), and its phone times."""
    said = say_words(synthesiser, item, seed, number)
    return said.samples, said.phones


def write_flac(path: Path, samples: np.ndarray) -> None:
    """int16 (N,) as 16 kHz mono FLAC."""
    soundfile.write(path, samples, channel.RATE, subtype="PCM_16", format="FLAC")


def phone_lines(utterance: str, phones: list[tuple[str, float, float]]) -> list[str]:
    """CTM lines whose rounded times still tile the utterance."""
    lines = []
    for name, start, end in phones:
        first, last = round(start, 4), round(end, 4)
        lines.append(f"{utterance} 1 {first:.4f} {last - first:.4f} {name}")
    return lines


class _Chapters:
    """The chapters of one reader, opened one after the other."""

    def __init__(self, item: ReadingList, root: Path) -> None:
        speaker = item.speaker
        self._folder = root / speaker.subset / str(speaker.reader)
        self._first = 100000 + 13 * speaker.index
        self._reader = speaker.reader
        self._texts: list[list[str]] = []

    def next_name(self) -> tuple[Path, str, bool]:
        """(path of the next flac, its utterance id, whether it begins a chapter)."""
        new = not self._texts or len(self._texts[-1]) == UTTERANCES_PER_CHAPTER
        if new:
            self._texts.append([])
        chapter = self._first + len(self._texts) - 1
        folder = self._folder / str(chapter)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self._reader}-{chapter}-{len(self._texts[-1]):04d}"
        return folder / f"{name}.flac", name, new

    def add_text(self, name: str, sentence: str) -> None:
        """Transcript of the utterance that `next_name` named."""
        self._texts[-1].append(f"{name} {sentence}\n")

    def write_texts(self) -> None:
        """Write every chapter's trans.txt."""
        for chapter, lines in enumerate(self._texts, self._first):
            path = self._folder / str(chapter) / f"{self._reader}-{chapter}.trans.txt"
            path.write_text("".join(lines), "utf-8")


def start_voice(item: ReadingList) -> Synthesiser:
    """espeak with the speaker's voice; what the warp will speed up is spoken slower before."""
    speaker = item.speaker
    synthesiser = Synthesiser()
    synthesiser.set_voice(f"{speaker.accent}+{speaker.voice}")
    synthesiser.set_parameter("rate", round(speaker.rate / speaker.warp))
    synthesiser.set_parameter("pitch", speaker.pitch)
    synthesiser.set_parameter("range", speaker.pitch_range)
    return synthesiser


def read_aloud(item: ReadingList, config: MiniCorpusConfig, root: Path) -> Reading:
    """Write all chapters of one speaker below `root`/<subset>; each chapter has its room.

    Must run in a process that has not used espeak before (see `espeak`).

    Raises:
        UserError: too few sentences of an allowed length for the minutes asked for.
    """
    speaker = item.speaker
    synthesiser = start_voice(item)
    rng = np.random.default_rng([config.seed, speaker.index, 0])
    equaliser = channel.equaliser(rng, config.eq_db)
    result, chapters = Reading(speaker.index), _Chapters(item, root)
    for number, sentence in enumerate(item.sentences):
        if result.seconds >= item.seconds:
            break
        samples, phones = say(synthesiser, item, config.seed, number)
        seconds = len(samples) / channel.RATE
        if not config.min_seconds <= seconds <= config.max_seconds:
            result.skipped += 1
            continue
        path, name, new_chapter = chapters.next_name()
        if new_chapter:
            response = np.convolve(equaliser, channel.room(rng, speaker.reverberation))
        noise = channel.coloured_noise(rng, len(samples), speaker.noise_colour)
        snr = speaker.snr + rng.uniform(-2, 2)
        write_flac(path, channel.record(samples, response, noise, snr, speaker.level))
        chapters.add_text(name, sentence)
        result.phones += phone_lines(name, phones)
        if result.labelled_seconds < item.labelled_seconds:
            result.labelled.append(name)
            result.labelled_seconds += seconds
        result.seconds += seconds
        result.utterances += 1
    if result.seconds < item.seconds:
        raise UserError(
            f"built-in corpus: speaker {speaker.reader}: {len(item.sentences)} sentences gave only "
            f"{result.seconds:.0f} of {item.seconds:.0f} s ({result.skipped} were too short or too "
            "long): widen min_seconds to max_seconds"
        )
    chapters.write_texts()
    return result
