"""A small language for the talking faces: sentences of slots, each with a few unlike words.

`MARY BROUGHT SEVEN BROWN HORSES NEAR THE RIVER TODAY`: every slot is filled at random, so that
neighbours tell little and the words must be read from sound or lips. The words of a slot mostly
look unlike each other on the lips (BOATS, FLOWERS, CHAIRS); some do not (WHITE, WIDE), as in life.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

MOST_WORDS = 100  # below this many words the slots speak, from it on the grammar


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# most useful first, so that a smaller vocabulary takes the beginning of each
SLOTS: dict[str, tuple[str, ...]] = {
    "time": _words("TODAY YESTERDAY NOW SOMETIMES FINALLY TONIGHT"),
    "subject": _words("MARY THEY PETER SHE GEORGE WE FATHER HENRY SOPHIA THOMAS FIONA YOU"),
    "verb": _words("FOUND SAW BROUGHT LIKED WASHED MOVED TOOK SHOWED PAINTED KEPT CHASED FED"),
    "number": _words("FIVE TWO SEVEN MANY EIGHT FOUR THREE NINE"),
    "quality": _words("BROWN LITTLE WHITE YELLOW BIG SMALL GREEN HEAVY RED BLUE CHEAP WIDE"),
    "object": _words(
        "HORSES BOATS FLOWERS CHAIRS APPLES WOLVES BOOKS MUSHROOMS LETTERS SHIPS CLOTHES FISHES"
    ),
    "preposition": _words("NEAR BY FROM UNDER BEHIND ABOVE"),
    "place": _words("RIVER FARM CHURCH VILLAGE HOUSE MOUNTAIN SHOP BRIDGE FOREST WATER"),
    "manner": _words("AGAIN QUICKLY TOGETHER SLOWLY ABROAD WELL"),
}
_THE = "THE"


def choose_slots(words: int) -> dict[str, tuple[str, ...]]:
    """The words of each slot, `words` in all at most; each keeps the same share, at least two."""
    full = sum(map(len, SLOTS.values())) + 1
    share = min(1.0, (words - 1) / (full - 1))
    return {slot: items[: max(2, int(len(items) * share))] for slot, items in SLOTS.items()}


class SlotGenerator:
    """Draws sentences of slots, in the manner of `grammar.SentenceGenerator`."""

    def __init__(self, words: int) -> None:
        self.slots = choose_slots(words)

    def words(self) -> set[str]:
        """All distinct words that a sentence may hold."""
        return {_THE, *(word for items in self.slots.values() for word in items)}

    def sentence(self, rng: random.Random, length: int) -> list[str]:
        """Words of one sentence of about `length` words, 3 to 10."""
        optional: Sequence[tuple[str, int]] = [
            ("number", 1),
            ("quality", 1),
            ("place", 3),
            ("time", 1),
            ("manner", 1),
        ]
        wanted = {"subject", "verb", "object"}
        left = length - 3
        for slot, size in rng.sample(optional, len(optional)):
            if left >= size or (size == 3 and left == 2):
                wanted.add(slot)
                left -= size
        words: list[str] = []
        for slot in SLOTS:
            if slot == "preposition":
                if "place" in wanted:
                    words += [rng.choice(self.slots[slot]), _THE]
            elif slot in wanted:
                words.append(rng.choice(self.slots[slot]))
        return words
