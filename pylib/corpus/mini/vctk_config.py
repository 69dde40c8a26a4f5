"""What the built-in corpus in VCTK's layout consists of: a frozen dataclass, three named sizes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pylib.corpus.mini.config import check_rules, voice_rules

#: Raised whenever the same configuration would give other bytes than before.
FORMAT_VERSION = 1


@dataclass(frozen=True)
class VctkMiniConfig:
    """Everything that decides the bytes of the corpus; all randomness comes from `seed`.

    A speaker is a voice, a pitch, a rate and a vocal tract and nothing else: microphone, room,
    noise and level are drawn anew for every utterance, so that no channel tells who speaks.
    Strengths of 0 switch an effect off.
    """

    seed: int = 1
    # what is said
    words: int = 400  # upper bound of the vocabulary (100 to 800)
    predictability: float = 0.8  # how often a word is one of its neighbour's favourites, 0 to 1
    min_seconds: float = 2.0  # of an utterance, at the mean rate of speaking
    mean_seconds: float = 3.0
    max_seconds: float = 4.0
    utterances: int = 64  # of a speaker
    parallel: int = 24  # the first so many are the same texts for all speakers
    # who says it
    speakers: int = 48
    accents: int = 1  # the first so many of ALL_ACCENTS, 1 to 8
    voices: int = 24  # the first so many of the voice variants, 2 to 56
    pitch_spread: float = 1.0  # 1: +-20 of espeak's 0..100 pitch scale and of its range scale
    rate: float = 140.0  # espeak words/min; 140 is about 3 short English words a second
    rate_spread: float = 0.12  # rate of a speaker: times 1 +- this
    warp: float = 0.10  # vocal tract: formants times 1 +- this
    # how it is recorded, drawn for each utterance
    snr_low: float = 25.0  # dB
    snr_high: float = 40.0  # dB
    eq_db: float = 3.0  # bumps and tilt of the channel's frequency response, at most
    room: float = 0.2  # longest reverberation time, s
    level_spread: float = 4.0  # dB around 26 below full scale

    def __post_init__(self) -> None:
        """Raises UserError on a value that no corpus can have."""
        rules = (
            (100 <= self.words <= 800, "words must be 100 to 800"),
            (0 <= self.predictability <= 1, "predictability must be 0 to 1"),
            (
                1.0 <= self.min_seconds < self.mean_seconds < self.max_seconds <= 30,
                "needs 1 <= min_seconds < mean_seconds < max_seconds <= 30",
            ),
            (2 <= self.speakers <= 140, "speakers must be 2 to 140 (p225 to p364)"),
            (
                0 <= self.parallel < self.utterances <= 900,
                "needs 0 <= parallel < utterances <= 900",
            ),
            *voice_rules(self),
            (0 <= self.level_spread <= 12, "level_spread must be 0 to 12"),
        )
        check_rules(rules)


VCTK_SIZES: dict[str, VctkMiniConfig] = {
    "smoke": VctkMiniConfig(
        words=120, utterances=12, parallel=4, speakers=8, voices=16, eq_db=2.0, room=0.0
    ),
    "easy": VctkMiniConfig(words=200, utterances=60, speakers=32, eq_db=2.0, room=0.1),
    "full": dataclasses.replace(VctkMiniConfig(), utterances=80),
}
