"""What the built-in speech corpus consists of: one frozen dataclass, three named sizes."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from pylib.corpus.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: Raised whenever the same configuration would give other bytes than before.
FORMAT_VERSION = 1

ALL_ACCENTS = (
    "en-us",
    "en-gb-x-rp",
    "en",
    "en-gb-scotland",
    "en-us-nyc",
    "en-029",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
)


Rule = tuple[bool, str]


def voice_rules(config: Any) -> tuple[Rule, ...]:
    """(whether it is kept, rule) of voices and channel, which all built-in corpora have."""
    return (
        (1 <= config.accents <= len(ALL_ACCENTS), f"accents must be 1 to {len(ALL_ACCENTS)}"),
        (2 <= config.voices <= 56, "voices must be 2 to 56"),
        (0 <= config.pitch_spread <= 2, "pitch_spread must be 0 to 2"),
        (100 <= config.rate <= 300, "rate must be 100 to 300"),
        (0 <= config.rate_spread <= 0.3, "rate_spread must be 0 to 0.3"),
        (0 <= config.warp <= 0.25, "warp must be 0 to 0.25"),
        (
            -10 <= config.snr_low <= config.snr_high <= 100,
            "needs -10 <= snr_low <= snr_high <= 100",
        ),
        (0 <= config.eq_db <= 24, "eq_db must be 0 to 24"),
        (0 <= config.room <= 1.5, "room must be 0 to 1.5"),
    )


def check_rules(rules: Iterable[Rule]) -> None:
    """Raise UserError with the first rule that is not kept."""
    for kept, rule in rules:
        if not kept:
            raise UserError(f"built-in corpus: {rule}: change it with --set name=value")


@dataclass(frozen=True)
class MiniCorpusConfig:
    """Everything that decides the bytes of a built-in corpus; all randomness comes from `seed`.

    Minutes are of audio. Train speakers hold the labelled pool: `labelled_minutes` of speech of
    `labelled_speakers` of the `train_speakers` are listed as the labelled split, the other
    `train_minutes - labelled_minutes` are for pre-training. No speaker and no sentence is in two
    of train, dev and test. Strengths of 0 switch an effect off.
    """

    seed: int = 1
    # what is said
    words: int = 800  # upper bound of the vocabulary (100 to 800)
    predictability: float = 0.6  # how often a word is one of its neighbour's favourites, 0 to 1
    min_seconds: float = 2.0  # of an utterance
    mean_seconds: float = 6.0
    max_seconds: float = 12.0
    lm_sentences: int = 40000  # lines of language-model text
    # who says it
    train_speakers: int = 32
    labelled_speakers: int = 8
    dev_speakers: int = 12
    test_speakers: int = 12
    train_minutes: float = 130.0
    labelled_minutes: float = 10.0
    dev_minutes: float = 10.0
    test_minutes: float = 10.0
    accents: int = 4  # the first so many of ALL_ACCENTS, 1 to 8
    voices: int = 56  # the first so many of the voice variants, 2 to 56
    pitch_spread: float = 1.0  # 1: +-20 of espeak's 0..100 pitch scale and of its range scale
    rate: float = 140.0  # espeak words/min; 140 is about 3 short English words a second
    rate_spread: float = 0.15  # rate of a speaker: times 1 +- this
    warp: float = 0.10  # vocal tract: formants times 1 +- this
    # how it is recorded
    snr_low: float = 15.0  # dB
    snr_high: float = 40.0  # dB
    eq_db: float = 6.0  # bumps and tilt of the channel's frequency response, at most
    room: float = 0.4  # longest reverberation time, s

    def __post_init__(self) -> None:
        """Raises UserError on a value that no corpus can have."""
        rules = (
            (100 <= self.words <= 800, "words must be 100 to 800"),
            (0 <= self.predictability <= 1, "predictability must be 0 to 1"),
            (
                1.0 <= self.min_seconds < self.mean_seconds < self.max_seconds <= 30,
                "needs 1 <= min_seconds < mean_seconds < max_seconds <= 30",
            ),
            (self.lm_sentences >= 0, "lm_sentences must not be negative"),
            (
                1 <= self.labelled_speakers <= self.train_speakers,
                "labelled_speakers must be 1 to train_speakers",
            ),
            (min(self.dev_speakers, self.test_speakers) >= 1, "dev and test need a speaker each"),
            (
                self.train_speakers + self.dev_speakers + self.test_speakers <= 500,
                "at most 500 speakers",
            ),
            (
                0 < self.labelled_minutes <= self.train_minutes,
                "labelled_minutes must be above 0 and at most train_minutes",
            ),
            (min(self.dev_minutes, self.test_minutes) > 0, "dev and test need minutes"),
            *voice_rules(self),
        )
        check_rules(rules)


SIZES: dict[str, MiniCorpusConfig] = {
    "smoke": MiniCorpusConfig(
        words=120,
        predictability=0.8,
        mean_seconds=3.0,
        max_seconds=6.0,
        lm_sentences=4000,
        train_speakers=4,
        labelled_speakers=2,
        dev_speakers=2,
        test_speakers=2,
        train_minutes=3.0,
        labelled_minutes=1.5,
        dev_minutes=0.5,
        test_minutes=0.5,
        accents=1,
        voices=16,
        warp=0.05,
        snr_low=25.0,
        eq_db=3.0,
        room=0.0,
    ),
    "easy": MiniCorpusConfig(
        words=200,
        predictability=0.8,
        mean_seconds=4.0,
        max_seconds=8.0,
        lm_sentences=20000,
        train_speakers=12,
        labelled_speakers=6,
        dev_speakers=4,
        test_speakers=4,
        train_minutes=40.0,
        labelled_minutes=10.0,
        dev_minutes=4.0,
        test_minutes=4.0,
        accents=1,
        voices=24,
        warp=0.05,
        snr_low=25.0,
        eq_db=3.0,
        room=0.2,
    ),
    "full": MiniCorpusConfig(
        predictability=0.8,
        mean_seconds=4.0,
        max_seconds=8.0,
        rate=130.0,
        accents=1,
        voices=24,
        warp=0.05,
        snr_low=25.0,
        eq_db=3.0,
        room=0.2,
    ),
}


Config = TypeVar("Config", bound="DataclassInstance")


def with_overrides(config: Config, settings: list[str]) -> Config:
    """Replace fields of `config` by `name=value` settings.

    Raises UserError on an unknown name (naming the nearest), a value of another type or a value
    outside its range.
    """
    kinds = {field.name: field.type for field in fields(config)}
    changes: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f"did you mean {near[0]}?" if near else "known: " + ", ".join(kinds)
            raise UserError(f"--set {setting}: not name=value with a known name: {hint}")
        try:
            changes[name] = int(value) if kinds[name] == "int" else float(value)
        except ValueError:
            raise UserError(f"--set {setting}: {name} is a {kinds[name]}: give a number") from None
    return dataclasses.replace(config, **changes)
