"""What stands beside the talking faces: audio-text talks, audio only, noises. No pictures here.

<corpus>/tedlium3/legacy/{train,dev}/{stm,sph}: one talk a speaker, as TED-LIUM 3 lays them out.
<corpus>/audio/<speaker>/*.flac. <corpus>/musan/{music,noise,speech}/<source>/*.wav.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from pylib.corpus.mini import channel, musan
from pylib.corpus.mini.lrs3_clips import FaceReading, join, record_clip
from pylib.corpus.mini.lrs3_config import Lrs3MiniConfig
from pylib.corpus.mini.lrs3_plan import AUDIO, TEXT, name_of
from pylib.corpus.mini.plan import ReadingList
from pylib.corpus.mini.reader import phone_lines, say_words, start_voice, write_flac

DEV_EVERY = 8  # one audio-text speaker of so many is of the development set


def _int16(samples: np.ndarray) -> np.ndarray:
    return np.round(samples * 32767).astype(np.int16)


def _talk(item: ReadingList, config: Lrs3MiniConfig, root: Path) -> FaceReading:
    """One recording with all sentences of a speaker, and its segments as stm."""
    speaker = item.speaker
    place = speaker.index - config.speakers - config.test_speakers
    subset = "dev" if place % DEV_EVERY == 1 else "train"
    folder = root / "tedlium3" / "legacy" / subset
    for kind in ("stm", "sph"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    talk = f"Speaker{speaker.reader:03d}_2026"
    synthesiser = start_voice(item)
    parts, lines, clock = [], [], 0.0
    sex = "female" if speaker.sex == "F" else "male"
    for number, sentence in enumerate(item.sentences):
        if clock >= item.seconds:
            break
        said = say_words(synthesiser, item, config.seed, number)
        end = clock + len(said.samples) / channel.RATE
        lines.append(f"{talk} 1 {talk} {clock:.2f} {end:.2f} <o,f0,{sex}> {sentence.lower()}\n")
        parts.append(said)
        clock = end
    whole = join(parts)
    rng = np.random.default_rng([config.seed, speaker.index, 2])
    samples = record_clip(whole.samples, config, rng)
    path = folder / "sph" / f"{talk}.sph"
    soundfile.write(path, samples, channel.RATE, subtype="PCM_16", format="NIST")
    (folder / "stm" / f"{talk}.stm").write_text("".join(lines), "utf-8")
    result = FaceReading(speaker.index)
    share = result.share(f"tedlium3_{subset}")
    share.utterances, share.seconds = len(parts), clock
    share.phones = phone_lines(talk, whole.phones)
    return result


def _files(item: ReadingList, config: Lrs3MiniConfig, root: Path) -> FaceReading:
    """A file for each sentence: audio only as flac, interfering speech as wav."""
    speaker, name = item.speaker, name_of(item.speaker)
    plain = speaker.subset == AUDIO
    folder = root / "audio" / name if plain else root / "musan" / "speech" / name
    folder.mkdir(parents=True)
    synthesiser = start_voice(item)
    result = FaceReading(speaker.index)
    share = result.share("audio" if plain else "musan_speech")
    for number in range(len(item.sentences)):
        if share.seconds >= item.seconds:
            break
        said = say_words(synthesiser, item, config.seed, number)
        rng = np.random.default_rng([config.seed, speaker.index, 2, number])
        samples = record_clip(said.samples, config, rng)
        if plain:
            write_flac(folder / f"{name}-{number + 1:04d}.flac", samples)
            share.phones += phone_lines(f"{name}-{number + 1:04d}", said.phones)
        else:
            path = folder / f"speech-{name}-{number + 1:04d}.wav"
            soundfile.write(path, samples, channel.RATE, subtype="PCM_16", format="WAV")
        share.utterances += 1
        share.seconds += len(samples) / channel.RATE
    return result


def _noises(item: ReadingList, config: Lrs3MiniConfig, root: Path, result: FaceReading) -> None:
    """As much music and noise as the speaker says; sources are numbered as speakers."""
    for part, (kind, make) in enumerate((("music", musan.music), ("noise", musan.noise))):
        folder = root / "musan" / kind / "mini"
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([config.seed, item.speaker.index, 4, part])
        share = result.share(f"musan_{kind}")
        while share.seconds < item.seconds:
            seconds = float(rng.uniform(5, 10))
            share.utterances += 1
            name = f"{kind}-mini-{item.speaker.reader:03d}{share.utterances:02d}.wav"
            samples = _int16(make(rng, seconds))
            soundfile.write(folder / name, samples, channel.RATE, subtype="PCM_16", format="WAV")
            share.seconds += len(samples) / channel.RATE


def record_speaker(item: ReadingList, config: Lrs3MiniConfig, root: Path) -> FaceReading:
    """Write what a speaker without a face says, and noises beside the voices of `musan`."""
    if item.speaker.subset == TEXT:
        return _talk(item, config, root)
    result = _files(item, config, root)
    if item.speaker.subset != AUDIO:
        _noises(item, config, root, result)
    return result
