"""From phone times to what the mouth does: visemes with co-articulation.

Phones that look alike share one viseme. A viseme pulls each gesture towards its target with a
strength that fades before and after it; the gesture is the mean of all targets weighted by these
pulls, so that vowels give way to the lips of their neighbours, as in the dominance model of Cohen
and Massaro (1993). A closure of the lips wins over any neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pylib.corpus.mini.face_mouth import GESTURES
from pylib.corpus.mini.phones import SILENCE

FRAME_RATE = 25
_FADE = 0.032  # s until a pull outside its viseme falls to 1 / e

# target and pull of jaw, gap, wide, round, press, tuck, teeth, tongue
_TARGETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "rest": ((0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.0), (0.8, 1.5, 0.6, 0.6, 1, 1, 0.5, 0.5)),
    "p": ((0.06, 0.0, 0.0, 0.1, 0.9, 0.0, 0.0, 0.0), (4, 16, 0.3, 0.3, 9, 2, 1, 0.5)),
    "f": ((0.08, 0.16, 0.1, 0.0, 0.0, 1.0, 0.9, 0.0), (3, 7, 0.6, 0.8, 6, 8, 6, 1)),
    "th": ((0.20, 0.32, 0.1, 0.0, 0.0, 0.0, 0.3, 1.0), (2, 3, 0.6, 0.8, 3, 3, 3, 6)),
    "t": ((0.12, 0.20, 0.1, 0.0, 0.0, 0.0, 0.4, 0.7), (1.2, 1.5, 0.3, 0.3, 2, 2, 1.5, 2)),
    "s": ((0.02, 0.24, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0), (3, 3, 0.8, 0.8, 3, 3, 4, 1.5)),
    "sh": ((0.06, 0.40, -0.2, 0.75, 0.0, 0.0, 1.0, 0.0), (2, 3, 1.5, 4, 3, 3, 4, 1.5)),
    "l": ((0.30, 0.42, 0.0, 0.0, 0.0, 0.0, 0.3, 0.9), (1.5, 1.8, 0.3, 0.4, 2, 2, 1.5, 3)),
    "k": ((0.22, 0.28, 0.0, 0.0, 0.0, 0.0, 0.2, 0.1), (0.7, 0.8, 0.2, 0.2, 2, 2, 0.6, 0.8)),
    "w": ((0.05, 0.10, -0.4, 1.0, 0.0, 0.0, 0.0, 0.0), (2, 5, 3, 8, 3, 3, 3, 1)),
    "r": ((0.14, 0.22, -0.1, 0.55, 0.0, 0.0, 0.3, 0.1), (1.2, 2, 1, 3, 2, 2, 1, 1)),
    "i": ((0.10, 0.26, 1.0, 0.0, 0.0, 0.0, 0.6, 0.1), (2, 2, 3, 2, 2, 2, 2, 1)),
    "e": ((0.45, 0.50, 0.5, 0.0, 0.0, 0.0, 0.4, 0.2), (2, 2, 2, 2, 2, 2, 2, 1)),
    "a": ((0.85, 0.85, 0.5, 0.0, 0.0, 0.0, 0.5, 0.1), (3, 3, 2, 2, 2, 2, 2, 1)),
    "o": ((1.00, 1.00, -0.2, 0.15, 0.0, 0.0, 0.1, 0.0), (3, 3, 2, 2, 2, 2, 2, 1)),
    "v": ((0.38, 0.40, 0.0, 0.1, 0.0, 0.0, 0.25, 0.1), (1, 1, 0.8, 0.8, 2, 2, 1, 0.8)),
    "oh": ((0.65, 0.68, -0.4, 0.75, 0.0, 0.0, 0.0, 0.0), (2.5, 2.5, 2, 3, 2, 2, 2, 1)),
    "u": ((0.12, 0.26, -0.5, 1.0, 0.0, 0.0, 0.0, 0.0), (2, 2.5, 2.5, 4, 2, 2, 2, 1)),
}

# espeak's folded names; a diphthong passes through several visemes
_CONSONANTS = {
    "p": "p b m",
    "f": "f v",
    "th": "T D",
    "t": "t d n ?",
    "s": "s z",
    "sh": "S Z tS dZ",
    "l": "l",
    "k": "k g N h x",
    "w": "w",
    "r": "r",
    "i": "j",
}
_VISEMES: dict[str, tuple[str, ...]] = {
    phone: (viseme,) for viseme, names in _CONSONANTS.items() for phone in names.split()
}
_VOWELS = {"i": "i", "I": "i", "E": "e", "e": "e", "a": "a", "A": "o", "0": "o", "V": "v"}
_VOWELS |= {"@": "v", "3": "r", "O": "oh", "o": "oh", "U": "u", "u": "u", "L": "l"}


def visemes(phone: str) -> tuple[str, ...]:
    """Visemes that a phone (folded espeak name) passes through; unknown ones are neutral."""
    if phone == SILENCE:
        return ("rest",)
    if phone in _VISEMES:
        return _VISEMES[phone]
    parts: list[str] = []
    for place, letter in enumerate(phone):
        viseme = _VOWELS.get(letter) or _VISEMES.get(letter, ("",))[0]
        if letter == "@" and place > 0:  # American: the vowel of NEAR, HAIR, CURE ends in r
            viseme = "r"
        if viseme and (not parts or parts[-1] != viseme):
            parts.append(viseme)
    return tuple(parts) or ("v",)


def gestures(
    phones: Sequence[tuple[str, float, float]], frames: int, strength: float = 1.0
) -> np.ndarray:
    """What the mouth does in each frame, (frames, 8) float32, see `face_mouth.GESTURES`.

    Args:
        phones: (folded espeak name, start, end) in s.
        strength: how far the speaker moves the jaw and lips, about 1.
    """
    targets: list[tuple[float, ...]] = []
    pulls: list[tuple[float, ...]] = []
    centres: list[float] = []
    halves: list[float] = []
    for name, start, end in phones:
        parts = visemes(name)
        long = (end - start) / len(parts)
        for place, viseme in enumerate(parts):
            target, pull = _TARGETS[viseme]
            targets.append(target)
            pulls.append(pull)
            centres.append(start + (place + 0.5) * long)
            halves.append(0.4 * long)
    time = (np.arange(frames) + 0.5) / FRAME_RATE
    away = np.abs(time[:, None] - np.array(centres)) - np.array(halves)
    fade = np.exp(-np.maximum(away, 0) / _FADE)  # (frames, visemes)
    weight = fade @ np.array(pulls) + 1e-9
    moved = fade @ (np.array(targets) * np.array(pulls)) / weight
    moved[:, :2] *= strength
    moved[:, 2:4] *= 0.5 + 0.5 * strength
    gap = GESTURES.index("gap")
    moved[:, gap] = np.maximum(moved[:, gap] - 0.05, 0) / 0.95
    low = np.where(np.array(GESTURES) == "wide", -1.0, 0.0)
    return np.clip(moved, low, 1.0).astype(np.float32)
