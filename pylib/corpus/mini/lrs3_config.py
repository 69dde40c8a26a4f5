"""What the built-in talking-face corpus consists of: a frozen dataclass, three named sizes."""

from __future__ import annotations

from dataclasses import dataclass

from pylib.corpus.mini.config import check_rules, voice_rules

#: Raised whenever the same configuration would give other bytes than before.
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Lrs3MiniConfig:
    """Everything that decides the bytes of the corpus; all randomness comes from `seed`.

    `speakers` are seen: pretrain and trainval are theirs, `test_speakers` are seen in test alone.
    Those of audio-text, audio-only and noise sets are others again. No sentence of test is
    anywhere else. Strengths of 0 switch an effect off.
    """

    seed: int = 1
    # what is said
    words: int = 300  # upper bound of the vocabulary; below 100 the language is one of slots
    predictability: float = 0.6  # of the grammar: how often a word is a favourite, 0 to 1
    min_seconds: float = 1.5  # of a sentence
    mean_seconds: float = 3.0
    max_seconds: float = 6.0
    text_sentences: int = 20000  # lines of text only
    # who says it, and how much
    speakers: int = 24
    test_speakers: int = 8
    pretrain_minutes: float = 26.0
    trainval_minutes: float = 12.0
    test_minutes: float = 8.0
    long_clips: int = 12  # of pretrain, above 15 s: the first clip of so many speakers
    text_speakers: int = 16  # of audio-text; one of every eight is its development set
    text_minutes: float = 40.0
    audio_speakers: int = 16  # of audio only
    audio_minutes: float = 40.0
    noise_speakers: int = 12  # of musan/speech
    noise_minutes: float = 4.0  # of each of musan's three parts
    # how it sounds
    accents: int = 1  # the first so many of ALL_ACCENTS, 1 to 8
    voices: int = 40  # the first so many of the voice variants, 2 to 56
    pitch_spread: float = 1.0  # 1: +-20 of espeak's 0..100 pitch scale and of its range scale
    rate: float = 135.0  # espeak words/min; 140 is about 3 short English words a second
    rate_spread: float = 0.12  # rate of a speaker: times 1 +- this
    warp: float = 0.06  # vocal tract: formants times 1 +- this
    snr_low: float = 25.0  # dB, drawn for each clip
    snr_high: float = 40.0  # dB
    eq_db: float = 3.0  # bumps and tilt of the channel's frequency response, at most
    room: float = 0.2  # longest reverberation time, s
    level_spread: float = 4.0  # dB around 26 below full scale
    # how it looks
    scale: float = 0.80  # size of a head, 0.6 to 1: 0.8 is an outer-eye distance of about 66 pixels
    turn: float = 10.0  # degrees of yaw of a clip, at most; half of it for pitch and roll
    drift: float = 4.0  # degrees of turning within a clip
    shift: float = 5.0  # pixels of translation
    zoom: float = 0.06  # relative change of size
    articulation: float = 0.15  # how much speakers differ in moving the mouth
    grain: float = 2.0  # camera noise, RMS of 255
    quality: int = 20  # x264's constant rate factor

    def __post_init__(self) -> None:
        """Raises UserError on a value that no corpus can have."""
        total = self.speakers + self.test_speakers + self.text_speakers
        total += self.audio_speakers + self.noise_speakers
        rules = (
            (40 <= self.words <= 800, "words must be 40 to 800"),
            (0 <= self.predictability <= 1, "predictability must be 0 to 1"),
            (
                0.8 <= self.min_seconds < self.mean_seconds < self.max_seconds <= 14,
                "needs 0.8 <= min_seconds < mean_seconds < max_seconds <= 14",
            ),
            (self.text_sentences >= 0, "text_sentences must not be negative"),
            (min(self.speakers, self.test_speakers) >= 1, "needs a speaker and a test speaker"),
            (
                min(self.text_speakers, self.audio_speakers, self.noise_speakers) >= 0,
                "numbers of speakers must not be negative",
            ),
            (total <= 500, "at most 500 speakers in all"),
            (
                min(self.trainval_minutes, self.test_minutes) > 0 and self.pretrain_minutes >= 0,
                "trainval and test need minutes",
            ),
            (
                min(self.text_minutes, self.audio_minutes, self.noise_minutes) >= 0,
                "minutes must not be negative",
            ),
            (self.long_clips >= 0, "long_clips must not be negative"),
            *voice_rules(self),
            (0 <= self.level_spread <= 12, "level_spread must be 0 to 12"),
            (0.6 <= self.scale <= 1.0, "scale must be 0.6 to 1"),
            (0 <= self.turn <= 30, "turn must be 0 to 30 degrees"),
            (0 <= self.drift <= 10, "drift must be 0 to 10 degrees"),
            (0 <= self.shift <= 20, "shift must be 0 to 20 pixels"),
            (0 <= self.zoom <= 0.2, "zoom must be 0 to 0.2"),
            (0 <= self.articulation <= 0.5, "articulation must be 0 to 0.5"),
            (0 <= self.grain <= 20, "grain must be 0 to 20"),
            (0 <= self.quality <= 40, "quality must be 0 to 40"),
        )
        check_rules(rules)


LRS3_SIZES: dict[str, Lrs3MiniConfig] = {
    "smoke": Lrs3MiniConfig(
        words=50,
        mean_seconds=2.3,
        max_seconds=4.0,
        text_sentences=300,
        speakers=3,
        test_speakers=2,
        pretrain_minutes=0.7,
        trainval_minutes=0.7,
        test_minutes=0.4,
        long_clips=1,
        text_speakers=3,
        text_minutes=0.7,
        audio_speakers=2,
        audio_minutes=0.7,
        noise_speakers=4,
        noise_minutes=0.6,
        voices=16,
        room=0.0,
    ),
    "easy": Lrs3MiniConfig(
        words=40,
        mean_seconds=2.2,
        max_seconds=3.5,
        text_sentences=4000,
        speakers=18,
        test_speakers=6,
        pretrain_minutes=9.0,
        trainval_minutes=10.0,
        test_minutes=3.0,
        long_clips=6,
        text_speakers=9,
        text_minutes=10.0,
        audio_speakers=8,
        audio_minutes=10.0,
        noise_speakers=10,
        noise_minutes=2.0,
        voices=16,
        pitch_spread=0.5,
        rate_spread=0.06,
        warp=0.03,
        eq_db=2.0,
        room=0.0,
        turn=5.0,
        drift=2.0,
        articulation=0.08,
    ),
    "full": Lrs3MiniConfig(),
}
