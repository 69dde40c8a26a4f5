"""Who reads which sentences: all are distinct, and those of dev and test are not in the LM text."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pylib.corpus.errors import UserError
from pylib.corpus.mini.config import MiniCorpusConfig
from pylib.corpus.mini.grammar import SentenceGenerator
from pylib.corpus.mini.speakers import Speaker, draw_speakers

#: Words that espeak says in a second at 140 words/min (measured on these sentences).
WORDS_PER_SECOND_AT_140 = 2.7
#: Candidates beyond the expected number, for sentences that turn out too short or too long.
_SPARE = 1.5
_TRIES = 2000


@dataclass(frozen=True)
class ReadingList:
    """What one speaker reads: candidate sentences, taken in order until `seconds` are reached."""

    speaker: Speaker
    seconds: float
    labelled_seconds: float
    sentences: tuple[str, ...]


class Lengths(Protocol):
    """The part of a corpus's configuration that decides how long utterances are, in s."""

    @property
    def min_seconds(self) -> float: ...
    @property
    def mean_seconds(self) -> float: ...
    @property
    def max_seconds(self) -> float: ...


def utterance_lengths(config: Lengths, rng: random.Random, rate: float) -> Iterator[int]:
    """Endless numbers of words whose spoken lengths spread from min_ to max_seconds."""
    span = config.max_seconds - config.min_seconds
    mean = (config.mean_seconds - config.min_seconds) / span
    while True:
        seconds = config.min_seconds + span * rng.betavariate(3 * mean, 3 * (1 - mean))
        yield max(3, round(seconds * WORDS_PER_SECOND_AT_140 * rate / 140))


def seconds_of(config: MiniCorpusConfig, speaker: Speaker) -> tuple[float, float]:
    """(all, labelled) seconds that a speaker reads."""
    if speaker.subset == "dev-clean":
        return 60 * config.dev_minutes / config.dev_speakers, 0.0
    if speaker.subset == "test-clean":
        return 60 * config.test_minutes / config.test_speakers, 0.0
    plain = 60 * (config.train_minutes - config.labelled_minutes) / config.train_speakers
    labelled = 60 * config.labelled_minutes / config.labelled_speakers if speaker.labelled else 0.0
    return plain + labelled, labelled


def new_sentence(
    generator: SentenceGenerator, rng: random.Random, lengths: Iterator[int], seen: set[str]
) -> str:
    """A sentence not in `seen`; it is added. Raises UserError when the language is used up."""
    for _ in range(_TRIES):
        sentence = " ".join(generator.sentence(rng, next(lengths)))
        if sentence not in seen:
            seen.add(sentence)
            return sentence
    raise UserError(
        f"built-in corpus: no new sentence in {_TRIES} tries ({len(seen)} made): set more words or "
        "longer utterances, or fewer minutes"
    )


def reading_lists(config: MiniCorpusConfig) -> tuple[list[ReadingList], set[str]]:
    """Reading lists of all speakers, and the sentences that only dev and test may hold.

    The test and dev speakers choose first; whatever they might read is never given to a train
    speaker or to the LM text.
    """
    generator = SentenceGenerator(config)
    speakers = draw_speakers(config)
    order = sorted(speakers, key=lambda s: ("test", "dev-", "trai").index(s.subset[:4]))
    seen: set[str] = set()
    held_out: set[str] = set()
    lists = []
    for speaker in order:
        rng = random.Random(f"sentences {config.seed} {speaker.index}")
        lengths = utterance_lengths(config, rng, speaker.rate)
        seconds, labelled = seconds_of(config, speaker)
        count = int(_SPARE * seconds / config.mean_seconds) + 10
        sentences = tuple(new_sentence(generator, rng, lengths, seen) for _ in range(count))
        if not speaker.subset.startswith("train"):
            held_out.update(sentences)
        lists.append(ReadingList(speaker, seconds, labelled, sentences))
    return sorted(lists, key=lambda item: item.speaker.index), held_out


def lm_text(config: MiniCorpusConfig, held_out: set[str]) -> Iterator[str]:
    """`lm_sentences` distinct sentences of the same language, none of them in `held_out`."""
    generator = SentenceGenerator(config)
    rng = random.Random(f"lm {config.seed}")
    lengths = utterance_lengths(config, rng, config.rate)
    seen = set(held_out)
    for _ in range(config.lm_sentences):
        yield new_sentence(generator, rng, lengths, seen)
