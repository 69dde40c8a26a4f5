"""Sentences: vocabulary bounds, variety, and something for a language model to learn."""

from __future__ import annotations

import dataclasses
import math
import random
from collections import Counter

import pytest

from pylib.corpus.mini.config import SIZES
from pylib.corpus.mini.grammar import SentenceGenerator, choose_vocabulary
from pylib.corpus.mini.plan import lm_text, reading_lists
from pylib.corpus.mini.speakers import draw_speakers, usable_voices


@pytest.mark.parametrize("words", [100, 120, 200, 500, 800])
def test_vocabulary_is_as_large_as_asked(words: int) -> None:
    found = choose_vocabulary(words).words()
    assert 0.9 * words <= len(found) <= words


def test_sentences_use_the_vocabulary_and_nothing_else() -> None:
    generator = SentenceGenerator(SIZES["full"])
    rng = random.Random(1)
    seen: set[str] = set()
    for _ in range(8000):
        seen.update(generator.sentence(rng, rng.randint(4, 25)))
    allowed = generator.vocabulary.words()
    assert seen <= allowed
    assert len(seen) > 0.97 * len(allowed)


def test_articles_and_verbs_agree() -> None:
    generator = SentenceGenerator(SIZES["full"])
    rng = random.Random(2)
    for _ in range(3000):
        words = generator.sentence(rng, 15)
        for first, second in zip(words, words[1:], strict=False):
            if first in ("A", "AN"):
                assert (second[0] in "AEIOU") == (first == "AN")
            if first in ("THEY", "WE"):
                assert second != "WAS"
            if first in ("HE", "SHE"):
                assert second != "WERE"


def test_a_sentence_depends_on_the_generator_state_alone() -> None:
    first, second = (SentenceGenerator(SIZES["easy"]) for _ in range(2))
    second.sentence(random.Random(9), 20)
    for seed in range(50):
        assert first.sentence(random.Random(seed), 12) == second.sentence(random.Random(seed), 12)


def perplexities(predictability: float) -> tuple[float, float]:
    """(unigram, bigram) perplexity of new sentences, add-0.1 smoothed bigrams."""
    config = dataclasses.replace(SIZES["full"], predictability=predictability)
    generator, rng = SentenceGenerator(config), random.Random(3)
    train = [["<s>", *generator.sentence(rng, 10)] for _ in range(4000)]
    test = [["<s>", *generator.sentence(rng, 10)] for _ in range(1000)]
    unigrams = Counter(word for words in train for word in words)
    bigrams = Counter(pair for words in train for pair in zip(words, words[1:], strict=False))
    size, total = len(unigrams), sum(unigrams.values())
    logs = [0.0, 0.0]
    count = 0
    for words in test:
        for first, second in zip(words, words[1:], strict=False):
            base = (unigrams[second] + 1) / (total + size)
            logs[0] -= math.log(base)
            logs[1] -= math.log((bigrams[first, second] + 5 * base) / (unigrams[first] + 5))
            count += 1
    return math.exp(logs[0] / count), math.exp(logs[1] / count)


def test_neighbours_predict_each_other() -> None:
    unigram, bigram = perplexities(0.6)
    assert bigram < 0.5 * unigram
    assert perplexities(0.9)[1] < 0.9 * perplexities(0.2)[1]


def test_reading_lists_share_no_sentence() -> None:
    config = SIZES["smoke"]
    lists, held_out = reading_lists(config)
    every = [sentence for item in lists for sentence in item.sentences]
    assert len(every) == len(set(every))
    train = {s for i in lists if i.speaker.subset.startswith("train") for s in i.sentences}
    assert not train & held_out
    assert not set(lm_text(config, held_out)) & held_out


def test_speakers_are_distinct_and_balanced() -> None:
    config = SIZES["full"]
    speakers = draw_speakers(config)
    assert len({s.reader for s in speakers}) == len(speakers) == 56
    for subset, count in (("train-clean-100", 32), ("dev-clean", 12), ("test-clean", 12)):
        assert [s.sex for s in speakers if s.subset == subset].count("F") == count // 2
    assert sum(s.labelled for s in speakers) == config.labelled_speakers
    assert {s.sex for s in speakers if s.labelled} == {"F", "M"}
    female, male = usable_voices(config.voices)
    assert len(set(female + male)) == config.voices
    assert all(15 <= s.snr <= 40 and 0.9 <= s.warp <= 1.1 for s in speakers)
