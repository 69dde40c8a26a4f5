"""`steps/align_phones.sh` on the built-in corpus: near the true times, the same however split."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pylib.corpus.ark import iter_scp
from pylib.corpus.tables import read_numbers, read_table, write_table
from pylib.units.align_ctm import compare
from pylib.units.phone_runs import RunReader
from pylib.units.phone_set import SIL, phone_ids
from pylib.units.phones import read_phones
from pylib.units.pronounce import Pronouncer, read_lexicon

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.slow


def step(name: str, *arguments: object, fails: bool = False) -> str:
    done = subprocess.run(
        [ROOT / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("align")
    step("steps/make_mini_corpus.sh", "--size", "smoke", "--nj", 2, folder / "corpus")
    step("egs/librispeech/local/prepare_data.sh", "--nj", 2, folder / "corpus", folder / "data")
    train = folder / "data" / "train"
    step("steps/make_feats.sh", "--nj", 1, "--kind", "mfcc", train, folder / "arks")
    return train


def arrays(data: Path, stem: str) -> dict[str, list[int]]:
    return {utt: array.tolist() for utt, array in iter_scp(data / f"{stem}.scp")}


def test_phones_are_near_the_true_times(data: Path) -> None:
    arks = data.parent / "phones"
    # The true times are never read: they are not there while the step runs.
    truth = data / "phones.ctm"
    truth.rename(data.parent / "truth.ctm")
    said = step("steps/align_phones.sh", "--nj", 1, data, arks)
    assert "50 utterances" in said
    first = arrays(data, "phones"), arrays(data, "phone_runs")
    step("steps/align_phones.sh", "--nj", 3, "--hmm", arks / "hmm_train", data, arks)
    assert first == (arrays(data, "phones"), arrays(data, "phone_runs"))
    reader = RunReader(data)
    times = read_phones(data.parent / "truth.ctm")
    found = compare({utt: reader.read(utt) for utt in reader.utts}, times)
    # Measured: 0.82, 0.96, 0.69, 0.89; espeak's pronunciations are not always CMUdict's.
    assert found["frames"] > 0.77 and found["matched"] > 0.93
    assert found["within_20ms"] > 0.6 and found["within_50ms"] > 0.85
    samples = read_numbers(data / "utt2num_samples", int)
    for utt, ids in first[0].items():
        assert len(ids) % 4 == 0 and abs(len(ids) - samples[utt] / 160) < 8
    step("steps/validate_data_dir.sh", "--no-feats", "--check-ark", "full", data)


def test_unknown_words_are_dropped_or_said(data: Path) -> None:
    text = read_table(data / "text")
    odd = min(text)
    copy = data.parent / "odd"
    step("steps/copy_data_dir.sh", data, copy)
    write_table(copy / "text", {**text, odd: f"{text[odd]} QWXZZT"})
    models = data.parent / "phones" / "hmm_train"
    options = ("--nj", 1, "--hmm", models)
    said = step("steps/align_phones.sh", *options, "--oov", "drop", copy, data.parent / "odd_arks")
    assert "1 utterances have none" in said and odd not in arrays(copy, "phones")
    said = step("steps/align_phones.sh", *options, copy, data.parent / "odd_arks")
    assert "QWXZZT" in said and odd in arrays(copy, "phones")


def test_a_ctm_of_another_aligner(data: Path) -> None:
    copy = data.parent / "ctm"
    step("steps/copy_data_dir.sh", data, copy)
    lines = []
    for utt, ids in arrays(data, "phones").items():
        lines.append(f"{utt} 1 0.00 {len(ids) / 200:.3f} AH0_S\n")
    (data.parent / "their.ctm").write_text("".join(lines), encoding="utf-8")
    arguments = ("--nj", 1, "--ctm", data.parent / "their.ctm", copy, data.parent / "ctm_arks")
    assert "from a ctm" in step("steps/align_phones.sh", *arguments)
    for ids in arrays(copy, "phones").values():
        assert len(set(ids)) == 2 and abs(np.mean(np.array(ids) == ids[0]) - 0.5) < 0.1
    (data.parent / "their.ctm").write_text("other 1 0 1 AH\n", encoding="utf-8")
    assert "have no phones" in step("steps/align_phones.sh", *arguments, fails=True)


def test_models_of_other_features_are_refused(data: Path) -> None:
    arguments = ("--nj", 1, "--hmm", data.parent / "none", data, data.parent / "phones")
    said = step("steps/align_phones.sh", *arguments, fails=True)
    assert "train first" in said and "Traceback" not in said


@pytest.mark.real
@pytest.mark.skipif("TRIVIUM_REAL" not in os.environ, reason="needs real recordings")
def test_words_of_real_speech_begin_where_people_say(tmp_path: Path) -> None:
    """100 clips of LRS3's layout with word times, five minutes of one speaker."""
    import soundfile

    from pylib.corpus.video import read_audio

    texts = sorted(Path(os.environ["TRIVIUM_REAL"], "LRS3", "trainval", "s1").glob("*.txt"))[:100]
    if not texts:
        pytest.skip("no LRS3 clips there")
    times: dict[str, list[tuple[str, float]]] = {}
    data = tmp_path / "data"
    data.mkdir()
    wav, samples = {}, {}
    for file in texts:
        utt = f"s1-{file.stem}"
        rows = [line.split() for line in file.read_text("utf-8").splitlines()[4:] if line.strip()]
        times[utt] = [(row[0], float(row[1])) for row in rows]
        sound = read_audio(file.with_suffix(".mp4"))
        wav[utt], samples[utt] = str(tmp_path / f"{utt}.flac"), len(sound)
        soundfile.write(wav[utt], sound, 16000)
    write_table(data / "wav.scp", wav)
    write_table(data / "utt2num_samples", samples)
    write_table(data / "utt2dur", {utt: count / 16000 for utt, count in samples.items()})
    write_table(data / "utt2spk", dict.fromkeys(wav, "s1"))
    write_table(data / "text", {u: " ".join(w for w, _ in rows) for u, rows in times.items()})
    step("steps/make_feats.sh", "--nj", 1, "--kind", "mfcc", data, tmp_path / "arks")
    step("steps/align_phones.sh", "--nj", 1, data, tmp_path / "arks")
    said = Pronouncer(read_lexicon(None), "g2p")
    pairs = [pair for utt, rows in times.items() for pair in starts(data, utt, rows, said)]
    apart = np.array([found - told for told, found in pairs])
    assert len(apart) == sum(map(len, times.values()))
    # Measured: 0.90 within 50 ms.
    assert (np.abs(apart) <= 0.05).mean() > 0.75 and abs(np.median(apart)) <= 0.02


def starts(
    data: Path, utt: str, rows: list[tuple[str, float]], said: Pronouncer
) -> list[tuple[float, float]]:
    """Where each word begins, as aligned and as told."""
    ids, lengths = RunReader(data).read(utt)
    begins = np.cumsum(lengths) - lengths
    spoken = [(int(ids[b]), int(b)) for b in begins if ids[b] != SIL]
    out = []
    for word, told in rows:
        for variant in sorted(said.word(word), key=len, reverse=True):
            wanted = phone_ids(variant)
            if [phone for phone, _ in spoken[: len(wanted)]] == wanted:
                out.append((told, spoken[0][1] / 100))
                spoken = spoken[len(wanted) :]
                break
    return out
