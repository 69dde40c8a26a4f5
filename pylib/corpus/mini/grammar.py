"""Sentences of the built-in corpus: a seeded grammar with topics and favourite neighbours.

The grammar gives correct, varied, mostly sensible English. Two things make its n-grams uneven, as
those of real text are: a sentence keeps to a topic, and each word has favourites among its
neighbours (verb and object, noun and adjective), drawn from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol, TypeVar

from pylib.corpus.mini import words as lists

T = TypeVar("T")
OBJECT_FORM = {"HE": "HIM", "SHE": "HER", "THEY": "THEM", "WE": "US", "I": "ME", "YOU": "YOU"}
PLURAL_PRONOUNS = frozenset(("THEY", "WE", "YOU"))
FAVOURITES = 4  # neighbours that a word prefers
IN_TOPIC = 0.8  # share of nouns from the sentence's topic


class Language(Protocol):
    """The part of a corpus's configuration that decides its sentences."""

    @property
    def seed(self) -> int: ...
    @property
    def words(self) -> int: ...
    @property
    def predictability(self) -> float: ...


@dataclass
class Vocabulary:
    """The part of each word class that is in use."""

    topics: list[list[str]]
    plurals: list[str]
    transitive: list[tuple[str, str, str]]
    intransitive: list[tuple[str, str, str]]
    adjectives: list[str]
    adverbs: list[str]
    times: list[str]
    names: list[str]
    closed: dict[str, list[str]] = field(default_factory=dict)

    def words(self) -> set[str]:
        """All distinct words that a sentence may hold."""
        found = {"WAS", "WERE", "THERE", "OF", "THE", "A", "AN", "TO", "THAT", "WHEN"}
        found.update(OBJECT_FORM[p] for p in self.closed["pronouns"])
        for group in (*self.topics, self.plurals, self.adjectives, self.adverbs, self.names):
            found.update(group)
        for forms in (*self.transitive, *self.intransitive):
            found.update(forms)
        for phrases in (self.times, *self.closed.values()):
            found.update(word for phrase in phrases for word in phrase.split())
        return found


def _vocabulary_at(share: float) -> Vocabulary:
    """The most useful `share` (0 to 1) of each open class, sqrt(share) of each closed one."""

    def first(items: Sequence[T], part: float, least: int) -> list[T]:
        return list(items[: max(least, round(len(items) * part))])

    root = share**0.5
    topics = first(list(lists.NOUNS_BY_TOPIC.values()), root, 2)
    return Vocabulary(
        topics=[first(topic, root, 3) for topic in topics],
        plurals=first(lists.PLURALS, share, 3),
        transitive=first(lists.TRANSITIVE, share, 4),
        intransitive=first(lists.INTRANSITIVE, share, 4),
        adjectives=first(lists.ADJECTIVES, share, 4),
        adverbs=first(lists.ADVERBS, share, 2),
        times=first(lists.TIMES, share, 2),
        names=first(lists.NAMES, share, 3),
        closed={
            "pronouns": first(lists.PRONOUNS, root, 2),
            "determiners": first(lists.DETERMINERS, root, 3),
            "prepositions": first(lists.PREPOSITIONS, root, 3),
            "numbers": first(lists.NUMBERS, root, 2),
            "auxiliaries": first(lists.AUXILIARIES, root, 2),
            "starters": first(lists.STARTERS, root, 1),
            "sayings": first(lists.SAYINGS, root, 1),
            "conjunctions": first(lists.CONJUNCTIONS, root, 2),
        },
    )


@cache  # a third of a second, asked for by every speaker's sentences
def choose_vocabulary(words: int) -> Vocabulary:
    """The largest vocabulary of at most `words` words. Shared: only to be read."""
    best = _vocabulary_at(0.0)
    for step in range(1, 1001):
        candidate = _vocabulary_at(step / 1000)
        if len(candidate.words()) <= words:
            best = candidate
    return best


class SentenceGenerator:
    """Draws sentences; two generators of one configuration are the same language.

    `sentence(rng, length)` is a pure function of the configuration and the state of `rng`.
    """

    def __init__(self, config: Language) -> None:
        self.vocabulary = choose_vocabulary(config.words)
        self.predictability = config.predictability
        self._rng = random.Random()
        self._topic: list[str] = []
        self._likes = self._draw_favourites(random.Random(f"language {config.seed}"))
        self._clauses: list[tuple[float, Callable[[], list[str]]]] = [
            (5.0, self._action),
            (3.0, self._motion),
            (2.0, self._quality),
            (1.0, self._existence),
            (2.0, self._progress),
            (1.5, self._modal),
            (1.2, self._beginning),
        ]

    def _draw_favourites(self, rng: random.Random) -> dict[tuple[str, str], list[str]]:
        v = self.vocabulary
        nouns = [noun for topic in v.topics for noun in topic]
        persons = [noun for noun in nouns if noun in lists.PERSONS]
        likes: dict[tuple[str, str], list[str]] = {}

        def draw(kind: str, keys: Sequence[str], values: Sequence[str]) -> None:
            for key in keys:
                likes[kind, key] = rng.sample(list(values), min(FAVOURITES, len(values)))

        draw("adjective", [*nouns, *v.plurals], v.adjectives)
        draw("transitive", [*persons, *v.closed["pronouns"], *v.names], self._bases(v.transitive))
        draw(
            "intransitive", [*persons, *v.closed["pronouns"], *v.names], self._bases(v.intransitive)
        )
        draw("object", self._bases(v.transitive), nouns)
        draw("place", self._bases(v.intransitive), nouns)
        draw("preposition", self._bases(v.intransitive), v.closed["prepositions"])
        draw("adverb", self._bases((*v.transitive, *v.intransitive)), v.adverbs)
        return likes

    @staticmethod
    def _bases(verbs: Sequence[tuple[str, str, str]]) -> list[str]:
        return [forms[0] for forms in verbs]

    def sentence(self, rng: random.Random, length: int) -> list[str]:
        """Words of one sentence of about `length` words (at least one clause of 3 words)."""
        self._rng = rng
        self._topic = rng.choice(self.vocabulary.topics)
        words = self._clause()
        if rng.random() < 0.15:
            words = self._pick(self.vocabulary.times).split() + words
        while len(words) + 3 <= length:
            if rng.random() < 0.12:
                self._topic = rng.choice(self.vocabulary.topics)
            words = [*words, self._pick(self.vocabulary.closed["conjunctions"]), *self._clause()]
        return words

    # choices

    def _pick(self, items: Sequence[T]) -> T:
        """Zipf-like: item of rank r with a weight of 1 / (r + 3)."""
        weights = [1 / (rank + 3) for rank in range(len(items))]
        return self._rng.choices(items, weights)[0]

    def _liked(self, kind: str, key: str, items: Sequence[str]) -> str:
        """One of the favourites of `key`, or any of `items`."""
        favourites = self._likes.get((kind, key))
        if favourites and self._rng.random() < self.predictability:
            return self._pick(favourites)
        return self._pick(items)

    def _noun(self, persons: bool) -> str:
        v = self.vocabulary
        topic = self._topic if self._rng.random() < IN_TOPIC else self._rng.choice(v.topics)
        nouns = [noun for noun in topic if noun in lists.PERSONS] if persons else topic
        if not nouns:
            nouns = [n for other in v.topics for n in other if n in lists.PERSONS]
        return self._pick(nouns)

    def _verb(self, kind: str, subject: str) -> tuple[str, str, str]:
        v = self.vocabulary
        verbs = v.transitive if kind == "transitive" else v.intransitive
        base = self._liked(kind, subject, self._bases(verbs))
        return next(forms for forms in verbs if forms[0] == base)

    # phrases

    def _noun_phrase(self, noun: str) -> list[str]:
        rng = self._rng
        words = [noun]
        if rng.random() < 0.35:
            words.insert(0, self._liked("adjective", noun, self.vocabulary.adjectives))
        determiner = self._pick(self.vocabulary.closed["determiners"])
        if determiner == "A" and words[0][0] in "AEIOU":
            determiner = "AN"
        return [determiner, *words]

    def _subject(self) -> tuple[list[str], str, bool]:
        """Words, head word and whether it is a plural."""
        rng, v = self._rng, self.vocabulary
        draw = rng.random()
        if draw < 0.3:
            pronoun = self._pick(v.closed["pronouns"])
            return [pronoun], pronoun, pronoun in PLURAL_PRONOUNS
        if draw < 0.42:
            name = self._pick(v.names)
            return [name], name, False
        if draw < 0.52:
            plural = self._pick(v.plurals)
            return [self._pick(v.closed["numbers"]), plural], plural, True
        noun = self._noun(persons=True)
        return self._noun_phrase(noun), noun, False

    def _object(self, verb: str) -> list[str]:
        rng, v = self._rng, self.vocabulary
        draw = rng.random()
        if draw < 0.08:
            return [OBJECT_FORM[self._pick(v.closed["pronouns"])]]
        if draw < 0.15:
            return [self._pick(v.closed["numbers"]), self._pick(v.plurals)]
        phrase = self._noun_phrase(self._liked("object", verb, self._topic))
        if draw > 0.93:
            phrase += ["OF", *self._noun_phrase(self._noun(persons=True))]
        return phrase

    def _place(self, verb: str | None = None) -> list[str]:
        prepositions = self.vocabulary.closed["prepositions"]
        if verb is None:
            return [self._pick(prepositions), *self._noun_phrase(self._pick(self._topic))]
        preposition = self._liked("preposition", verb, prepositions)
        return [preposition, *self._noun_phrase(self._liked("place", verb, self._topic))]

    def _ending(self, verb: str) -> list[str]:
        draw = self._rng.random()
        if draw < 0.25:
            return [self._liked("adverb", verb, self.vocabulary.adverbs)]
        if draw < 0.37:
            return self._pick(self.vocabulary.times).split()
        return []

    # clauses

    def _clause(self) -> list[str]:
        if self._rng.random() < 0.07:
            subject, _, _ = self._subject()
            return [
                *subject,
                *self._pick(self.vocabulary.closed["sayings"]).split(),
                *self._plain(),
            ]
        return self._plain()

    def _plain(self) -> list[str]:
        weights = [weight for weight, _ in self._clauses]
        return self._rng.choices([make for _, make in self._clauses], weights)[0]()

    def _action(self) -> list[str]:
        subject, head, _ = self._subject()
        verb = self._verb("transitive", head)
        return [*subject, verb[1], *self._object(verb[0]), *self._ending(verb[0])]

    def _motion(self) -> list[str]:
        subject, head, _ = self._subject()
        verb = self._verb("intransitive", head)
        place = self._place(verb[0]) if self._rng.random() < 0.7 else []
        return [*subject, verb[1], *place, *self._ending(verb[0])]

    def _quality(self) -> list[str]:
        noun = self._noun(persons=False)
        adjective = self._liked("adjective", noun, self.vocabulary.adjectives)
        place = self._place() if self._rng.random() < 0.4 else []
        return [*self._noun_phrase(noun), *place, "WAS", adjective]

    def _existence(self) -> list[str]:
        v = self.vocabulary
        if self._rng.random() < 0.4:
            amount = [self._pick(v.closed["numbers"]), self._pick(v.plurals)]
            return ["THERE", "WERE", *amount, *self._place()]
        return ["THERE", "WAS", *self._noun_phrase(self._noun(persons=False)), *self._place()]

    def _progress(self) -> list[str]:
        subject, head, plural = self._subject()
        be = "WERE" if plural else "WAS"
        if self._rng.random() < 0.5:
            verb = self._verb("intransitive", head)
            return [*subject, be, verb[2], *self._place(verb[0])]
        verb = self._verb("transitive", head)
        return [*subject, be, verb[2], *self._object(verb[0]), *self._ending(verb[0])]

    def _modal(self) -> list[str]:
        subject, head, _ = self._subject()
        verb = self._verb("transitive", head)
        auxiliary = self._pick(self.vocabulary.closed["auxiliaries"]).split()
        return [*subject, *auxiliary, verb[0], *self._object(verb[0])]

    def _beginning(self) -> list[str]:
        subject, head, _ = self._subject()
        starter = self._pick(self.vocabulary.closed["starters"]).split()
        if self._rng.random() < 0.5:
            verb = self._verb("intransitive", head)
            return [*subject, *starter, verb[0], *self._ending(verb[0])]
        verb = self._verb("transitive", head)
        return [*subject, *starter, verb[0], *self._object(verb[0])]
