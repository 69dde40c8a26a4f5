"""Who says what in the talking-face corpus: speakers of each set, distinct sentences."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Protocol

from pylib.corpus.errors import UserError
from pylib.corpus.mini.config import ALL_ACCENTS
from pylib.corpus.mini.grammar import SentenceGenerator
from pylib.corpus.mini.lrs3_config import Lrs3MiniConfig
from pylib.corpus.mini.plan import WORDS_PER_SECOND_AT_140, ReadingList, utterance_lengths
from pylib.corpus.mini.slots import MOST_WORDS, SlotGenerator
from pylib.corpus.mini.speakers import Speaker, deal, usable_voices

#: Sets of speakers: seen (pretrain and trainval), test, audio-text, audio only, noise.
SEEN, TEST, TEXT, AUDIO, NOISE = "lrs3", "lrs3/test", "tedlium3", "audio", "musan"
_SPARE = 1.35  # candidates beyond the expected number
_TRIES = 4000
_SLOT_PACE = 0.75  # words of the slots are longer than the grammar's: so many fewer in a second


class Language(Protocol):
    """What draws sentences."""

    def sentence(self, rng: random.Random, length: int) -> list[str]: ...


def language(config: Lrs3MiniConfig) -> Language:
    """Slots below 100 words, the grammar of the other corpora from there on."""
    if config.words < MOST_WORDS:
        return SlotGenerator(config.words)
    return SentenceGenerator(config)


def _spread(rng: random.Random, count: int) -> list[float]:
    """`count` values in [-1, 1] in random order, one in each of as many equal parts of it."""
    values = [2 * (place + rng.random()) / max(count, 1) - 1 for place in range(count)]
    rng.shuffle(values)
    return values


def draw_cast(config: Lrs3MiniConfig) -> list[Speaker]:
    """All speakers, those of one set after the other, the first of each female, then in turn.

    A voice comes back (with another pitch and tract) only when all are used up. What `Speaker`
    says about recording is unused here: it is drawn for each clip.
    """
    rng = random.Random(f"lrs3 speakers {config.seed}")
    counts = (
        (SEEN, config.speakers),
        (TEST, config.test_speakers),
        (TEXT, config.text_speakers),
        (AUDIO, config.audio_speakers),
        (NOISE, config.noise_speakers),
    )
    places = [(subset, place) for subset, count in counts for place in range(count)]
    female, male = usable_voices(config.voices)
    voices = {"F": deal(rng, female, len(places)), "M": deal(rng, male, len(places))}
    accents = deal(rng, list(ALL_ACCENTS[: config.accents]), len(places))
    pitch, warp = _spread(rng, len(places)), _spread(rng, len(places))
    speakers = []
    for index, (subset, place) in enumerate(places):
        sex = "FM"[place % 2]
        speakers.append(
            Speaker(
                index=index,
                reader=index + 1,
                sex=sex,
                subset=subset,
                labelled=True,
                accent=accents[index],
                voice=voices[sex].pop(),
                pitch=round(50 + 20 * config.pitch_spread * pitch[index]),
                pitch_range=round(50 + 20 * config.pitch_spread * rng.uniform(-1, 1)),
                rate=config.rate * (1 + config.rate_spread * rng.uniform(-1, 1)),
                warp=1 + config.warp * warp[index],
                reverberation=0.0,
                snr=0.0,
                level=0.0,
                noise_colour=0.0,
            )
        )
    return speakers


def name_of(speaker: Speaker) -> str:
    """Name of a speaker's directory, as `s007`."""
    return f"s{speaker.reader:03d}"


def seconds_of(config: Lrs3MiniConfig, speaker: Speaker) -> float:
    """Seconds that a speaker says in all."""
    minutes, speakers = {
        SEEN: (config.pretrain_minutes + config.trainval_minutes, config.speakers),
        TEST: (config.test_minutes, config.test_speakers),
        TEXT: (config.text_minutes, config.text_speakers),
        AUDIO: (config.audio_minutes, config.audio_speakers),
        NOISE: (config.noise_minutes, config.noise_speakers),
    }[speaker.subset]
    return 60 * minutes / speakers


def sentences(config: Lrs3MiniConfig, what: str, seen: set[str]) -> Iterator[str]:
    """Endless sentences that are not in `seen`; they are added.

    Args:
        what: whose sentences, seeds the choice.

    Raises:
        UserError: the language is used up.
    """
    speech = language(config)
    rng = random.Random(f"lrs3 sentences {config.seed} {what}")
    rate = config.rate * (_SLOT_PACE if config.words < MOST_WORDS else 1.0)
    lengths = utterance_lengths(config, rng, rate)
    speed = WORDS_PER_SECOND_AT_140 * rate / 140
    fewest = max(3, round(config.min_seconds * speed))
    most = max(fewest, round(config.max_seconds * speed))
    tries = 0
    while tries < _TRIES:
        sentence = " ".join(speech.sentence(rng, next(lengths)))
        tries += 1
        if sentence not in seen and fewest <= len(sentence.split()) <= most:
            seen.add(sentence)
            tries = 0
            yield sentence
    raise UserError(
        f"built-in corpus: no new sentence of {fewest} to {most} words in {_TRIES} tries "
        f"({len(seen)} made): set more words or longer sentences, or fewer minutes"
    )


def cast_lists(config: Lrs3MiniConfig) -> tuple[list[ReadingList], set[str]]:
    """What each speaker may say, taken in order until its seconds are reached.

    Returns:
        The lists in the order of the speakers, and the sentences that only test may hold.
    """
    cast = draw_cast(config)
    order = sorted(cast, key=lambda speaker: speaker.subset != TEST)
    seen: set[str] = set()
    held_out: set[str] = set()
    lists = []
    for speaker in order:
        draw = sentences(config, str(speaker.index), seen)
        seconds = seconds_of(config, speaker)
        count = int(_SPARE * seconds / config.mean_seconds) + 8
        chosen = tuple(next(draw) for _ in range(count))
        if speaker.subset == TEST:
            held_out.update(chosen)
        lists.append(ReadingList(speaker, seconds, 0.0, chosen))
    return sorted(lists, key=lambda item: item.speaker.index), held_out


def text_lines(config: Lrs3MiniConfig, held_out: set[str]) -> Iterator[str]:
    """`text_sentences` distinct sentences of the same language, none of them in `held_out`."""
    draw = sentences(config, "text", set(held_out))
    for _ in range(config.text_sentences):
        yield next(draw)
