"""The built-in speech corpus: the same bytes for a seed, LibriSpeech's layout, honest splits."""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pylib.bin import make_mini_corpus
from pylib.corpus.errors import UserError
from pylib.corpus.mini.build import build_corpus
from pylib.corpus.mini.config import SIZES, MiniCorpusConfig, with_overrides

# Spelt out: the named sizes are chosen by experiment and may change.
TINY = MiniCorpusConfig(
    words=120,
    predictability=0.8,
    mean_seconds=3.0,
    max_seconds=6.0,
    lm_sentences=500,
    train_speakers=3,
    labelled_speakers=1,
    dev_speakers=1,
    test_speakers=1,
    train_minutes=0.4,
    labelled_minutes=0.15,
    dev_minutes=0.12,
    test_minutes=0.12,
    accents=2,
    voices=16,
    warp=0.05,
    snr_low=25.0,
    eq_db=3.0,
    room=0.2,
)


def tree_bytes(root: Path) -> dict[str, bytes]:
    """Every file below `root` by its relative path."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini") / "corpus"
    build_corpus(root, TINY, jobs=1)
    return root


def transcripts(corpus: Path) -> dict[str, dict[str, str]]:
    """subset -> utterance -> words."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for path in corpus.glob("*/*/*/*.trans.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            utt, _, words = line.partition(" ")
            found[path.parts[-4]][utt] = words
    return found


def test_same_bytes_whatever_the_number_of_jobs(corpus: Path, tmp_path: Path) -> None:
    build_corpus(tmp_path / "again", TINY, jobs=2)
    first, second = tree_bytes(corpus), tree_bytes(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_another_seed_gives_other_speakers_and_sentences(corpus: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    build_corpus(other, dataclasses.replace(TINY, seed=2), jobs=2)
    assert {p.name for p in other.glob("*/*")} != {p.name for p in corpus.glob("*/*")}
    ours = {words for texts in transcripts(corpus).values() for words in texts.values()}
    theirs = {words for texts in transcripts(other).values() for words in texts.values()}
    assert len(ours & theirs) <= 2


def test_layout_and_audio_format(corpus: Path) -> None:
    text = transcripts(corpus)
    assert set(text) == {"train-clean-100", "dev-clean", "test-clean"}
    for subset, lines in text.items():
        flacs = {path.stem: path for path in (corpus / subset).glob("*/*/*.flac")}
        assert flacs.keys() == lines.keys()
        for utt, path in flacs.items():
            reader, chapter, number = utt.split("-")
            assert path.parts[-3:-1] == (reader, chapter) and len(number) == 4
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
            assert TINY.min_seconds <= info.duration <= TINY.max_seconds
            assert set(lines[utt]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ' ")


def test_minutes_and_speakers_are_those_asked_for(corpus: Path) -> None:
    summary = json.loads((corpus / "trivium-mini.json").read_text(encoding="utf-8"))
    asked = {"train-clean-100": (0.4, 3), "dev-clean": (0.12, 1), "test-clean": (0.12, 1)}
    for subset, (minutes, speakers) in asked.items():
        row = summary["subsets"][subset]
        seconds = sum(soundfile.info(p).duration for p in (corpus / subset).glob("*/*/*.flac"))
        assert row["speakers"] == speakers == len(list((corpus / subset).iterdir()))
        assert row["minutes"] == pytest.approx(seconds / 60, abs=1e-3)
        # each speaker stops at the first utterance past its share
        assert minutes <= row["minutes"] <= minutes + speakers * TINY.max_seconds / 60


def test_splits_share_no_speaker_and_no_sentence(corpus: Path) -> None:
    text = transcripts(corpus)
    subsets = sorted(text)
    for first in subsets:
        for second in subsets:
            if first < second:
                assert not set(text[first].values()) & set(text[second].values())
                readers = [{utt.split("-")[0] for utt in text[name]} for name in (first, second)]
                assert not readers[0] & readers[1]
    with gzip.open(corpus / "librispeech-lm-norm.txt.gz", "rt", encoding="utf-8") as stream:
        lm = [line.rstrip("\n") for line in stream]
    assert len(lm) == TINY.lm_sentences == len(set(lm))
    held_out = set(text["dev-clean"].values()) | set(text["test-clean"].values())
    assert not held_out & set(lm)


def test_labelled_list_is_part_of_train(corpus: Path) -> None:
    labelled = (corpus / "labelled.txt").read_text(encoding="utf-8").split()
    text = transcripts(corpus)["train-clean-100"]
    assert labelled == sorted(labelled) and set(labelled) <= set(text)
    assert len({utt.split("-")[0] for utt in labelled}) == TINY.labelled_speakers
    paths = {p.stem: p for p in (corpus / "train-clean-100").glob("*/*/*.flac")}
    seconds = sum(soundfile.info(paths[utt]).duration for utt in labelled)
    assert 60 * TINY.labelled_minutes <= seconds < 60 * TINY.labelled_minutes + TINY.max_seconds


def test_phone_times_fit_the_audio(corpus: Path) -> None:
    """Phones tile each utterance; silence is quiet and the first sound starts where it says."""
    loud: dict[str, list[float]] = defaultdict(list)
    centroids: dict[str, list[float]] = defaultdict(list)
    onsets = []
    for path in corpus.glob("*/*/*/*.flac"):
        samples, rate = soundfile.read(path)
        ctm = corpus / "phones" / f"{path.parts[-4]}.ctm"
        rows = [line.split() for line in ctm.read_text(encoding="utf-8").splitlines()]
        phones = [(float(r[2]), float(r[3]), r[4]) for r in rows if r[0] == path.stem]
        clock = 0.0
        for start, length, phone in phones:
            assert start == pytest.approx(clock, abs=2e-4) and length > 0
            clock = start + length
            part = samples[int(start * rate) : int(clock * rate)]
            if len(part) >= 160:
                power = np.abs(np.fft.rfft(part)) ** 2
                loud[phone].append(float(np.mean(part**2)))
                frequency = np.fft.rfftfreq(len(part), 1 / rate)
                centroids[phone].append(float((power * frequency).sum() / power.sum()))
        assert clock == pytest.approx(len(samples) / rate, abs=2e-3)
        envelope = np.convolve(samples**2, np.ones(80) / 80, "same")
        first = int(np.argmax(envelope > 10 * envelope[400:1200].mean()))
        onsets.append(first / rate - phones[1][0])
    vowels = np.concatenate(
        [loud[phone] for phone in ("i:", "aI", "eI", "a", "E") if phone in loud]
    )
    assert np.median(loud["SIL"]) < 0.05 * np.median(vowels)
    assert np.median(centroids["s"]) > 2.5 * np.median(centroids["n"])
    assert abs(np.median(onsets)) < 0.015


def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("data", encoding="utf-8")
    with pytest.raises(UserError, match="not a built-in corpus"):
        build_corpus(tmp_path, TINY, jobs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    impossible = dataclasses.replace(TINY, min_seconds=5.95, mean_seconds=5.97, max_seconds=6.0)
    with pytest.raises(UserError, match="widen min_seconds"):
        build_corpus(tmp_path / "corpus", impossible, jobs=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("word=120", "did you mean words"),
        ("words", "not name=value"),
        ("words=many", "give a number"),
        ("words=20", "words must be 100 to 800"),
        ("labelled_speakers=99", "labelled_speakers"),
        ("snr_low=50", "snr_low"),
    ],
)
def test_bad_settings_are_refused(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        with_overrides(SIZES["smoke"], [setting])


def test_full_size_is_what_the_claims_need() -> None:
    full = SIZES["full"]
    assert isinstance(full, MiniCorpusConfig)
    assert full.words >= 700
    assert full.train_speakers + full.dev_speakers + full.test_speakers >= 40
    assert full.train_minutes - full.labelled_minutes >= 120
    assert full.labelled_minutes == full.dev_minutes == full.test_minutes == 10


def test_command_line_overrides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {k: v for k, v in dataclasses.asdict(TINY).items() if k != "seed"}
    argv = ["--size", "smoke", "--seed", "3", "--nj", "2", "--set"]
    argv += [",".join(f"{name}={value}" for name, value in values.items())]
    assert make_mini_corpus.main([*argv, str(tmp_path / "c")]) == 0
    summary = json.loads((tmp_path / "c" / "trivium-mini.json").read_text(encoding="utf-8"))
    assert summary["config"] == dataclasses.asdict(dataclasses.replace(TINY, seed=3))
    assert "dev-clean" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_and_made_again(corpus: Path, tmp_path: Path) -> None:
    """kill -9 in the middle leaves nothing under the final name, and the next run cleans up."""
    import os
    import signal
    import subprocess
    import sys
    import time

    values = ",".join(f"{name}={value}" for name, value in dataclasses.asdict(TINY).items())
    target = tmp_path / "out" / "corpus"
    command = [sys.executable, "-m", "pylib.bin.make_mini_corpus", "--nj", "1", "--set", values]
    process = subprocess.Popen([*command, str(target)], start_new_session=True)
    for _ in range(20_000):
        if list(tmp_path.glob("out/.corpus.tmp-*/*/*/*/*.flac")):
            break
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not target.exists() and list((tmp_path / "out").iterdir())
    subprocess.run([*command, str(target)], check=True, capture_output=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["corpus"]
    assert tree_bytes(target) == tree_bytes(corpus)


@pytest.mark.slow
def test_every_voice_gives_the_same_bytes_in_every_process() -> None:
    """The condition for a voice to be in the list (breathy ones depend on load addresses)."""
    import subprocess
    import sys

    code = """
import hashlib, multiprocessing
from pylib.corpus.mini.espeak import Synthesiser
from pylib.corpus.mini.speakers import FEMALE_VOICES, MALE_VOICES

def digest(voice):
    engine = Synthesiser()
    engine.set_voice("en-us+" + voice)
    speech = engine.say("six chickens should reach the old vision before you go home.")
    return hashlib.sha256(speech.samples.tobytes() + repr(speech.phones).encode()).hexdigest()

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        print("\\n".join(pool.map(digest, FEMALE_VOICES + MALE_VOICES, chunksize=1)))
"""
    # A new interpreter each time: only then does the system choose new load addresses.
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(6)
    }
    assert len(runs) == 1
    digests = runs.pop().split()
    assert len(set(digests)) == len(digests)  # and no two voices are the same
