"""The speakers of the built-in corpus: accent, voice, pitch, rate, vocal tract and recording."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pylib.corpus.mini.config import ALL_ACCENTS, MiniCorpusConfig

# The variants of espeak-ng 1.52 that sound like people (no whisper, robots, echo chambers), stay
# clear of the rails and give the same bytes in every process (the breathy ones, f2 f3 f5 Alicia
# sandro victor, depend on where the system loads the library), ordered by how plain they are.
# espeak's own files leave the sex of many out; where they do it is judged by the pitch range.
FEMALE_VOICES: tuple[str, ...] = (
    *("f1", "f4", "linda", "belinda", "aunty", "Annie", "grandma", "steph", "anika", "Andrea"),
    *("steph2", "shelby"),
)
MALE_VOICES: tuple[str, ...] = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "max", "adam", "david", "edward2"),
    *("benjamin", "michel", "marcelo", "travis", "Alex", "Denis", "Diogo", "Henrique", "Lee"),
    *("Mario", "Michael", "Mike", "Nguyen", "Reed", "RicishayMax", "boris", "caleb", "gustave"),
    *("ian", "iven3", "iven4", "john", "klatt3", "klatt6", "miguel", "pablo", "quincy", "rob"),
    *("robert", "Hugo", "Andy", "Gene"),
)


@dataclass(frozen=True)
class Speaker:
    """One reader; `index` (0, 1, ...) seeds all that is drawn for it later."""

    index: int
    reader: int  # numeric id, as in LibriSpeech
    sex: str  # F or M
    subset: str  # train-clean-100, dev-clean or test-clean
    labelled: bool
    accent: str
    voice: str
    pitch: int  # espeak's 0..100
    pitch_range: int  # espeak's 0..100
    rate: float  # words a minute
    warp: float  # formants times this
    reverberation: float  # s to -60 dB, 0 for none
    snr: float  # dB
    level: float  # dB below full scale, RMS
    noise_colour: float  # power falls as 1 / f^colour

    @property
    def name(self) -> str:
        """What SPEAKERS.TXT tells about the voice."""
        return (
            f"espeak-ng {self.accent}+{self.voice} pitch {self.pitch} rate {self.rate:.0f} "
            f"warp {self.warp:.3f}"
        )


def usable_voices(count: int) -> tuple[list[str], list[str]]:
    """(female, male) voices: the first `count` when the two lists are dealt in turn."""
    female = FEMALE_VOICES[: (count + 1) // 2]  # slicing stops at their number
    return list(female), list(MALE_VOICES[: count - len(female)])


def deal(rng: random.Random, items: list[str], count: int) -> list[str]:
    """`count` items, each used once before any is used twice."""
    dealt: list[str] = []
    while len(dealt) < count:
        dealt += rng.sample(items, len(items))
    return dealt[:count]


def draw_speakers(config: MiniCorpusConfig) -> list[Speaker]:
    """All speakers, half of each sex in each subset (the odd one is female).

    A voice comes back (with another accent, pitch and tract) only when all are used up.
    """
    rng = random.Random(f"speakers {config.seed}")
    counts = (
        ("train-clean-100", config.train_speakers),
        ("dev-clean", config.dev_speakers),
        ("test-clean", config.test_speakers),
    )
    places = [(subset, place) for subset, count in counts for place in range(count)]
    sexes = ["FM"[place % 2] for _, place in places]
    female, male = usable_voices(config.voices)
    voices = {"F": deal(rng, female, len(places)), "M": deal(rng, male, len(places))}
    accents = deal(rng, list(ALL_ACCENTS[: config.accents]), len(places))
    readers = rng.sample(range(100, 9000), len(places))
    speakers = []
    for index, (subset, place) in enumerate(places):
        spread = config.pitch_spread
        speakers.append(
            Speaker(
                index=index,
                reader=readers[index],
                sex=sexes[index],
                subset=subset,
                labelled=subset.startswith("train") and place < config.labelled_speakers,
                accent=accents[index],
                voice=voices[sexes[index]].pop(),
                pitch=round(50 + 20 * spread * rng.uniform(-1, 1)),
                pitch_range=round(50 + 20 * spread * rng.uniform(-1, 1)),
                rate=config.rate * (1 + config.rate_spread * rng.uniform(-1, 1)),
                warp=1 + config.warp * rng.uniform(-1, 1),
                reverberation=config.room * rng.uniform(0.3, 1),
                snr=rng.uniform(config.snr_low, config.snr_high),
                level=rng.uniform(22, 30),
                noise_colour=rng.uniform(0, 1.5),
            )
        )
    return speakers
