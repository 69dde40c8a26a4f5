"""The built-in speech corpus in the layout of VCTK 0.92.

<corpus>/speaker-info.txt, <corpus>/txt/pXXX/pXXX_NNN.txt and
<corpus>/wav48_silence_trimmed/pXXX/pXXX_NNN_mic1.flac as there, but at 16 kHz (the rate stands in
the file) and with one microphone. Texts 001 to `parallel` are the same for all speakers, all
others differ. What the real corpus has not: <corpus>/phones/all.ctm (true phone times) and
<corpus>/trivium-mini.json (how it was made).
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pylib.corpus.atomic import atomic_dir, require_free_space, write_json
from pylib.corpus.errors import UserError
from pylib.corpus.mini import channel
from pylib.corpus.mini.build import (
    BYTES_PER_SECOND,
    MARKER,
    check_place,
    read_all,
    sorted_phone_text,
)
from pylib.corpus.mini.config import ALL_ACCENTS
from pylib.corpus.mini.grammar import SentenceGenerator
from pylib.corpus.mini.plan import (
    WORDS_PER_SECOND_AT_140,
    ReadingList,
    new_sentence,
    utterance_lengths,
)
from pylib.corpus.mini.reader import phone_lines, say, start_voice, write_flac
from pylib.corpus.mini.speakers import Speaker, deal, usable_voices
from pylib.corpus.mini.vctk_config import FORMAT_VERSION, VctkMiniConfig

AUDIO = "wav48_silence_trimmed"
FIRST_ID = 225
_TRIES = 500  # sentences in a row of a length that is not wanted
_HEADER = "ID  AGE  GENDER  ACCENTS  REGION COMMENTS\n"


@dataclass
class VctkReading:
    """What a speaker has read: `index` as the speaker's, CTM lines of the phones."""

    index: int
    seconds: float = 0.0
    utterances: int = 0
    phones: list[str] = field(default_factory=list)


def _spread(rng: random.Random, count: int) -> list[float]:
    """`count` values in [-1, 1] in random order, one in each of as many equal parts of it."""
    values = [2 * (place + rng.random()) / count - 1 for place in range(count)]
    rng.shuffle(values)
    return values


def draw_voices(config: VctkMiniConfig) -> list[Speaker]:
    """All speakers, the first female, then in turn.

    Pitches and vocal tracts of one sex are spread evenly, so that two speakers who share a voice
    variant still differ. What `Speaker` says about recording is unused here.
    """
    rng = random.Random(f"vctk speakers {config.seed}")
    female, male = usable_voices(config.voices)
    counts = {"F": (config.speakers + 1) // 2, "M": config.speakers // 2}
    voices = {"F": deal(rng, female, counts["F"]), "M": deal(rng, male, counts["M"])}
    pitch = {sex: _spread(rng, count) for sex, count in counts.items()}
    warp = {sex: _spread(rng, count) for sex, count in counts.items()}
    accents = deal(rng, list(ALL_ACCENTS[: config.accents]), config.speakers)
    speakers = []
    for index in range(config.speakers):
        sex = "FM"[index % 2]
        speakers.append(
            Speaker(
                index=index,
                reader=FIRST_ID + index,
                sex=sex,
                subset=AUDIO,
                labelled=True,
                accent=accents[index],
                voice=voices[sex].pop(),
                pitch=round(50 + 20 * config.pitch_spread * pitch[sex].pop()),
                pitch_range=round(50 + 20 * config.pitch_spread * rng.uniform(-1, 1)),
                rate=config.rate * (1 + config.rate_spread * rng.uniform(-1, 1)),
                warp=1 + config.warp * warp[sex].pop(),
                reverberation=0.0,
                snr=0.0,
                level=0.0,
                noise_colour=0.0,
            )
        )
    return speakers


def _sentences(config: VctkMiniConfig) -> Iterator[str]:
    """Endless distinct sentences that take min_ to max_seconds at the mean rate of speaking.

    Raises:
        UserError: the language is used up.
    """
    generator = SentenceGenerator(config)
    rng = random.Random(f"vctk sentences {config.seed}")
    lengths = utterance_lengths(config, rng, config.rate)
    speed = WORDS_PER_SECOND_AT_140 * config.rate / 140
    fewest, most = round(config.min_seconds * speed), round(config.max_seconds * speed)
    seen: set[str] = set()
    tries = 0
    while tries < _TRIES:
        sentence = new_sentence(generator, rng, lengths, seen)
        tries += 1
        if fewest <= len(sentence.split()) <= most:
            tries = 0
            yield sentence
    raise UserError(
        f"built-in corpus: no sentence of {fewest} to {most} words in {_TRIES} tries: widen "
        "min_seconds to max_seconds"
    )


def vctk_lists(config: VctkMiniConfig) -> list[ReadingList]:
    """What each speaker reads: the texts of all, then sentences that nobody else has."""
    draw = _sentences(config)
    shared = [next(draw) for _ in range(config.parallel)]
    seconds = config.mean_seconds * config.utterances
    lists = []
    for speaker in draw_voices(config):
        sentences = [next(draw) for _ in range(config.utterances - config.parallel)]
        lists.append(ReadingList(speaker, seconds, 0.0, (*shared, *sentences)))
    return lists


def _record(samples: np.ndarray, config: VctkMiniConfig, rng: np.random.Generator) -> np.ndarray:
    """The utterance through a microphone, a room and a noise of its own; int16 (N,)."""
    response = np.convolve(
        channel.equaliser(rng, config.eq_db),
        channel.room(rng, config.room * rng.uniform(0.3, 1)),
    )
    noise = channel.coloured_noise(rng, len(samples), rng.uniform(0, 1.5))
    snr = rng.uniform(config.snr_low, config.snr_high)
    level = 26 + config.level_spread * rng.uniform(-1, 1)
    return channel.record(samples, response, noise, snr, level)


def written_text(sentence: str) -> str:
    """A sentence as VCTK writes it: `The old farmer came home.`"""
    words = sentence.lower().split()
    words = ["I" if word == "i" else word for word in words]
    return f"{words[0].capitalize()} {' '.join(words[1:])}.\n"


def read_vctk(job: tuple[ReadingList, VctkMiniConfig, str]) -> VctkReading:
    """Write the texts and the audio of one speaker below the corpus directory.

    Must run in a process that has not used espeak before (see `espeak`).
    """
    item, config, root = job
    speaker, name = item.speaker, f"p{item.speaker.reader}"
    texts, audio = Path(root) / "txt" / name, Path(root) / AUDIO / name
    texts.mkdir(parents=True)
    audio.mkdir(parents=True)
    synthesiser = start_voice(item)
    result = VctkReading(speaker.index)
    for number, sentence in enumerate(item.sentences):
        samples, phones = say(synthesiser, item, config.seed, number)
        rng = np.random.default_rng([config.seed, speaker.index, 2, number])
        utterance = f"{name}_{number + 1:03d}"
        write_flac(audio / f"{utterance}_mic1.flac", _record(samples, config, rng))
        (texts / f"{utterance}.txt").write_text(written_text(sentence), "utf-8")
        result.phones += phone_lines(utterance, phones)
        result.seconds += len(samples) / channel.RATE
        result.utterances += 1
    return result


def _write_shared(root: Path, lists: list[ReadingList], readings: list[VctkReading]) -> None:
    """speaker-info.txt and phone times."""
    rows = [
        f"p{s.reader}  {20 + s.index % 40}  {s.sex}    espeak-{s.accent}    (voice {s.name})\n"
        for s in (item.speaker for item in lists)
    ]
    (root / "speaker-info.txt").write_text(_HEADER + "".join(rows), "utf-8")
    (root / "phones").mkdir()
    text = sorted_phone_text(line for reading in readings for line in reading.phones)
    (root / "phones" / "all.ctm").write_text(text, "utf-8")


def _summary(
    lists: list[ReadingList], readings: list[VctkReading], config: VctkMiniConfig
) -> dict[str, object]:
    row = {
        "speakers": len(lists),
        "utterances": sum(reading.utterances for reading in readings),
        "minutes": round(sum(reading.seconds for reading in readings) / 60, 4),
    }
    used = ("index", "reader", "sex", "accent", "voice", "pitch", "pitch_range", "rate", "warp")
    speakers = [dataclasses.asdict(item.speaker) for item in lists]
    return {
        "corpus": "trivium-mini",
        "layout": "vctk",
        "format_version": FORMAT_VERSION,
        "config": dataclasses.asdict(config),
        "espeakng-loader": importlib.metadata.version("espeakng-loader"),
        "subsets": {AUDIO: row},
        "parallel": config.parallel,
        "speakers": [{name: speaker[name] for name in used} for speaker in speakers],
    }


def build_vctk(
    corpus_dir: Path,
    config: VctkMiniConfig,
    jobs: int = 2,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, object]:
    """Make the corpus below `corpus_dir`, which appears only when it is complete.

    The bytes depend on `config` alone, not on `jobs`. A built-in corpus that is there already is
    replaced.

    Args:
        progress: called with (speakers done, speakers) in this process.

    Returns:
        What `trivium-mini.json` holds.

    Raises:
        UserError: `corpus_dir` holds something that is not a built-in corpus, no space, or a
            configuration that cannot be met.
    """
    check_place(corpus_dir, jobs)
    lists = vctk_lists(config)
    seconds = sum(item.seconds for item in lists)
    require_free_space(corpus_dir.parent, int(seconds * BYTES_PER_SECOND))
    with atomic_dir(corpus_dir) as root:
        work = [(item, config, str(root)) for item in lists]
        readings = read_all(work, read_vctk, jobs, progress, __name__)
        _write_shared(root, lists, readings)
        summary = _summary(lists, readings, config)
        write_json(root / MARKER, summary)
    return summary
